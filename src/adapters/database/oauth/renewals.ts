/**
 * Renewal claims with fencing tokens: one of many workers renews an access token, and stores what the provider issued.
 *
 * A claim is taken with one conditional UPDATE, so exactly one of many workers gets it, on Galera too; whether the
 * stored token is still good is part of the condition. It expires by the clock of the database. Each claim increments
 * the version (the fencing token), and every later write names it: a worker that lost the claim stores nothing.
 */
import { type ExpressionBuilder, type SqlBool, sql } from 'kysely';
import type { NewToken } from '../../../encryption/tokens.ts';
import { Failure } from '../../../errors.ts';
import type { AccessUse } from '../../../oauth/model.ts';
import type { ClaimResult, Renewal, RenewalClaim } from '../../../oauth/ports.ts';
import { lockSwitchForWrite, switchChanged } from '../encryption/switch-row.ts';
import { readyColumns, scopeColumn, withTokenColumns } from '../rows/grants.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { isTransient } from '../sql/errors.ts';
import { inTransaction, withRetries } from '../sql/statements.ts';
import type { SqlExecutor, Tables } from '../sql/tables.ts';
import { makeGrantDue } from './grants.ts';

type AccessWhere = ExpressionBuilder<Tables, 'oauth_access'>;

const claimTriesMax = 5;
/** The longest valid claim. One that ends later was taken while the clock of the database was ahead. */
const claimMsMax = 600_000;
/** Longer times of a provider are cut: what it says may be any number. */
const tokenMsMax = 315_360_000_000;
const userCharactersMax = 320;

export async function claimRenewal(
  db: SqlExecutor,
  use: AccessUse,
  owner: string,
  forMs: number,
  marginMs: number,
): Promise<ClaimResult> {
  if ([...use.username].length > userCharactersMax)
    throw new Failure('refused', `the user name of a token has more than ${userCharactersMax} characters`);
  for (let attempt = 1; attempt <= claimTriesMax; attempt += 1) {
    const version = await withRetries(() => takeClaim(db, use, owner, forMs, marginMs), isTransient);
    if (version !== null) return { kind: 'claimed', claim: { ...use, owner, version } };
    const row = await accessOf(db, use)
      .select((where) => [
        isFresh(where, db.dialect, marginMs).as('is_fresh'),
        isClaimed(where, db.dialect).as('taken'),
      ])
      .executeTakeFirst();
    if (row === undefined) await addAccess(db, use);
    else if (Number(row.is_fresh) === 1) return { kind: 'fresh' };
    else if (Number(row.taken) === 1) return { kind: 'taken' };
  }
  throw new Failure('database_conflict', 'The claim on the renewal of a token changes its owner all the time.');
}

/** Returns the version of the claim; null: not taken. */
async function takeClaim(
  db: SqlExecutor,
  { grantId, username }: AccessUse,
  owner: string,
  forMs: number,
  marginMs: number,
): Promise<number | null> {
  const take = db
    .updateTable('oauth_access')
    .set({ claim_owner: owner, claim_until: db.dialect.nowPlus(forMs) })
    .where('grant_id', '=', grantId)
    .where('username', '=', username)
    .where((where) => sql<SqlBool>`not ${isFresh(where, db.dialect, marginMs)}`)
    .where((where) => sql<SqlBool>`not ${isClaimed(where, db.dialect)}`);
  if (db.dialect.kind === 'sqlite') {
    const raised = take.set({ version: sql<number>`version + 1` }).returning('version');
    return (await raised.executeTakeFirst())?.version ?? null;
  }
  // LAST_INSERT_ID(expression) returns the version with the result of the UPDATE itself.
  const result = await db.executeQuery(take.set({ version: sql<number>`last_insert_id(version + 1)` }).compile());
  return result.numAffectedRows === 1n ? Number(result.insertId) : null;
}

/** 1 or 0, never NULL. */
function isFresh(where: AccessWhere, dialect: SqlDialect, marginMs: number) {
  if (marginMs === Infinity) return sql<SqlBool>`(0)`;
  const until = sql`${where.ref('oauth_access.access_until')} > ${dialect.nowPlus(boundedMs(marginMs))}`;
  return sql<SqlBool>`(${where.ref('oauth_access.access')} is not null and coalesce(${until}, 0))`;
}

/** 1 or 0, never NULL. */
export function isClaimed(where: AccessWhere, dialect: SqlDialect) {
  const until = where.ref('oauth_access.claim_until');
  const inForce = sql`${until} > ${dialect.now} and ${until} <= ${dialect.nowPlus(claimMsMax)}`;
  return sql<SqlBool>`(${where.ref('oauth_access.claim_owner')} is not null and coalesce(${inForce}, 0))`;
}

function boundedMs(ms: number): number {
  return Math.min(Math.max(Number.isNaN(ms) ? 0 : ms, -tokenMsMax), tokenMsMax);
}

function accessOf(db: SqlExecutor, { grantId, username }: AccessUse) {
  return db.selectFrom('oauth_access').where('grant_id', '=', grantId).where('username', '=', username);
}

/** Adds the row unless another worker did. Throws `not_found` without its grant. */
async function addAccess(db: SqlExecutor, { grantId, username }: AccessUse): Promise<void> {
  const insert = db
    .insertInto('oauth_access')
    .columns(['grant_id', 'username'])
    .expression((from) =>
      from
        .selectFrom('oauth_grant')
        .select(['id', sql<string>`${username}`.as('username')])
        .where('id', '=', grantId),
    );
  const result = await (db.dialect.kind === 'mysql'
    ? insert.ignore()
    : insert.onConflict((at) => at.doNothing())
  ).executeTakeFirst();
  if ((result.numInsertedOrUpdatedRows ?? 0n) > 0n) return;
  const grant = await db.selectFrom('oauth_grant').select('id').where('id', '=', grantId).executeTakeFirst();
  if (grant === undefined) throw new Failure('not_found', 'The grant was removed meanwhile.');
}

/** The claim as it was taken, even if it expired: no other worker took it since. */
function isHeld(where: AccessWhere, { grantId, username, owner, version }: RenewalClaim) {
  return where
    .and([
      where('oauth_access.grant_id', '=', grantId),
      where('oauth_access.username', '=', username),
      where('oauth_access.claim_owner', '=', owner),
      where('oauth_access.version', '=', version),
    ])
    .$castTo<SqlBool>();
}

export async function markAsked(db: SqlExecutor, claim: RenewalClaim): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('oauth_grant')
    .set({ asked_at: sql<string>`coalesce(asked_at, ${db.dialect.now})` })
    .where('id', '=', claim.grantId)
    .where(({ exists, selectFrom }) =>
      exists(
        selectFrom('oauth_access')
          .select('version')
          .where((where) => isHeld(where, claim))
          .where((where) => isClaimed(where, db.dialect)),
      ),
    )
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/** The switch is locked first, as by every writer of passwords. */
export async function storeRenewal(db: SqlExecutor, claim: RenewalClaim, renewal: Renewal): Promise<boolean> {
  const { access, refresh, scope } = renewal;
  if (refresh !== null && refresh.switchRevision !== access.switchRevision) throw switchChanged(access.switchRevision);
  return await inTransaction(db, async (transaction) => {
    await lockSwitchForWrite(transaction, access.switchRevision);
    if (!(await storeAccess(transaction, claim, renewal))) return false;
    const query = transaction.selectFrom('oauth_grant').select(['name', 'state']).where('id', '=', claim.grantId);
    const grant = await (db.dialect.kind === 'mysql' ? query.forUpdate() : query).executeTakeFirst();
    if (grant === undefined) return false;
    if (refresh !== null) await storeRefresh(transaction, claim.grantId, refresh);
    await transaction
      .updateTable('oauth_grant')
      .set({ ...readyColumns(grant.state === 'ready', db.dialect), renewed_at: db.dialect.now })
      .$if(scope !== null, (update) => update.set({ scope: scopeColumn(scope) }))
      .where('id', '=', claim.grantId)
      .execute();
    if (grant.state !== 'ready') await makeGrantDue(transaction, grant.name);
    return true;
  });
}

async function storeAccess(db: SqlExecutor, claim: RenewalClaim, renewal: Renewal): Promise<boolean> {
  const { numUpdatedRows } = await withTokenColumns(renewal.access, ({ bytes, form, keyId }) =>
    db
      .updateTable('oauth_access')
      .set({
        ...{ access: bytes, access_form: form, access_key_id: keyId },
        access_until: db.dialect.nowPlus(boundedMs(renewal.remainingMs)),
        renew_at: db.dialect.nowPlus(boundedMs(renewal.renewInMs)),
        version: sql<number>`version + 1`,
        ...{ claim_owner: null, claim_until: null },
      })
      .where((where) => isHeld(where, claim))
      .executeTakeFirst(),
  );
  return numUpdatedRows === 1n;
}

async function storeRefresh(db: SqlExecutor, grantId: string, refresh: NewToken): Promise<void> {
  await withTokenColumns(refresh, ({ bytes, form, keyId }) =>
    db
      .updateTable('oauth_grant')
      .set({ refresh: bytes, refresh_form: form, refresh_key_id: keyId })
      .where('id', '=', grantId)
      .execute(),
  );
}

/** The mark goes first: without the claim nothing would remove it. */
export async function releaseRenewal(db: SqlExecutor, claim: RenewalClaim, wasAnswered: boolean): Promise<void> {
  if (wasAnswered)
    await db
      .updateTable('oauth_grant')
      .set({ asked_at: null })
      .where('id', '=', claim.grantId)
      .where(({ exists, selectFrom }) =>
        exists(
          selectFrom('oauth_access')
            .select('version')
            .where((where) => isHeld(where, claim)),
        ),
      )
      .execute();
  await db
    .updateTable('oauth_access')
    .set({ claim_owner: null, claim_until: null })
    .where((where) => isHeld(where, claim))
    .execute();
}
