/**
 * What the admin page needs from the database. Implements AdminStore of the ports; errors are Failures.
 *
 * Accounts and sessions, sign-ins that were tried, the row of the operation, and the figures of the overview each have a
 * file of their own.
 */
import { type ExpressionBuilder, sql } from 'kysely';
import type { AdminStore, StoredOperation } from '../../../admin/ports.ts';
import type { HourlyActivity, OperationKind } from '../../../admin/service.ts';
import { isFailure } from '../../../errors.ts';
import { allOutcomes, outcomeRules } from '../../../ingest/model.ts';
import { lastAudit } from '../rows/audit.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import type { SqlExecutor, Tables } from '../sql/tables.ts';
import { inTransaction } from '../sql/transactions.ts';
import { fromForeignTime, fromOptionalTime, toDatabaseTime, truncate } from '../sql/values.ts';
import { adminAccounts, adminAttempts } from './accounts.ts';

export function adminStore(db: SqlExecutor, dialect: SqlDialect): AdminStore {
  return {
    ...adminAccounts(db, dialect),
    ...adminAttempts(db, dialect),
    ...adminOperation(db, dialect),
    lastAudit: (action) => lastAudit(db, action),
    activitySince: (sinceMs) => activitySince(db, sinceMs),
  };
}

/**
 * The row of the operation on the switch that the admin page started last.
 *
 * It tells what was done; that two do not run at once is the claim on the switch (switch-rows.ts). Every change names the
 * row that it is based on. A row that no program of ours wrote counts as none: in an odd word, name, time or number, and
 * the next operation takes its place. What is compared is what was read, by this program and not by the database, whose
 * rules for texts and numbers are others. A detail that is too long is not read.
 */

type Operations = Pick<AdminStore, 'readOperation' | 'beginOperation' | 'updateOperation'>;
type State = StoredOperation['state'];

const operationId = 1;
const nameCharacters = 255;
/** Words and times are shorter. */
const wordCharacters = 64;
/** Of a detail; no program of ours writes more. */
const detailBytesMax = 65_536;
const kinds: readonly OperationKind[] = ['enable', 'rotate', 'disable'];
const states: readonly State[] = ['running', 'done', 'failed'];

function adminOperation(db: SqlExecutor, dialect: SqlDialect): Operations {
  return {
    readOperation: async () => {
      const row = await selectRow(db).executeTakeFirst();
      return row === undefined ? null : toOperation(row);
    },
    beginOperation: (next, before) => beginOperation(db, dialect, next, before),
    updateOperation: (next) => updateOperation(db, next),
  };
}

/** Of each text only so much as shows that it is too long. */
function selectRow(db: SqlExecutor) {
  const short = <C extends string>(column: C, characters: number) =>
    sql<string | null>`substr(${sql.ref(column)}, 1, ${sql.lit(characters + 1)})`.as(column);
  return db
    .selectFrom('admin_operation')
    .where('id', '=', operationId)
    .select([
      // As text: it may be more than a number of JavaScript holds, which the driver of SQLite refuses.
      sql<string>`cast(number as char(24))`.as('number'),
      short('kind', wordCharacters),
      short('state', wordCharacters),
      short('started_by', nameCharacters),
      short('worker', nameCharacters),
      short('started_at', wordCharacters),
      short('ended_at', wordCharacters),
      sql<string | null>`case when octet_length(detail) <= ${sql.lit(detailBytesMax)} then detail end`.as('detail'),
    ]);
}

type Row = NonNullable<Awaited<ReturnType<ReturnType<typeof selectRow>['executeTakeFirst']>>>;

/** null: no program of ours wrote it. */
function toOperation(row: Row): StoredOperation | null {
  const kind = kinds.find((one) => one === row.kind);
  const state = states.find((one) => one === row.state);
  const number = /^\d{1,16}$/.test(row.number) ? Number(row.number) : Number.NaN;
  const startedAtMs = fromForeignTime(row.started_at);
  if (kind === undefined || state === undefined || !Number.isSafeInteger(number) || startedAtMs === null) return null;
  const [by, worker] = [name(row.started_by), name(row.worker)];
  if (by === null || worker === null) return null;
  const endedAtMs = fromOptionalTime(row.ended_at);
  return { number, kind, by, startedAtMs, endedAtMs, worker, state, detail: row.detail ?? '' };
}

function name(text: string | null): string | null {
  return text === null || [...text].length > nameCharacters ? null : text;
}

function toRow(operation: StoredOperation) {
  return {
    number: operation.number,
    kind: operation.kind,
    started_by: truncate(operation.by, nameCharacters),
    started_at: toDatabaseTime(operation.startedAtMs),
    ...noted(operation),
    worker: operation.worker,
  };
}

function noted({ state, endedAtMs, detail }: Pick<StoredOperation, 'state' | 'endedAtMs' | 'detail'>) {
  return { state, ended_at: endedAtMs === null ? null : toDatabaseTime(endedAtMs), detail: detail.toWellFormed() };
}

async function beginOperation(
  db: SqlExecutor,
  dialect: SqlDialect,
  next: StoredOperation,
  before: StoredOperation | null,
): Promise<boolean> {
  const answer = await inTransaction(db, async (transaction) => {
    const query = selectRow(transaction);
    const row = await (dialect.kind === 'mysql' ? query.forUpdate() : query).executeTakeFirst();
    if (row === undefined) return 'absent';
    if (!isSame(toOperation(row), before)) return 'another';
    await transaction.updateTable('admin_operation').set(toRow(next)).where('id', '=', operationId).execute();
    return 'replaced';
  });
  return answer === 'replaced' || (answer === 'absent' && before === null && (await addFirst(db, next)));
}

function isSame(one: StoredOperation | null, other: StoredOperation | null): boolean {
  if (one === null || other === null) return one === other;
  return one.number === other.number && one.worker === other.worker && one.state === other.state;
}

/** False: somebody else was faster. */
async function addFirst(db: SqlExecutor, next: StoredOperation): Promise<boolean> {
  try {
    await db
      .insertInto('admin_operation')
      .values({ id: operationId, ...toRow(next) })
      .execute();
    return true;
  } catch (error) {
    if (isFailure(error, 'database_failed') && error.fields['key'] !== undefined) return false;
    throw error;
  }
}

async function updateOperation(db: SqlExecutor, next: Parameters<AdminStore['updateOperation']>[0]): Promise<boolean> {
  const result = await db
    .updateTable('admin_operation')
    .set(noted(next))
    .where('id', '=', operationId)
    .where('number', '=', next.number)
    .where('worker', '=', next.worker)
    .executeTakeFirst();
  return result.numUpdatedRows === 1n;
}

/**
 * Mails and tickets by the hour, for the chart of the admin page.
 *
 * Both are counted from the outcomes, by the index over outcome, time of resolution and time of storing: it alone is
 * read, and of it no more than the hours that are asked for. Tickets and messages are not touched.
 */

const receivedOutcomes = allOutcomes.filter((outcome) => outcomeRules[outcome].isReceived);

type Count = { readonly messages: number; readonly tickets: number };

/** Hours without any are left out; the oldest first. */
async function activitySince(db: SqlExecutor, sinceMs: number): Promise<HourlyActivity> {
  const since = toDatabaseTime(sinceMs);
  const hours = new Map<number, Count>();
  const add = (hour: string | null, more: Partial<Count>) => {
    const startMs = fromForeignTime(`${hour}:00`);
    if (startMs === null) return;
    const { messages, tickets } = hours.get(startMs) ?? { messages: 0, tickets: 0 };
    hours.set(startMs, { messages: messages + (more.messages ?? 0), tickets: tickets + (more.tickets ?? 0) });
  };
  for (const row of await untouched(db, since)) {
    const count = Number(row.count);
    add(row.stored, { messages: count, tickets: row.outcome === 'ticket_opened' ? count : 0 });
  }
  for (const row of await resolved(db, since)) {
    const count = Number(row.count);
    if (row.is_new === 1) add(row.stored, { messages: count });
    if (row.outcome === 'ticket_opened') add(row.resolved, { tickets: count });
  }
  return [...hours].map(([startMs, count]) => ({ startMs, ...count })).sort((a, b) => a.startMs - b.startMs);
}

/** `YYYY-MM-DD HH`, in both dialects. */
const hourOf = (column: 'created_at' | 'resolved_at') => sql<string | null>`substr(${sql.ref(column)}, 1, 13)`;
const counted = (outcome: ExpressionBuilder<Tables, 'outcome'>) => outcome.fn.countAll<number>().as('count');

/** What never was in quarantine, or still waits there. */
function untouched(db: SqlExecutor, since: string) {
  return db
    .selectFrom('outcome')
    .select(['outcome', hourOf('created_at').as('stored')])
    .select(counted)
    .where('outcome', 'in', receivedOutcomes)
    .where('resolved_at', 'is', null)
    .where('created_at', '>=', since)
    .groupBy(['outcome', 'stored'])
    .execute();
}

/** What left quarantine, which is seldom much: who was stored since then left it since then. */
function resolved(db: SqlExecutor, since: string) {
  return db
    .selectFrom('outcome')
    .select(['outcome', hourOf('created_at').as('stored'), hourOf('resolved_at').as('resolved')])
    .select(sql<number>`created_at >= ${since}`.as('is_new'))
    .select(counted)
    .where('outcome', 'in', receivedOutcomes)
    .where('resolved_at', '>=', since)
    .groupBy(['outcome', 'stored', 'resolved', 'is_new'])
    .execute();
}
