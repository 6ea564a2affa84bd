/**
 * The search through memory finds a canary that a process holds on purpose, in every form, and nothing when it is not
 * there.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ended } from '../servers/programs.ts';
import { temporaryFolder } from '../temporary.ts';
import { canaryBytes, formsOf, newCanary, saslPlainForm } from './canary.ts';
import { type Held, mask } from './canary-holder.ts';
import { searchFiles } from './files-search.ts';
import { countForms, countFormsIn } from './form-search.ts';
import { gcore, type Hits, hitCount, parseMappings, searchCore, searchMemory, smallCore } from './memory-search.ts';

const holder = spawn(process.execPath, [...smallCore, join(import.meta.dirname, 'canary-holder.ts')], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
const holderEnd = ended(holder);
const pid = holder.pid ?? -1;

async function hold(bytes: Uint8Array, as: Held['as'] = 'array'): Promise<void> {
  const held: Held = { masked: [...bytes].map((byte) => byte ^ mask), as };
  holder.stdin.write(`${JSON.stringify(held)}\n`);
  await once(holder.stdout, 'data');
}

/** Of whole hits: half a hex form without letters is the same in both cases. */
function formNames({ hits }: Hits): string[] {
  return [...new Set(hits.filter(({ whole }) => whole).map(({ form }) => form))];
}

beforeAll(() => hold(Buffer.from('nothing yet')));

afterAll(async () => {
  holder.stdin.end();
  expect(await holderEnd).toBe(0);
});

test('a process that never had the canary has no hit, though all of its memory was read', async () => {
  const found = await searchMemory(pid, newCanary());
  expect(found).toMatchObject({ hits: [], unreadBytes: expect.any(Number) });
  expect(found.searchedBytes).toBeGreaterThan(30_000_000);
  expect(found.unreadBytes).toBeLessThan(found.searchedBytes / 100);
});

describe('each form that a process holds is found, and no other', () => {
  test.each(formsOf(newCanary()).map(({ name }) => name))('%s', async (name) => {
    const canary = newCanary();
    await hold(formsOf(canary).find((form) => form.name === name)?.bytes ?? Buffer.alloc(0));
    const found = await searchMemory(pid, canary);
    expect(formNames(found)).toEqual([name]);
    expect(found.hits).toContainEqual({ form: name, whole: true, count: 1, where: expect.stringMatching(/heap|anon/) });
  });

  test.each(['latin1', 'utf16le'] as const)('a text of V8 (%s)', async (encoding) => {
    const canary = newCanary();
    // One letter that does not fit into a byte makes all of them two bytes wide.
    const bytes = encoding === 'latin1' ? canary : Buffer.from(`€${Buffer.from(canary).toString('latin1')}`, encoding);
    await hold(bytes, encoding);
    expect(formNames(await searchMemory(pid, canary))).toEqual([encoding === 'latin1' ? 'text' : 'utf16']);
  });

  test.each([5, 6, 7])('a SASL answer of a user of %i letters', async (length) => {
    const canary = newCanary();
    const answer = Buffer.concat([Buffer.from(`\0${'u'.repeat(length)}\0`), canary]).toString('base64');
    await hold(Buffer.from(answer));
    expect(formNames(await searchMemory(pid, canary))).toEqual([saslPlainForm(length)]);
  });

  test.each([
    ['first', 0],
    ['second', canaryBytes / 2],
  ])('the %s half alone', async (_which, from) => {
    const canary = newCanary();
    await hold(canary.subarray(from, from + canaryBytes / 2));
    expect((await searchMemory(pid, canary)).hits).toMatchObject([{ form: 'text', whole: false, count: 1 }]);
  });
});

test('every copy counts', async () => {
  const canary = newCanary();
  for (let copies = 0; copies < 3; copies += 1) await hold(canary);
  expect(hitCount(await searchMemory(pid, canary))).toBe(3);
});

test('the process continues after it', async () => {
  await searchMemory(pid, newCanary());
  await hold(Buffer.from('still alive'));
});

test('a core dump of the same process has the same hits', async () => {
  await using folder = await temporaryFolder('core');
  const [held, other] = [newCanary(), newCanary()];
  await hold(held);
  const core = await gcore(pid, folder.path);
  if (core === null) throw new Error('gcore is missing: apt-get install gdb');
  expect(await searchCore(core, held)).toMatchObject({
    hits: [{ form: 'text', whole: true, count: 1, where: 'core' }],
  });
  expect(await searchCore(core, other)).toMatchObject({ hits: [] });
  await rm(core);
});

test('it says in one sentence what keeps it from searching', async () => {
  await expect(searchMemory(process.pid, newCanary())).rejects.toThrow(/cannot search its own memory/);
  await expect(searchMemory(2 ** 22 + 1, newCanary())).rejects.toThrow(/^there is no process 4194305$/);
  const denied = /^Error: the memory of process \d+ cannot be read: it takes root; /m;
  expect(await searchAsNobody()).toMatch(denied);
});

/** What a search of a process of root's by a user without rights prints. */
async function searchAsNobody(): Promise<string> {
  const isRoot = process.getuid?.() === 0;
  const target = isRoot ? pid : 1;
  const child = spawn(process.execPath, [join(import.meta.dirname, 'memory-search.ts'), `${target}`], {
    stdio: ['pipe', 'ignore', 'pipe'],
    ...(isRoot ? { uid: 65_534, gid: 65_534 } : {}),
  });
  child.stdin.on('error', () => child.stdin.destroy());
  child.stdin.end(newCanary());
  let printed = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (printed += piece));
  expect(await ended(child)).toBe(1);
  return printed;
}

test('mappings are distinguished, and what cannot be read is left out', () => {
  const maps = [
    '00400000-00401000 r-xp 00000000 fd:00 11 /usr/bin/node (deleted)',
    '00500000-00501000 ---p 00000000 00:00 0 ',
    '01000000-01002000 rw-p 00000000 00:00 0                          [heap]',
    '7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ',
    '7ffc00000000-7ffc00001000 rw-p 00000000 00:00 0                  [stack]',
    '7f0000002000-7f0000003000 rw-s 00000000 00:01 7                  /dev/zero (deleted)',
    '7ffc00002000-7ffc00003000 r--p 00000000 00:00 0                  [vvar]',
    'ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0          [vsyscall]',
  ];
  expect(parseMappings(`${maps.join('\n')}\n`)).toEqual([
    { start: 0x400000, end: 0x401000, isShared: false, where: '/usr/bin/node (deleted)' },
    { start: 0x1000000, end: 0x1002000, isShared: false, where: '[heap]' },
    { start: 0x7f0000000000, end: 0x7f0000001000, isShared: false, where: 'anonymous' },
    { start: 0x7ffc00000000, end: 0x7ffc00001000, isShared: false, where: '[stack]' },
    { start: 0x7f0000002000, end: 0x7f0000003000, isShared: true, where: '/dev/zero (deleted)' },
  ]);
});

test('a form counts once wherever the edges of the pieces are', async () => {
  const canary = newCanary();
  const bytes = Buffer.concat([canary, Buffer.alloc(1000), canary, Buffer.alloc(1000), canary.subarray(3), canary]);
  for (const size of [1, 7, 100, 350, 2000]) {
    const read = async (target: Buffer, offset: number) => bytes.copy(target, 0, offset, offset + size);
    expect(await countForms(canary, read, bytes.length)).toEqual([
      { form: 'text', whole: true, count: 3 },
      { form: 'text', whole: false, count: 1 },
    ]);
  }
  expect(countFormsIn(canary, bytes)).toHaveLength(2);
});

test('forms of a password with special characters', () => {
  const forms = Object.fromEntries(formsOf(Buffer.from('p"w>\\~')).map(({ name, bytes }) => [name, bytes.toString()]));
  expect(forms).toMatchObject({
    ...{ text: 'p"w>\\~', hex: '7022773e5c7e', hex_spaced: '70 22 77 3e 5c 7e', decimal: '112,34,119,62,92,126' },
    ...{ percent: '%70%22%77%3e%5c%7e', url: 'p%22w%3E%5C~', json: 'p\\"w>\\\\~' },
    ...{ base64_0: 'cCJ3Plx+', base64url_0: 'cCJ3Plx-', base64_1: 'dz5c', base64_2: 'Inc+' },
  });
});

test('files are distinguished by their kind, however deep they lie', async () => {
  await using folder = await temporaryFolder('files');
  const canary = newCanary();
  await mkdir(join(folder.path, 'app'));
  await writeFile(join(folder.path, 'app', 'mailboxes.ibd'), Buffer.concat([Buffer.alloc(50_000), canary]));
  await writeFile(
    join(folder.path, 'mysql-bin.000001'),
    formsOf(canary).find(({ name }) => name === 'hex')?.bytes ?? '',
  );
  for (const name of ['ib_logfile0', 'undo001', 'ibdata1', 'ibtmp1', 'a.db', 'a.db-wal', 'notes']) {
    await writeFile(join(folder.path, name), 'nothing');
  }
  const found = await searchFiles(folder.path, canary);
  expect(found.map(({ kind, hits }) => [kind, hits.map(({ form, count }) => `${form} ${count}`).join()])).toEqual([
    ...[
      ['SQLite', ''],
      ['SQLite -wal', ''],
      ['table space', 'text 1'],
      ['redo log', ''],
      ['system table space', ''],
    ],
    ...[
      ['temporary', ''],
      ['binary log', 'hex 1'],
      ['other', ''],
      ['undo', ''],
    ],
  ]);
});
