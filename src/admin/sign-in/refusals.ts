/**
 * Rate-limited reporting of refused requests to audit and log: an attacker can neither flood them nor hide in them.
 *
 * Per person and reason: the first of equal refusals is reported at once, the others of the same minute together with
 * their count, and more than 16 unequal ones as a number. Strangers use no capacity of a signed-in person. The database
 * is never waited for: audit rows that it does not take are dropped, their log lines are not.
 */
import type { Clock } from '../../async/clock.ts';
import type { AuditEntry, EncryptionStore } from '../../encryption/ports.ts';
import { events, type Log } from '../../events.ts';
import type { AuditActor } from '../../ingest/model.ts';
import { adminAudit, pageActor } from '../ports.ts';
import type { AdminService, Refusal, RefusalReason } from '../service.ts';
import { addressGroup } from './limits.ts';

export type RefusalPorts = {
  readonly store: Pick<EncryptionStore, 'audit'>;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly actor: AuditActor;
  readonly log: Log;
};

export type Refusals = Pick<AdminService, 'recordRefusal'> & AsyncDisposable;

const intervalMs = 60_000;
/** Unequal refusals per person, reason and interval that are reported one by one: there are fewer forms and pages. */
const distinctMax = 16;
/** Audit rows per person that wait for the database; more of them are in the log only. */
const pendingMax = 400;
const addressCharacters = 64;

/** No misuse: an outdated link, or an expired session. */
const harmless: ReadonlySet<RefusalReason> = new Set(['not_signed_in', 'not_found', 'method']);

/** Refusals of one reason and person (`who` null: any stranger) within an interval. */
type RefusalGroup = Pick<Refusal, 'reason' | 'who'> & {
  readonly reported: Map<string, { readonly refusal: Refusal; more: number }>;
  /** Beyond `distinctMax`. */
  unreported: number;
};

/** `about` and `address` are null for refusals that are reported as a number. */
type ReportedRefusal = Omit<Refusal, 'about' | 'address'> & {
  readonly about: string | null;
  readonly address: string | null;
};

/** Disposing reports the counts, and waits for the write in progress. */
export function createRefusals(ports: RefusalPorts): Refusals {
  const { clock, log, actor } = ports;
  const stop = new AbortController();
  const writer = createAuditWriter(ports.store);
  const groups = new Map<string, RefusalGroup>();
  let interval: Promise<void> | null = null;
  const report = ({ reason, who, about, address }: ReportedRefusal, more: number): void => {
    const level = harmless.has(reason) ? 'info' : 'warn';
    log[level]({ reason, who, about, address, ...(more > 0 ? { repeated: more } : {}) }, events.adminRefused);
    const where = about === null ? 'elsewhere' : `${about}, ${address}`;
    const detail = `${reason}, ${where}${more > 0 ? `, ${more} more` : ''}`;
    writer.add(adminAudit({ ...actor, who: pageActor(who) }, 'admin.refused', detail));
  };
  const reportCounts = (): void => {
    for (const { reason, who, reported, unreported } of groups.values()) {
      for (const { refusal, more } of reported.values()) if (more > 0) report(refusal, more);
      if (unreported > 0) report({ reason, who, about: null, address: null }, unreported);
    }
    groups.clear();
  };
  const runInterval = async (): Promise<void> => {
    await clock.sleep(intervalMs, stop.signal);
    reportCounts();
    interval = null;
  };
  return {
    recordRefusal(given) {
      const refusal = { ...given, address: given.address.slice(0, addressCharacters) };
      if (!stop.signal.aborted) interval ??= runInterval();
      if (isNew(groupOf(groups, refusal), refusal)) report(refusal, 0);
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await interval;
      reportCounts();
      await writer.ended();
    },
  };
}

function groupOf(groups: Map<string, RefusalGroup>, { reason, who }: Refusal): RefusalGroup {
  const key = JSON.stringify([reason, who]);
  const group = groups.get(key) ?? { reason, who, reported: new Map(), unreported: 0 };
  groups.set(key, group);
  return group;
}

/** Counts it. True: it is the first of its kind, and reported at once. */
function isNew(group: RefusalGroup, refusal: Refusal): boolean {
  const { reported } = group;
  const key = JSON.stringify([refusal.about, addressGroup(refusal.address)]);
  const before = reported.get(key);
  if (before !== undefined) before.more += 1;
  else if (reported.size >= distinctMax) group.unreported += 1;
  else reported.set(key, { refusal, more: 0 });
  return before === undefined && reported.has(key);
}

/** Writes audit rows in the background: one statement at a time, with all pending rows of one person. */
function createAuditWriter(store: RefusalPorts['store']): { add(entry: AuditEntry): void; ended(): Promise<void> } {
  const pendingByActor = new Map<string, AuditEntry[]>();
  let writing: Promise<void> | null = null;
  const write = async (): Promise<void> => {
    for (const [who, entries] of pendingByActor) {
      pendingByActor.delete(who);
      try {
        await store.audit(entries);
      } catch {
        // An unavailable database has a log line of its own.
      }
    }
    writing = null;
  };
  return {
    add(entry) {
      const entries = pendingByActor.get(entry.who) ?? [];
      if (entries.length < pendingMax) entries.push(entry);
      pendingByActor.set(entry.who, entries);
      writing ??= write();
    },
    async ended() {
      await writing;
    },
  };
}
