/**
 * Lookups of near-duplicates: what messages with a Message-ID of the batch say, and notices that were sent before.
 *
 * Contents are read where a message of the batch has the same Message-ID and Date and other content, which is rare;
 * repeats by the index on mailbox, sender and time.
 */
import { type ExpressionBuilder, type RawBuilder, type Selectable, sql } from 'kysely';
import type { LookupRequest } from '../../../ingest/batch-lookup.ts';
import { type CopyContent, comparedCopiesMax, comparedMax, copyContentOf } from '../../../mail/thread/copies.ts';
import { openingRules } from '../../../mail/thread/match.ts';
import { hashOf } from '../rows/messages.ts';
import { rowsInChunks } from '../sql/statements.ts';
import { fromOptionalTime, type MessageTable, type SqlExecutor, type Tables, toDatabaseTime } from '../sql/tables.ts';

/** Stored messages with a Message-ID of the batch, as far as a comparison depends on it. */
type StoredCopy = Pick<
  Selectable<MessageTable>,
  'id' | 'message_id_hash' | 'content_hash' | 'sent_at' | 'thread_rule'
> & { readonly ticket_id: string | null };

/**
 * Ids of messages that another message of the batch may be a copy of: with the same Message-ID and Date, and other
 * content, in the ticket that they opened. Of each Message-ID the first few of `rows`.
 */
export function copiesIn(rows: readonly StoredCopy[], own: LookupRequest['own']): readonly string[] {
  const ownByHash = Map.groupBy(own, ({ messageId }) => hashOf(messageId));
  const isCopied = ({ message_id_hash: hash, content_hash: content, sent_at: sentAt, ...row }: StoredCopy) => {
    const others = ownByHash.get(hash) ?? [];
    const isOpening = openingRules.some((rule) => rule === row.thread_rule);
    if (row.ticket_id === null || !isOpening || others.length === 0) return false;
    const sentAtMs = fromOptionalTime(sentAt);
    return others.some((other) => other.sentAtMs === sentAtMs && other.contentHash !== content);
  };
  const byHash = Map.groupBy(rows.filter(isCopied), (row) => row.message_id_hash);
  return [...byHash.values()].flatMap((same) => same.slice(0, comparedCopiesMax).map(({ id }) => id));
}

/** Of one query; and of all texts that are read for one batch, since each is made comparable here. */
const contentsMax = { rows: 8, characters: 250_000 };

/** What these messages say, in that order until they have a quarter of a million characters: the others are absent. */
export async function copyContents(db: SqlExecutor, ids: readonly string[]): Promise<ReadonlyMap<string, CopyContent>> {
  const start = (column: RawBuilder<unknown>, charactersMax: number) =>
    sql<string>`substr(${column}, 1, ${sql.lit(charactersMax + 1)})`;
  const contents = new Map<string, CopyContent>();
  let characters = 0;
  for (let at = 0; at < ids.length && characters < contentsMax.characters; at += contentsMax.rows) {
    const rows = await db
      .selectFrom('message')
      .select(['id', 'sent_at'])
      .select(start(sql`coalesce(subject_full, subject)`, comparedMax.subject).as('subject'))
      .select(start(sql`body_text`, comparedMax.text).as('body_text'))
      .where('id', 'in', ids.slice(at, at + contentsMax.rows))
      .execute();
    for (const { id, sent_at: sentAt, subject, body_text: text } of rows) {
      const content = { sentAtMs: fromOptionalTime(sentAt), subject: String(subject), text: String(text) };
      contents.set(id, copyContentOf(content));
      characters += content.text.length;
    }
  }
  return contents;
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
