/**
 * Due queue in SQL with fair shares: the longest overdue mailboxes first, without starvation by failing ones.
 *
 * A plain list of the longest overdue would fill up with mailboxes that cannot be polled, which stay the longest
 * overdue. Failing and healthy mailboxes therefore share the list: half each, and the free part of one goes to the
 * other. A server with very many due mailboxes (it hangs, or its limit is reached) is excluded from a further query, so
 * that it cannot take a whole share. Servers with an open circuit breaker are excluded from the start.
 */
import { type SqlBool, sql } from 'kysely';
import { type Endpoint, endpointKey } from '../../../ingest/poll/server-failures.ts';
import type { WaitingMailbox } from '../../../ingest/polling-policy.ts';
import type { DueMailbox, MailboxVersion, ScheduleStore } from '../../../ingest/stores.ts';
import { lacksOpenKey, listedColumns, type MailboxWhere, mailboxColumn } from '../rows/mailbox-columns.ts';
import { mailboxOrNull } from '../rows/mailboxes.ts';
import { clockSkewMsMax } from '../rows/workers.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { bindDatabase, chunks, rowsInChunks } from '../sql/statements.ts';
import { compareTexts, fromDatabaseTime, type SqlExecutor } from '../sql/tables.ts';
import { isLeaseExpired } from './leases.ts';

type DueQuery = {
  readonly limit: number;
  readonly keyIds: readonly string[];
  readonly loginFailuresMax: number;
  /** Servers with an open circuit breaker. */
  readonly excludedServers: readonly Endpoint[];
};

/** `at` is the text of the column, which sorts as in the table. */
type Candidate = { readonly mailbox: DueMailbox; readonly at: string };

/** Queries per share; a second one runs only when a server crowds the list. */
const queriesMax = 4;
/** A server with more than this part of a list is excluded from the next query. */
const crowdDivisor = 4;
/** Servers that one statement excludes. */
const excludedMax = 100;

export function scheduleStore(db: SqlExecutor): ScheduleStore {
  return bindDatabase(db, {
    dueMailboxes,
    scheduleOf,
    makeDue,
    makeAllDue,
    makeStrandedDue,
    mailboxVersions,
  });
}

async function dueMailboxes(
  db: SqlExecutor,
  limit: number,
  keyIds: readonly string[],
  loginFailuresMax: number,
  excludedServers: readonly Endpoint[] = [],
): Promise<readonly DueMailbox[]> {
  const query = { limit, keyIds, loginFailuresMax, excludedServers };
  const healthy = await candidates(db, query, false, limit);
  const failingMax = Math.max(Math.floor(limit / 2), limit - healthy.length);
  const failing = shared(await candidates(db, query, true, failingMax), failingMax);
  const chosen = [...shared(healthy, limit - failing.length), ...failing];
  return chosen.sort(byAge).map(({ mailbox }) => mailbox);
}

/** Failing or healthy mailboxes: the `limit` longest overdue of all, and of the servers that do not crowd the list. */
async function candidates(
  db: SqlExecutor,
  query: DueQuery,
  isFailing: boolean,
  limit: number,
): Promise<readonly Candidate[]> {
  const found = new Map<string, Candidate>();
  let excludedServers = query.excludedServers.slice(0, excludedMax);
  for (let count = 0; count < queriesMax && limit > 0; count += 1) {
    const some = await longestDue(db, { ...query, excludedServers }, isFailing, limit);
    for (const candidate of some) found.set(candidate.mailbox.id, candidate);
    const crowds = some.length < limit ? [] : crowdsOf(some, limit);
    if (crowds.length === 0) break;
    excludedServers = [...excludedServers, ...crowds];
  }
  return [...found.values()];
}

/** Skips invalid rows, however many of them are the longest overdue. */
async function longestDue(
  db: SqlExecutor,
  query: DueQuery,
  isFailing: boolean,
  limit: number,
): Promise<readonly Candidate[]> {
  const found = new Map<string, Candidate>();
  for (let offset = 0; found.size < limit; offset += limit) {
    const rows = await duePage(db, query, isFailing).limit(limit).offset(offset).execute();
    for (const row of rows) {
      const mailbox = mailboxOrNull(row);
      if (mailbox !== null) found.set(mailbox.id, { mailbox: { ...mailbox, due: dueOf(row) }, at: row.next_poll_at });
    }
    if (rows.length < limit) break;
  }
  return [...found.values()].slice(0, limit);
}

function duePage(db: SqlExecutor, query: DueQuery, isFailing: boolean) {
  const { keyIds, loginFailuresMax, excludedServers } = query;
  const due = scheduled(db)
    .select(listedColumns)
    .where('mailboxes.state', '=', 'active')
    .where((where) => where.or([where('lease_owner', 'is', null), isLeaseExpired(where, db.dialect)]))
    .where((where) => where.not(lacksOpenKey(where as unknown as MailboxWhere, keyIds)))
    .where((where) =>
      where.or([
        where('retry_requested_at', 'is not', null),
        where.and([
          sql<SqlBool>`not ${isGrantEnded(db.dialect)}`,
          ...excludedServers.map((server) => where.not(isAt(server, db.dialect))),
        ]),
      ]),
    )
    .orderBy('mailbox_state.next_poll_at')
    .orderBy('mailbox_state.mailbox_id');
  if (!isFailing) return due.where('failures', '=', 0).where('mailbox_state.next_poll_at', '<=', db.dialect.now);
  return due
    .where('failures', '<>', 0)
    .where((where) =>
      where.or([
        where('mailbox_state.next_poll_at', '<=', db.dialect.now),
        where.and([
          where('login_failures', '>=', loginFailuresMax),
          where('login_failed_version', '<>', where.ref('mailboxes.changed_at')),
        ]),
      ]),
    );
}

/** True for a mailbox whose grant needs a person or is refused, until the next try. Costs nothing for a password. */
function isGrantEnded(dialect: SqlDialect) {
  return sql<SqlBool>`(mailboxes.auth = 'oauth' and exists(select 1 from oauth_grant
    where oauth_grant.name = mailboxes.grant_name and oauth_grant.state <> 'ready'
      and oauth_grant.retry_at > ${dialect.now}))`;
}

/** Compares the host byte by byte: the collation would equate different names. */
function isAt({ host, port, tls }: Endpoint, dialect: SqlDialect) {
  const name = dialect.kind === 'mysql' ? sql`cast(mailboxes.host as binary)` : sql`mailboxes.host`;
  return sql<SqlBool>`(${name} = ${host} and mailboxes.port = ${port} and mailboxes.tls_mode = ${tls})`;
}

/** Servers with more than their part of a list of `limit`. */
function crowdsOf(candidates: readonly Candidate[], limit: number): readonly Endpoint[] {
  const crowds = Map.groupBy(candidates, serverOf)
    .values()
    .filter((crowd) => crowd.length > limit / crowdDivisor);
  return crowds.flatMap(([first]) => (first === undefined ? [] : [first.mailbox.connection])).toArray();
}

/** At most `limit`, by age. Of more, each server gets its part first, and the rest goes by age alone. */
function shared(candidates: readonly Candidate[], limit: number): readonly Candidate[] {
  const counts = new Map<string, number>();
  const [parts, rest]: [Candidate[], Candidate[]] = [[], []];
  for (const candidate of candidates.toSorted(byAge)) {
    const count = (counts.get(serverOf(candidate)) ?? 0) + 1;
    counts.set(serverOf(candidate), count);
    (count <= Math.max(1, limit / crowdDivisor) ? parts : rest).push(candidate);
  }
  return [...parts, ...rest].slice(0, limit);
}

function serverOf({ mailbox: { connection } }: Candidate): string {
  return endpointKey(connection);
}

function byAge(a: Candidate, b: Candidate): number {
  return compareTexts(a.at, b.at) || compareTexts(a.mailbox.id, b.mailbox.id);
}

/* Changes of the schedule. Due times use the clock of the database. */

/** The schedule of one mailbox, due or not. */
async function scheduleOf(db: SqlExecutor, mailboxId: string): Promise<DueMailbox['due'] | null> {
  const row = await scheduled(db).where('mailbox_state.mailbox_id', '=', mailboxId).executeTakeFirst();
  return row === undefined ? null : dueOf(row);
}

function scheduled(db: SqlExecutor) {
  return db
    .selectFrom('mailbox_state')
    .innerJoin('mailboxes', 'mailboxes.id', 'mailbox_state.mailbox_id')
    .select(mailboxColumn('changed_at'))
    .select([
      'next_poll_at',
      'retry_requested_at',
      'failures',
      'login_failures',
      'login_failed_version',
      'lease_epoch',
      db.dialect.now.as('now'),
    ]);
}

type ScheduledRow = Awaited<ReturnType<ReturnType<typeof scheduled>['execute']>>[number];

function dueOf(row: ScheduledRow): DueMailbox['due'] {
  const overdueMs = fromDatabaseTime(row.now) - fromDatabaseTime(row.next_poll_at);
  const { now, retry_requested_at: requestedAt } = row;
  return {
    overdueMs: Number.isNaN(overdueMs) ? 0 : Math.max(0, overdueMs),
    retryRequestedMs: requestedAt === null ? null : Math.max(0, fromDatabaseTime(now) - fromDatabaseTime(requestedAt)),
    failures: row.failures,
    loginFailures: row.login_failed_version === row.changed_at ? row.login_failures : 0,
    version: row.changed_at,
    epoch: row.lease_epoch,
  };
}

/** Makes mailboxes due that wait after a failure with one of `codes`. */
async function makeDue(db: SqlExecutor, codes: readonly string[], host?: string): Promise<void> {
  const all = db
    .selectFrom('mailbox_state')
    .innerJoin('mailboxes', 'mailboxes.id', 'mailbox_state.mailbox_id')
    .select('mailbox_state.mailbox_id');
  const rows = await (host === undefined ? all : all.where('mailboxes.host', '=', host))
    .where('mailbox_state.last_error_code', 'in', codes)
    .where('mailbox_state.next_poll_at', '>', db.dialect.now)
    .execute();
  for (const ids of chunks(rows.map((row) => row.mailbox_id))) {
    await db
      .updateTable('mailbox_state')
      .set({ next_poll_at: db.dialect.now })
      .where('mailbox_id', 'in', ids)
      .where('last_error_code', 'in', codes)
      .execute();
  }
}

async function makeAllDue(db: SqlExecutor): Promise<void> {
  await db
    .updateTable('mailbox_state')
    .set({ next_poll_at: db.dialect.now })
    .where('next_poll_at', '>', db.dialect.now)
    .where('failures', '=', 0)
    .execute();
  await restartBackoff(db);
}

/** Failures in the future (the clock was set back): the same wait starts again now. */
async function restartBackoff(db: SqlExecutor): Promise<void> {
  const rows = await db
    .selectFrom('mailbox_state')
    .select(['mailbox_id', 'next_poll_at', 'last_error_at'])
    .where('failures', '>', 0)
    .where('last_error_at', '>', db.dialect.now)
    .execute();
  for (const { mailbox_id: id, next_poll_at: nextPollAt, last_error_at: failedAt } of rows) {
    const waitMs = fromDatabaseTime(nextPollAt) - fromDatabaseTime(failedAt ?? '');
    // Another worker may have done the same, or polled the mailbox, meanwhile.
    await db
      .updateTable('mailbox_state')
      .set({ next_poll_at: db.dialect.nowPlus(Math.max(waitMs || 0, 0)), last_error_at: db.dialect.now })
      .where('mailbox_id', '=', id)
      .where('last_error_at', '=', failedAt)
      .execute();
  }
}

/**
 * Makes due what a clock that ran ahead has put off. A failed mailbox starts its wait again, as its row says when that
 * began; any other one is due when it waits longer than `longestWaitMs`. One poll too many does no harm.
 */
async function makeStrandedDue(db: SqlExecutor, longestWaitMs: (mailbox: WaitingMailbox) => number): Promise<void> {
  await restartBackoff(db);
  const rows = await db
    .selectFrom('mailbox_state')
    .innerJoin('mailboxes', 'mailboxes.id', 'mailbox_state.mailbox_id')
    .select(['mailbox_id', 'next_poll_at', 'failures', 'poll_interval_ms', db.dialect.now.as('now')])
    .where('next_poll_at', '>', db.dialect.now)
    .execute();
  const stranded = rows.filter((row) => {
    const waitMs = fromDatabaseTime(row.next_poll_at) - fromDatabaseTime(row.now);
    return !(
      waitMs <=
      clockSkewMsMax + longestWaitMs({ pollIntervalMs: row.poll_interval_ms, failures: row.failures })
    );
  });
  for (const ids of chunks(stranded.map((row) => row.mailbox_id)))
    await db
      .updateTable('mailbox_state')
      .set({ next_poll_at: db.dialect.now })
      .where('mailbox_id', 'in', ids)
      .execute();
}

async function mailboxVersions(
  db: SqlExecutor,
  mailboxIds: readonly string[],
): Promise<ReadonlyMap<string, MailboxVersion>> {
  const rows = await rowsInChunks(mailboxIds, (ids) =>
    db
      .selectFrom('mailboxes')
      .leftJoin('mailbox_state', 'mailbox_state.mailbox_id', 'mailboxes.id')
      .select(['mailboxes.id', mailboxColumn('changed_at'), mailboxColumn('state'), 'retry_requested_at'])
      .where('mailboxes.id', 'in', ids),
  );
  return new Map(
    rows.map(({ id, changed_at: version, state, retry_requested_at: requestedAt }) => [
      id,
      { version, isActive: state === 'active', isRetried: requestedAt !== null },
    ]),
  );
}
