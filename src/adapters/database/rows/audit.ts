/**
 * Audit log, append-only: changes of passwords, keys, the switch and mailboxes, quarantine actions, admin sign-ins.
 *
 * Each entry is part of the transaction of its change. A text that is too long is cut: a change never fails for its
 * audit.
 */
import type { AuditEntry, AuditTopic, StoredAuditEntry } from '../../../encryption/ports.ts';
import { boundedTexts, nameCharacters, textOf, textOrNull, wordCharacters } from '../sql/bounded-columns.ts';
import { insertRows } from '../sql/statements.ts';
import { fromDatabaseTime, type SqlExecutor, truncate } from '../sql/tables.ts';

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

const textColumns = {
  ...{ at: wordCharacters, actor: nameCharacters, host: nameCharacters, action: actionCharacters },
  ...{ key_id: wordCharacters, next_key_id: wordCharacters, mailbox_id: wordCharacters, detail: detailCharacters },
};
const auditColumns = boundedTexts('audit', textColumns);

/** LIKE patterns of the actions of each subject. */
const actionPatterns: Readonly<Record<AuditTopic, string>> = { quarantine: 'quarantine.%', admin: 'admin.%' };

/** Newest first: the entries of one subject, or without one those of no subject. */
export async function readAudit(
  db: SqlExecutor,
  limit: number,
  about?: AuditTopic,
): Promise<readonly StoredAuditEntry[]> {
  const all = db.selectFrom('audit').select(auditColumns).orderBy('id', 'desc').limit(limit);
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
    .select(auditColumns)
    .where('action', '=', action)
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? null : toStoredAudit(row);
}

/** Without an index on the keys: asked by people alone. */
export async function lastSwitchAudit(db: SqlExecutor, keyId: string): Promise<StoredAuditEntry | null> {
  const row = await db
    .selectFrom('audit')
    .select(auditColumns)
    .where('action', 'like', 'switch.%')
    .where((where) => where.or([where('key_id', '=', keyId), where('next_key_id', '=', keyId)]))
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row === undefined ? null : toStoredAudit(row);
}

function toStoredAudit(row: { readonly [K in keyof typeof textColumns]: string | null }): StoredAuditEntry {
  return {
    who: textOf(row.actor),
    host: textOf(row.host),
    action: textOf(row.action),
    keyId: textOrNull(row.key_id),
    nextKeyId: textOrNull(row.next_key_id),
    mailboxId: textOrNull(row.mailbox_id),
    detail: textOrNull(row.detail),
    atMs: fromDatabaseTime(textOf(row.at)),
  };
}
