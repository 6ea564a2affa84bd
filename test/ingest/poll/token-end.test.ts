/**
 * Polls whose access token ends in the middle of a fetch of 200 messages: the next poll continues at the cursor,
 * nothing is lost or doubled, and no failure is counted.
 */
import { expect, test } from 'vitest';
import { type Script, startScriptedServer } from '../../adapters/imap/scripted-server.ts';
import { plainTo, secret } from '../../adapters/imap/setting.ts';
import { testApp } from '../../support/app.ts';
import { outcomesOf } from '../../support/outcomes.ts';

const messages = 200;
const tokenMs = 1000;

function mailOf(uid: number): string {
  const head = ['From: ada@example.test', 'To: support@example.test', `Subject: ${uid}`, `Message-ID: <${uid}@x>`];
  return `${head.join('\r\n')}\r\n\r\nBody ${uid}\r\n`;
}

function uidsOf(set: string): readonly number[] {
  return set.split(',').flatMap((range) => {
    const [from = 0, to = from] = range.split(':').map(Number);
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  });
}

/** Serves the messages, 10 ms each; ends the connection when the token of its login does, in whatever it sends. */
function serving(seen: { cuts: number; fetched: number[] }): Script {
  const endings = new WeakSet<object>();
  return (command, rest, tag, { say, next, socket }) => {
    if (command === 'AUTHENTICATE') {
      say('+ ');
      next(() => say(`${tag} OK`));
      setTimeout(() => endings.add(socket), tokenMs);
      return true;
    }
    if (command === 'UID SEARCH') {
      say(`* SEARCH ${uidsOf(`1:${messages}`).join(' ')}`, `${tag} OK`);
      return true;
    }
    if (command !== 'UID FETCH') return false;
    const uids = uidsOf(rest.split(' ')[0] ?? '');
    if (!/BODY/.test(rest)) {
      const date = '"24-Nov-2026 10:00:00 +0000"';
      say(...uids.map((uid) => `* ${uid} FETCH (UID ${uid} RFC822.SIZE ${mailOf(uid).length} INTERNALDATE ${date})`));
      say(`${tag} OK`);
      return true;
    }
    void (async () => {
      for (const uid of uids) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        if (endings.has(socket)) {
          seen.cuts += 1;
          socket.end(`* ${uid} FETCH (UID ${uid} BODY[] {900}\r\ncut`);
          return;
        }
        seen.fetched.push(uid);
        say(`* ${uid} FETCH (UID ${uid} BODY[] {${mailOf(uid).length}}`, `${mailOf(uid)})`);
      }
      say(`${tag} OK`);
    })();
    return true;
  };
}

test('a fetch that the end of the token cuts off continues in the next session', { timeout: 30_000 }, async () => {
  const seen = { cuts: 0, fetched: [] as number[] };
  await using server = await startScriptedServer({
    ...{ capabilities: 'IMAP4rev1 AUTH=XOAUTH2', exists: messages, script: serving(seen) },
  });
  await using on = await testApp(null);
  on.app.credentials.withCredential = async (mailbox, use) => {
    using token = secret('token-token');
    return await use({ kind: 'token', secret: token, sessionMs: tokenMs }, mailbox.connection);
  };
  const place = { host: '127.0.0.1', tlsPort: server.port, caPem: null } as never;
  const mailbox = await on.addMailbox(place, 'ada', {
    connection: plainTo(server.port),
    postAction: { kind: 'leave' },
  });
  const polls: (string | null)[] = [];
  let stored = 0;
  while (stored < messages && polls.length < 20) {
    const { failure } = await on.app.pollOnce(mailbox, new AbortController().signal);
    polls.push(failure?.code ?? null);
    stored = (await on.app.store.reconcile()).messages;
  }
  expect(polls.filter((code) => code !== null)).toEqual([]);
  expect(seen.cuts).toBeGreaterThan(0);
  expect(await outcomesOf(on, mailbox)).toEqual(
    Array.from({ length: messages }, (_, index) => `${index + 1} ticket_opened`),
  );
  expect(await on.app.store.reconcile()).toMatchObject({ outcomes: messages, messages, outcomesAboveCursor: 0 });
  const [listed] = await on.app.store.listMailboxes();
  expect(listed).toMatchObject({ health: { failures: 0, lastError: null } });
});
