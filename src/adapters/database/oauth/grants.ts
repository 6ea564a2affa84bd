/**
 * Grants in SQL: read, created on first use, consented, ended, and removed, each change with its audit entry.
 *
 * A token is read together with the revision of the switch, in one query, and written at the revision that it was
 * prepared for, or not at all. Names are compared letter by letter, in MySQL also the spaces at their ends, which its
 * collations ignore.
 */
import { type ExpressionBuilder, sql } from 'kysely';
import type { OAuthProvider } from '../../../config/oauth-provider.ts';
import { Failure } from '../../../errors.ts';
import type { AuditActor } from '../../../ingest/model.ts';
import type { AccessUse, Grant, GrantView, StoredToken } from '../../../oauth/model.ts';
import type { Consent, GrantStateChange } from '../../../oauth/ports.ts';
import { lockSwitchForWrite } from '../encryption/switch-row.ts';
import { resetSchedule } from '../mailboxes/store.ts';
import { addAudit } from '../rows/audit.ts';
import {
  assertStorable,
  errorCodeColumn,
  errorMessageColumn,
  type GrantRow,
  grantColumns,
  never,
  readyColumns,
  scopeColumn,
  toGrant,
  tokenBytes,
  toListedGrant,
  toStoredToken,
  withTokenColumns,
} from '../rows/grants.ts';
import { inTransaction } from '../sql/statements.ts';
import { fromForeignTime, type SqlExecutor, type Tables, truncate } from '../sql/tables.ts';

export async function grantByName(db: SqlExecutor, name: string): Promise<Grant | null> {
  const rows = await grants(db).where('oauth_grant.name', '=', name).execute();
  const row = rows.find((one) => one.name === name);
  return row === undefined ? null : toGrant(row);
}

function grants(db: SqlExecutor) {
  return db
    .selectFrom('oauth_grant')
    .select([...grantColumns, db.dialect.now.as('now')])
    .$castTo<GrantRow>();
}

type GrantWhere = ExpressionBuilder<Tables, 'oauth_grant'>;

/** The mailboxes of a grant; one that is being removed uses it no more. */
export function mailboxesOf({ selectFrom, ref }: GrantWhere) {
  return selectFrom('mailboxes')
    .where('mailboxes.grant_name', '=', ref('oauth_grant.name'))
    .where('mailboxes.auth', '=', 'oauth')
    .where('mailboxes.state', '<>', 'removing');
}

export async function listGrants(db: SqlExecutor): Promise<readonly GrantView[]> {
  const rows = await grants(db)
    .select((grant) => [
      sql<number>`coalesce(octet_length(oauth_grant.refresh), 0)`.as('refresh_bytes'),
      mailboxesOf(grant)
        .select(({ fn }) => fn.countAll<number>().as('count'))
        .as('mailboxes'),
      grant
        .selectFrom('oauth_access')
        .select(({ fn }) => fn.max('access_until').as('until'))
        .whereRef('grant_id', '=', 'oauth_grant.id')
        .where('access', 'is not', null)
        .as('access_until'),
    ])
    .orderBy('oauth_grant.name')
    .execute();
  return rows.map((row) => ({
    ...toListedGrant(row),
    scope: row.scope,
    consentedAtMs: fromForeignTime(row.consented_at),
    consentedBy: row.consented_by,
    mailboxes: Number(row.mailboxes),
    accessUntilMs: fromForeignTime(row.access_until),
    hasRefreshToken: Number(row.refresh_bytes) > 0,
  }));
}

export async function troubledGrants(db: SqlExecutor, limit: number): Promise<readonly Grant[]> {
  const rows = await grants(db)
    .where('oauth_grant.state', '<>', 'ready')
    .orderBy('oauth_grant.id')
    .limit(limit)
    .execute();
  return rows.map(toListedGrant);
}

export async function mailboxesOfGrant(db: SqlExecutor, name: string): Promise<readonly string[]> {
  const rows = await db
    .selectFrom('mailboxes')
    .select(sql<string>`substr(mailboxes.name, 1, 256)`.as('name'))
    .where('grant_name', '=', name)
    .where('auth', '=', 'oauth')
    .where('state', '<>', 'removing')
    .orderBy('mailboxes.name')
    .execute();
  return rows.map((row) => row.name);
}

export async function readAccess(db: SqlExecutor, { grantId, username }: AccessUse): Promise<StoredToken | null> {
  const row = await db
    .selectFrom('oauth_access')
    .leftJoin('encryption_switch', (join) => join.on('encryption_switch.id', '=', 1))
    .select([tokenBytes('access', db.dialect).as('access'), 'access_form', 'access_until', 'renew_at'])
    .select(['encryption_switch.revision', db.dialect.now.as('now')])
    .where('grant_id', '=', grantId)
    .where('username', '=', username)
    .executeTakeFirst();
  if (row === undefined) return null;
  const { access: token, access_form: form, revision, access_until: until, renew_at: renewAt, now } = row;
  return toStoredToken({ token, form, revision, times: { until, renewAt, now } });
}

export async function readRefresh(db: SqlExecutor, grantId: string): Promise<StoredToken | null> {
  const row = await db
    .selectFrom('oauth_grant')
    .leftJoin('encryption_switch', (join) => join.on('encryption_switch.id', '=', 1))
    .select([tokenBytes('refresh', db.dialect).as('refresh'), 'refresh_form', 'encryption_switch.revision'])
    .where('oauth_grant.id', '=', grantId)
    .executeTakeFirst();
  if (row === undefined) return null;
  return toStoredToken({ token: row.refresh, form: row.refresh_form, revision: row.revision, times: null });
}

export async function ensureGrant(db: SqlExecutor, name: string, provider: OAuthProvider): Promise<Grant> {
  const found = await grantByName(db, name);
  if (provider.flow === 'person') {
    if (found === null) throw new Failure('oauth_needs_consent', `grant ${name} has no consent yet`);
    return found;
  }
  if (found !== null && found.provider === provider.name && found.flow === provider.flow) return found;
  assertStorable('name', name);
  await (found === null ? addGrant(db, name, provider) : convertGrant(db, found.id, provider));
  const grant = await grantByName(db, name);
  if (grant === null) throw new Failure('not_found', `grant ${name} was removed meanwhile`);
  return grant;
}

/** Does nothing when another worker added it. */
async function addGrant(db: SqlExecutor, name: string, provider: OAuthProvider): Promise<void> {
  const insert = db.insertInto('oauth_grant').values({ name, provider: provider.name, flow: provider.flow } as never);
  await (db.dialect.kind === 'mysql' ? insert.ignore() : insert.onConflict((at) => at.doNothing())).execute();
}

/** The configuration gives the provider another flow: what was stored under the former one opens nothing any more. */
async function convertGrant(db: SqlExecutor, id: string, provider: OAuthProvider): Promise<void> {
  await inTransaction(db, async (transaction) => {
    await transaction
      .updateTable('oauth_grant')
      .set({ ...readyColumns(false, db.dialect), provider: provider.name, flow: provider.flow })
      .set({ account: null, scope: null, refresh: null, refresh_form: 'plain', refresh_key_id: null })
      .where('id', '=', id)
      .execute();
    await transaction.deleteFrom('oauth_access').where('grant_id', '=', id).execute();
  });
}

export async function setGrantState(
  db: SqlExecutor,
  grantId: string,
  { state, errorCode, errorMessage, retryInMs }: GrantStateChange,
  by: AuditActor,
): Promise<boolean> {
  return await inTransaction(db, async (transaction) => {
    const grant = await lockGrant(transaction, (where) => where('oauth_grant.id', '=', grantId));
    if (grant === null) return false;
    const isOther = grant.state !== state;
    const untilAsked = state === 'ready' ? null : never;
    await transaction
      .updateTable('oauth_grant')
      .set({ state, ...(isOther ? { state_since: db.dialect.now } : {}) })
      .set({ error_code: errorCodeColumn(errorCode), error_message: errorMessageColumn(errorMessage) })
      .set({ retry_at: retryInMs === null ? untilAsked : db.dialect.nowPlus(Math.min(Math.max(retryInMs, 0), yearMs)) })
      .where('id', '=', grantId)
      .execute();
    if (isOther && state === 'ready') await makeGrantDue(transaction, grant.name);
    if (isOther) await addAudit(transaction, [auditOf(`oauth.${state}`, grant.name, by)]);
    return isOther;
  });
}

const yearMs = 31_536_000_000;

function auditOf(action: string, detail: string, by: AuditActor) {
  return { ...by, action, keyId: null, nextKeyId: null, mailboxId: null, detail };
}

/** Locks the row until the transaction ends. */
async function lockGrant(db: SqlExecutor, isOne: (where: GrantWhere) => ReturnType<GrantWhere>) {
  const query = db
    .selectFrom('oauth_grant')
    .select(['oauth_grant.id', 'oauth_grant.name', 'oauth_grant.provider', 'oauth_grant.state'])
    .where((where) => isOne(where));
  return (await (db.dialect.kind === 'mysql' ? query.forUpdate() : query).executeTakeFirst()) ?? null;
}

/** Makes the mailboxes of a grant due immediately, and clears their failures. */
export async function makeGrantDue(db: SqlExecutor, name: string): Promise<void> {
  const rows = await db
    .selectFrom('mailboxes')
    .select('id')
    .where('grant_name', '=', name)
    .where('auth', '=', 'oauth')
    .orderBy('id')
    .execute();
  await resetSchedule(
    db,
    rows.map((row) => row.id),
  );
}

export async function storeConsent(db: SqlExecutor, consent: Consent): Promise<Grant> {
  const { id, name, provider, account, refresh, by } = consent;
  assertStorable('name', name);
  assertStorable('provider', provider);
  if (account !== null) assertStorable('account', account);
  await inTransaction(db, async (transaction) => {
    await lockSwitchForWrite(transaction, refresh.switchRevision);
    const before = await lockGrant(transaction, (where) => where('oauth_grant.name', '=', name));
    if (before !== null && (before.name !== name || before.provider !== provider)) throw taken(name);
    if (before !== null && before.id !== (id ?? before.id)) throw replaced(name);
    if (before === null)
      await transaction
        .insertInto('oauth_grant')
        .values({ ...(id === undefined ? {} : { id }), name, provider } as never)
        .execute();
    await writeConsent(transaction, consent, before?.state === 'ready');
    if (before !== null) await transaction.deleteFrom('oauth_access').where('grant_id', '=', before.id).execute();
    await makeGrantDue(transaction, name);
    await addAudit(transaction, [auditOf('oauth.consented', account === null ? name : `${name}: ${account}`, by)]);
  });
  const grant = await grantByName(db, name);
  if (grant === null) throw new Failure('not_found', `grant ${name} was removed meanwhile`);
  return grant;
}

async function writeConsent(db: SqlExecutor, consent: Consent, wasReady: boolean): Promise<void> {
  const { now } = db.dialect;
  await withTokenColumns(consent.refresh, ({ bytes, form, keyId }) =>
    db
      .updateTable('oauth_grant')
      .set({ ...readyColumns(wasReady, db.dialect), flow: 'person', account: consent.account })
      .set({ scope: scopeColumn(consent.scope), refresh: bytes, refresh_form: form, refresh_key_id: keyId })
      .set({ renewed_at: now, consented_at: now, consented_by: truncate(consent.by.who, 255) })
      .where('name', '=', consent.name)
      .execute(),
  );
}

/** The token is sealed for another one. */
function replaced(name: string): Failure {
  return new Failure('database_conflict', `grant ${name} was created or replaced meanwhile`);
}

function taken(name: string): Failure {
  const hint = 'Nothing was stored. Choose another name, or remove that grant first: ticketmaild oauth revoke NAME';
  return new Failure('refused', `grant ${name} is one of another provider`, { hint });
}

export async function removeGrant(db: SqlExecutor, name: string, by: AuditActor): Promise<void> {
  await inTransaction(db, async (transaction) => {
    const grant = await lockGrant(transaction, (where) => where('oauth_grant.name', '=', name));
    if (grant?.name !== name) throw notFound(name);
    const mailboxes = await mailboxesOfGrant(transaction, name);
    if (mailboxes.length > 0) throw inUse(name, mailboxes);
    await transaction.deleteFrom('oauth_access').where('grant_id', '=', grant.id).execute();
    await transaction.deleteFrom('oauth_grant').where('id', '=', grant.id).execute();
    await addAudit(transaction, [auditOf('oauth.removed', name, by)]);
  });
}

export async function revokeGrant(db: SqlExecutor, name: string, by: AuditActor): Promise<'removed' | 'needs_consent'> {
  return await inTransaction(db, async (transaction) => {
    const grant = await lockGrant(transaction, (where) => where('oauth_grant.name', '=', name));
    if (grant?.name !== name) throw notFound(name);
    await transaction.deleteFrom('oauth_access').where('grant_id', '=', grant.id).execute();
    await addAudit(transaction, [auditOf('oauth.revoked', name, by)]);
    if ((await mailboxesOfGrant(transaction, name)).length === 0) {
      await transaction.deleteFrom('oauth_grant').where('id', '=', grant.id).execute();
      return 'removed';
    }
    await transaction
      .updateTable('oauth_grant')
      .set({ refresh: null, refresh_form: 'plain', refresh_key_id: null, asked_at: null, retry_at: never })
      .set({ state: 'needs_consent', state_since: db.dialect.now })
      .set({ error_code: 'revoked', error_message: errorMessageColumn(`revoked by ${by.who}`) })
      .where('id', '=', grant.id)
      .execute();
    return 'needs_consent';
  });
}

function notFound(name: string): Failure {
  return new Failure('not_found', `There is no grant named ${JSON.stringify(name)}.`);
}

function inUse(name: string, [first, ...others]: readonly string[]): Failure {
  const rest = others.length === 0 ? ' is' : ` and ${others.length} more are`;
  const hint = 'Give these mailboxes a password or another grant, or remove them, then repeat.';
  return new Failure('refused', `mailbox ${first}${rest} opened by grant ${name}`, { hint });
}
