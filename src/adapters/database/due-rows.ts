/**
 * The schedule: how it has a mailbox, which of them wait no longer, and whether the rows of those that rest have changed.
 *
 * Due times go by the database's clock.
 */
import type { DueMailbox, WatchedRow } from '../../ingest/stores.ts';
import type { DialectWords } from './dialect-words.ts';
import { shortColumn } from './mailbox-rows.ts';
import { portions } from './portions.ts';
import type { Connected } from './tables.ts';
import { fromDatabaseTime } from './times.ts';
import { aheadMsMax } from './worker-rows.ts';

/** How the schedule has one mailbox, due or not. */
export async function scheduleOf(
  db: Connected,
  words: DialectWords,
  mailboxId: string,
): Promise<DueMailbox['due'] | null> {
  const row = await scheduled(db, words).where('mailbox_state.mailbox_id', '=', mailboxId).executeTakeFirst();
  return row === undefined ? null : dueOf(row);
}

export function scheduled(db: Connected, words: DialectWords) {
  return db
    .selectFrom('mailbox_state')
    .innerJoin('mailboxes', 'mailboxes.id', 'mailbox_state.mailbox_id')
    .select(shortColumn('changed_at'))
    .select(['next_poll_at', 'failures', 'login_refusals', 'refused_version', 'lease_epoch', words.now.as('now')]);
}

type ScheduledRow = Awaited<ReturnType<ReturnType<typeof scheduled>['execute']>>[number];

export function dueOf(row: ScheduledRow): DueMailbox['due'] {
  const overdueMs = fromDatabaseTime(row.now) - fromDatabaseTime(row.next_poll_at);
  return {
    overdueMs: Number.isNaN(overdueMs) ? 0 : Math.max(0, overdueMs),
    failures: row.failures,
    loginRefusals: row.refused_version === row.changed_at ? row.login_refusals : 0,
    version: row.changed_at,
    epoch: row.lease_epoch,
  };
}

/** The name of a host is compared as it is written. */
export async function hurry(
  db: Connected,
  words: DialectWords,
  codes: readonly string[],
  host?: string,
): Promise<void> {
  const all = db
    .selectFrom('mailbox_state')
    .innerJoin('mailboxes', 'mailboxes.id', 'mailbox_state.mailbox_id')
    .select('mailbox_state.mailbox_id');
  const rows = await (host === undefined ? all : all.where('mailboxes.host', '=', host))
    .where('mailbox_state.last_error_code', 'in', codes)
    .where('mailbox_state.next_poll_at', '>', words.now)
    .execute();
  for (const ids of portions(rows.map((row) => row.mailbox_id))) {
    await db
      .updateTable('mailbox_state')
      .set({ next_poll_at: words.now })
      .where('mailbox_id', 'in', ids)
      .where('last_error_code', 'in', codes)
      .execute();
  }
}

export async function hurryAll(db: Connected, words: DialectWords): Promise<void> {
  await db
    .updateTable('mailbox_state')
    .set({ next_poll_at: words.now })
    .where('next_poll_at', '>', words.now)
    .where('failures', '=', 0)
    .execute();
  await waitAnew(db, words);
}

/** Those that failed at a time that is yet to come: each waits as long as it was to wait then, from now on. */
async function waitAnew(db: Connected, words: DialectWords): Promise<void> {
  const rows = await db
    .selectFrom('mailbox_state')
    .select(['mailbox_id', 'next_poll_at', 'last_error_at'])
    .where('failures', '>', 0)
    .where('last_error_at', '>', words.now)
    .execute();
  for (const { mailbox_id: id, next_poll_at: nextPollAt, last_error_at: failedAt } of rows) {
    const waitMs = fromDatabaseTime(nextPollAt) - fromDatabaseTime(failedAt ?? '');
    // Another worker may have done it, or visited it, meanwhile.
    await db
      .updateTable('mailbox_state')
      .set({ next_poll_at: words.nowPlus(Math.max(waitMs || 0, 0)), last_error_at: words.now })
      .where('mailbox_id', '=', id)
      .where('last_error_at', '=', failedAt)
      .execute();
  }
}

/** The longest pause of [poll] login_pause_h (config/settings.ts), and a day: no mailbox that failed waits longer. */
const pauseMsMax = 31 * 86_400_000;

/**
 * What was put off by a clock that ran ahead, and has been set right since. Who failed tells when, so that each begins its
 * wait anew; who did not fail waits for its own interval at most. A visit too many does no harm.
 */
export async function hurryStranded(db: Connected, words: DialectWords, intervalMs: number): Promise<void> {
  await waitAnew(db, words);
  const rows = await db
    .selectFrom('mailbox_state')
    .innerJoin('mailboxes', 'mailboxes.id', 'mailbox_state.mailbox_id')
    .select(['mailbox_id', 'next_poll_at', 'failures', 'poll_interval_ms', words.now.as('now')])
    .where('next_poll_at', '>', words.now)
    .execute();
  const stranded = rows.filter((row) => {
    const waitMs = fromDatabaseTime(row.next_poll_at) - fromDatabaseTime(row.now);
    return !(waitMs <= aheadMsMax + (row.failures > 0 ? pauseMsMax : (row.poll_interval_ms ?? intervalMs)));
  });
  for (const ids of portions(stranded.map((row) => row.mailbox_id)))
    await db.updateTable('mailbox_state').set({ next_poll_at: words.now }).where('mailbox_id', 'in', ids).execute();
}

export async function watchedRows(
  db: Connected,
  mailboxIds: readonly string[],
): Promise<ReadonlyMap<string, WatchedRow>> {
  const found = new Map<string, WatchedRow>();
  for (const ids of portions(mailboxIds)) {
    const rows = await db
      .selectFrom('mailboxes')
      .select(['mailboxes.id', shortColumn('changed_at'), shortColumn('state')])
      .where('mailboxes.id', 'in', ids)
      .execute();
    for (const row of rows) found.set(row.id, { version: row.changed_at, isActive: row.state === 'active' });
  }
  return found;
}
