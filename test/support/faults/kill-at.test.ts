/**
 * The preload counts every kind of outside effect once, and kills before the one that is asked for.
 */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { ended } from '../servers/programs.ts';
import { temporaryFolder } from '../temporary.ts';

const preload = join(import.meta.dirname, 'kill-at.ts');

type Ran = { readonly code: number | string; readonly steps: readonly string[]; readonly effects: number | null };

/** Runs a module in which `step(name)` prints what was reached. Its environment is ours and `env`. */
async function run(folder: string, code: string, env: Readonly<Record<string, string>>): Promise<Ran> {
  const script = `const step = (name) => void process.stdout.write(name + '\\n');\n${code}`;
  const countFile = join(folder, 'count');
  const child = spawn(process.execPath, ['--import', preload, '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: folder,
    env: { PATH: process.env.PATH, KILL_COUNT_FILE: countFile, ...env },
  });
  const [printed, ending] = await Promise.all([buffer(child.stdout), ended(child)]);
  const count = ending === 'SIGKILL' ? null : Number(await readFile(countFile, 'utf8'));
  return { code: ending, steps: printed.toString().split('\n').slice(0, -1), effects: count };
}

const files = `
import { open, rename, link, unlink, chmod, readFile } from 'node:fs/promises';
import { appendFileSync, rmSync, readFileSync } from 'node:fs';
const file = await open('a', 'wx'); step('opened');
await file.writeFile('x'); step('written');
await file.sync(); step('synced');
await file.close();
await chmod('a', 0o600); step('chmod');
await link('a', 'b'); step('linked');
await rename('b', 'c'); step('renamed');
await readFile('c'); readFileSync('c'); (await open('.')).close();
await unlink('a'); step('unlinked');
appendFileSync('c', 'y'); step('appended');
rmSync('c'); step('removed');`;
const fileSteps = 'opened written synced chmod linked renamed unlinked appended removed'.split(' ');

const database = `
import { DatabaseSync } from 'node:sqlite';
const database = new DatabaseSync('db');
database.exec('create table t (a)'); step('created');
const insert = database.prepare('insert into t values (?)');
insert.run(1); step('one');
insert.all(2); step('two');
if (database.prepare('select count(*) as n from t').get().n !== 2) throw new Error('not two');
step('read'); database.close();`;
const databaseSteps = ['created', 'one', 'two', 'read'];

describe.each([
  ['files', files, fileSteps],
  ['SQLite', database, databaseSteps],
] as const)('%s', (_what, code, steps) => {
  test('nothing is killed with 0, nor with a number that is not reached, and each effect counts once', async () => {
    for (const killAt of ['0', '99']) {
      await using folder = await temporaryFolder('kill');
      const ran = await run(folder.path, code, { KILL_AT: killAt });
      expect(ran).toEqual({ code: 0, steps, effects: steps.length });
    }
  });

  test('the process dies before the effect that is asked for', async () => {
    for (const [index] of steps.entries()) {
      await using folder = await temporaryFolder('kill');
      const ran = await run(folder.path, code, { KILL_AT: `${index + 1}` });
      expect(ran).toEqual({ code: 'SIGKILL', steps: steps.slice(0, index), effects: null });
    }
  });
});

test('what goes out on a socket is an effect, what comes in is none', async () => {
  await using folder = await temporaryFolder('kill');
  const received: string[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.setEncoding('utf8').on('data', (text: string) => {
      received.push(text);
      socket.write(`${text}!`);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : null;
  const code = `
    import { connect } from 'node:net';
    import { once } from 'node:events';
    const socket = connect(${port}, '127.0.0.1');
    for (const word of ['one', 'two', 'three']) {
      socket.write(word);
      await once(socket, 'data');
      step(word);
    }
    socket.destroy();`;
  expect(await run(folder.path, code, {})).toEqual({ code: 0, steps: ['one', 'two', 'three'], effects: 3 });
  expect(await run(folder.path, code, { KILL_AT: '2' })).toMatchObject({ code: 'SIGKILL', steps: ['one'] });
  expect(received).toEqual(['one', 'two', 'three', 'one']);
  server.close();
});
