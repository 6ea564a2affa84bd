/**
 * Fencing with a real Dovecot and MariaDB: a worker whose commit is on its way when another one takes over writes
 * nothing, and changes nothing on the mail server.
 */
import { expect, test } from 'vitest';
import { hostsOf, startChunkProxy } from '../adapters/database/mysql/hosts-scene.ts';
import { testApp } from '../support/app.ts';
import { serversOfFile } from '../support/file-servers.ts';
import { failureOf, until } from '../support/promises.ts';
import type { Dovecot } from '../support/servers/dovecot.ts';
import type { Mariadb } from '../support/servers/mariadb.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

const never = new AbortController().signal;
const fence = /update `mailbox_state` set `cursor_folder_epoch` = [^,]+, `cursor_uid` = \S+ where/;
const mail = (id: string): Buffer =>
  Buffer.from(`From: a@x.test\r\nSubject: ${id}\r\nMessage-ID: <${id}@x>\r\n\r\nHello\r\n`);

test('a former holder of the lease whose commit arrives late is refused, and the next holder stores everything', async () => {
  const { config } = await mariadb.createDatabase();
  let release: (() => void) | null = null;
  await using way = await startChunkProxy(mariadb.port, () => ({
    toServer: (chunk, pass) => {
      if (release === null && fence.test(chunk.toString('latin1'))) release = pass;
      else pass();
    },
  }));
  await using next = await testApp(config);
  await using former = await testApp({ ...config, ...hostsOf(way) });
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', ['one', 'two'].map(mail));
  const mailbox = await next.addMailbox(dovecot, user, { postAction: { kind: 'delete' } });
  const late = failureOf(former.pollOnce(mailbox, never));
  await until('its commit is on the way', async () => release);
  const { store } = next.app;
  const lease = await store.acquireLease(mailbox.id, 'next', 60_000, await store.leaseOwner(mailbox.id));
  if (lease === null) throw new Error('not taken over');
  (release as (() => void) | null)?.();
  expect(await late).toMatchObject({ code: 'lease_lost' });
  expect(await Array.fromAsync(store.outcomes(mailbox.id, false))).toEqual([]);
  expect((await store.readFolderProgress(mailbox.id)).cursor?.uid).toBe(0);
  expect((await dovecot.listFlags(user, 'INBOX')).size).toBe(2);
  await store.releaseLease(lease, { ok: true, nextPollAfterMs: 0 });
  expect((await next.pollOnce(mailbox, never)).outcomes).toMatchObject({ ticket_opened: 2, duplicate: 0 });
  expect((await dovecot.listFlags(user, 'INBOX')).size).toBe(0);
});
