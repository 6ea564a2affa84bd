/**
 * Batch rewrite of OAuth tokens: sealed, re-encrypted under another key, unsealed or dropped, one transaction per
 * batch.
 *
 * As for passwords (password-batch.ts), a batch locks the switch row at its revision, and each row by its key. Claims
 * and versions of access tokens stay as they are: a renewal in progress stores its answer. Every buffer that held a
 * token is wiped. Errors: `switch_changed`, `database_*`.
 */
import { type RawBuilder, type SqlBool, sql } from 'kysely';
import type {
  AuditEntry,
  PasswordBatchResult,
  PasswordSelection,
  SealCounts,
  TokenBatch,
  TokenCounts,
  TokenRewrite,
  TokenRewriteRow,
} from '../../../encryption/ports.ts';
import type { KeyId } from '../../../secret/key.ts';
import type { SwitchRow } from '../../../secret/switch.ts';
import { addAudit } from '../rows/audit.ts';
import { isSealableToken, never, tokenBytes } from '../rows/grants.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { chunksOfSizes, inTransaction } from '../sql/statements.ts';
import type { SqlExecutor } from '../sql/tables.ts';
import { lockSwitch, lockSwitchForWrite, markPasswordWrite, replaceSwitch } from './switch-row.ts';

type Kind = TokenBatch['kind'];
type Rewrite = (row: TokenRewriteRow) => Promise<TokenRewrite>;
type RowKey = { readonly grantId: string; readonly username: string };
type LockedToken = RowKey & {
  readonly name: string;
  readonly provider: string;
  readonly account: string | null;
  readonly form: string;
  readonly keyId: string | null;
  readonly token: Uint8Array;
};
type Changed = { readonly row: LockedToken; readonly rewrite: Exclude<TokenRewrite, null> };

/** The same columns of both tables; a refresh token is found by its grant alone. */
const columns = {
  refresh: {
    table: sql.table('oauth_grant'),
    bytes: sql.ref('oauth_grant.refresh'),
    form: sql.ref<string>('oauth_grant.refresh_form'),
    keyId: sql.ref<string | null>('oauth_grant.refresh_key_id'),
    key: sql`oauth_grant.id as grant_id, '' as username`,
    order: sql`oauth_grant.id`,
    owner: sql`substr(oauth_grant.name, 1, 256) as name, substr(oauth_grant.provider, 1, 65) as provider,
      substr(oauth_grant.account, 1, 321) as account`,
    isRow: ({ grantId }: RowKey) => sql<SqlBool>`oauth_grant.id = ${grantId}`,
    isAfter: ({ grantId }: RowKey) => sql<SqlBool>`oauth_grant.id > ${grantId}`,
  },
  access: {
    table: sql.table('oauth_access'),
    bytes: sql.ref('oauth_access.access'),
    form: sql.ref<string>('oauth_access.access_form'),
    keyId: sql.ref<string | null>('oauth_access.access_key_id'),
    key: sql`oauth_access.grant_id as grant_id, oauth_access.username as username`,
    order: sql`oauth_access.grant_id, oauth_access.username`,
    owner: sql`'' as name, '' as provider, null as account`,
    isRow: ({ grantId, username }: RowKey) =>
      sql<SqlBool>`oauth_access.grant_id = ${grantId} and oauth_access.username = ${username}`,
    isAfter: ({ grantId, username }: RowKey) => sql<SqlBool>`(oauth_access.grant_id > ${grantId}
      or (oauth_access.grant_id = ${grantId} and oauth_access.username > ${username}))`,
  },
} as const;

/** `change` must not use the store: it would wait for the locks of this transaction. It may run again for a row. */
export async function rewriteTokens(db: SqlExecutor, batch: TokenBatch, change: Rewrite): Promise<PasswordBatchResult> {
  const keys = await nextKeys(db, batch);
  const counts = await inTransaction(db, (transaction) => rewriteBatch(transaction, batch, keys, change));
  const last = keys.at(-1);
  const lastId = last === undefined ? null : JSON.stringify([last.grantId, last.username]);
  // SQLite allows an id that is not UTF-8: it is read as another one, and without this check it would repeat forever.
  return { lastId: lastId === batch.after ? null : lastId, ...counts };
}

async function nextKeys(db: SqlExecutor, { kind, selection, after, limit }: TokenBatch): Promise<readonly RowKey[]> {
  const { table, key, order, isAfter } = columns[kind];
  const from = after === null ? sql`` : sql`and ${isAfter(keyOf(after))}`;
  const found = await sql<{ readonly grant_id: string; readonly username: string }>`
    select ${key} from ${table} where ${isSelected(kind, selection)} ${from}
    order by ${order} limit ${sql.lit(limit)}`.execute(db);
  return found.rows.map((row) => ({ grantId: row.grant_id, username: row.username }));
}

/** A `lastId` as made above. */
function keyOf(after: string): RowKey {
  const [grantId, username]: readonly [string, string] = JSON.parse(after);
  return { grantId, username };
}

function isSelected(kind: Kind, selection: PasswordSelection): RawBuilder<SqlBool> {
  const { bytes, form, keyId } = columns[kind];
  const isPlain = sql<SqlBool>`${form} = 'plain' and octet_length(${bytes}) > 0`;
  if (selection === 'plain') return isPlain;
  if (selection === 'sealable') return isSealableToken(kind);
  const isSealed = sql<SqlBool>`${form} = 'sealed' and octet_length(${bytes}) > 0`;
  if (selection === 'sealed') return isSealed;
  return sql<SqlBool>`${isSealed} and (${keyId} is null or ${keyId} <> ${selection.notUnder})`;
}

async function rewriteBatch(
  db: SqlExecutor,
  { kind, selection, revision, audit }: TokenBatch,
  keys: readonly RowKey[],
  change: Rewrite,
): Promise<{ readonly seen: number; readonly changed: number }> {
  await lockSwitch(db, revision);
  let seen = 0;
  const changed: Changed[] = [];
  for (const chunk of chunksOfSizes(keys, db.dialect.updateSizes)) {
    const rows = await lockTokens(db, kind, selection, chunk);
    seen += rows.length;
    changed.push(...(await rewriteRows(db, kind, rows, change)));
  }
  if (changed.length > 0) await markPasswordWrite(db);
  if (kind === 'refresh')
    await addAudit(
      db,
      changed.map((one) => auditOf(one, audit)),
    );
  return { seen, changed: changed.length };
}

/** Locks the rows that still match the selection. */
async function lockTokens(
  db: SqlExecutor,
  kind: Kind,
  selection: PasswordSelection,
  keys: readonly RowKey[],
): Promise<readonly LockedToken[]> {
  const { table, key, owner, form, keyId, isRow, order } = columns[kind];
  type Row = Omit<LockedToken, 'grantId' | 'keyId'> & { readonly grant_id: string; readonly key_id: string | null };
  const isOne = sql.join(
    keys.map((one) => sql`(${isRow(one)})`),
    sql` or `,
  );
  const found = await sql<Row>`
    select ${key}, ${owner}, ${form} as form, ${keyId} as key_id, ${tokenBytes(kind, db.dialect)} as token
    from ${table} where (${isOne}) and ${isSelected(kind, selection)}
    order by ${order} ${forUpdate(db.dialect)}`.execute(db);
  return found.rows.map((row) => ({ ...row, grantId: row.grant_id, keyId: row.key_id }));
}

/** Wipes every token, also after an error. */
async function rewriteRows(
  db: SqlExecutor,
  kind: Kind,
  rows: readonly LockedToken[],
  change: Rewrite,
): Promise<readonly Changed[]> {
  const changed: Changed[] = [];
  try {
    for (const row of rows) {
      const rewrite = await rewriteToken(row, kind, change);
      if (rewrite === null) continue;
      await writeToken(db, kind, row, rewrite);
      changed.push({ row, rewrite });
    }
    return changed;
  } finally {
    for (const { token } of rows) token.fill(0);
  }
}

function forUpdate({ kind }: SqlDialect) {
  return kind === 'mysql' ? sql`for update` : sql``;
}

/** The selection admits no other form; an empty account is none. */
async function rewriteToken(row: LockedToken, kind: Kind, change: Rewrite): Promise<TokenRewrite> {
  const { grantId, username, name, provider, account, token: bytes } = row;
  const form = row.form === 'sealed' ? 'sealed' : 'plain';
  return await change({ kind, grantId, username, name, provider, account: account || null, form, bytes });
}

async function writeToken(db: SqlExecutor, kind: Kind, row: RowKey, rewrite: Changed['rewrite']): Promise<void> {
  if (rewrite.form === 'sealed') return await write(db, kind, row, rewrite.sealed, 'sealed', rewrite.keyId);
  if (rewrite.form === 'dropped') return await write(db, kind, row, null, 'plain', null);
  using token = rewrite.token;
  await token.use((bytes) => write(db, kind, row, bytes, 'plain', null));
}

async function write(
  db: SqlExecutor,
  kind: Kind,
  row: RowKey,
  bytes: Uint8Array | null,
  form: 'plain' | 'sealed',
  keyId: string | null,
): Promise<void> {
  const isRow = columns[kind].isRow(row);
  if (kind === 'refresh')
    await db
      .updateTable('oauth_grant')
      .set({ refresh: bytes, refresh_form: form, refresh_key_id: keyId })
      .where(isRow)
      .execute();
  else
    await db
      .updateTable('oauth_access')
      .set(bytes === null ? dropped : { access: bytes, access_form: form, access_key_id: keyId })
      .where(isRow)
      .execute();
}

/** Re-encryption names the new key as the next one. */
function auditOf({ row, rewrite }: Changed, audit: TokenBatch['audit']): AuditEntry {
  const before = row.form === 'sealed' ? row.keyId : null;
  const after = rewrite.form === 'sealed' ? rewrite.keyId : null;
  const isResealed = before !== null && after !== null;
  const keyIds = { keyId: isResealed ? before : (after ?? before), nextKeyId: isResealed ? after : null };
  return { ...audit, ...keyIds, mailboxId: null, detail: row.name };
}

const dropped = { access: null, access_form: 'plain', access_key_id: null, access_until: null } as const;

export async function dropAccessTokens(db: SqlExecutor, form: 'plain' | 'sealed', revision: number): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await lockSwitchForWrite(transaction, revision);
    await transaction
      .updateTable('oauth_access')
      .set(dropped)
      .where('access', 'is not', null)
      .where('access_form', form === 'sealed' ? '=' : '<>', 'sealed')
      .execute();
  });
}

/** The switch, and the tokens that no key opens any more, in one transaction: neither is left without the other. */
export async function replaceSwitchKey(
  db: SqlExecutor,
  row: SwitchRow & { readonly keyId: KeyId },
  expectedRevision: number,
  entry: AuditEntry,
): Promise<number> {
  const { keyId } = row;
  const by = { who: entry.who, host: entry.host };
  return await inTransaction(db, async (transaction) => {
    await replaceSwitch(transaction, row, expectedRevision, [entry]);
    const isLost = (kind: Kind) => isSelected(kind, { notUnder: keyId });
    await transaction.updateTable('oauth_access').set(dropped).where(isLost('access')).execute();
    const lost = await transaction
      .selectFrom('oauth_grant')
      .select(['oauth_grant.id', 'oauth_grant.flow'])
      .select(sql<string>`substr(oauth_grant.name, 1, 256)`.as('name'))
      .where(isLost('refresh'))
      .execute();
    for (const { id, flow } of lost)
      await transaction
        .updateTable('oauth_grant')
        .set({ refresh: null, refresh_form: 'plain', refresh_key_id: null })
        .set(flow === 'person' ? endedColumns(db.dialect) : {})
        .where('id', '=', id)
        .execute();
    const audit = { ...by, action: 'oauth.needs_consent', keyId, nextKeyId: null, mailboxId: null };
    const ended = lost.filter(({ flow }) => flow === 'person');
    await addAudit(
      transaction,
      ended.map(({ name }) => ({ ...audit, detail: name })),
    );
    return lost.length;
  });
}

function endedColumns({ now }: SqlDialect) {
  return { state: 'needs_consent', state_since: now, error_code: 'key_lost', retry_at: never, asked_at: null };
}

export async function tokenCounts(db: SqlExecutor): Promise<TokenCounts> {
  return { refresh: await countsOf(db, 'refresh'), access: await countsOf(db, 'access') };
}

async function countsOf(db: SqlExecutor, kind: Kind): Promise<SealCounts> {
  const { table, bytes, form, keyId } = columns[kind];
  type Row = { readonly form: string; readonly key_id: string | null; readonly count: number };
  const found = await sql<Row>`
    select ${form} as form, ${keyId} as key_id, count(*) as count from ${table}
    where octet_length(${bytes}) > 0 group by ${form}, ${keyId} order by ${keyId}`.execute(db);
  const of = (wanted: string) => found.rows.filter((row) => row.form === wanted);
  const total = (wanted: string) => of(wanted).reduce((sum, row) => sum + Number(row.count), 0);
  const byKey = of('sealed').map((row) => ({ keyId: row.key_id, count: Number(row.count) }));
  return { sealed: total('sealed'), plaintext: total('plain'), byKey };
}
