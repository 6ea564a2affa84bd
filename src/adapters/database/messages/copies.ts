/**
 * Lookups of near-duplicates: what messages with a Message-ID of the batch say, and notices that were sent before.
 *
 * Contents are read where a message of the batch has the same Message-ID and other content, which is rare; repeats by
 * the index on mailbox, sender and time.
 */
import { type ExpressionBuilder, sql } from 'kysely';
import type { LookupRequest } from '../../../ingest/batch-lookup.ts';
import { type CopyContent, comparedTextMax } from '../../../mail/thread/copies.ts';
import { openingRules } from '../../../mail/thread/match.ts';
import { rowsInChunks } from '../sql/statements.ts';
import { fromOptionalTime, type SqlExecutor, type Tables, toDatabaseTime } from '../sql/tables.ts';

/** Messages whose contents are read for one batch: of one Message-ID, an attacker can send any number. */
const contentsMax = 100;

/** Contents of those of the messages that opened a ticket, or are copies of that one: of the first hundred ids. */
export async function copyContents(db: SqlExecutor, ids: readonly string[]): Promise<ReadonlyMap<string, CopyContent>> {
  const start = (column: 'subject' | 'body_text') => {
    const whole = column === 'subject' ? sql`coalesce(subject_full, subject)` : sql`body_text`;
    return sql<string>`substr(${whole}, 1, ${sql.lit(comparedTextMax)})`.as(column);
  };
  const rows = await rowsInChunks(ids.slice(0, contentsMax), (chunk) =>
    db
      .selectFrom('message')
      .select(['id', 'sent_at', start('subject'), start('body_text')])
      .where('id', 'in', chunk)
      .where(isOpening),
  );
  return new Map(
    rows.map(({ id, sent_at: sentAt, subject, body_text: text }) => [
      id,
      { sentAtMs: fromOptionalTime(sentAt), subject: String(subject), text: String(text) },
    ]),
  );
}

/** The message opened its ticket, or has the same people as the one that did. */
function isOpening(where: ExpressionBuilder<Tables, 'message'>) {
  const rules = openingRules.filter((rule) => rule !== null);
  return where.or([where('thread_rule', 'is', null), where('thread_rule', 'in', rules)]);
}

/** Each repeat key of the span with its tickets, how many they are and when the last arrived. */
export async function repeatedNotices(db: SqlExecutor, mailboxId: string, span: LookupRequest['repeats']) {
  if (span === null) return [];
  const from =
    db.dialect.kind === 'sqlite' ? sql<string>`from_address collate nocase` : sql.ref<string>('from_address');
  const keys = new Set(span.keys);
  const rows = await rowsInChunks(span.addresses, (addresses) =>
    db
      .selectFrom('message')
      .select(['repeat_key', 'ticket_id', (message) => message.fn.max('received_at').as('last_at')])
      .select((message) => message.fn.countAll<number>().as('count'))
      .where('mailbox_id', '=', mailboxId)
      .where(from, 'in', addresses)
      .where('received_at', '>=', toDatabaseTime(span.fromMs))
      .where('received_at', '<=', toDatabaseTime(span.toMs))
      .where('repeat_key', 'is not', null)
      .where('ticket_id', 'is not', null)
      .where(isOpening)
      .groupBy(['repeat_key', 'ticket_id']),
  );
  return rows.flatMap(({ repeat_key: key, ticket_id: ticketId, last_at: lastAt, count }) =>
    key !== null && ticketId !== null && keys.has(key) ? [{ key, ticketId, lastAt, count: Number(count) }] : [],
  );
}
