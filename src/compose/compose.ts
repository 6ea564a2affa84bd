/**
 * The composition root: builds the adapters from the configuration and hands them to the workflows.
 *
 * Nothing outside is touched but the data folder: the database is connected when it is first asked, the threads
 * start with the first mail. Disposing the result undoes everything, last built first.
 */
import { randomBytes } from 'node:crypto';
import { systemClock, systemCron } from '../adapters/clock/clock.ts';
import { type Database, openDatabase } from '../adapters/database/database.ts';
import { diskProbe, makeDataFolder } from '../adapters/files/data-folder.ts';
import { createStorage } from '../adapters/files/storage.ts';
import type { ImapOptions } from '../adapters/imap/client.ts';
import { createDigester } from '../adapters/parser/parser-pool.ts';
import { createIds } from '../adapters/process/uuid-v7.ts';
import { tuneEngine } from '../adapters/process/v8-flags.ts';
import { currentActor, thisWorker, version } from '../adapters/process/worker-identity.ts';
import type { Config } from '../config/config.ts';
import { servicePlace } from '../config/load.ts';
import { type AdjustableLog, events } from '../events.ts';
import { createIsolationStates } from '../ingest/fetch/poison-message.ts';
import type { Mailbox } from '../ingest/model.ts';
import { pollMailbox } from '../ingest/poll/poll.ts';
import type { PollObserver, PollPorts, PollSummary } from '../ingest/poll/poll-context.ts';
import type { Blobs, MessageParser, RawSources, Sessions } from '../ingest/ports.ts';
import { noMeter } from '../ingest/ports.ts';
import { createResolver, type Resolver } from '../ingest/quarantine/resolve.ts';
import type { Readiness } from '../ingest/readiness.ts';
import { type ReprocessResult, reprocessMessage } from '../ingest/repair/reprocess.ts';
import { type DaemonPorts, type DaemonSettings, serve } from '../ingest/scheduler/daemon.ts';
import { createLeases } from '../ingest/scheduler/leases.ts';
import { newReference } from '../mail/thread/reply-token.ts';
import { startAdmin } from './admin.ts';
import { type AskPassphrase, composeEncryption, type DaemonEncryption, type Encryption } from './encryption.ts';
import { adoptPassword, createReload } from './reload.ts';

export type App = AsyncDisposable &
  Encryption &
  Pick<Resolver, 'resolve' | 'restore'> & {
    readonly store: Database;
    readonly migrations: Database['migrations'];
    readonly sessions: Sessions;
    readonly raw: RawSources;
    readonly blobs: Blobs;
    /** One poll in the foreground. `stop` lets the batch in progress finish. */
    pollOnce(mailbox: Mailbox, stop: AbortSignal, observe?: PollObserver): Promise<PollSummary>;
    /** Reads a stored message again. Throws `not_found`. */
    reprocess(id: string): Promise<ReprocessResult>;
    /** The daemon; resolves after `stop` fired and visits are drained. */
    serve(stop: AbortSignal, reloads: Reloads): Promise<void>;
  };

/** When somebody wants the configuration to be read again, and how that is done. */
export type Reloads = {
  readonly on: (listener: () => void) => Disposable;
  readonly load: () => Promise<Config>;
  /** The file that the command line names, absolute; null: none. Commands that people are told to run name it too. */
  readonly configFile: string | null;
};

/** Throws `disk_failed` when the data folder cannot be made. `askPassphrase`: null, and absent, for nobody to ask. */
export async function compose(
  config: Config,
  log: AdjustableLog,
  people: { readonly askPassphrase?: AskPassphrase } = {},
): Promise<App> {
  await using building = new AsyncDisposableStack();
  tuneEngine();
  await makeDataFolder(config.dataDir);
  const store = building.use(await openDatabase(config.database));
  const newId = createIds(systemClock.nowMs);
  const storage = building.use(createStorage(config.dataDir, systemClock, newId));
  const { blobs, raw } = storage;
  const { parseThreads: threads, parseTimeoutMs: timeoutMs, parseMemoryMb: memoryMb } = config.message;
  const parserPool = building.use(createDigester({ threads, timeoutMs, memoryMb }));
  const parser: MessageParser = {
    ...parserPool,
    // What is parsed is stored: both threads load at the same time.
    prepare: () => {
      parserPool.prepare();
      storage.prepare();
    },
  };
  const live: Live = { config };
  const sessions = sessionsOnDemand(() => ({ ...live.config.poll, literalBytesMax: literalBytesMax(config) }));
  const workers = thisWorker();
  const askPassphrase = people.askPassphrase ?? null;
  const parts = { config, log, store, workers, clock: systemClock, askPassphrase };
  const { encryption, openDaemon } = composeEncryption(parts);
  const ports: PollPorts = {
    ...{
      store,
      passwords: encryption.passwords,
      sessions,
      parser,
      blobs,
      raw,
      worker: workers,
      clock: systemClock,
      log,
    },
    leases: createLeases({ clock: systemClock, store }, () => live.config.poll.leaseMs),
    isolations: createIsolationStates(),
    meter: noMeter,
    newId,
    newRef: () => newReference(systemClock.nowMs(), randomBytes),
    random: Math.random,
  };
  const { resolve, restore } = building.use(createResolver({ ...ports, store }, daemonSettings(config)));
  const undo = building.move();
  return {
    ...encryption,
    ...{ resolve, restore },
    reprocess: (id) => reprocessMessage(id, { ...ports, store }, daemonSettings(config)),
    ...{ store, migrations: store.migrations, sessions, raw, blobs },
    pollOnce: async (mailbox, stop, observe) => {
      // A refused login counts as one of a poll by the daemon.
      const due = await store.scheduleOf(mailbox.id);
      const settings = daemonSettings(config);
      return await pollMailbox(mailbox, ports, () => settings, { due, stop }, observe);
    },
    serve: (stop, reloads) => serveDaemon({ live, log, store, ports, openDaemon, encryption }, stop, reloads),
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

/** What speaks IMAP is loaded when it is first needed: commands that ask no mail server do not pay for it. */
function sessionsOnDemand(options: () => ImapOptions): Sessions {
  let loading: Promise<Sessions> | null = null;
  const loaded = () => {
    loading ??= import('../adapters/imap/session.ts').then(({ imapSessions }) => imapSessions(options));
    return loading;
  };
  return {
    open: async (...args) => await (await loaded()).open(...args),
    probe: async (...args) => await (await loaded()).probe(...args),
  };
}

/** A server may announce a size and send more: the limit of a literal leaves room for what is asked, no more. */
function literalBytesMax(config: Config): number {
  return config.message.sizeBytesMax + 1024 * 1024;
}

function daemonSettings(config: Config): DaemonSettings {
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

/** The configuration in force: a reload puts another one into its place. */
type Live = { config: Config };

type DaemonParts = {
  readonly live: Live;
  readonly log: AdjustableLog;
  readonly store: Database;
  readonly ports: PollPorts;
  readonly openDaemon: (stop: AbortSignal) => Promise<DaemonEncryption>;
  readonly encryption: Encryption;
};

/** What the daemon alone needs is loaded here: other commands do not pay for it. */
async function serveDaemon(parts: DaemonParts, stop: AbortSignal, reloads: Reloads): Promise<void> {
  const { live, log, store, ports, encryption } = parts;
  const { config } = live;
  using _lock = await store.lockForDaemon();
  const [{ createSupervisor }, { createMetrics }, { startHealthServer }] = await Promise.all([
    import('../adapters/systemd/notify.ts'),
    import('../adapters/metrics/metrics.ts'),
    import('../adapters/http/health-server.ts'),
    // Here at once: a file that is missing, or replaced later, is not found out at the first visit.
    import('../adapters/imap/session.ts'),
  ]);
  const supervisor = createSupervisor({ ...servicePlace(process.pid), monotonicUs });
  using metrics = createMetrics({ version });
  const { http, admin, database } = config;
  const daemon = await parts.openDaemon(stop);
  const { control, operations } = daemon;
  const { raw, worker: workers } = ports;
  const { configFile } = reloads;
  // Each with sessions of its own, under the limits of now: several people may take mails out at once.
  const resolve: Resolver['resolve'] = async (mail, way) => {
    await using resolver = createResolver({ ...ports, store }, daemonSettings(live.config));
    return await resolver.resolve(mail, way);
  };
  const page = { ...{ store, log, encryption, control, operations, resolve, raw, workers }, database, configFile };
  const adopt = (next: Config): void => {
    live.config = {
      ...config,
      database: adoptPassword(live.config.database, next.database, (password) => store.usePassword(password)),
      log: next.log,
      poll: next.poll,
      idle: next.idle,
      limits: next.limits,
      tickets: next.tickets,
      raw: next.raw,
      shutdown: next.shutdown,
    };
  };
  const { nowMs } = systemClock;
  const reload = createReload({ load: reloads.load, log, supervisor, current: () => live.config, adopt, nowMs });
  using _reloads = reloads.on(() => void reload.again());
  const rendered = async (readiness: Readiness) => ({
    contentType: metrics.contentType,
    text: await metrics.render(readiness),
  });
  const daemonPorts: DaemonPorts = {
    ...{ ...ports, store, meter: metrics, serviceManager: supervisor, cron: systemCron },
    prepare: () => migrate(store, config, log),
    disk: diskProbe(config.dataDir, `${process.pid}`),
    startEncryptionSync: daemon.keep,
    encryptionChecks: daemon.checks,
    configCheck: reload.check,
    self: selfOf(config, log),
    listen: http === null ? null : (readiness) => startHealthServer(http, { readiness, metrics: rendered }),
    startAdmin: admin === null ? null : (readiness) => startAdmin({ ...page, config: admin }, readiness),
  };
  await serve(daemonPorts, () => daemonSettings(live.config), stop);
}

async function migrate(store: Database, config: Config, log: AdjustableLog): Promise<void> {
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
