/**
 * What the daemon knows about itself: told by the loop as it happens, and put together when somebody asks.
 *
 * It is ready when database, disk and scheduler are ok, no key is wanting, and not every active mailbox fails or waits: one
 * bad mailbox is shown, and does not make the whole not ready, nor does a key file that vanished while the keys are in
 * memory. Mailboxes and quarantine are read from the database when somebody asks.
 */
import { type Failure, isFailure } from '../errors.ts';
import type { DatabaseHealth, QuarantineReader } from './daemon-ports.ts';
import { isoTime } from './iso-time.ts';
import { type MailboxFacts, mailboxChecks, noMailboxes, type Trouble } from './mailbox-checks.ts';
import type { Clock, MailboxStore } from './ports.ts';
import type { CertificateCheck, Check, EncryptionChecks, Readiness } from './readiness.ts';
import { createRenumberings, type Renumberings } from './renumberings.ts';
import { type Turning, turning } from './turning.ts';

/** What the loop tells. */
export interface Vitals {
  readonly turning: Turning;
  /** null: the database answered. True when that is news. */
  database(failure: Failure | null): boolean;
  /** How far this machine's clock is ahead of the database's. */
  clockOffset(ms: number): void;
  /** How the last visit to a mailbox went here; null: well. It counts even when it could not be written down. */
  visited(mailboxId: string, failure: Failure | null): void;
  readonly renumberings: Renumberings;
  /** When the certificate of a mail server ends. */
  certificate(host: string, port: number, endsAtMs: number): void;
}

export type HealthPorts = {
  readonly clock: Clock;
  readonly store: Pick<MailboxStore, 'listMailboxes'> & QuarantineReader & Pick<DatabaseHealth, 'pool'>;
  readonly encryption: () => EncryptionChecks;
  /** What others know, at the time of asking. */
  readonly beside: () => Pick<Readiness['checks'], 'config' | 'disk' | 'workers' | 'servers' | 'push'> & {
    readonly worker: Readiness['worker'];
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
const certificateDaysMin = 14;
const certificatesMax = 1000;
const dayMs = 86_400_000;

export function createHealth(ports: HealthPorts): Health {
  const { clock, store } = ports;
  const turns = turning(clock);
  const renumberings = createRenumberings(clock);
  const troubles = new Map<string, Trouble>();
  const certificates = new Map<string, { host: string; port: number; endsAtMs: number }>();
  let database: Check = { status: 'unknown', since: null, reason: 'not asked yet', hint: null };
  let clockCheck: Readiness['checks']['clock'] = { ...unknown('not compared yet'), offset_ms: null };

  return {
    turning: turns,
    renumberings,
    database: (failure) => {
      const next = failure === null ? okSince(clock.nowMs()) : failing(failure, clock.nowMs());
      const before = database;
      const isChange = next.status !== before.status || next.reason !== before.reason;
      if (isChange) database = next;
      // That a database answers at the start is what everybody expects.
      return isChange && !(before.status === 'unknown' && next.status === 'ok');
    },
    clockOffset: (ms) => {
      clockCheck = clockCheckOf(ms, clockCheck, clock.nowMs());
    },
    visited: (mailboxId, failure) => {
      if (failure === null) return void troubles.delete(mailboxId);
      const atMs = clock.nowMs();
      troubles.set(mailboxId, { failure, sinceMs: troubles.get(mailboxId)?.sinceMs ?? atMs, atMs });
    },
    certificate: (host, port, endsAtMs) => {
      certificates.delete(`${host}:${port}`);
      certificates.set(`${host}:${port}`, { host, port, endsAtMs });
      const [oldest] = certificates.keys();
      if (certificates.size > certificatesMax && oldest !== undefined) certificates.delete(oldest);
    },
    isClockRight: () => clockCheck.status === 'ok',
    obstacle: () => {
      const wrong = [database, ports.beside().disk, turns.check()].find((check) => check.status === 'failing');
      const { wants, vault } = ports.encryption();
      return wrong?.reason ?? (wants ? vault.reason : null);
    },
    readiness: async () => {
      const { wants, ...vaultAndSwitch } = ports.encryption();
      const { vault } = vaultAndSwitch;
      const { mailboxes, quarantine } =
        database.status === 'ok'
          ? await stored(ports, { troubles, vault, renumberings, nowMs: clock.nowMs() })
          : nothingStored;
      const { worker, config, disk, workers, servers, push, visits, due, dueMs } = ports.beside();
      const scheduler = { ...turns.check(), visits, due, due_ms: dueMs };
      const blind = mailboxes.failing + mailboxes.waiting > 0 && mailboxes.ok === 0;
      const isSound = database.status === 'ok' && scheduler.status === 'ok' && disk.status !== 'failing';
      return {
        ready: isSound && !wants && !blind,
        worker,
        checks: {
          ...{ database: { ...database, pool: store.pool() }, disk, scheduler, config, ...vaultAndSwitch },
          ...{ workers, servers, certificates: certificatesCheck([...certificates.values()], clock.nowMs()) },
          ...{ clock: clockCheck, push, quarantine, mailboxes },
        },
      };
    },
  };
}

function okSince(sinceMs: number): Check {
  return { status: 'ok', since: new Date(sinceMs).toISOString(), reason: null, hint: null };
}

function failing(failure: Failure, sinceMs: number): Check {
  const since = new Date(sinceMs).toISOString();
  return { status: 'failing', since, reason: `${failure.code}: ${failure.message}`, hint: failure.hint };
}

function unknown(reason: string): Check {
  return { status: 'unknown', since: null, reason, hint: null };
}

const noQuarantine: Readiness['checks']['quarantine'] = {
  ...unknown('the database does not answer'),
  ...{ count: 0, oldest: null, reasons: [] },
};

const nothingStored = { mailboxes: noMailboxes, quarantine: noQuarantine };

/** What is in the tables. */
async function stored(
  { store, beside }: HealthPorts,
  facts: Pick<MailboxFacts, 'troubles' | 'vault' | 'renumberings' | 'nowMs'>,
): Promise<Pick<Readiness['checks'], 'mailboxes' | 'quarantine'>> {
  try {
    const [all, held] = await Promise.all([store.listMailboxes(), store.quarantine()]);
    const { isPushed, loginRefusalsMax } = beside();
    return {
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

function certificatesCheck(
  known: readonly { readonly host: string; readonly port: number; readonly endsAtMs: number }[],
  nowMs: number,
): Readiness['checks']['certificates'] {
  const list: readonly CertificateCheck[] = known
    .map(({ host, port, endsAtMs }) => ({
      ...{ host, port, valid_until: new Date(endsAtMs).toISOString() },
      days_left: Math.floor((endsAtMs - nowMs) / dayMs),
    }))
    .sort((a, b) => a.days_left - b.days_left);
  const [first] = list;
  if (first === undefined || first.days_left >= certificateDaysMin)
    return { status: 'ok', since: null, reason: null, hint: null, list };
  const reason = `the certificate of ${first.host}:${first.port} ends in ${first.days_left} days`;
  return { status: 'warning', since: null, reason, hint: 'Have it renewed on the mail server.', list };
}
