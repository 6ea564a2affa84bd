/** Reply key store: the keys of the reply tokens, one row each, shared by all workers and restored with a backup. */
import { sql } from 'kysely';
import type { ReplyKeyChange } from '../../../encryption/ports.ts';
import type { StoredReplyKey } from '../../../secret/reply-key.ts';
import { boundedTexts, textOrNull, wordCharacters } from '../sql/bounded-columns.ts';
import { inTransaction } from '../sql/statements.ts';
import { fromOptionalTime, type SqlExecutor } from '../sql/tables.ts';

/** The size of the MySQL column. */
const secretBytesMax = 60;
/** The newest: each rotation adds one. */
const keysMax = 1000;

export async function readReplyKeys(db: SqlExecutor): Promise<readonly StoredReplyKey[]> {
  const rows = await db
    .selectFrom('reply_key')
    .select(boundedTexts('reply_key', { key_id: wordCharacters, retired_at: wordCharacters }))
    .select(['id', sql<Uint8Array>`substr(secret, 1, ${sql.lit(secretBytesMax + 1)})`.as('secret')])
    .orderBy('id', 'desc')
    .limit(keysMax)
    .execute();
  return rows
    .toReversed()
    .flatMap(({ id, secret, key_id: keyId, retired_at: retiredAt }) =>
      secret instanceof Uint8Array
        ? [{ ...{ id, secret, keyId: textOrNull(keyId) }, retiredAtMs: fromOptionalTime(textOrNull(retiredAt)) }]
        : [],
    );
}

export async function writeReplyKeys(db: SqlExecutor, changes: readonly ReplyKeyChange[]): Promise<void> {
  await inTransaction(db, async (tx) => {
    for (const change of changes) await (change.before === null ? add(tx, change) : replace(tx, change, change.before));
  });
}

async function add(db: SqlExecutor, { id, secret, keyId }: ReplyKeyChange): Promise<void> {
  const insert = db.insertInto('reply_key').values({ id, secret, key_id: keyId, created_at: db.dialect.now });
  await (db.dialect.kind === 'mysql' ? insert.ignore() : insert.onConflict((at) => at.doNothing())).execute();
}

async function replace(
  db: SqlExecutor,
  { id, secret, keyId, isRetired }: ReplyKeyChange,
  before: StoredReplyKey,
): Promise<void> {
  const retired_at = isRetired ? sql<string>`coalesce(retired_at, ${db.dialect.now})` : sql<null>`null`;
  await db
    .updateTable('reply_key')
    .set({ secret, key_id: keyId, retired_at })
    .where('id', '=', id)
    .where('secret', '=', before.secret)
    .execute();
}
