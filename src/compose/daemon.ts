/**
 * The daemon, composed: health endpoints, metrics, admin page, systemd and reload around the workflow of the daemon.
 *
 * Its modules are loaded here: other commands do not load them.
 */
import { systemClock, systemCron } from '../adapters/clock/clock.ts';
import type { Database } from '../adapters/database/database.ts';
import { diskProbe } from '../adapters/files/data-folder.ts';
import type { HttpOptions } from '../adapters/http/health-server.ts';
import type { Metrics } from '../adapters/metrics/metrics.ts';
import { currentActor, version } from '../adapters/process/identity.ts';
import type { WorkerLock } from '../adapters/process/worker-lock.ts';
import type { PassedSocket } from '../adapters/systemd/sockets.ts';
import type { AdminPageConfig } from '../adapters/web/server.ts';
import { within } from '../async/deadline.ts';
import type { Config } from '../config/config.ts';
import { serviceEnvironment } from '../config/load.ts';
import { listenText } from '../config/machine.ts';
import { asFailure, isFailure } from '../errors.ts';
import { type AdjustableLog, events } from '../events.ts';
import { createCrashCheck } from '../ingest/health/crashes.ts';
import { createListeners, type Listeners } from '../ingest/health/listeners.ts';
import type { PollPorts } from '../ingest/poll/poll-context.ts';
import { createResolver, type Resolver } from '../ingest/quarantine/resolve.ts';
import type { Readiness } from '../ingest/readiness.ts';
import { type DaemonPorts, type DaemonSettings, serve } from '../ingest/scheduler/daemon.ts';
import { startAdmin } from './admin.ts';
import type { DaemonEncryption, Encryption } from './encryption.ts';
import type { OAuth } from './oauth.ts';
import { applyReload, createReload } from './reload.ts';

/** Trigger and source of a configuration reload. */
export type ReloadSource = {
  readonly on: (listener: () => void) => Disposable;
  readonly load: () => Promise<Config>;
  /** The file of the command line, absolute, which the commands in hints name too; null: none. */
  readonly configFile: string | null;
};

/** The configuration in force; a reload replaces it. */
export type ActiveConfig = { config: Config };

type DaemonParts = {
  readonly active: ActiveConfig;
  readonly log: AdjustableLog;
  readonly store: Database;
  readonly ports: PollPorts;
  readonly workerLock: WorkerLock;
  readonly openDaemon: (stop: AbortSignal) => Promise<DaemonEncryption>;
  readonly encryption: Encryption;
  readonly oauth: OAuth;
};

/** Resolves after `stop` fired and the polls in progress ended. */
export async function serveDaemon(parts: DaemonParts, stop: AbortSignal, reloads: ReloadSource): Promise<void> {
  const { store, ports, workerLock } = parts;
  using _lock = await store.lockForDaemon();
  await refuseUnfinishedCopy(store);
  const crashedAtMs = await workerLock.take(ports.worker.name);
  stop.addEventListener('abort', () => void workerLock.markStopped(), { once: true });
  try {
    await serveLocked({ ...parts, crashesCheck: createCrashCheck(crashedAtMs, systemClock) }, stop, reloads);
    await workerLock.markStopped();
  } catch (error) {
    // A refused start says why itself.
    if (asFailure(error).code !== 'unexpected') await workerLock.markStopped();
    throw error;
  }
}

type LockedParts = DaemonParts & Pick<DaemonPorts, 'crashesCheck'>;

async function serveLocked(parts: LockedParts, stop: AbortSignal, reloads: ReloadSource): Promise<void> {
  const { active, log, store, ports, encryption, oauth, crashesCheck } = parts;
  const { config } = active;
  const [{ createServiceManager }, { createMetrics }, { startHealthServer }] = await Promise.all([
    import('../adapters/systemd/notify.ts'),
    import('../adapters/metrics/metrics.ts'),
    import('../adapters/http/health-server.ts'),
    // Before the first poll, which would find out too late that a file is missing or was replaced.
    import('../adapters/imap/session.ts'),
  ]);
  const service = serviceEnvironment(process.pid);
  const serviceManager = createServiceManager({ ...service, monotonicUs });
  using metrics = createMetrics({ version });
  const { http, admin, database } = config;
  const passed = await takeSockets(service.sockets, config, log);
  const daemon = await parts.openDaemon(stop);
  const { control, operations } = daemon;
  const { configFile } = reloads;
  // Each call has its own sessions and the current limits, so that several admins can resolve messages at the same
  // time.
  const openResolver = () => createResolver({ ...ports, store }, daemonSettings(active.config));
  const resolve: Resolver['resolve'] = async (message, action) => {
    await using resolver = openResolver();
    return await resolver.resolve(message, action);
  };
  const ofPage = { store, log, encryption, oauth, control, operations, resolve, database, configFile };
  const loginFailuresMax = () => active.config.poll.loginFailuresMax;
  const page = { ...ports, ...ofPage, sizeBytesMax: config.message.sizeBytesMax, loginFailuresMax };
  const reload = createReload({
    ...{ load: reloads.load, log, serviceManager, nowMs: systemClock.nowMs },
    current: () => active.config,
    adopt(next) {
      active.config = applyReload(active.config, next, (login) => store.useLogin(login));
      oauth.reset();
    },
  });
  using _reloads = reloads.on(() => void reload.reload());
  const listeners = listenersOf(config);
  const onListen: AdminPageConfig['onListen'] = (failure) => listeners.record('page', failure);
  const startHealth = (readiness: () => Promise<Readiness>, address: HttpOptions) =>
    startHealthServer({ ...address, ...passed.health }, { readiness, metrics: renderOf(metrics) });
  let isMigrated = false;
  const daemonPorts: DaemonPorts = {
    ...{ ...ports, store, meter: metrics, serviceManager, cron: systemCron },
    prepare: async () => {
      await migrate(store, config, log);
      isMigrated = true;
    },
    openResolver,
    disk: diskProbe(config.dataDir, `${process.pid}`),
    startEncryptionSync: async (readiness) => {
      await using building = new AsyncDisposableStack();
      building.use(await daemon.start(() => isMigrated, readiness));
      building.use(await oauth.startRenewals(() => isMigrated, metrics.oauthRenewal));
      return building.move();
    },
    encryptionChecks: daemon.checks,
    oauthCheck: oauth.check,
    configCheck: reload.check,
    listenersCheck: listeners.check,
    crashesCheck,
    self: selfOf(config, log),
    listen: http && ((readiness) => listeners.observe('health', startHealth(readiness, http))),
    startAdmin:
      admin && ((readiness) => startAdmin({ ...page, config: { ...admin, ...passed.page, onListen } }, readiness)),
  };
  await serve(daemonPorts, () => daemonSettings(active.config), stop);
}

function listenersOf({ http, admin }: Config): Listeners {
  return createListeners(systemClock, { health: http && listenText(http), page: admin && listenText(admin) });
}

function renderOf(metrics: Metrics) {
  return async (readiness: Readiness) => ({
    contentType: metrics.contentType,
    text: await metrics.render(readiness),
  });
}

/** The sockets of systemd for the configured addresses. */
async function takeSockets(passed: readonly PassedSocket[], { http, admin }: Config, log: AdjustableLog) {
  const { createPassedSockets } = await import('../adapters/systemd/sockets.ts');
  const sockets = createPassedSockets(passed, (socket, reason) => log.warn({ socket, reason }, events.socketUnused));
  const { descriptor, twinDescriptor } = await sockets.take('health', http);
  const page = await sockets.take('page', admin);
  sockets.rejectOthers();
  const onTaken = (address: string): void => log.warn({ address }, events.localhostTaken);
  return { health: { descriptor, twin: { descriptor: twinDescriptor, onTaken } }, page };
}

/** The start needs no database: one that does not answer is asked again before the first poll. */
const copyCheckMsMax = 3000;

/** Throws `copy_unfinished`. */
async function refuseUnfinishedCopy({ migrations }: Database): Promise<void> {
  try {
    await within(migrations.refuseUnfinishedCopy(), copyCheckMsMax);
  } catch (error) {
    if (!isFailure(error) || error.code === 'copy_unfinished') throw error;
  }
}

async function migrate(store: Database, config: Config, log: AdjustableLog): Promise<void> {
  await store.migrations.refuseUnfinishedCopy();
  const applied = config.migrateOnStart ? await store.migrations.apply() : 0;
  if (applied > 0) log.info({ applied }, events.databaseMigrated);
}

function selfOf(config: Config, log: AdjustableLog): DaemonPorts['self'] {
  const startedAt = new Date(systemClock.nowMs()).toISOString();
  const { host } = currentActor();
  const self = { host, pid: process.pid, name: config.worker.name, version, started_at: startedAt };
  return () => ({ ...self, log_level: log.level });
}

function monotonicUs(): bigint {
  return process.hrtime.bigint() / 1000n;
}

export function daemonSettings(config: Config): DaemonSettings {
  const { poll, message } = config;
  const { intervalMs, backoffMsMax, leaseMs, loginFailuresMax, loginSuspendMs } = poll;
  const { concurrencyMax, concurrencyPerHostMax } = poll;
  return {
    ...{ intervalMs, backoffMsMax, leaseMs, loginFailuresMax, loginSuspendMs, concurrencyMax, concurrencyPerHostMax },
    idle: config.idle,
    limits: {
      messageBytesMax: message.sizeBytesMax,
      batchTimeoutMs: 2 * poll.commandTimeoutMs,
      batch: { messagesMax: message.batchMessagesMax, bytesMax: message.batchBytesMax },
    },
    rules: { ...config.limits, ...config.tickets },
    shutdownTimeoutMs: config.shutdown.timeoutMs,
    rawRetentionDays: config.raw.retentionDays,
  };
}
