import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { lockForDaemon } from '../../../src/adapters/database/sqlite.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const source = fileURLToPath(new URL('../../../src/adapters/database/sqlite.ts', import.meta.url));

/** Another process that takes the lock and holds it until it is killed. */
async function holder(path: string) {
  const script = `const { lockForDaemon } = await import(${JSON.stringify(source)});
    globalThis.lock = await lockForDaemon(${JSON.stringify(path)}); console.log('held'); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return {
    kill: async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  };
}

test('a second daemon on the same file is refused until the first releases the lock', async () => {
  await using folder = await temporaryFolder('lock');
  const path = join(folder.path, 'tickets.db');
  const first = await lockForDaemon(path);
  await expect(lockForDaemon(path)).rejects.toMatchObject({ code: 'worker_running', exitCode: 3 });
  first[Symbol.dispose]();
  using _second = await lockForDaemon(path);
});

test('one file does not lock another, and the database itself stays open to commands', async () => {
  await using folder = await temporaryFolder('lock');
  const path = join(folder.path, 'tickets.db');
  using _lock = await lockForDaemon(path);
  using _other = await lockForDaemon(join(folder.path, 'other.db'));
  using database = new DatabaseSync(path);
  database.exec('create table t (a); insert into t values (1)');
});

test('a daemon that is killed leaves no lock behind', async () => {
  await using folder = await temporaryFolder('lock');
  const path = join(folder.path, 'tickets.db');
  using first = await holder(path);
  await expect(lockForDaemon(path)).rejects.toMatchObject({ code: 'worker_running' });
  await first.kill();
  using _second = await lockForDaemon(path);
});

test('without a lock file nothing is locked, and a daemon can start', async () => {
  await using folder = await temporaryFolder('lock');
  const path = join(folder.path, 'missing', 'tickets.db');
  using _first = await lockForDaemon(path);
  using _second = await lockForDaemon(path);
});
