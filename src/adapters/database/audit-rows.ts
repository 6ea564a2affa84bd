/**
 * The audit: who changed what about passwords, keys and the switch, and who took what out of quarantine. Rows are only ever
 * added.
 *
 * Each goes into the transaction of what it tells. A text that is too long is cut: a change does not fail for its audit.
 */
import type { AuditEntry, StoredAudit } from '../../encryption/ports.ts';
import type { DialectWords } from './dialect-words.ts';
import { insertRows } from './insert-rows.ts';
import { shorten } from './short-text.ts';
import type { Connected } from './tables.ts';
import { fromDatabaseTime } from './times.ts';

const nameCharacters = 255;
const actionCharacters = 64;
const detailCharacters = 1000;

export async function addAudit(db: Connected, words: DialectWords, entries: readonly AuditEntry[]): Promise<void> {
  const rows = entries.map((entry) => ({
    at: words.now,
    who: shorten(entry.who, nameCharacters),
    host: shorten(entry.host, nameCharacters),
    action: shorten(entry.action, actionCharacters),
    key_id: entry.keyId,
    next_key_id: entry.nextKeyId,
    mailbox_id: entry.mailboxId,
    detail: entry.detail === null ? null : shorten(entry.detail, detailCharacters),
  }));
  await insertRows(db, words, 'audit', rows);
}

/** Newest first: those of quarantine, or all the others. */
export async function readAudit(db: Connected, limit: number, about?: 'quarantine'): Promise<readonly StoredAudit[]> {
  const isLike = about === 'quarantine' ? 'like' : 'not like';
  const rows = await db
    .selectFrom('audit')
    .selectAll()
    .where('action', isLike, 'quarantine.%')
    .orderBy('id', 'desc')
    .limit(limit)
    .execute();
  return rows.map((row) => ({
    who: row.who,
    host: row.host,
    action: row.action,
    keyId: row.key_id,
    nextKeyId: row.next_key_id,
    mailboxId: row.mailbox_id,
    detail: row.detail,
    atMs: fromDatabaseTime(row.at),
  }));
}
