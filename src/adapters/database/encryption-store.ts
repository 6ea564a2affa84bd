/**
 * What the workflows of keys and the switch need from the database. Implements EncryptionStore of the ports.
 *
 * The switch is in switch-rows.ts, changes of passwords in password-changes.ts; here are the counts, the rebuilding of
 * the table, and the emptying of SQLite's write-ahead log. A mailbox that is being removed counts nowhere: it has no password any more. Errors are Failures.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import type { EncryptionStore, PasswordCounts, ReadablePassword } from '../../encryption/ports.ts';
import { Failure } from '../../errors.ts';
import { addAudit, readAudit } from './audit-rows.ts';
import type { DialectWords } from './dialect-words.ts';
import { shortColumn } from './mailbox-rows.ts';
import { changePasswords } from './password-changes.ts';
import { isWaiting } from './password-rows.ts';
import { claimOperation, endOperation, readSwitch, renewOperation, writeSwitch } from './switch-rows.ts';
import type { Connected } from './tables.ts';
import { fromForeignTime } from './times.ts';
import { listWorkers, removeWorker, reportWorker } from './worker-rows.ts';

const emptyTriesMax = 100;
const emptyStepMs = 50;

export function encryptionStore(db: Connected, words: DialectWords): EncryptionStore {
  return {
    readSwitch: () => readSwitch(db, words),
    writeSwitch: (row, expectedRevision, audit) => writeSwitch(db, words, row, expectedRevision, audit),
    claimOperation: (owner, forMs, isDead) => claimOperation(db, words, owner, forMs, isDead),
    renewOperation: (owner, forMs) => renewOperation(db, words, owner, forMs),
    endOperation: (owner) => endOperation(db, owner),
    changePasswords: words.kind === 'mysql' ? onServer(db, words) : inFile(db, words),
    passwordCounts: () => passwordCounts(db),
    readablePasswords: () => readablePasswords(db),
    countWaiting: (keyIds) => countWaiting(db, keyIds),
    rebuildMailboxes: () => (words.kind === 'mysql' ? rebuildTable(db) : rebuildFile(db)),
    audit: (entries) => addAudit(db, words, entries),
    readAudit: (limit, about) => readAudit(db, limit, about),
    reportWorker: (report) => reportWorker(db, words, report),
    removeWorker: (worker) => removeWorker(db, worker),
    listWorkers: (liveMs) => listWorkers(db, words, liveMs),
  };
}

type ChangePasswords = EncryptionStore['changePasswords'];

function onServer(db: Connected, words: DialectWords): ChangePasswords {
  return (stretch, change) => changePasswords(db, words, stretch, change);
}

/**
 * What stood readable must not stay in the log. Where somebody is reading in it, the next stretch tries again. What another
 * program without secure_delete left in unused parts of the file goes with `rebuildMailboxes` alone.
 */
function inFile(db: Connected, words: DialectWords): ChangePasswords {
  let isEmptied = true;
  return async (stretch, change) => {
    const result = await changePasswords(db, words, stretch, change);
    if (result.changed > 0) isEmptied = false;
    if (!isEmptied) isEmptied = await emptyLog(db);
    return result;
  };
}

async function passwordCounts(db: Connected): Promise<PasswordCounts> {
  const rows = await db
    .selectFrom('mailboxes')
    .select((mailbox) => ['password_form', 'password_key_id', mailbox.fn.countAll<number>().as('count')])
    .where('state', '<>', 'removing')
    .groupBy(['password_form', 'password_key_id'])
    .orderBy('password_key_id')
    .execute();
  const of = (form: string) => rows.filter((row) => row.password_form === form);
  const total = (form: string) => of(form).reduce((sum, row) => sum + Number(row.count), 0);
  const byKey = of('sealed').map((row) => ({ keyId: row.password_key_id, count: Number(row.count) }));
  return { sealed: total('sealed'), plain: total('plain'), byKey };
}

/** A row of somebody else has been readable since it was made, for all that is known. */
async function readablePasswords(db: Connected): Promise<readonly ReadablePassword[]> {
  const rows = await db
    .selectFrom('mailboxes')
    .select([shortColumn('name'), shortColumn('password_form'), shortColumn('created_at')])
    .select([shortColumn('readable_since'), shortColumn('readable_until')])
    .where('state', '<>', 'removing')
    .where((where) => where.or([where('readable_since', 'is not', null), where('password_form', '=', 'plain')]))
    .orderBy('mailboxes.name')
    .execute();
  return rows.map((row) => {
    const sinceMs = fromForeignTime(row.readable_since ?? row.created_at) ?? 0;
    const untilMs = row.password_form === 'plain' ? null : (fromForeignTime(row.readable_until) ?? sinceMs);
    return { mailbox: row.name, sinceMs, untilMs };
  });
}

async function countWaiting(db: Connected, keyIds: readonly string[]): Promise<number> {
  const row = await db
    .selectFrom('mailboxes')
    .select((mailbox) => mailbox.fn.countAll<number>().as('count'))
    .where('state', '=', 'active')
    .where((where) => isWaiting(where, keyIds))
    .executeTakeFirst();
  return Number(row?.count ?? 0);
}

async function rebuildTable(db: Connected): Promise<void> {
  await sql`alter table mailboxes engine=InnoDB`.execute(db);
}

/** The whole file, and the write-ahead log emptied, as soon as nobody is reading in it. */
async function rebuildFile(db: Connected): Promise<void> {
  await sql`vacuum`.execute(db);
  for (let attempt = 1; attempt <= emptyTriesMax; attempt += 1) {
    if (await emptyLog(db)) return;
    await sleep(emptyStepMs);
  }
  const message = 'The write-ahead log could not be emptied: another process keeps reading the database file.';
  throw new Failure('database_conflict', message);
}

/** Writes what is in the write-ahead log into the file, and cuts it to nothing; false while somebody is reading in it. */
async function emptyLog(db: Connected): Promise<boolean> {
  const emptied = await sql<{ busy: number }>`pragma wal_checkpoint(truncate)`.execute(db);
  return emptied.rows[0]?.busy === 0;
}
