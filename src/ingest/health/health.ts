/**
 * Health and readiness of this worker: recorded by the scheduler as things happen, put together as a value on request.
 *
 * It is ready when database, disk and scheduler are ok, no key is missing, and not every active mailbox fails or waits.
 * One bad mailbox is shown and does not make the worker unready; neither does a key file that vanished while the keys
 * are in memory. Mailboxes and quarantine are read from the database on request.
 */
import type { Clock } from '../../async/clock.ts';
import { type Failure, isFailure } from '../../errors.ts';
import { hints } from '../../text/hints.ts';
import { isoTime } from '../../text/time.ts';
import { type Server, serverKey } from '../model.ts';
import { createHandledCounts, type HandledCounts } from '../poll/late-messages.ts';
import { type Endpoint, endpointKey } from '../poll/server-failures.ts';
import {
  createFolderCheckSchedule,
  createUidValidityChanges,
  type FolderCheckSchedule,
  type UidValidityChanges,
} from '../poll/uidvalidity-changes.ts';
import type { DatabaseHealth, PostActionGuard, QuarantineReader, ReadableSecretsReader } from '../ports.ts';
import type { Check, EncryptionChecks, Readiness, ServerCheck } from '../readiness.ts';
import type { MailboxStore } from '../stores.ts';
import { createCertificates, createDatabaseCheck, okSince, passwordsCheck } from './checks.ts';
import { endpointName } from './describe.ts';
import { type MailboxFacts, type MailboxTrouble, mailboxChecks, noMailboxes } from './mailbox-checks.ts';
import { createSchedulerLiveness, type SchedulerLiveness, schedulerCheck } from './scheduler-liveness.ts';

/** Where the scheduler and the polls record what happens. */
export interface HealthRecorder {
  readonly liveness: SchedulerLiveness;
  /** null: the database answered. Returns true when that is worth a log line. */
  recordDatabase(failure: Failure | null): boolean;
  recordDatabasePing(ms: number): void;
  /** Offset of this machine's clock from the database's; positive when ahead. */
  recordClockOffset(ms: number): void;
  /** null: the poll succeeded. A failure counts even when it could not be stored. */
  recordPoll(mailboxId: string, failure: Failure | null): void;
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
    Pick<DatabaseHealth, 'pool'>;
  readonly encryption: () => EncryptionChecks;
  readonly postActionGuard: Pick<PostActionGuard, 'isUnconfirmed'>;
  /** `hasDatabase` false: without a query. */
  readonly oauth: (hasDatabase: boolean) => Promise<Readiness['checks']['oauth']>;
  /** The checks of other parts, read on request. */
  readonly otherParts: () => Pick<Readiness['checks'], 'config' | 'listeners' | 'disk' | 'workers' | 'idle'> & {
    readonly worker: Readiness['worker'];
    readonly openCircuits: readonly ServerCheck[];
    readonly polls: number;
    readonly pollsLong: number;
    readonly due: number;
    readonly dueMs: number;
    readonly intervalMs: number;
    readonly isIdling: (mailboxId: string) => boolean;
    readonly loginFailuresMax: number;
  };
};

export interface Health extends HealthRecorder {
  readiness(): Promise<Readiness>;
  /** False while this machine's clock is far from the database's, or they were not compared yet. */
  isClockRight(): boolean;
  /** What keeps the worker from being ready, without a database query; null: nothing. */
  obstacle(): string | null;
}

const clockOffsetMsMax = 10_000;

/** Times on the monotonic clock. */
type MonotonicTrouble = MailboxTrouble;

export function createHealth(ports: HealthPorts): Health {
  const { clock, store } = ports;
  const liveness = createSchedulerLiveness(clock);
  const uidValidityChanges = createUidValidityChanges(clock);
  const troubles = new Map<string, MonotonicTrouble>();
  const certificates = createCertificates(clock);
  const database = createDatabaseCheck(clock);
  let clockCheck: Readiness['checks']['clock'] = { ...unknown('not compared yet'), offset_ms: null };
  /** Times in the tables are by that clock. */
  const databaseNowMs = () => clock.nowMs() - (clockCheck.offset_ms ?? 0);

  return {
    liveness,
    uidValidityChanges,
    folderCheckSchedule: createFolderCheckSchedule(clock),
    handledCounts: createHandledCounts(clock),
    recordDatabase: database.record,
    recordDatabasePing: database.recordPing,
    recordClockOffset: (ms) => {
      clockCheck = clockCheckOf(ms, clockCheck, clock.nowMs());
    },
    recordPoll: (mailboxId, failure) => {
      if (failure === null) return void troubles.delete(mailboxId);
      const atMs = clock.monotonicMs();
      troubles.set(mailboxId, { failure, sinceMs: troubles.get(mailboxId)?.sinceMs ?? atMs, atMs });
    },
    recordCertificate: certificates.record,
    isClockRight: () => clockCheck.status === 'ok',
    obstacle: () => {
      const checks = [database.check(), ports.otherParts().disk, liveness.check()];
      const { needsKey, vault } = ports.encryption();
      return checks.find(({ status }) => status === 'failing')?.reason ?? (needsKey ? vault.reason : null);
    },
    readiness: async () => {
      const { needsKey, sealing, ...vaultAndSwitch } = ports.encryption();
      const { vault } = vaultAndSwitch;
      const oauth = await ports.oauth(database.check().status === 'ok');
      const { mailboxes, quarantine, passwords, used } =
        database.check().status === 'ok'
          ? await storedChecks(ports, {
              troubles: toDatabaseTime(troubles, databaseNowMs() - clock.monotonicMs()),
              vault,
              sealing,
              grants: oauth.list,
              uidValidityChanges,
              nowMs: databaseNowMs(),
            })
          : noStoredChecks;
      const { worker, config, listeners, disk, workers, openCircuits, idle, ...load } = ports.otherParts();
      const isUsed = (server: Server) => used === null || used.has(serverKey(server));
      const isUsedSo = (endpoint: Endpoint) => used === null || used.has(endpointKey(endpoint));
      const scheduler = schedulerCheck(liveness.check(), load, clock.nowMs());
      const allFail = mailboxes.failing + mailboxes.waiting > 0 && mailboxes.ok === 0;
      const isAlive = scheduler.status === 'ok' || scheduler.status === 'warning';
      const isSound = database.check().status === 'ok' && isAlive && disk.status !== 'failing';
      return {
        ready: isSound && !needsKey && !allFail,
        worker,
        checks: {
          database: { ...database.check(), pool: store.pool() },
          ...{ disk, scheduler, config, listeners, ...vaultAndSwitch, passwords, workers },
          servers: serversCheck(openCircuits.filter(isUsedSo)),
          certificates: certificates.check(isUsed),
          oauth,
          ...{ clock: clockCheck, idle, quarantine, mailboxes },
        },
      };
    },
  };
}

/** Troubles are stamped by the monotonic clock, as this machine's time may have been wrong then. */
function toDatabaseTime(
  troubles: ReadonlyMap<string, MonotonicTrouble>,
  shiftMs: number,
): ReadonlyMap<string, MailboxTrouble> {
  const shifted = ({ failure, sinceMs, atMs }: MonotonicTrouble) => ({
    ...{ failure, sinceMs: sinceMs + shiftMs, atMs: atMs + shiftMs },
  });
  return new Map([...troubles].map(([id, trouble]) => [id, shifted(trouble)]));
}

function unknown(reason: string): Check {
  return { status: 'unknown', since: null, reason, hint: null };
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

/** The checks that are computed from the tables. */
async function storedChecks(
  { store, otherParts, postActionGuard: { isUnconfirmed } }: HealthPorts,
  {
    sealing,
    ...facts
  }: Pick<MailboxFacts, 'troubles' | 'vault' | 'grants' | 'uidValidityChanges' | 'nowMs'> &
    Pick<EncryptionChecks, 'sealing'>,
): Promise<StoredChecks> {
  try {
    const [all, quarantined, readable] = await Promise.all([
      store.listMailboxes(),
      store.quarantineCounts(),
      store.readableSecrets(),
    ]);
    const { isIdling, loginFailuresMax } = otherParts();
    const active = all.filter(({ state }) => state === 'active');
    return {
      used: new Set(active.flatMap(({ connection }) => [serverKey(connection), endpointKey(connection)])),
      mailboxes: mailboxChecks(all, { ...facts, isIdling, isUnconfirmed, loginFailuresMax }),
      quarantine: quarantineCheck(quarantined),
      passwords: passwordsCheck(readable, sealing),
    };
  } catch (error) {
    // An unreachable database has a check of its own, which the next tick updates.
    if (!isFailure(error)) throw error;
    return noStoredChecks;
  }
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

function serversCheck(list: readonly ServerCheck[]): Readiness['checks']['servers'] {
  const [first] = list;
  if (first === undefined) return { status: 'ok', since: null, reason: null, hint: null, list };
  const which = list.length === 1 ? endpointName(first) : `${list.length} mail servers`;
  return {
    status: 'failing',
    since: first.since,
    reason: `circuit open for ${which}: ${first.reason}`,
    hint: first.hint,
    list,
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
    hint: hints.clockWrong,
    ...offset,
  };
}
