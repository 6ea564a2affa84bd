/**
 * One account is one place, against a real Dovecot and on both databases: a message in several folders of it is one
 * ticket, also where their mailboxes are polled at the same moment; another account has a ticket of its own, linked.
 */
import { describe, expect, test } from 'vitest';
import type { DatabaseConfig } from '../../../src/config/config.ts';
import { isFailure } from '../../../src/errors.ts';
import type { Mailbox } from '../../../src/ingest/model.ts';
import { type TestApp, testApp } from '../../support/app.ts';
import { databaseKinds } from '../../support/database-kinds.ts';
import { serversOfFile } from '../../support/file-servers.ts';
import { outcomesOf } from '../../support/outcomes.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;
const never = new AbortController().signal;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

const messages = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) =>
    Buffer.from(
      `From: ada@example.test\r\nSubject: ${from + at}\r\nMessage-ID: <${from + at}@x>\r\n\r\nHello ${from + at}\r\n`,
    ),
  );

async function folderBox(on: TestApp, user: string, folder: string): Promise<Mailbox> {
  const { host, tlsPort: port, caPem } = dovecot;
  if (folder !== 'INBOX') await dovecot.createFolder(user, folder);
  const fixed = { tls: 'implicit', fingerprint: null, allowPlaintext: false } as const;
  return await on.addMailbox(dovecot, user, {
    name: `${user} ${folder}`,
    connection: { ...fixed, host, port, caPem, user, folder },
  });
}

/** Until no other mailbox that joins the account takes the lease away. */
async function polled(on: TestApp, box: Mailbox): Promise<void> {
  for (let triesLeft = 10; ; triesLeft -= 1) {
    try {
      await on.pollOnce(box, never);
      return;
    } catch (error) {
      if (!isFailure(error, 'lease_lost', 'lease_revoked') || triesLeft === 0) throw error;
    }
  }
}

const countOf = (rows: readonly string[], outcome: string) => rows.filter((row) => row.includes(outcome)).length;

for (const { kind, tags } of databaseKinds)
  describe(`folders of one account, stored in ${kind}`, { tags }, () => {
    const database = async (): Promise<DatabaseConfig | null> =>
      kind === 'sqlite' ? null : (await mariadb.createDatabase()).config;

    test('a message in three folders is one ticket, in any order and at the same moment, and is marked in each', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      const boxes = [];
      for (const folder of ['INBOX', 'Archive', 'All']) boxes.push(await folderBox(on, user, folder));
      let total = 0;
      for (const isAtOnce of [true, false, true, true]) {
        for (const { connection } of boxes)
          await dovecot.append(user, connection.folder, messages(total + 1, total + 20));
        total += 20;
        if (isAtOnce) await Promise.all(boxes.map((box) => polled(on, box)));
        else for (const box of boxes.toReversed()) await polled(on, box);
      }
      const rows = (await Promise.all(boxes.map((box) => outcomesOf(on, box)))).flat();
      expect([countOf(rows, 'ticket_opened'), countOf(rows, 'duplicate (seen_before)')]).toEqual([total, 2 * total]);
      expect(await on.app.store.listTickets(1000)).toHaveLength(total);
      for (const { connection } of boxes) {
        const flags = await dovecot.listFlags(user, connection.folder);
        expect([...flags.values()].filter((set) => set.has('\\Seen'))).toHaveLength(total);
      }
    });

    test('folders of two accounts, with one message in each, have two tickets, linked', async () => {
      await using on = await testApp(await database());
      const boxes = [];
      for (const user of [dovecot.newUser(), dovecot.newUser()]) {
        boxes.push(await folderBox(on, user, 'INBOX'));
        await dovecot.append(user, 'INBOX', messages(1, 1));
      }
      for (const box of boxes) await polled(on, box);
      const tickets = await on.app.store.listTickets(10);
      expect(tickets.map(({ links }) => links.map(({ reason }) => reason))).toEqual([
        ['same_message'],
        ['same_message'],
      ]);
    });

    test('an archive is known again after a change of its UIDVALIDITY, though the other folder stored it', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      const [inbox, archive] = [await folderBox(on, user, 'INBOX'), await folderBox(on, user, 'Archive')];
      for (const { connection } of [inbox, archive]) await dovecot.append(user, connection.folder, messages(1, 5));
      for (const box of [inbox, archive]) await polled(on, box);
      await dovecot.changeUidValidity(user, 'Archive');
      await polled(on, archive);
      expect(await on.app.store.listTickets(100)).toHaveLength(5);
    });
  });
