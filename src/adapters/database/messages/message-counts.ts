/**
 * Message counts of the rate limits: by sender, or by ticket and sender, in buckets of one minute of arrival.
 *
 * A message that a token or a Message-ID ties to its ticket counts for the ticket, any other for its sender (ruleTies
 * in mail/thread/match.ts). Addresses are compared ignoring case but not accents: the collation of MySQL treats ü as u.
 */
import { sql } from 'kysely';
import type { LookupRequest, LookupTicket, SentCount, TiedCount } from '../../../ingest/batch-lookup.ts';
import type { MessageKind } from '../../../mail/message.ts';
import { ruleTies, type ThreadRule, tieOf } from '../../../mail/thread/match.ts';
import { reportKinds } from '../../../mail/thread/people.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { rowsInChunks } from '../sql/statements.ts';
import { fromDatabaseTime, fromOptionalTime, type SqlExecutor, toDatabaseTime } from '../sql/tables.ts';

const minuteCharacters = 16;
const minute = sql<string>`substr(received_at, 1, ${sql.lit(minuteCharacters)})`;

type SenderCounts = { readonly sent: readonly SentCount[]; readonly addedAtMs: number };

/** Of messages in that mailbox that nothing ties to a ticket, and when the mailbox was added. */
export async function sentCounts(
  db: SqlExecutor,
  mailboxId: string,
  senders: LookupRequest['senders'],
  addedAt: (mailboxId: string) => Promise<number>,
): Promise<SenderCounts> {
  if (senders === null) return { sent: [], addedAtMs: 0 };
  const addedAtMs = await addedAt(mailboxId);
  if (senders.toMs < addedAtMs) return { sent: [], addedAtMs };
  const isSqlite = db.dialect.kind === 'sqlite';
  const address = isSqlite ? sql<string>`from_address collate nocase` : sql.ref<string>('from_address');
  const written = lowerSender(db.dialect);
  const rows = await rowsInChunks(senders.addresses, (addresses) =>
    db
      .selectFrom('message')
      .select([written.as('address'), minute.as('minute'), (message) => message.fn.countAll<number>().as('count')])
      .where('mailbox_id', '=', mailboxId)
      .where(address, 'in', addresses)
      .where('received_at', '>=', toDatabaseTime(Math.max(senders.fromMs, addedAtMs)))
      .where('received_at', '<=', toDatabaseTime(senders.toMs))
      .where((message) =>
        message.or([message('thread_rule', 'is', null), message('thread_rule', 'not in', Object.keys(ruleTies))]),
      )
      .groupBy([written, minute]),
  );
  return { sent: rows.map(toSentCount), addedAtMs };
}

function lowerSender({ kind }: SqlDialect) {
  return kind === 'sqlite' ? sql<string>`lower(from_address)` : sql<string>`lower(from_address) collate utf8mb4_bin`;
}

function toSentCount(row: { readonly address: string; readonly minute: string; readonly count: number }): SentCount {
  return { address: row.address, atMs: fromDatabaseTime(`${row.minute}:00.000`), count: Number(row.count) };
}

/** Counts by ticket, sender, rule and minute of what a token or a Message-ID tied to these tickets. */
export async function tiedCounts(
  db: SqlExecutor,
  tickets: readonly LookupTicket[],
  senders: LookupRequest['senders'],
): Promise<readonly TiedCount[]> {
  if (senders === null) return [];
  const ids = [...new Set(tickets.map(({ id }) => id))];
  const written = lowerSender(db.dialect);
  const rows = await rowsInChunks(ids, (chunk) =>
    db
      .selectFrom('message')
      .select(['ticket_id', 'thread_rule', 'kind', written.as('address'), minute.as('minute')])
      .select((message) => message.fn.countAll<number>().as('count'))
      .where('ticket_id', 'in', chunk)
      .where('received_at', '>=', toDatabaseTime(senders.fromMs))
      .where('received_at', '<=', toDatabaseTime(senders.toMs))
      .where('thread_rule', 'is not', null)
      .where((message) =>
        message.or([message('thread_rule', 'in', Object.keys(ruleTies)), message('kind', 'in', reportKinds)]),
      )
      .groupBy(['ticket_id', 'thread_rule', 'kind', written, minute]),
  );
  return rows.flatMap((row) => {
    const tie = tieOf(row.kind as MessageKind, row.thread_rule as ThreadRule);
    return tie === undefined ? [] : [{ ...toSentCount(row), ticketId: row.ticket_id ?? '', tie }];
  });
}

/** The time when a mailbox was added never changes, so each is read once. */
export function createAddedAt(db: SqlExecutor): (mailboxId: string) => Promise<number> {
  const known = new Map<string, number>();
  return async (mailboxId) => {
    const before = known.get(mailboxId);
    if (before !== undefined) return before;
    const row = await db.selectFrom('mailboxes').select('created_at').where('id', '=', mailboxId).executeTakeFirst();
    const addedAtMs = fromOptionalTime(row?.created_at ?? null) ?? 0;
    known.set(mailboxId, addedAtMs);
    return addedAtMs;
  };
}
