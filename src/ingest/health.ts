/**
 * Whether the daemon can do its job, as `/readyz` and `check` tell it.
 *
 * A check is `ok`, `failing` (with reason and hint), `waiting` (a mailbox for want of a key) or `unknown`; each says since
 * when. The daemon is ready when database and scheduler are ok, no key is wanting, and not every active mailbox fails or
 * waits: one bad mailbox is shown, and does not make the whole not ready, nor does a key file that vanished while the keys
 * are in memory. Facts come from the loop (last wake, database) and the vault; the mailboxes are read when somebody asks.
 */
import type { Failure } from '../errors.ts';
import { isInvalid, type Mailbox, type MailboxHealth } from './mailbox.ts';
import type { Clock, MailboxStore } from './ports.ts';

export type Check = {
  readonly status: 'ok' | 'failing' | 'waiting' | 'unknown';
  /** ISO 8601, UTC; null where that is not known. */
  readonly since: string | null;
  readonly reason: string | null;
  readonly hint: string | null;
};

export type MailboxCheck = Check & {
  readonly mailbox: string;
  readonly last_success: string | null;
  readonly next_poll: string | null;
};

export type Readiness = {
  readonly ready: boolean;
  readonly checks: {
    readonly database: Check;
    readonly scheduler: Check & { readonly lag_ms: number | null };
    readonly vault: Check & { readonly state: string; readonly key_ids: readonly string[] };
    readonly switch: Check & { readonly state: string; readonly revision: number };
    readonly mailboxes: Check & {
      readonly ok: number;
      readonly failing: number;
      /** Cannot be opened for want of a key. */
      readonly waiting: number;
      readonly paused: number;
      readonly list: readonly MailboxCheck[];
    };
  };
};

/** What the vault tells about itself; `wants` is true when passwords cannot be opened. */
export type EncryptionChecks = Pick<Readiness['checks'], 'vault' | 'switch'> & { readonly wants: boolean };

/** What the loop tells about itself. */
export interface Vitals {
  /** The loop has woken and asked the database. */
  woke(): void;
  /** null: the database answered. True when that is news. */
  database(failure: Failure | null): boolean;
  /** How the last visit to a mailbox went here; null: well. It counts even when it could not be written down. */
  visited(mailboxId: string, failure: Failure | null): void;
}

/** A mailbox that nobody could finish a visit to for so long after it was due is in trouble, whatever the reason. */
const overdueMsMax = 15 * 60_000;

type Trouble = { readonly failure: Failure; readonly sinceMs: number; readonly atMs: number };

const waitingHint = 'Put the key file with that key back from its backup, or set the password anew.';

/** A wake that is later than this means that the loop does not turn. */
const lagMsMax = 15_000;

/** Vitals to be told, and the readiness that follows from them. */
export function createHealth(
  clock: Clock,
  store: Pick<MailboxStore, 'listMailboxes'>,
  encryption: () => EncryptionChecks,
): Vitals & { readiness(): Promise<Readiness> } {
  let wokeAtMs: number | null = null;
  let firstWokeAtMs: number | null = null;
  const troubles = new Map<string, Trouble>();
  let database: Check = { status: 'unknown', since: null, reason: 'not asked yet', hint: null };
  return {
    woke: () => {
      wokeAtMs = clock.nowMs();
      firstWokeAtMs ??= wokeAtMs;
    },
    database: (failure) => {
      const next = failure === null ? ok(clock.nowMs()) : failing(failure, clock.nowMs());
      const before = database;
      const isChange = next.status !== before.status || next.reason !== before.reason;
      if (isChange) database = next;
      // That a database answers at the start is what everybody expects.
      const isNews = isChange && !(before.status === 'unknown' && next.status === 'ok');
      return isNews;
    },
    visited: (mailboxId, failure) => {
      if (failure === null) troubles.delete(mailboxId);
      else {
        const atMs = clock.nowMs();
        troubles.set(mailboxId, { failure, sinceMs: troubles.get(mailboxId)?.sinceMs ?? atMs, atMs });
      }
    },
    readiness: async () => {
      const { wants, ...vaultAndSwitch } = encryption();
      const mailboxes =
        database.status === 'ok'
          ? await mailboxChecks(store, { troubles, vault: vaultAndSwitch.vault, nowMs: clock.nowMs() })
          : noMailboxes;
      const scheduler = schedulerCheck(wokeAtMs, firstWokeAtMs, clock.nowMs());
      const blind = mailboxes.failing + mailboxes.waiting > 0 && mailboxes.ok === 0;
      return {
        ready: database.status === 'ok' && scheduler.status === 'ok' && !wants && !blind,
        checks: { database, scheduler, ...vaultAndSwitch, mailboxes },
      };
    },
  };
}

function ok(sinceMs: number | null): Check {
  return { status: 'ok', since: iso(sinceMs), reason: null, hint: null };
}

function failing(failure: Failure, sinceMs: number): Check {
  return { status: 'failing', since: iso(sinceMs), reason: `${failure.code}: ${failure.message}`, hint: failure.hint };
}

function iso(atMs: number | null): string | null {
  return atMs === null ? null : new Date(atMs).toISOString();
}

function schedulerCheck(
  wokeAtMs: number | null,
  sinceMs: number | null,
  nowMs: number,
): Check & { lag_ms: number | null } {
  if (wokeAtMs === null) return { status: 'unknown', since: null, reason: 'starting', hint: null, lag_ms: null };
  const lagMs = Math.max(0, nowMs - wokeAtMs);
  if (lagMs <= lagMsMax) return { ...ok(sinceMs), lag_ms: lagMs };
  const reason = `no wake for ${Math.round(lagMs / 1000)} s`;
  return {
    status: 'failing',
    since: iso(wokeAtMs),
    reason,
    hint: 'The process is stuck or starved: see its CPU use and log.',
    lag_ms: lagMs,
  };
}

const noMailboxes: Readiness['checks']['mailboxes'] = {
  status: 'unknown',
  since: null,
  reason: 'the database does not answer',
  hint: null,
  ok: 0,
  failing: 0,
  waiting: 0,
  paused: 0,
  list: [],
};

type MailboxFacts = {
  readonly troubles: ReadonlyMap<string, Trouble>;
  readonly vault: Readiness['checks']['vault'];
  readonly nowMs: number;
};

async function mailboxChecks(
  store: Pick<MailboxStore, 'listMailboxes'>,
  facts: MailboxFacts,
): Promise<Readiness['checks']['mailboxes']> {
  const all = await store.listMailboxes().catch(() => null);
  if (all === null) return noMailboxes;
  const active = all.filter((mailbox) => mailbox.state === 'active' || isInvalid(mailbox));
  const list = active.map((mailbox) => mailboxCheck(mailbox, facts));
  const of = (status: Check['status']) => list.filter((check) => check.status === status);
  const [failed, waiting] = [of('failing'), of('waiting')];
  const counts = {
    ok: list.length - failed.length - waiting.length,
    failing: failed.length,
    waiting: waiting.length,
    paused: all.length - list.length,
    list,
  };
  const first = failed[0] ?? waiting[0];
  if (first === undefined) return { status: 'ok', since: null, reason: null, hint: null, ...counts };
  const reason = [
    failed.length > 0 ? `${failed.length} of ${list.length} fail` : '',
    waiting.length > 0 ? `${waiting.length} of ${list.length} wait for a key` : '',
  ];
  const { since, hint } = first;
  return { status: 'failing', since, reason: reason.filter((part) => part !== '').join(', '), hint, ...counts };
}

function mailboxCheck(
  { id, name, health }: Mailbox & { health: MailboxHealth },
  { troubles, vault, nowMs }: MailboxFacts,
): MailboxCheck {
  const { lastError, failures, lastSuccessAtMs, nextPollAtMs, password } = health;
  const times = { mailbox: name, last_success: iso(lastSuccessAtMs), next_poll: iso(nextPollAtMs) };
  if (password.form === 'sealed' && password.keyId !== null && !vault.key_ids.includes(password.keyId)) {
    const reason = `waiting: its password is sealed by key ${password.keyId}, which is not open here`;
    return { status: 'waiting', since: vault.since, reason, hint: vault.hint ?? waitingHint, ...times };
  }
  const trouble = troubles.get(id);
  // A success that is newer was another worker's.
  if (trouble !== undefined && trouble.atMs >= (lastSuccessAtMs ?? 0))
    return { ...failing(trouble.failure, trouble.sinceMs), ...times };
  if (failures > 0 && lastError !== null) {
    const reason = `${lastError.code}: ${lastError.message}`;
    return { status: 'failing', since: iso(lastError.atMs), reason, hint: lastError.hint, ...times };
  }
  if (nextPollAtMs !== null && nowMs - nextPollAtMs > overdueMsMax) {
    const reason = 'overdue: it was due, and no visit has been finished since';
    const hint = 'A visit is taking very long, or all places are taken: see the log and [poll] concurrency_max.';
    return { status: 'failing', since: iso(nextPollAtMs), reason, hint, ...times };
  }
  return { ...ok(null), ...times };
}
