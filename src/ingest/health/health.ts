/**
 * Health and readiness of this worker: recorded by the scheduler as things happen, put together as a value on request.
 *
 * It is ready when database, disk and scheduler are ok, no key is missing, not every active mailbox fails or waits, and
 * the process does not crash again and again. One bad mailbox is shown and does not make the worker unready; neither
 * does a key file that vanished while the keys are in memory. Mailboxes and quarantine are read from the database on
 * request.
 */
import type { Clock } from '../../async/clock.ts';
import { type Failure, isFailure } from '../../errors.ts';
import { hints } from '../../text/hints.ts';
import { isoTime } from '../../text/time.ts';
import { type Mailbox, type Server, serverKey } from '../model.ts';
import { createHandledCounts, type HandledCounts } from '../poll/late-messages.ts';
import { type Endpoint, endpointKey } from '../poll/server-failures.ts';
import {
  createFolderCheckSchedule,
  createUidValidityChanges,
  type FolderCheckSchedule,
  type UidValidityChanges,
} from '../poll/uidvalidity-changes.ts';
import type { DatabaseHealth, PostActionGuard, QuarantineReader, ReadableSecretsReader } from '../ports.ts';
import type { Check, EncryptionChecks, PushState, Readiness } from '../readiness.ts';
import type { MailboxStore } from '../stores.ts';
import { createCertificates, createDatabaseCheck, okSince, passwordsCheck } from './checks.ts';
import { createDatabaseClock, type DatabaseClock } from './database-clock.ts';
import { type MailboxFacts, mailboxChecks, noMailboxes } from './mailbox-checks.ts';
import { createPollRecords, shifted } from './poll-records.ts';
import { type IdleConnections, pushCheck } from './push.ts';
import { createSchedulerLiveness, type SchedulerLiveness, schedulerCheck } from './scheduler-liveness.ts';
import { knownOutages, type OpenCircuit, type ServerOutage, serversCheck } from './server-outages.ts';

/** Where the scheduler and the polls record what happens. */
export interface HealthRecorder {
  readonly liveness: SchedulerLiveness;
  /** null: the database answered. Returns true when that is worth a log line. */
  recordDatabase(failure: Failure | null): boolean;
  recordDatabasePing(ms: number): void;
  /** Offset of this machine's clock from the database's; positive when ahead. */
  recordClockOffset(ms: number): void;
  /**
   * null: the poll succeeded. A failure counts even when it could not be stored. Returns true when the verdict on the
   * mailbox changes.
   */
  recordPoll(mailboxId: string, failure: Failure | null): boolean;
  /** A circuit breaker, the silence of a server, or the disk changed. */
  changed(): void;
  readonly uidValidityChanges: UidValidityChanges;
  readonly folderCheckSchedule: FolderCheckSchedule;
  readonly handledCounts: HandledCounts;
  /** A mail server presented a certificate with this notAfter. */
  recordCertificate(host: string, port: number, endsAtMs: number): void;
}

export type HealthPorts = {
  readonly clock: Clock;
  readonly store: Pick<MailboxStore, 'listMailboxes'> &
    QuarantineReader &
    ReadableSecretsReader &
    Pick<DatabaseHealth, 'pool' | 'databaseNowMs'>;
  readonly encryption: () => EncryptionChecks;
  readonly postActionGuard: Pick<PostActionGuard, 'isUnconfirmed'>;
  /** `hasDatabase` false: without a query. */
  readonly oauth: (hasDatabase: boolean) => Promise<Readiness['checks']['oauth']>;
  /** The checks of other parts, read on request. */
  readonly otherParts: () => Pick<Readiness['checks'], 'config' | 'listeners' | 'disk' | 'workers' | 'crashes'> & {
    readonly worker: Readiness['worker'];
    /** Times on the monotonic clock. */
    readonly openCircuits: readonly OpenCircuit[];
    readonly silence: ObservedSilence;
    readonly polls: number;
    readonly pollsLong: number;
    readonly due: number;
    readonly dueMs: number;
    readonly intervalMs: number;
    readonly idleConnections: IdleConnections;
    readonly pushStates: () => (mailbox: Mailbox) => PushState;
    readonly loginFailuresMax: number;
  };
};

/** Times on the monotonic clock; see scheduler/server-silence.ts. */
export type ObservedSilence = {
  silentServers(): readonly ServerOutage[];
  silentSinceMs(mailboxId: string): number | null;
  heardAtMs(mailboxId: string): number | null;
};

export interface Health extends HealthRecorder {
  readiness(): Promise<Readiness>;
  /** The same without a query, from the rows that were read last; null: none were read yet. */
  latest(): Readiness | null;
  /** Calls `listener` when a verdict of this process changes, until that is disposed. */
  onChange(listener: () => void): Disposable;
  /** False while this machine's clock is far from the database's, or they were not compared yet. */
  isClockRight(): boolean;
  /** What keeps the worker from being ready, without a database query; null: nothing. */
  obstacle(): string | null;
}

const clockOffsetMsMax = 10_000;

export function createHealth(ports: HealthPorts): Health {
  const { clock } = ports;
  const liveness = createSchedulerLiveness(clock);
  const uidValidityChanges = createUidValidityChanges(clock);
  const polls = createPollRecords(clock);
  const certificates = createCertificates(clock);
  const database = createDatabaseCheck(clock);
  const databaseClock = createDatabaseClock(clock);
  let clockCheck: Readiness['checks']['clock'] = { ...unknown('not compared yet'), offset_ms: null };
  let stored: StoredData | null = null;
  const listeners = new Set<() => void>();
  const changed = (): void => {
    for (const listener of listeners) listener();
  };
  const ifChanged = (isChange: boolean): boolean => {
    if (isChange) changed();
    return isChange;
  };
  const composed = (read: StoredData): Readiness =>
    readinessOf(
      ports,
      { liveness, uidValidityChanges, polls, certificates, database, databaseClock, clockCheck },
      read,
    );

  return {
    liveness,
    uidValidityChanges,
    folderCheckSchedule: createFolderCheckSchedule(clock),
    handledCounts: createHandledCounts(clock),
    changed,
    onChange: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    recordDatabase: (failure) => ifChanged(database.record(failure)),
    recordDatabasePing: database.recordPing,
    recordClockOffset: (ms) => {
      clockCheck = clockCheckOf(ms, clockCheck, clock.nowMs());
    },
    recordPoll: (mailboxId, failure) => ifChanged(polls.record(mailboxId, failure)),
    recordCertificate: certificates.record,
    isClockRight: () => clockCheck.status === 'ok',
    obstacle: () => {
      const checks = [database.check(), ports.otherParts().disk, liveness.check(), ports.otherParts().crashes];
      const { needsKey, vault } = ports.encryption();
      return checks.find(({ status }) => status === 'failing')?.reason ?? (needsKey ? vault.reason : null);
    },
    readiness: async () => {
      const read = await readStored(ports, database.check().status === 'ok');
      if (read.rows !== null) databaseClock.read(read.rows.nowMs);
      polls.rowsRead(read.rows?.mailboxes ?? []);
      stored = read;
      return composed(read);
    },
    latest: () => (stored === null ? null : composed(stored)),
  };
}

/** What this worker recorded. */
type Recorded = Pick<HealthRecorder, 'liveness' | 'uidValidityChanges'> & {
  readonly polls: ReturnType<typeof createPollRecords>;
  readonly certificates: ReturnType<typeof createCertificates>;
  readonly database: ReturnType<typeof createDatabaseCheck>;
  readonly databaseClock: DatabaseClock;
  readonly clockCheck: Readiness['checks']['clock'];
};

function readinessOf(ports: HealthPorts, recorded: Recorded, { rows, oauth }: StoredData): Readiness {
  const { clock, store } = ports;
  const { liveness, clockCheck, databaseClock, polls, uidValidityChanges } = recorded;
  const { needsKey, sealing, ...vaultAndSwitch } = ports.encryption();
  const { worker, config, listeners, disk, workers, crashes, openCircuits, silence, idleConnections, ...load } =
    ports.otherParts();
  const outages = knownOutages(openCircuits, silence.silentServers());
  const database = recorded.database.check();
  const [nowMs, steadyMs] = [databaseClock.nowMs(), databaseClock.steadyMs()];
  const shiftMs = nowMs - clock.monotonicMs();
  const facts: MailboxFacts = {
    ...{ records: polls.records(shiftMs), outages: outages.map((one) => shifted(one, shiftMs)) },
    ...{ nowMs, steadyMs },
    ...{ vault: vaultAndSwitch.vault, grants: oauth.list, uidValidityChanges },
    isUnconfirmed: ports.postActionGuard.isUnconfirmed,
    silentSinceMs: (id) => addedTo(silence.silentSinceMs(id), shiftMs),
    heardAtMs: (id) => addedTo(silence.heardAtMs(id), shiftMs),
    loginFailuresMax: load.loginFailuresMax,
  };
  const { mailboxes, quarantine, passwords, used } =
    rows === null || database.status !== 'ok' ? noStoredChecks : storedChecks(rows, sealing, facts, load.pushStates());
  const isUsed = (server: Server) => used === null || used.has(serverKey(server));
  const isUsedSo = (endpoint: Endpoint) => used === null || used.has(endpointKey(endpoint));
  const scheduler = schedulerCheck(liveness, { ...load, dueMs: Math.min(load.dueMs, steadyMs) }, clock.nowMs());
  const allFail = mailboxes.failing + mailboxes.waiting > 0 && mailboxes.ok === 0;
  const isAlive = scheduler.status === 'ok' || scheduler.status === 'warning';
  const isSound = database.status === 'ok' && isAlive && disk.status !== 'failing';
  return {
    ready: isSound && !needsKey && !allFail && crashes.status !== 'failing',
    worker,
    checks: {
      database: { ...database, pool: store.pool() },
      ...{ disk, scheduler, config, listeners, ...vaultAndSwitch, passwords, workers },
      servers: serversCheck(outages.filter(isUsedSo), clock),
      certificates: recorded.certificates.check(isUsed),
      oauth,
      ...{ clock: clockCheck, crashes, push: pushCheck(mailboxes, idleConnections), quarantine, mailboxes },
    },
  };
}

function unknown(reason: string): Check {
  return { status: 'unknown', since: null, reason, hint: null };
}

function addedTo(ms: number | null, moreMs: number): number | null {
  return ms === null ? null : ms + moreMs;
}

type StoredChecks = Pick<Readiness['checks'], 'mailboxes' | 'quarantine' | 'passwords'> & {
  /** Servers and endpoints of active mailboxes, by their keys; null: unknown. Checks of others are left out. */
  readonly used: ReadonlySet<string> | null;
};

const noStoredChecks: StoredChecks = {
  mailboxes: noMailboxes,
  quarantine: { ...unknown('the database does not answer'), count: 0, oldest: null, reasons: [] },
  passwords: { ...unknown('the database does not answer'), readable: null, readable_tokens: null },
  used: null,
};

/** What was read from the database; `rows` null: it did not answer. */
type StoredData = { readonly rows: StoredRows | null; readonly oauth: Readiness['checks']['oauth'] };

type StoredRows = {
  readonly mailboxes: Awaited<ReturnType<MailboxStore['listMailboxes']>>;
  readonly quarantined: Awaited<ReturnType<QuarantineReader['quarantineCounts']>>;
  readonly readable: Awaited<ReturnType<ReadableSecretsReader['readableSecrets']>>;
  /** The clock of the database at that time. */
  readonly nowMs: number;
};

async function readStored({ store, oauth }: HealthPorts, hasDatabase: boolean): Promise<StoredData> {
  const grants = await oauth(hasDatabase);
  if (!hasDatabase) return { rows: null, oauth: grants };
  try {
    const [mailboxes, quarantined, readable, nowMs] = await Promise.all([
      store.listMailboxes(),
      store.quarantineCounts(),
      store.readableSecrets(),
      store.databaseNowMs(),
    ]);
    return { rows: { mailboxes, quarantined, readable, nowMs }, oauth: grants };
  } catch (error) {
    // An unreachable database has a check of its own, which the next tick updates.
    if (!isFailure(error)) throw error;
    return { rows: null, oauth: grants };
  }
}

/** The checks that are computed from the tables. */
function storedChecks(
  { mailboxes: all, quarantined, readable }: StoredRows,
  sealing: EncryptionChecks['sealing'],
  facts: MailboxFacts,
  pushOf: (mailbox: Mailbox) => PushState,
): StoredChecks {
  const active = all.filter(({ state }) => state === 'active');
  return {
    used: new Set(active.flatMap(({ connection }) => [serverKey(connection), endpointKey(connection)])),
    mailboxes: mailboxChecks(all, facts, pushOf),
    quarantine: quarantineCheck(quarantined),
    passwords: passwordsCheck(readable, sealing),
  };
}

/** A warning: quarantined messages wait for a decision and block nothing. */
function quarantineCheck({
  oldestAtMs,
  reasons,
}: Awaited<ReturnType<QuarantineReader['quarantineCounts']>>): Readiness['checks']['quarantine'] {
  const oldest = isoTime(oldestAtMs);
  const count = reasons.reduce((sum, one) => sum + one.count, 0);
  const counts = { count, oldest, reasons };
  if (count === 0) return { status: 'ok', since: null, reason: null, hint: null, ...counts };
  const each = reasons.map((one) => `${one.count} ${one.reason}`).join(', ');
  const reason = `${count} ${count === 1 ? 'message waits' : 'messages wait'} in quarantine: ${each}`;
  return { status: 'warning', since: oldest, reason, hint: hints.quarantineWaiting, ...counts };
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
    hint: hints.clockWrong,
    ...offset,
  };
}
