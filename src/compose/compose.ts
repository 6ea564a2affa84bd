/**
 * Composition root: builds the adapters from the configuration and injects them into the workflows.
 *
 * Only the data folder is touched: the database connects on the first query, the threads start with the first message.
 * Disposing the result undoes everything in reverse order.
 */
import { randomBytes } from 'node:crypto';
import { systemClock } from '../adapters/clock/clock.ts';
import type { CopyOptions, CopyReport } from '../adapters/database/copy/copy.ts';
import { type Database, openDatabase } from '../adapters/database/database.ts';
import { makeDataFolder } from '../adapters/files/data-folder.ts';
import { createStorage } from '../adapters/files/storage.ts';
import type { ImapOptions } from '../adapters/imap/client.ts';
import { createParserPool } from '../adapters/parser/parser-pool.ts';
import { thisWorker } from '../adapters/process/identity.ts';
import { createUuidV7Generator } from '../adapters/process/uuid-v7.ts';
import { setV8Flags } from '../adapters/process/v8-flags.ts';
import { createWorkerLock } from '../adapters/process/worker-lock.ts';
import type { Config, DatabaseConfig } from '../config/config.ts';
import type { AdjustableLog } from '../events.ts';
import { createIsolationStates } from '../ingest/fetch/poison-message.ts';
import { createStorageQuota } from '../ingest/fetch/storage-quota.ts';
import type { Mailbox } from '../ingest/model.ts';
import { pollMailbox } from '../ingest/poll/poll.ts';
import type { PollObserver, PollPorts, PollSummary } from '../ingest/poll/poll-context.ts';
import type { Blobs, Credentials, MessageParser, RawSources, Sessions, WorkerIdentity } from '../ingest/ports.ts';
import { noMeter } from '../ingest/ports.ts';
import { createResolver, type Resolver } from '../ingest/quarantine/resolve.ts';
import { type ReprocessResult, reprocessMessage } from '../ingest/repair/reprocess.ts';
import { createLeases } from '../ingest/scheduler/lease-renewal.ts';
import { workerLiveMs } from '../ingest/scheduler/workers.ts';
import { newReference } from '../mail/thread/reply-token.ts';
import { type ActiveConfig, daemonSettings, type ReloadSource, serveDaemon } from './daemon.ts';
import { type AskPassphrase, composeEncryption, type Encryption } from './encryption.ts';
import { composeOAuth, type OAuth } from './oauth.ts';

export type App = AsyncDisposable &
  Encryption &
  Pick<Resolver, 'resolve' | 'restore'> & {
    readonly store: Database;
    readonly migrations: Database['migrations'];
    readonly credentials: Credentials;
    readonly oauth: Omit<OAuth, 'credentials' | 'reset' | 'check' | 'startRenewals' | keyof AsyncDisposable>;
    readonly sessions: Sessions;
    readonly raw: RawSources;
    readonly blobs: Blobs;
    /** One poll in the foreground. `stop` lets the batch in progress finish. */
    pollOnce(mailbox: Mailbox, stop: AbortSignal, observe?: PollObserver): Promise<PollSummary>;
    /** Reads a stored message again. Throws `not_found`. */
    reprocess(id: string): Promise<ReprocessResult>;
    /** Copies the database into another one. Throws as `copyDatabase` (adapters/database/copy). */
    copyTo(target: DatabaseConfig, onProgress: CopyOptions['onProgress']): Promise<CopyReport>;
    /** The daemon; resolves after `stop` fired and the polls in progress ended. */
    serve(stop: AbortSignal, reloads: ReloadSource): Promise<void>;
  };

/** Throws `disk_failed` without the data folder. `askPassphrase`: absent or null without a person to ask. */
export async function compose(
  config: Config,
  log: AdjustableLog,
  terminal: { readonly askPassphrase?: AskPassphrase } = {},
): Promise<App> {
  await using building = new AsyncDisposableStack();
  setV8Flags();
  await makeDataFolder(config.dataDir);
  // Released last: who takes it knows that this worker writes nothing more.
  const workerLock = building.use(createWorkerLock(config.dataDir, config.worker.name, systemClock.nowMs));
  const store = building.use(await openDatabase(config.database));
  const newId = createUuidV7Generator(systemClock.nowMs);
  const storage = building.use(createStorage(config.dataDir, systemClock, newId));
  const { blobs, raw } = storage;
  const { parseThreads: threads, parseTimeoutMs: timeoutMs, parseMemoryMb: memoryMb } = config.message;
  const parserPool = building.use(createParserPool({ threads, timeoutMs, memoryMb }));
  const parser: MessageParser = {
    ...parserPool,
    // A parsed message is stored next: both kinds of threads load at the same time.
    prepare: () => {
      parserPool.prepare();
      storage.prepare();
    },
  };
  const active: ActiveConfig = { config };
  const sessions = sessionsOnDemand(() => ({ ...active.config.poll, literalBytesMax: literalBytesMax(config) }));
  const worker = thisWorker(workerLock.isFormerHolder);
  const askPassphrase = terminal.askPassphrase ?? null;
  const providers = () => active.config.oauth;
  const parts = { config, log, store, worker, clock: systemClock, askPassphrase, providers };
  const { encryption, openDaemon } = composeEncryption(parts);
  const { passwords, tokens, actor } = encryption;
  const oauthParts = { providers, store, passwords, tokens, clock: systemClock, log, worker, actor };
  const oauth = building.use(composeOAuth(oauthParts));
  const ports: PollPorts = {
    ...{ store, sessions, parser, blobs, raw, worker, clock: systemClock, log },
    credentials: oauth.credentials,
    postActionGuard: encryption.confirmations,
    leases: createLeases({ clock: systemClock, store }, () => active.config.poll.leaseMs),
    isolations: createIsolationStates(),
    storageQuota: createStorageQuota(systemClock),
    meter: noMeter,
    newId,
    newRef: () => newReference(systemClock.nowMs(), randomBytes),
    openReplyKeys: encryption.replyKeys.open,
    random: Math.random,
  };
  const { resolve, restore } = building.use(createResolver({ ...ports, store }, daemonSettings(config)));
  const built = building.move();
  return {
    ...{ ...encryption, resolve, restore, copyTo: copierOf(store, worker) },
    reprocess: (id) => reprocessMessage(id, { ...ports, store }, daemonSettings(config)),
    ...{ store, migrations: store.migrations, credentials: oauth.credentials, oauth, sessions, raw, blobs },
    pollOnce: async (mailbox, stop, observe) => {
      // A refused login counts as one of a poll by the daemon.
      const due = await store.scheduleOf(mailbox.id);
      const settings = daemonSettings(config);
      return await pollMailbox(mailbox, ports, () => settings, { due, stop }, observe);
    },
    serve: (stop, reloads) =>
      serveDaemon({ active, log, store, ports, workerLock, openDaemon, encryption, oauth }, stop, reloads),
    [Symbol.asyncDispose]: () => built.disposeAsync(),
  };
}

function copierOf(store: Database, { isDead }: WorkerIdentity): App['copyTo'] {
  return (target, onProgress) => store.copyTo(target, { liveness: { liveMs: workerLiveMs, isDead }, onProgress });
}

/** Loads the IMAP client on first use: most commands ask no mail server. */
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

/**
 * Limit of an IMAP literal: a server may announce a size and send more, so it leaves room for one message and its
 * envelope.
 */
function literalBytesMax(config: Config): number {
  return config.message.sizeBytesMax + 1024 * 1024;
}
