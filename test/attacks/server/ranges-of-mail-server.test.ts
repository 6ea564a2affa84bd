/**
 * A mail server names 2^32 messages in a few bytes, or writes lines that cost far more to parse than to send, in every
 * state of a connection: the event loop turns, and memory stays as it was.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { expect, test } from 'vitest';
import type { Session } from '../../../src/ingest/ports.ts';
import { type Script, startScriptedServer } from '../../adapters/imap/scripted-server.ts';
import { fetchAll, never, openSession, plainTo } from '../../adapters/imap/setting.ts';

const capabilities = 'IMAP4rev1 AUTH=PLAIN IDLE UIDPLUS MOVE ESEARCH CONDSTORE';
const delayMsMax = 200;
const memoryBytesMax = 150_000_000;
const all = '1:4294967295';
const fill = (text: string, bytes: number): string => text.repeat(Math.floor(bytes / text.length));

const ranges: readonly string[] = [
  `* VANISHED ${all}`,
  `* VANISHED (EARLIER) ${all}`,
  `* 5 VANISHED ${all}`,
  `* ESEARCH (TAG "1") UID ALL ${all}`,
  `* SEARCH ${all}`,
  `* OK [COPYUID 9 ${all} ${all}] x`,
  `* OK [APPENDUID 9 ${all}] x`,
  '* 4000000000 EXISTS',
];
const longMaximum = 8_000_000;
const long: readonly (readonly [string, (bytes: number) => string])[] = [
  ['labels', (bytes) => `* 1 FETCH (UID 1 X-GM-LABELS (${fill('"&AOQ-" ', bytes)}))`],
  ['nested lists', (bytes) => `* 1 FETCH ${fill('(', bytes / 2)}${fill(')', bytes / 2)}`],
  ['capabilities', (bytes) => `* CAPABILITY ${fill('A=B ', bytes)}X`],
  ['flags', (bytes) => `* 1 FETCH (UID 1 FLAGS (${fill('a ', bytes)}b))`],
  ['response codes', (bytes) => `* OK [${fill('A ', bytes)}] x`],
  ['an envelope', (bytes) => `* 1 FETCH (UID 1 ENVELOPE ("x" "${fill('=?utf-8?q?=41?= ', bytes)}"))`],
  ['a status', (bytes) => `* STATUS x (${fill('A 1 ', bytes)})`],
  ['parts', (bytes) => `* 1 FETCH (UID 1 BODYSTRUCTURE (${fill('("a" "b" NIL NIL NIL "7bit" 1 1)', bytes)} "mixed"))`],
  ['digits', (bytes) => `* SEARCH ${fill('1', bytes)}`],
  ['falling numbers', (bytes) => `* SEARCH ${fill('9 8 7 ', bytes)}`],
];

/** Says `lines` at `state`, before the usual answer. */
function saying(state: string, lines: string, exists: number): Script {
  return (command, _rest, tag, { say, next, socket }) => {
    if (command === 'IDLE') say('+ idling');
    if (command === state) socket.write(lines);
    if (command === 'SELECT') say(`* ${exists} EXISTS`, '* OK [UIDVALIDITY 7] x', '* OK [UIDNEXT 4294967295] x');
    if (command === 'UID SEARCH') say('* SEARCH 1 2');
    if (command === 'UID MOVE') say(`${tag} OK [COPYUID 9 ${all} ${all}] done`);
    else if (command === 'IDLE') next(() => say(`${tag} OK`));
    else return false;
    return true;
  };
}

async function everything(session: Session): Promise<void> {
  await session.listAbove(0);
  await session.sizes([1, 2]);
  await fetchAll(session, [1, 2]);
  await session.apply({ kind: 'move', folder: 'Done' }, [1]);
  await session.apply({ kind: 'delete' }, [1]);
  await session.idle(20, never);
}

/**
 * Longest delay of the event loop while a session does all it can: the least of up to three runs, since other processes
 * can only add to it.
 */
async function delayMs(state: string, lines: string, exists?: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 3 && least >= delayMsMax; run += 1)
    least = Math.min(least, await delayOfOneMs(state, lines, exists));
  return least;
}

async function delayOfOneMs(state: string, lines: string, exists = 4_000_000_000): Promise<number> {
  const greeting = state === 'greeting' ? `${lines}* OK ready` : '* OK ready';
  await using server = await startScriptedServer({ capabilities, greeting, script: saying(state, lines, exists) });
  const delays = monitorEventLoopDelay({ resolution: 5 });
  delays.enable();
  try {
    await using session = await openSession(plainTo(server.port));
    await everything(session);
  } catch (error) {
    expect(error).toMatchObject({ code: 'server_protocol_error' });
  } finally {
    delays.disable();
  }
  return delays.max / 1e6;
}

const states = [
  'greeting',
  'AUTHENTICATE',
  'LIST',
  'SELECT',
  'UID SEARCH',
  'UID FETCH',
  'UID MOVE',
  'UID STORE',
  'IDLE',
];

test.each(states)('2^32 messages in a few bytes, at %s', async (state) => {
  const before = process.memoryUsage().rss;
  for (const line of ranges) expect(await delayMs(state, `${line}\r\n`.repeat(100)), line).toBeLessThan(delayMsMax);
  expect(process.memoryUsage().rss - before).toBeLessThan(memoryBytesMax);
});

test.each(long)('long lines: %s', async (_what, line) => {
  for (const state of states) {
    for (const bytes of [60_000, longMaximum])
      expect(await delayMs(state, `${line(bytes)}\r\n`.repeat(2)), `${state}, ${bytes} bytes`).toBeLessThan(delayMsMax);
  }
});
