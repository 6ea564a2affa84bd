/**
 * What the daemon knows about itself: told by the loop as it happens, and put together when somebody asks.
 *
 * It is ready when database, disk and scheduler are ok, no key is wanting, and not every active mailbox fails or waits: one
 * bad mailbox is shown, and does not make the whole not ready, nor does a key file that vanished while the keys are in
 * memory. Mailboxes and quarantine are read from the database when somebody asks.
 */

import type { Clock } from '../../async/clock.ts';
import { type Failure, isFailure } from '../../errors.ts';
import { isoTime } from '../../text/time.ts';
import { type Server, serverKey } from '../model.ts';
import { createLooks, createRenumberings, type Looks, type Renumberings } from '../poll/cursor.ts';
import type { DatabaseHealth, QuarantineReader } from '../ports.ts';
import type { Check, EncryptionChecks, Readiness, ServerCheck } from '../readiness.ts';
import type { MailboxStore } from '../stores.ts';
import { createCertificates, createDatabaseCheck, okSince, type Turning, turning } from './checks.ts';
import { type MailboxFacts, mailboxChecks, noMailboxes, type Trouble } from './mailbox-checks.ts';

/** What the loop tells. */
export interface Vitals {
  readonly turning: Turning;
  /** null: the database answered. True when that is news. */
  database(failure: Failure | null): boolean;
  /** How long the database took to answer a small question. */
  answered(ms: number): void;
  /** How far this machine's clock is ahead of the database's. */
  clockOffset(ms: number): void;
  /** How the last visit to a mailbox went here; null: well. It counts even when it could not be written down. */
  visited(mailboxId: string, failure: Failure | null): void;
  readonly renumberings: Renumberings;
  readonly looks: Looks;
  /** When the certificate that a mail server has just shown ends. */
  certificate(host: string, port: number, endsAtMs: number): void;
}

export type HealthPorts = {
  readonly clock: Clock;
  readonly store: Pick<MailboxStore, 'listMailboxes'> & QuarantineReader & Pick<DatabaseHealth, 'pool'>;
  readonly encryption: () => EncryptionChecks;
  /** What others know, at the time of asking. */
  readonly beside: () => Pick<Readiness['checks'], 'config' | 'disk' | 'workers' | 'push'> & {
    readonly worker: Readiness['worker'];
    /** Servers that are left alone. */
    readonly held: readonly ServerCheck[];
    readonly visits: number;
    readonly due: number;
    readonly dueMs: number;
    readonly isPushed: (mailboxId: string) => boolean;
    readonly loginRefusalsMax: number;
  };
};

export interface Health extends Vitals {
  readiness(): Promise<Readiness>;
  /** False while this machine's clock is far from the database's, or they were not compared yet. */
  isClockRight(): boolean;
  /** What keeps the daemon from its work, without asking the database; null: nothing. */
  obstacle(): string | null;
}

const clockOffsetMsMax = 10_000;

/** On the monotonic clock. */
type SeenTrouble = Trouble;

export function createHealth(ports: HealthPorts): Health {
  const { clock, store } = ports;
  const turns = turning(clock);
  const renumberings = createRenumberings(clock);
  const troubles = new Map<string, SeenTrouble>();
  const certificates = createCertificates(clock);
  const database = createDatabaseCheck(clock);
  let clockCheck: Readiness['checks']['clock'] = { ...unknown('not compared yet'), offset_ms: null };
  /** Times in the tables are by that clock. */
  const databaseNowMs = () => clock.nowMs() - (clockCheck.offset_ms ?? 0);

  return {
    turning: turns,
    renumberings,
    looks: createLooks(clock),
    database: database.tell,
    answered: database.answered,
    clockOffset: (ms) => {
      clockCheck = clockCheckOf(ms, clockCheck, clock.nowMs());
    },
    visited: (mailboxId, failure) => {
      if (failure === null) return void troubles.delete(mailboxId);
      const atMs = clock.monotonicMs();
      troubles.set(mailboxId, { failure, sinceMs: troubles.get(mailboxId)?.sinceMs ?? atMs, atMs });
    },
    certificate: certificates.note,
    isClockRight: () => clockCheck.status === 'ok',
    obstacle: () => {
      const wrong = [database.check(), ports.beside().disk, turns.check()].find((check) => check.status === 'failing');
      const { wants, vault } = ports.encryption();
      return wrong?.reason ?? (wants ? vault.reason : null);
    },
    readiness: async () => {
      const { wants, ...vaultAndSwitch } = ports.encryption();
      const { vault } = vaultAndSwitch;
      const { mailboxes, quarantine, used } =
        database.check().status === 'ok'
          ? await stored(ports, {
              troubles: shifted(troubles, databaseNowMs() - clock.monotonicMs()),
              vault,
              renumberings,
              nowMs: databaseNowMs(),
            })
          : nothingStored;
      const { worker, config, disk, workers, held, push, visits, due, dueMs } = ports.beside();
      const isUsed = (server: Server) => used === null || used.has(serverKey(server));
      const scheduler = { ...turns.check(), visits, due, due_ms: dueMs };
      const blind = mailboxes.failing + mailboxes.waiting > 0 && mailboxes.ok === 0;
      const isSound = database.check().status === 'ok' && scheduler.status === 'ok' && disk.status !== 'failing';
      return {
        ready: isSound && !wants && !blind,
        worker,
        checks: {
          ...{
            database: { ...database.check(), pool: store.pool() },
            disk,
            scheduler,
            config,
            ...vaultAndSwitch,
          },
          ...{ workers, servers: serversCheck(held.filter(isUsed)) },
          certificates: certificates.check(isUsed),
          ...{ clock: clockCheck, push, quarantine, mailboxes },
        },
      };
    },
  };
}

/** When they were stamped the clock of this machine may have been wrong. */
function shifted(seen: ReadonlyMap<string, SeenTrouble>, ms: number): ReadonlyMap<string, Trouble> {
  const shift = ({ failure, sinceMs, atMs }: SeenTrouble) => ({ failure, sinceMs: sinceMs + ms, atMs: atMs + ms });
  return new Map([...seen].map(([id, trouble]) => [id, shift(trouble)]));
}

function unknown(reason: string): Check {
  return { status: 'unknown', since: null, reason, hint: null };
}

const noQuarantine: Readiness['checks']['quarantine'] = {
  ...unknown('the database does not answer'),
  ...{ count: 0, oldest: null, reasons: [] },
};

const nothingStored: Stored = { mailboxes: noMailboxes, quarantine: noQuarantine, used: null };

type Stored = Pick<Readiness['checks'], 'mailboxes' | 'quarantine'> & {
  /** Servers of active mailboxes, by `serverKey`; what was seen of others is over. null: not known. */
  readonly used: ReadonlySet<string> | null;
};

/** What is in the tables. */
async function stored(
  { store, beside }: HealthPorts,
  facts: Pick<MailboxFacts, 'troubles' | 'vault' | 'renumberings' | 'nowMs'>,
): Promise<Stored> {
  try {
    const [all, held] = await Promise.all([store.listMailboxes(), store.quarantine()]);
    const { isPushed, loginRefusalsMax } = beside();
    const active = all.filter(({ state }) => state === 'active');
    return {
      used: new Set(active.map(({ connection }) => serverKey(connection))),
      mailboxes: mailboxChecks(all, { ...facts, isPushed, loginRefusalsMax }),
      quarantine: quarantineCheck(held),
    };
  } catch (error) {
    // That the database is away is told by its own check, with the next wake.
    if (!isFailure(error)) throw error;
    return nothingStored;
  }
}

/** Mail in quarantine is kept and waits for a person: it is told, and keeps nobody from working. */
function quarantineCheck(held: Awaited<ReturnType<QuarantineReader['quarantine']>>): Readiness['checks']['quarantine'] {
  const oldest = isoTime(held.oldestAtMs);
  const { reasons } = held;
  const count = reasons.reduce((sum, one) => sum + one.count, 0);
  const counts = { count, oldest, reasons };
  if (count === 0) return { status: 'ok', since: null, reason: null, hint: null, ...counts };
  const each = reasons.map((one) => `${one.count} ${one.reason}`).join(', ');
  const reason = `${count} ${count === 1 ? 'mail waits' : 'mails wait'} in quarantine: ${each}`;
  return {
    status: 'warning',
    since: oldest,
    reason,
    hint: 'See ticketmaild quarantine list.',
    ...counts,
  };
}

function serversCheck(list: readonly ServerCheck[]): Readiness['checks']['servers'] {
  const [first] = list;
  if (first === undefined) return { status: 'ok', since: null, reason: null, hint: null, list };
  const reason = `${list.length === 1 ? `${first.host} is` : `${list.length} servers are`} left alone for now: ${first.reason}`;
  return { status: 'failing', since: first.since, reason, hint: first.hint, list };
}

function clockCheckOf(offsetMs: number, before: Check, nowMs: number): Readiness['checks']['clock'] {
  const offset = { offset_ms: Math.round(offsetMs) };
  if (Math.abs(offsetMs) <= clockOffsetMsMax)
    return { ...(before.status === 'ok' ? { ...okSince(nowMs), since: before.since } : okSince(nowMs)), ...offset };
  const side = offsetMs > 0 ? 'ahead of' : 'behind';
  return {
    status: 'warning',
    since: before.status === 'warning' ? before.since : new Date(nowMs).toISOString(),
    reason: `the clock of this machine is ${Math.round(Math.abs(offsetMs) / 1000)} s ${side} the database's`,
    hint: 'Check the time service (timedatectl) on both. Leases and due times go by the database; times in the log do not.',
    ...offset,
  };
}
