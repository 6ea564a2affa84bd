/**
 * Database store of the admin page: implements `AdminStore`. Errors are Failures.
 */
import { type ExpressionBuilder, sql } from 'kysely';
import type { AdminStore } from '../../../admin/ports.ts';
import type { HourlyActivity } from '../../../admin/service.ts';
import { allOutcomes, outcomeRules } from '../../../ingest/model.ts';
import { bindDatabase } from '../sql/statements.ts';
import { fromForeignTime, type SqlExecutor, type Tables, toDatabaseTime } from '../sql/tables.ts';
import { adminAccounts } from './accounts.ts';
import { adminAttempts } from './attempts.ts';
import { adminOperation } from './operation-row.ts';

export function adminStore(db: SqlExecutor): AdminStore {
  return {
    ...adminAccounts(db),
    ...adminAttempts(db),
    ...adminOperation(db),
    ...bindDatabase(db, { activitySince }),
  };
}

// Messages and tickets per hour, for the chart of the page: counted from the outcomes by a covering index (outcome,
// resolution time, creation time), only over the hours that are requested. The tables of tickets and messages are not
// read.

const receivedOutcomes = allOutcomes.filter((outcome) => outcomeRules[outcome].isReceived);

type Count = { readonly messages: number; readonly tickets: number };

/** Without empty hours; the oldest first. */
async function activitySince(db: SqlExecutor, sinceMs: number): Promise<HourlyActivity> {
  const since = toDatabaseTime(sinceMs);
  const hours = new Map<number, Count>();
  const add = (hour: string | null, more: Partial<Count>) => {
    const startMs = fromForeignTime(`${hour}:00`);
    if (startMs === null) return;
    const { messages, tickets } = hours.get(startMs) ?? { messages: 0, tickets: 0 };
    hours.set(startMs, { messages: messages + (more.messages ?? 0), tickets: tickets + (more.tickets ?? 0) });
  };
  for (const row of await unresolved(db, since)) {
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

/** Outcomes that never were in quarantine, or still are. */
function unresolved(db: SqlExecutor, since: string) {
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

/** Outcomes that left quarantine, usually few. */
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
