/**
 * Audit log, append-only: changes of passwords, keys, the switch and mailboxes, quarantine actions, admin sign-ins.
 *
 * Each entry is part of the transaction of its change. A text that is too long is cut: a change never fails for its
 * audit.
 */
import type { Selectable } from 'kysely';
import type { AuditEntry, AuditTopic, StoredAuditEntry } from '../../../encryption/ports.ts';
import { insertRows } from '../sql/statements.ts';
import { type AuditTable, fromDatabaseTime, type SqlExecutor, truncate } from '../sql/tables.ts';

const nameCharacters = 255;
const actionCharacters = 64;
const detailCharacters = 1000;

export async function addAudit(db: SqlExecutor, entries: readonly AuditEntry[]): Promise<void> {
  const rows = entries.map((entry) => ({
    at: db.dialect.now,
    actor: truncate(entry.who, nameCharacters),
    host: truncate(entry.host, nameCharacters),
    action: truncate(entry.action, actionCharacters),
    key_id: entry.keyId,
    next_key_id: entry.nextKeyId,
    mailbox_id: entry.mailboxId,
    detail: entry.detail === null ? null : truncate(entry.detail, detailCharacters),
  }));
  await insertRows(db, 'audit', rows);
}

/** LIKE patterns of the actions of each subject. */
const actionPatterns: Readonly<Record<AuditTopic, string>> = { quarantine: 'quarantine.%', admin: 'admin.%' };

/** Newest first: the entries of one subject, or without one those of no subject. */
export async function readAudit(
  db: SqlExecutor,
  limit: number,
  about?: AuditTopic,
): Promise<readonly StoredAuditEntry[]> {
  const all = db.selectFrom('audit').selectAll().orderBy('id', 'desc').limit(limit);
  const some =
    about === undefined
      ? Object.values(actionPatterns).reduce((rest, pattern) => rest.where('action', 'not like', pattern), all)
      : all.where('action', 'like', actionPatterns[about]);
  return (await some.execute()).map(toStoredAudit);
}

/** The newest row of that action. */
export async function lastAudit(db: SqlExecutor, action: string): Promise<StoredAuditEntry | null> {
  const row = await db
    .selectFrom('audit')
    .selectAll()
    .where('action', '=', action)
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? null : toStoredAudit(row);
}

function toStoredAudit(row: Selectable<AuditTable>): StoredAuditEntry {
  return {
    who: row.actor,
    host: row.host,
    action: row.action,
    keyId: row.key_id,
    nextKeyId: row.next_key_id,
    mailboxId: row.mailbox_id,
    detail: row.detail,
    atMs: fromDatabaseTime(row.at),
  };
}
