/**
 * A mail server lists a UID that is not below its UIDNEXT, so that the cursor would pass every later message: all
 * others are fetched, also later ones, and the mailbox is not ok. Honest servers beside it.
 */
import { expect, test } from 'vitest';
import type { Mailbox } from '../../../src/ingest/model.ts';
import type { Script } from '../../adapters/imap/scripted-server.ts';
import { type ScriptedMailbox, startScriptedMailbox } from '../../cases/scripted-mailbox.ts';
import { type TestApp, testApp } from '../../support/app.ts';
import { outcomesOf } from '../../support/outcomes.ts';

const never = new AbortController().signal;
const mail = (id: string) =>
  Buffer.from(`From: ada@example.test\r\nSubject: ${id}\r\nMessage-ID: <${id}@x>\r\n\r\nIt does not print.\r\n`);

type Scene = AsyncDisposable & {
  readonly server: ScriptedMailbox;
  readonly on: TestApp;
  readonly mailbox: Mailbox;
};

async function scene(script: (server: () => ScriptedMailbox) => Script): Promise<Scene> {
  await using building = new AsyncDisposableStack();
  let started: ScriptedMailbox | null = null;
  const now = () => {
    if (started === null) throw new Error('the server has not started');
    return started;
  };
  const server = building.use(await startScriptedMailbox({ sources: [mail('a'), mail('b')], script: script(now) }));
  started = server;
  const on = building.use(await testApp(null));
  const connection = { host: '127.0.0.1', port: server.port, tls: 'none', folder: 'INBOX', user: 'ada' } as const;
  const mailbox = await on.addMailbox({ host: 'localhost', tlsPort: server.port, caPem: '' }, 'ada', {
    connection: { ...connection, caPem: null, fingerprint: null, allowPlaintext: true },
    postAction: { kind: 'leave' },
  });
  const undo = building.move();
  return { server, on, mailbox, [Symbol.asyncDispose]: () => undo.disposeAsync() };
}

const failureOf = async ({ on, mailbox }: Scene) => (await on.app.pollOnce(mailbox, never)).failure;

/** Adds `uid` to every SEARCH. */
const adding =
  (uid: number, uidNext: (count: number) => string): ((server: () => ScriptedMailbox) => Script) =>
  (server) =>
  (command, _, tag, { say }) => {
    const uids = Array.from({ length: server().count() }, (__, index) => index + 1);
    if (command === 'UID SEARCH') say(`* SEARCH ${[...uids, uid].join(' ')}`);
    else if (command === 'SELECT') say(`* ${uids.length} EXISTS`, '* OK [UIDVALIDITY 7] yes', uidNext(uids.length));
    else return false;
    say(`${tag} OK`);
    return true;
  };

test.each([4_294_967_295, 4_294_967_294, 1000, 5])('UID %d in SEARCH', async (uid) => {
  await using at = await scene(adding(uid, (count) => `* OK [UIDNEXT ${count + 1}] yes`));
  const first = await failureOf(at);
  expect(await outcomesOf(at.on, at.mailbox)).toEqual(['1 ticket_opened', '2 ticket_opened']);
  expect(first).toMatchObject({ code: 'server_protocol_error', message: expect.stringContaining(`UID ${uid}`) });
  at.server.arrive(mail('later'));
  expect(await failureOf(at)).toMatchObject({ code: 'server_protocol_error' });
  expect(await outcomesOf(at.on, at.mailbox)).toEqual(['1 ticket_opened', '2 ticket_opened', '3 ticket_opened']);
});

test('a server without UIDNEXT is polled as ever; the highest number is no UID there either', async () => {
  await using at = await scene(adding(4_294_967_295, () => '* OK no UIDNEXT here'));
  expect(await failureOf(at)).toMatchObject({ code: 'server_protocol_error' });
  at.server.arrive(mail('later'));
  await failureOf(at);
  expect(await outcomesOf(at.on, at.mailbox)).toEqual(['1 ticket_opened', '2 ticket_opened', '3 ticket_opened']);
});

test('honest: what arrives after SELECT is fetched by the same poll', async () => {
  let hasArrived = false;
  await using at = await scene((server) => (command) => {
    if (command === 'UID SEARCH' && !hasArrived) {
      hasArrived = true;
      server().arrive(mail('during the poll'));
    }
    return false;
  });
  expect(await failureOf(at)).toBeNull();
  expect(await outcomesOf(at.on, at.mailbox)).toEqual(['1 ticket_opened', '2 ticket_opened', '3 ticket_opened']);
  expect(at.server.lines.filter((line) => line.includes('SELECT'))).toHaveLength(2);
});

test('a folder that is another one when it is selected again ends the poll before anything of it is fetched', async () => {
  let selects = 0;
  await using at = await scene((server) => (command, _, tag, { say }) => {
    if (command === 'UID SEARCH' && selects === 1) server().arrive(mail('during the poll'));
    if (command !== 'SELECT') return false;
    selects += 1;
    const count = server().count();
    say(`* ${count} EXISTS`, `* OK [UIDVALIDITY ${selects}] yes`, `* OK [UIDNEXT ${count + 1}] yes`, `${tag} OK`);
    return true;
  });
  expect(await failureOf(at)).toMatchObject({ code: 'server_protocol_error' });
  expect(await outcomesOf(at.on, at.mailbox)).toEqual([]);
});
