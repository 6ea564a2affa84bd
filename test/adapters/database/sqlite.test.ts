/**
 * SQLite file faults: permissions, locks of another process, a missing file, a file that is not a database.
 */
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { openDatabase } from '../../../src/adapters/database/database.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { batchOf, by, opened, plain, sampleMailbox } from './samples.ts';

test('the file and its companions are readable by the owner alone', async () => {
  await using folder = await temporaryFolder('sqlite');
  await using db = await openDatabase({ kind: 'sqlite', path: join(folder.path, 'tickets.db') });
  await db.migrations.apply();
  const names = await readdir(folder.path);
  expect(names.sort()).toEqual(['tickets.db', 'tickets.db-shm', 'tickets.db-wal']);
  for (const name of names) expect((await stat(join(folder.path, name))).mode & 0o777).toBe(0o600);
});

test('the file keeps a write-ahead log, so that readers never wait for a writer', async () => {
  await using folder = await temporaryFolder('sqlite');
  const path = join(folder.path, 'tickets.db');
  await using db = await openDatabase({ kind: 'sqlite', path });
  await db.migrations.apply();
  using other = new DatabaseSync(path);
  expect(other.prepare('pragma journal_mode').get()).toEqual({ journal_mode: 'wal' });
});

test('a write waits for another process without blocking the event loop', async () => {
  await using folder = await temporaryFolder('sqlite');
  const path = join(folder.path, 'tickets.db');
  await using db = await openDatabase({ kind: 'sqlite', path });
  await db.migrations.apply();
  const mailbox = sampleMailbox();
  await db.addMailbox(mailbox, plain('x'), null, by);
  const lease = await db.acquireLease(mailbox.id, 'me', 60_000, null);
  if (lease === null) throw new Error('not taken');
  using other = new DatabaseSync(path);
  other.exec('begin immediate');
  let isDone = false;
  const work = db.commitBatch(lease, batchOf(1, [opened(1)])).then(() => {
    isDone = true;
  });
  const startMs = performance.now();
  await sleep(60);
  expect(performance.now() - startMs).toBeLessThan(1000);
  expect(isDone).toBe(false);
  other.exec('commit');
  await work;
});

test('a transaction that waited for another writer sees its changes', async () => {
  await using folder = await temporaryFolder('sqlite');
  const path = join(folder.path, 'tickets.db');
  await using db = await openDatabase({ kind: 'sqlite', path });
  await db.migrations.apply();
  using other = new DatabaseSync(path);
  other.exec(`drop index outcome_raw_segment; delete from schema_migration where name = 'outcome_raw_segment'`);
  other.exec('begin immediate; create table unrelated (a text)');
  const work = db.migrations.apply();
  await sleep(60);
  other.exec('commit');
  expect(await work).toBe(1);
});

test('a file that cannot be created is an error until it can', async () => {
  await using folder = await temporaryFolder('sqlite');
  const path = join(folder.path, 'later', 'tickets.db');
  await using db = await openDatabase({ kind: 'sqlite', path });
  await expect(db.ping()).rejects.toMatchObject({ code: 'database_unavailable' });
  await mkdir(join(folder.path, 'later'));
  await db.migrations.apply();
  await db.ping();
});

test('a file that is not a database is an error', async () => {
  await using folder = await temporaryFolder('sqlite');
  const path = join(folder.path, 'tickets.db');
  await writeFile(path, 'not a database, but long enough to be taken for one at first'.repeat(100));
  await using db = await openDatabase({ kind: 'sqlite', path });
  await expect(db.ping()).rejects.toMatchObject({ code: 'database_failed', fields: { errno: 26 } });
});

test('a rebuild waits for readers of the file, then truncates the write-ahead log', async () => {
  await using folder = await temporaryFolder('sqlite');
  const path = join(folder.path, 'tickets.db');
  await using db = await openDatabase({ kind: 'sqlite', path });
  await db.migrations.apply();
  using other = new DatabaseSync(path);
  other.exec('begin; select * from mailboxes');
  let isDone = false;
  const work = db.rebuildMailboxTable().then(() => {
    isDone = true;
  });
  await sleep(150);
  expect(isDone).toBe(false);
  other.exec('commit');
  await work;
  expect((await stat(`${path}-wal`)).size).toBe(0);
});
