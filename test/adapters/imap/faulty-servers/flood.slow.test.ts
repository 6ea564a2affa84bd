/**
 * Servers that flood the connection are disconnected at every stage; large regular traffic is accepted.
 */
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { commandBytesMax, idleBytesMax, loginBytesMax } from '../../../../src/adapters/imap/limits.ts';
import { imapSessions } from '../../../../src/adapters/imap/session.ts';
import type { Session } from '../../../../src/ingest/ports.ts';
import { cpuMsOf, failureOf } from '../../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../../support/servers/dovecot.ts';
import { type Script, startScriptedServer } from '../scripted-server.ts';
import { connectionTo, credential, fetchAll, mail, never, openSession, plainTo } from '../setting.ts';

const longMs = 20_000;
const capabilities = 'IMAP4rev1 AUTH=PLAIN IDLE UIDPLUS';
/** Capacity of the socket buffers of both sides. */
const onTheWayBytes = 16 * 1024 * 1024;

let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = await startDovecot();
});

afterAll(() => dovecot[Symbol.asyncDispose]());

type Flood = { bytes: number; isClosed: boolean };

/** Sends `text` again and again, as fast as it is taken. */
function pour(socket: Duplex, text: string, flood: Flood): void {
  const chunk = text.repeat(Math.ceil(50_000 / text.length));
  const go = (): void => {
    let isTaken = true;
    while (isTaken && !socket.destroyed) {
      isTaken = socket.write(chunk);
      flood.bytes += chunk.length;
    }
  };
  socket.on('drain', go);
  socket.on('close', () => {
    flood.isClosed = true;
  });
  go();
}

/** Floods with `text` once it is asked for `flooded`. */
function flooding(flooded: string, text: string, flood: Flood): Script {
  return (command, _rest, _tag, { say, socket }) => {
    if (command === 'SELECT' && flooded === 'LIST') say(`${_tag} NO not now`);
    if (command === 'IDLE') say('+ idling');
    if (command === flooded) pour(socket, text, flood);
    return command === flooded || command === 'IDLE' || (command === 'SELECT' && flooded === 'LIST');
  };
}

const flags = '* 1 FETCH (FLAGS (\\Seen))\r\n';
const greeting = '* OK still here\r\n';

async function everything(session: Session): Promise<void> {
  await session.listAbove(0);
  await session.sizes([1, 2]);
  await fetchAll(session, [1, 2]);
  await session.fetchHeader(1, 100);
  await session.apply({ kind: 'delete' }, [1]);
  await session.idle(longMs, never);
}

test.each([
  ['CAPABILITY', greeting],
  ['AUTHENTICATE', greeting],
  ['SELECT', greeting],
  ['SELECT', flags],
  ['LIST', '* LIST () "/" INBOX\r\n'],
  ['UID SEARCH', greeting],
  ['UID SEARCH', '1 '],
  ['UID FETCH', greeting],
  ['UID FETCH', flags],
  ['UID FETCH', '* 1 FETCH (UID 1 RFC822.SIZE 9)\r\n'],
  ['UID FETCH', '* 1 FETCH (UID 1 BODY[] {3}\r\none)\r\n'],
  ['UID STORE', flags],
  ['IDLE', greeting],
  ['IDLE', flags],
  ['IDLE', '* 5 EXISTS\r\n* 5 EXPUNGE\r\n'],
  ['IDLE', 'no line at all '],
])('a server that floods at %s with %j is left at once as server_protocol_error', async (flooded, text) => {
  const flood: Flood = { bytes: 0, isClosed: false };
  await using server = await startScriptedServer({ capabilities, script: flooding(flooded, text, flood) });
  let session: Session | null = null;
  const refused = failureOf(
    (async () => {
      session = await openSession(plainTo(server.port));
      await everything(session);
    })(),
  );
  // Client and server are both in this process; waiting for the time-out would be another failure.
  expect(await cpuMsOf(refused)).toBeLessThan(4000);
  expect(await refused).toMatchObject({ code: 'server_protocol_error', domain: 'server' });
  await expect.poll(() => flood.isClosed).toBe(true);
  expect(flood.bytes).toBeLessThan(onTheWayBytes);
  if (session !== null) expect((await failureOf((session as Session).listAbove(0))).code).toBe('server_protocol_error');
});

test.each([
  ['AUTHENTICATE', loginBytesMax],
  ['SELECT', idleBytesMax],
  ['UID SEARCH', commandBytesMax],
  ['UID FETCH', commandBytesMax],
  ['IDLE', idleBytesMax],
])('at %s a server may say nearly as much as is allowed', async (talking, bytesMax) => {
  const lines = greeting.repeat(Math.floor((bytesMax - 8192) / greeting.length));
  const script: Script = (command, _rest, tag, { say, next, socket }) => {
    if (command === talking) socket.write(lines);
    if (command === 'IDLE') {
      say('+ idling');
      next(() => say(`${tag} OK`));
    }
    return command === 'IDLE';
  };
  await using server = await startScriptedServer({ capabilities, script });
  await using session = await openSession(plainTo(server.port));
  await session.listAbove(0);
  await fetchAll(session, [1]);
  expect(await session.idle(100, never)).toBe('timed_out');
  expect(await session.idle(100, never)).toBe('timed_out');
});

test('a server that floods between commands is disconnected too', async () => {
  const flood: Flood = { bytes: 0, isClosed: false };
  const script: Script = (command, _rest, _tag, { socket }) => {
    if (command === 'UID SEARCH') setTimeout(() => pour(socket, greeting, flood), 50);
    return false;
  };
  await using server = await startScriptedServer({ script });
  await using session = await openSession(plainTo(server.port));
  await session.listAbove(0);
  await expect.poll(() => flood.isClosed).toBe(true);
  expect(flood.bytes).toBeLessThan(onTheWayBytes);
  expect((await failureOf(session.listAbove(0))).code).toBe('server_protocol_error');
});

test('messages are no flood: many of nearly the size limit, and the rest of an abandoned fetch', async () => {
  const user = dovecot.newUser();
  const messages = Array.from({ length: 30 }, () => mail('a', 290_000));
  await dovecot.append(user, 'INBOX', messages);
  const options = { connectTimeoutMs: 5000, commandTimeoutMs: 10_000, literalBytesMax: 300_000 };
  const sessions = imapSessions(() => options);
  await using session = await sessions.open(connectionTo(dovecot, user), credential(), never);
  const uids = await session.listAbove(0);
  expect((await fetchAll(session, uids)).map(([, source]) => source?.length)).toEqual(
    messages.map(({ length }) => length),
  );
  for await (const { uid } of session.fetch(uids)) if (uid === 2) break;
  expect(await session.listAbove(0)).toEqual(uids);
});
