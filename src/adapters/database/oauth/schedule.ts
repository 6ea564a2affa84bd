/**
 * Renewal schedule in SQL: which access tokens are due, when the next one is, and which ones no mailbox uses any more.
 *
 * A token is renewed for active mailboxes; the grant of a person also weekly without any, because providers end refresh
 * tokens that are not used for months. Rows that another program damaged are left out: they never crowd the list. A
 * token that a worker renews just now is not due.
 */
import { type ExpressionBuilder, type SqlBool, sql } from 'kysely';
import type { AccessUse } from '../../../oauth/model.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { compareTexts, fromDatabaseTime, type SqlExecutor, type Tables, toDatabaseTime } from '../sql/tables.ts';
import { mailboxesOf } from './grants.ts';
import { isClaimed } from './renewals.ts';

type DueRenewal = { readonly name: string; readonly use: AccessUse };
type Dated<T> = T & { readonly at: string };
type GrantWhere = ExpressionBuilder<Tables, 'oauth_grant'>;

const weekMs = 604_800_000;
/** A wait beyond it ends with a person's consent, not with time. */
const waitMsMax = 31_536_000_000;

export async function dueRenewals(db: SqlExecutor, limit: number): Promise<readonly DueRenewal[]> {
  const renewals = [...(await usedRenewals(db, limit, true)), ...(await weeklyRenewals(db, limit, true))];
  return renewals
    .sort((a, b) => compareTexts(a.at, b.at))
    .slice(0, limit)
    .map(({ name, use }) => ({ name, use }));
}

export async function nextRenewalInMs(db: SqlExecutor): Promise<number | null> {
  const renewals = [...(await usedRenewals(db, 1, false)), ...(await weeklyRenewals(db, 1, false))];
  const retry = await nextRetry(db);
  const times = [...renewals.map(({ at }) => at), ...(retry === null ? [] : [retry])].map(fromDatabaseTime);
  if (times.length === 0) return null;
  const { rows } = await sql<{ now: string }>`select ${db.dialect.now} as now`.execute(db);
  return Math.max(0, Math.min(...times) - fromDatabaseTime(rows[0]?.now ?? ''));
}

/** The first tokens of active mailboxes, by the time of their renewal. */
async function usedRenewals(db: SqlExecutor, limit: number, isDue: boolean): Promise<readonly Dated<DueRenewal>[]> {
  const query = db
    .selectFrom('oauth_access')
    .innerJoin('oauth_grant', 'oauth_grant.id', 'oauth_access.grant_id')
    .select(['oauth_grant.name', 'grant_id', 'username', 'renew_at'])
    .where('renew_at', 'is not', null)
    .where((where) => mayAsk(where, db.dialect))
    .where((where) => sql<SqlBool>`not ${isClaimed(where, db.dialect)}`)
    .where((where) => isUsed(where, db.dialect))
    .orderBy('renew_at')
    .limit(limit);
  const rows = await (isDue ? query.where('renew_at', '<=', db.dialect.now) : query).execute();
  return rows.map(({ name, grant_id: grantId, username, renew_at: at }) => ({
    ...{ name, use: { grantId, username } },
    at: at ?? '',
  }));
}

/** The first grants of persons without an active mailbox, by the end of their week. */
async function weeklyRenewals(db: SqlExecutor, limit: number, isDue: boolean): Promise<readonly Dated<DueRenewal>[]> {
  const lastUse = sql<string>`coalesce(oauth_grant.renewed_at, oauth_grant.consented_at, oauth_grant.created_at)`;
  const query = db
    .selectFrom('oauth_grant')
    .select(['oauth_grant.id', 'oauth_grant.name', lastUse.as('last_use')])
    .where('flow', '=', 'person')
    .where(sql<SqlBool>`octet_length(oauth_grant.refresh) > 0`)
    .where((where) => mayAsk(where, db.dialect))
    .where((where) => sql<SqlBool>`${activeMailboxesOf(where).limit(1)} is null`)
    .where((where) =>
      where.not(
        where.exists(
          where
            .selectFrom('oauth_access')
            .select('version')
            .whereRef('grant_id', '=', 'oauth_grant.id')
            .where('username', '=', '')
            .where((access) => isClaimed(access, db.dialect)),
        ),
      ),
    )
    .orderBy(lastUse)
    .limit(limit);
  const rows = await (isDue ? query.where(lastUse, '<=', db.dialect.nowPlus(-weekMs)) : query).execute();
  return rows.map(({ id, name, last_use: lastUsedAt }) => ({
    ...{ name, use: { grantId: id, username: '' } },
    at: toDatabaseTime(fromDatabaseTime(lastUsedAt) + weekMs),
  }));
}

/** When the next grant may be asked again that an active mailbox uses; null: none waits for a time. */
async function nextRetry(db: SqlExecutor): Promise<string | null> {
  const row = await db
    .selectFrom('oauth_grant')
    .select((grant) => grant.fn.min('retry_at').as('at'))
    .where('retry_at', '>', db.dialect.now)
    .where('retry_at', '<', db.dialect.nowPlus(waitMsMax))
    .where((where) => sql<SqlBool>`${activeMailboxesOf(where).limit(1)} is not null`)
    .executeTakeFirst();
  return row?.at ?? null;
}

/** A valid grant whose provider may be asked now. */
function mayAsk(where: GrantWhere, dialect: SqlDialect) {
  return where.and([
    where('oauth_grant.flow', 'in', ['application', 'service_account', 'person']),
    where('oauth_grant.state', 'in', ['ready', 'needs_consent', 'refused']),
    where.or([where('oauth_grant.retry_at', 'is', null), where('oauth_grant.retry_at', '<=', dialect.now)]),
  ]);
}

function activeMailboxesOf(where: GrantWhere) {
  return mailboxesOf(where).where('mailboxes.state', '=', 'active').select('mailboxes.id');
}

/**
 * True for a token that opens an active mailbox: any of its grant, or the one with its user name, in any case. Scalar
 * subqueries, because MariaDB joins those of EXISTS in an order that compares all tokens with all mailboxes.
 */
function isUsed(where: ExpressionBuilder<Tables, 'oauth_grant' | 'oauth_access'>, dialect: SqlDialect) {
  const users = activeMailboxesOf(where as unknown as GrantWhere).limit(1);
  const caseless = sql.raw(dialect.kind === 'mysql' ? 'utf8mb4_unicode_ci' : 'nocase');
  const named = users.where(sql<SqlBool>`mailboxes.username = oauth_access.username collate ${caseless}`);
  return sql<SqlBool>`(case when oauth_access.username = '' then ${users} else ${named} end) is not null`;
}

/** Compared here: a token for each of thousands of mailboxes would make the database compare all with all. */
export async function forgetUnusedAccess(db: SqlExecutor): Promise<number> {
  const tokens = await db
    .selectFrom('oauth_access')
    .leftJoin('oauth_grant', 'oauth_grant.id', 'oauth_access.grant_id')
    .select(['grant_id', 'oauth_access.username', 'oauth_grant.name'])
    .execute();
  if (tokens.length === 0) return 0;
  const used = await usedNames(db);
  const unused = tokens.filter(({ name, username }) => name === null || !used.has(useKey(name, username)));
  let count = 0;
  for (const { grant_id: grantId, username } of unused) {
    const { numDeletedRows } = await db
      .deleteFrom('oauth_access')
      .where('grant_id', '=', grantId)
      .where('username', '=', username)
      .where((where) => sql<SqlBool>`not ${isClaimed(where, db.dialect)}`)
      .executeTakeFirst();
    count += Number(numDeletedRows);
  }
  return count;
}

async function usedNames(db: SqlExecutor): Promise<ReadonlySet<string>> {
  const rows = await db
    .selectFrom('mailboxes')
    .select(['grant_name', sql<string>`substr(mailboxes.username, 1, 321)`.as('username')])
    .where('auth', '=', 'oauth')
    .where('grant_name', 'is not', null)
    .where('state', '<>', 'removing')
    .execute();
  return new Set(
    rows.flatMap(({ grant_name: name, username }) => [useKey(name ?? '', ''), useKey(name ?? '', username)]),
  );
}

function useKey(name: string, username: string): string {
  return JSON.stringify([name, username.toLowerCase()]);
}
