/**
 * What the admin page turned away, told in log and audit within bounds: an attacker can fill neither, nor hide in them.
 *
 * Of refusals that are alike the first is told at once, the further ones of the same minute as one with their count; when
 * too many of one reason are unlike, the rest of them is told as a number. What one person is told for one reason takes no
 * room from any other reason, nor from anybody else: strangers cannot use up the room of somebody who is signed in. The
 * database is never waited for: rows that it does not take are lost, their log lines are not.
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

const windowMs = 60_000;
/** Unlike refusals of one person and reason that are told one by one within a window: there are fewer forms and pages. */
const distinctMax = 16;
/** Rows of one person that wait for the database; what comes on top is in the log alone. */
const pendingMax = 400;
const addressCharacters = 64;

/** Nobody did wrong: a link was old, or somebody was away for long. */
const ordinary: ReadonlySet<RefusalReason> = new Set(['not_signed_in', 'not_found', 'method']);

/** All of one reason and of one person (`who` null: any stranger) within a window. */
type RefusalGroup = Pick<Refusal, 'reason' | 'who'> & {
  readonly told: Map<string, { readonly refusal: Refusal; more: number }>;
  /** Beyond `distinctMax`. */
  untold: number;
};

/** Disposing tells what was counted, and waits for the rows under way. */
export function createRefusals(ports: RefusalPorts): Refusals {
  const { clock, log, actor } = ports;
  const stop = new AbortController();
  const writer = createWriter(ports.store);
  const heaps = new Map<string, RefusalGroup>();
  let window: Promise<void> | null = null;
  const tell = ({ reason, who, about, address }: ReportedRefusal, more: number): void => {
    const level = ordinary.has(reason) ? 'info' : 'warn';
    log[level]({ reason, who, about, address, ...(more > 0 ? { repeated: more } : {}) }, events.adminRefused);
    const where = about === null ? 'elsewhere' : `${about}, ${address}`;
    const detail = `${reason}, ${where}${more > 0 ? `, ${more} more` : ''}`;
    writer.add(adminAudit({ ...actor, who: pageActor(who) }, 'admin.refused', detail));
  };
  const tellCounted = (): void => {
    for (const { reason, who, told, untold } of heaps.values()) {
      for (const { refusal, more } of told.values()) if (more > 0) tell(refusal, more);
      if (untold > 0) tell({ reason, who, about: null, address: null }, untold);
    }
    heaps.clear();
  };
  const runWindow = async (): Promise<void> => {
    await clock.sleep(windowMs, stop.signal);
    tellCounted();
    window = null;
  };
  return {
    recordRefusal(given) {
      const refusal = { ...given, address: given.address.slice(0, addressCharacters) };
      if (!stop.signal.aborted) window ??= runWindow();
      if (isNew(groupOf(heaps, refusal), refusal)) tell(refusal, 0);
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await window;
      tellCounted();
      await writer.ended();
    },
  };
}

/** Of what is told as a number, `about` and `address` are null. */
type ReportedRefusal = Omit<Refusal, 'about' | 'address'> & {
  readonly about: string | null;
  readonly address: string | null;
};

function groupOf(heaps: Map<string, RefusalGroup>, { reason, who }: Refusal): RefusalGroup {
  const key = JSON.stringify([reason, who]);
  const heap = heaps.get(key) ?? { reason, who, told: new Map(), untold: 0 };
  heaps.set(key, heap);
  return heap;
}

/** Counts it. False: it is told as a number, later. */
function isNew(heap: RefusalGroup, refusal: Refusal): boolean {
  const { told } = heap;
  const key = JSON.stringify([refusal.about, addressGroup(refusal.address)]);
  const before = told.get(key);
  if (before !== undefined) before.more += 1;
  else if (told.size >= distinctMax) heap.untold += 1;
  else told.set(key, { refusal, more: 0 });
  return before === undefined && told.has(key);
}

/** Writes rows in the background, one statement at a time for all of one person that wait. */
function createWriter(store: RefusalPorts['store']): { add(entry: AuditEntry): void; ended(): Promise<void> } {
  /** By who they are about. */
  const pending = new Map<string, AuditEntry[]>();
  let writing: Promise<void> | null = null;
  const write = async (): Promise<void> => {
    for (const [who, entries] of pending) {
      pending.delete(who);
      try {
        await store.audit(entries);
      } catch {
        // A database that is away has its own line in the log.
      }
    }
    writing = null;
  };
  return {
    add(entry) {
      const entries = pending.get(entry.who) ?? [];
      if (entries.length < pendingMax) entries.push(entry);
      pending.set(entry.who, entries);
      writing ??= write();
    },
    async ended() {
      await writing;
    },
  };
}
