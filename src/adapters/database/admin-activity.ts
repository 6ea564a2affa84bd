/**
 * Mails and tickets by the hour, for the chart of the admin page.
 *
 * Both are counted from the outcomes, by the index over outcome, time of resolution and time of storing: it alone is
 * read, and of it no more than the hours that are asked for. Tickets and messages are not touched.
 */
import { type ExpressionBuilder, sql } from 'kysely';
import type { Activity } from '../../admin/service.ts';
import type { Outcome } from '../../ingest/model.ts';
import type { Connected, Tables } from './tables.ts';
import { fromForeignTime, toDatabaseTime } from './times.ts';

/** All but `vanished`: of that no mail was ever here. */
const mails: readonly Outcome[] = ['ticket_opened', 'reply_added', 'recorded', 'duplicate', 'quarantined'];

type Count = { readonly mails: number; readonly tickets: number };

/** Hours without any are left out; the oldest first. */
export async function activitySince(db: Connected, sinceMs: number): Promise<Activity> {
  const since = toDatabaseTime(sinceMs);
  const hours = new Map<number, Count>();
  const add = (hour: string | null, more: Partial<Count>) => {
    const startMs = fromForeignTime(`${hour}:00`);
    if (startMs === null) return;
    const { mails, tickets } = hours.get(startMs) ?? { mails: 0, tickets: 0 };
    hours.set(startMs, { mails: mails + (more.mails ?? 0), tickets: tickets + (more.tickets ?? 0) });
  };
  for (const row of await untouched(db, since)) {
    const count = Number(row.count);
    add(row.stored, { mails: count, tickets: row.outcome === 'ticket_opened' ? count : 0 });
  }
  for (const row of await resolved(db, since)) {
    const count = Number(row.count);
    if (row.is_new === 1) add(row.stored, { mails: count });
    if (row.outcome === 'ticket_opened') add(row.resolved, { tickets: count });
  }
  return [...hours].map(([startMs, count]) => ({ startMs, ...count })).sort((a, b) => a.startMs - b.startMs);
}

/** `YYYY-MM-DD HH`, in both dialects. */
const hourOf = (column: 'created_at' | 'resolved_at') => sql<string | null>`substr(${sql.ref(column)}, 1, 13)`;
const counted = (outcome: ExpressionBuilder<Tables, 'outcome'>) => outcome.fn.countAll<number>().as('count');

/** What never was in quarantine, or still waits there. */
function untouched(db: Connected, since: string) {
  return db
    .selectFrom('outcome')
    .select(['outcome', hourOf('created_at').as('stored')])
    .select(counted)
    .where('outcome', 'in', mails)
    .where('resolved_at', 'is', null)
    .where('created_at', '>=', since)
    .groupBy(['outcome', 'stored'])
    .execute();
}

/** What left quarantine, which is seldom much: who was stored since then left it since then. */
function resolved(db: Connected, since: string) {
  return db
    .selectFrom('outcome')
    .select(['outcome', hourOf('created_at').as('stored'), hourOf('resolved_at').as('resolved')])
    .select(sql<number>`created_at >= ${since}`.as('is_new'))
    .select(counted)
    .where('outcome', 'in', mails)
    .where('resolved_at', '>=', since)
    .groupBy(['outcome', 'stored', 'resolved', 'is_new'])
    .execute();
}
