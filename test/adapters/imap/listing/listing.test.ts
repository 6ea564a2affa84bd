/**
 * UID listing of large folders: windows of 250,000 messages by UID, whatever the UIDs are, in bounded memory; a small
 * folder is one SEARCH.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { listingsAbove } from '../../../../src/ingest/fetch/listing.ts';
import type { ListingReport } from '../../../support/servers/uid-lister.ts';
import { type Script, type ScriptedServer, startScriptedServer } from '../scripted-server.ts';
import { openSession, plainTo } from '../setting.ts';

const windowSize = 250_000;
const lister = `${import.meta.dirname}/../../../support/servers/uid-lister.ts`;

/** Two million numbers alone are 16 MB. */
const smallHeap = ['--max-old-space-size=40'];
const rssGrowthMax = 130_000_000;

/** UID of a message by its number, from 1; ascending. */
type UidOf = (number: number) => number;

type Folder = { readonly count: number; readonly uidOf: UidOf; readonly order?: 'falling' };

/** Number of messages with a UID up to `uid`. */
function upTo({ count, uidOf }: Folder, uid: number): number {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (uidOf(middle) <= uid) low = middle;
    else high = middle - 1;
  }
  return low;
}

function answering(folder: Folder): Script {
  return (command, rest, tag, { say, socket }) => {
    if (command === 'FETCH')
      for (const number of rest.split(' ', 1)[0]?.split(',').map(Number) ?? [])
        say(`* ${number} FETCH (UID ${folder.uidOf(number)})`);
    else if (command === 'UID SEARCH') {
      const [, from = '1', to = '*'] = /UID (\d+):(\d+|\*)/.exec(rest) ?? [];
      const first = upTo(folder, Number(from) - 1) + 1;
      const last = to === '*' ? folder.count : upTo(folder, Number(to));
      const uids = Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => folder.uidOf(first + at));
      if (folder.order === 'falling') uids.reverse();
      socket.write(`* SEARCH ${uids.join(' ')}\r\n`);
    } else return false;
    say(`${tag} OK`);
    return true;
  };
}

function start(folder: Folder): Promise<ScriptedServer> {
  const uidNext = folder.uidOf(folder.count) + 1;
  return startScriptedServer({ exists: folder.count, uidNext, script: answering(folder) });
}

const commandsOf = ({ lines }: ScriptedServer) => lines.filter((line) => /FETCH|SEARCH/.test(line));

async function listed(folder: Folder): Promise<ListingReport & { readonly commands: readonly string[] }> {
  await using server = await start(folder);
  const { stdout } = await promisify(execFile)(process.execPath, [...smallHeap, lister, `${server.port}`]);
  return { ...(JSON.parse(stdout) as ListingReport), commands: commandsOf(server) };
}

const dense: UidOf = (number) => number;
/** Two thousand times as many UIDs as messages. */
const sparse: UidOf = (number) => number * 2000;
/** A million UIDs in a row, after as many that are far apart. */
const clustered: UidOf = (number) => (number <= 1_000_000 ? number * 3000 : 3_000_000_000 + number);

describe('2 million messages', () => {
  test.each([
    ['dense', { count: 2_000_000, uidOf: dense }],
    ['sparse', { count: 2_000_000, uidOf: sparse }],
    ['clustered', { count: 2_000_000, uidOf: clustered }],
    ['dense, in falling order', { count: 2_000_000, uidOf: dense, order: 'falling' }],
  ] as const)('%s', async (_name, folder) => {
    const { commands, rssGrowth, ...report } = await listed(folder);
    const lastUid = folder.uidOf(folder.count);
    expect(report).toEqual({ count: 2_000_000, lastUid, isAscending: true, largestPage: windowSize });
    expect(commands.length).toBe(9);
    expect(rssGrowth).toBeLessThan(rssGrowthMax);
  });

  test('near the end there is one command', async () => {
    await using server = await start({ count: 2_000_000, uidOf: sparse });
    await using session = await openSession(plainTo(server.port));
    expect(await session.listAbove(sparse(1_999_998))).toEqual([sparse(1_999_999), sparse(2_000_000)]);
    expect(session.hasMore).toBe(false);
    expect(commandsOf(server)).toHaveLength(1);
  });

  test('the first message since a time is found in its window', async () => {
    await using server = await start({ count: 600_000, uidOf: dense });
    await using session = await openSession(plainTo(server.port));
    // The server gives no dates: every window is searched.
    expect(await session.uidBefore(Date.parse('2026-01-01T00:00:00Z'))).toBe(600_000);
    expect(commandsOf(server).filter((line) => line.includes('SEARCH'))).toHaveLength(3);
  });
});

test('a folder of one window is one SEARCH', async () => {
  await using server = await start({ count: windowSize, uidOf: sparse });
  await using session = await openSession(plainTo(server.port));
  expect((await session.listAbove(0)).length).toBe(windowSize);
  expect(session.hasMore).toBe(false);
  expect(commandsOf(server).map((line) => line.replace(/^\S+ /, ''))).toEqual(['UID SEARCH UID 1:*']);
});

test('what is expunged meanwhile shifts no message out of sight', async () => {
  let isLess = false;
  const whole: Folder = { count: 600_000, uidOf: dense };
  const less: Folder = { count: 500_000, uidOf: (number) => number + 100_000 };
  const script: Script = (command, ...rest) => {
    const answer = answering(isLess ? less : whole)(command, ...rest);
    if (command === 'UID SEARCH') isLess = true;
    return answer;
  };
  await using server = await startScriptedServer({ exists: 600_000, uidNext: 600_001, script });
  await using session = await openSession(plainTo(server.port));
  const uids: number[] = [];
  for await (const page of listingsAbove(session, 0)) for (const uid of page) uids.push(uid);
  expect(uids.length).toBe(600_000);
});

test.each([
  ['none', () => []],
  ['falling', (numbers: readonly number[]) => numbers.map((number) => [number, 4_000_000_000 - number])],
  ['absurd', (numbers: readonly number[]) => numbers.map((number) => [number, 4_294_967_294])],
  ['all the same', (numbers: readonly number[]) => numbers.map((number) => [number, 1])],
])('windows that a server lies about: %s', async (_name, rows) => {
  const folder: Folder = { count: 600_000, uidOf: dense };
  const script: Script = (command, rest, tag, talk) => {
    if (command !== 'FETCH') return answering(folder)(command, rest, tag, talk);
    for (const [number, uid] of rows(rest.split(' ', 1)[0]?.split(',').map(Number) ?? []))
      talk.say(`* ${number} FETCH (UID ${uid})`);
    talk.say(`${tag} OK`);
    return true;
  };
  await using server = await startScriptedServer({ exists: 600_000, uidNext: 600_001, script });
  await using session = await openSession(plainTo(server.port));
  let count = 0;
  for await (const page of listingsAbove(session, 0)) count += page.length;
  expect(count).toBe(600_000);
});
