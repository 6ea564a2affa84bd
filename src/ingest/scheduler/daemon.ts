/**
 * Daemon lifecycle: starts health endpoints, encryption sync, admin page and scheduler; graceful shutdown on the first
 * signal.
 *
 * Nothing outside is needed to start: database and mail servers may all be down, and each is retried. The stop signal
 * prevents new polls and lets those in progress finish their batch; after the shutdown timeout it returns all the same,
 * and the next start resumes what was cut off.
 */
import { within } from '../../async/deadline.ts';
import { asFailure, type Failure, type FailureCode } from '../../errors.ts';
import { events } from '../../events.ts';
import { createDiskWatch } from '../health/disk-watch.ts';
import { createHealth } from '../health/health.ts';
import { createReporter } from '../health/reporter.ts';
import type {
  Cron,
  DatabaseHealth,
  Disk,
  HttpServer,
  QuarantineReader,
  ReadableSecretsReader,
  ServiceManager,
} from '../ports.ts';
import type { Resolver } from '../quarantine/resolve.ts';
import { retryUnfetched } from '../quarantine/retry.ts';
import type { EncryptionChecks, Readiness } from '../readiness.ts';
import type { QuarantineStore, TicketReader } from '../stores.ts';
import { createCircuitBreaker } from './circuit-breaker.ts';
import { createIdleSlots } from './idle-slots.ts';
import { listenWithRetry } from './listen-with-retry.ts';
import { isEmbedded, type SchedulerPorts, type SchedulerSettings } from './poll-runner.ts';
import { purgeExpired } from './retention.ts';
import { createScheduler } from './scheduler.ts';
import { createServerSilence } from './server-silence.ts';
import { runWatchdog } from './watchdog.ts';
import { createLiveWorkers, type LiveWorkersPorts } from './workers.ts';

export type DaemonPorts = Omit<
  SchedulerPorts,
  'health' | 'reporter' | 'workers' | 'circuitBreaker' | 'idleSlots' | 'silence' | 'disk'
> & {
  readonly store: SchedulerPorts['store'] &
    LiveWorkersPorts['store'] &
    QuarantineReader &
    DatabaseHealth &
    ReadableSecretsReader &
    Pick<QuarantineStore, 'quarantinedMessages' | 'discard' | 'undiscard'> &
    Pick<TicketReader, 'unreferencedBlobs' | 'retainedSegments'>;
  /** Requeues messages in quarantine; disposed after each run. */
  readonly openResolver: () => Resolver;
  readonly disk: Disk;
  readonly cron: Cron;
  readonly serviceManager: ServiceManager;
  /** Synchronizes key file and switch, and serves the control socket, until it is disposed. */
  readonly startEncryptionSync: (readiness: () => Promise<Readiness>) => Promise<AsyncDisposable>;
  readonly encryptionChecks: () => EncryptionChecks;
  readonly oauthCheck: (hasDatabase: boolean) => Promise<Readiness['checks']['oauth']>;
  readonly configCheck: () => Readiness['checks']['config'];
  readonly listenersCheck: () => Readiness['checks']['listeners'];
  readonly crashesCheck: () => Readiness['checks']['crashes'];
  /** This worker, as `/readyz` shows it. */
  readonly self: () => Readiness['worker'];
  /** Serves the health endpoints; null: none are configured. */
  readonly listen: ((readiness: () => Promise<Readiness>) => Promise<HttpServer>) | null;
  /** Serves the admin page until it is disposed; null: none is configured. */
  readonly startAdmin: ((readiness: () => Promise<Readiness>) => Promise<AsyncDisposable>) | null;
};

export type DaemonSettings = SchedulerSettings & {
  readonly shutdownTimeoutMs: number;
  readonly rawRetentionDays: number;
};

/** Mailboxes that failed because of the disk are due as soon as it works. */
const diskCodes: readonly FailureCode[] = ['disk_full', 'disk_failed'];

const everySecond = '* * * * * *';
const everyHour = '0 17 * * * *';
const everyHourLater = '0 37 * * * *';
/** The first tick may wait for an unreachable database; the daemon is ready all the same. */
const firstTickMsMax = 5000;

/** Runs until `stop` fires. `settings` is read on every use. Throws only what prevents the start (`config_invalid`). */
export async function serve(ports: DaemonPorts, settings: () => DaemonSettings, stop: AbortSignal): Promise<void> {
  const { log, serviceManager, clock } = ports;
  const { scheduler, health, idleSlots, silence, isPreferredHere } = parts(ports, settings, stop);
  log.info({ worker: ports.worker.name }, events.daemonStarting);
  const { count: crashes, hint } = ports.crashesCheck();
  if (crashes > 0) log.warn({ crashes, hint }, events.daemonCrashed);
  await using http = new AsyncDisposableStack();
  const { listen } = ports;
  if (listen !== null) http.use(await listenWithRetry(() => listen(health.readiness), ports));
  await using _encryption = await ports.startEncryptionSync(health.readiness);
  await using admin = new AsyncDisposableStack();
  if (ports.startAdmin !== null) admin.use(await ports.startAdmin(health.readiness));
  using _ticks = ports.cron.schedule(everySecond, () => {
    silence.tick();
    void scheduler.tick();
  });
  using _retention = ports.cron.schedule(everyHour, () => {
    // With a wrong clock every file would be expired.
    if (health.isClockRight()) void purgeExpired(ports, settings().rawRetentionDays);
  });
  let isRetrying = false;
  using _retries = ports.cron.schedule(everyHourLater, () => {
    if (isRetrying) return;
    isRetrying = true;
    void retryOnce(ports, isPreferredHere).finally(() => {
      isRetrying = false;
    });
  });
  await within(scheduler.tick(), firstTickMsMax, clock);
  using _watchdog = runWatchdog({ serviceManager, clock, health, load: scheduler.load, idle: idleSlots.usage });
  serviceManager.ready();
  log.info({}, events.daemonReady);
  await fired(stop);
  serviceManager.stopping();
  const { shutdownTimeoutMs } = settings();
  log.info({ timeout_ms: shutdownTimeoutMs }, events.daemonStopping);
  const ended = Promise.all([scheduler.drained(), admin.disposeAsync()]);
  const isDrained = (await within(ended, shutdownTimeoutMs, clock)) !== null;
  scheduler.suppressReports();
  log.info({ drained: isDrained }, events.daemonStopped);
}

async function retryOnce(ports: DaemonPorts, isMine: (mailboxId: string) => boolean): Promise<void> {
  await using resolver = ports.openResolver();
  await retryUnfetched(ports, resolver.resolve, isMine);
}

/** Wires the parts: each knows only what it is given here, and reaches the others through the values below. */
function parts(ports: DaemonPorts, settings: () => DaemonSettings, stop: AbortSignal) {
  const { clock, store, log, meter } = ports;
  const workers = createLiveWorkers(ports);
  const circuitBreaker = createCircuitBreaker(clock, ports.random);
  const idleLimits = () => {
    const { idle, concurrencyMax, concurrencyPerHostMax } = settings();
    return { ...idle, rounds: { max: concurrencyMax, perGroupMax: concurrencyPerHostMax } };
  };
  const idleSlots = createIdleSlots({ store, workers, clock, log }, idleLimits);
  const silence = createServerSilence(clock, {
    changed: () => health.changed(),
    serverChanged: (server, failure) => reporter.serverSilence(server, failure),
  });
  const health = createHealth({
    clock,
    store,
    encryption: ports.encryptionChecks,
    oauth: ports.oauthCheck,
    postActionGuard: ports.postActionGuard,
    otherParts: () => ({
      worker: ports.self(),
      config: ports.configCheck(),
      listeners: ports.listenersCheck(),
      disk: disk.check(),
      workers: workers.check(),
      crashes: ports.crashesCheck(),
      openCircuits: circuitBreaker.openCircuits(),
      silence,
      idleConnections: idleSlots.usage(),
      pushStates: idleSlots.pushStates,
      loginFailuresMax: settings().loginFailuresMax,
      intervalMs: settings().intervalMs,
      ...scheduler.load(),
    }),
  });
  const hasDiskAsCause = ({ domain }: Failure) => disk.isFailing && (domain === 'disk' || isEmbedded(ports));
  const reporter = createReporter({ log, health, meter, hasDiskAsCause });
  const makeDue = (codes: readonly FailureCode[]): void => {
    store.makeDue(codes).catch((error: unknown) => reporter.databaseState(asFailure(error)));
  };
  const measuredDisk: Disk = {
    probe: async () => {
      const found = await ports.disk.probe();
      const { freeBytes } = found;
      if (freeBytes !== null && ports.storageQuota.measured(freeBytes)) makeDue(['mailbox_flooding']);
      return found;
    },
  };
  const disk = createDiskWatch(measuredDisk, clock, {
    changed: reporter.diskState,
    writable: () => makeDue(diskCodes),
  });
  const scheduler = createScheduler(
    { ...ports, health, reporter, workers, circuitBreaker, idleSlots, silence, disk },
    settings,
    stop,
  );
  return { scheduler, health, idleSlots, silence, isPreferredHere: workers.isPreferredHere };
}

function fired(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
