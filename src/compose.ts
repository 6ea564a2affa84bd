/**
 * The composition root: builds the adapters from the configuration and hands them to the workflows.
 *
 * Nothing outside is touched but the data folder: the database is connected when it is first asked, the parse threads
 * start with the first mail. Disposing the result undoes everything, last built first.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';

import { cronWakes, systemClock } from './adapters/clock/clock.ts';
import { type Database, openDatabase } from './adapters/database/database.ts';
import { createBlobs } from './adapters/files/blobs.ts';
import { makeDataFolder } from './adapters/files/data-folder.ts';
import { createRawSources } from './adapters/files/segments.ts';
import { imapSessions } from './adapters/imap/sessions.ts';
import { createDigester } from './adapters/parser/digester.ts';
import { createIds } from './adapters/process/ids.ts';
import { boundHeaps } from './adapters/process/memory.ts';
import { thisWorker } from './adapters/process/workers.ts';
import { type AskPassphrase, composeEncryption, type Encryption } from './compose/encryption.ts';
import type { Config } from './config.ts';
import { events, type Log } from './events.ts';
import { type DaemonSettings, serve } from './ingest/daemon.ts';
import type { Mailbox } from './ingest/mailbox.ts';
import { pollMailbox } from './ingest/poll.ts';
import type { PollPorts, PollProgress, PollReport } from './ingest/poll-ports.ts';
import type { Blobs, RawSources, Sessions } from './ingest/ports.ts';
import { newReference } from './mail/ticket.ts';

export type App = AsyncDisposable &
  Encryption & {
    readonly store: Database;
    readonly migrations: Database['migrations'];
    readonly sessions: Sessions;
    readonly raw: RawSources;
    readonly blobs: Blobs;
    /** One visit in the foreground. `stop` lets the window under way finish. */
    pollOnce(mailbox: Mailbox, stop: AbortSignal, onProgress?: (progress: PollProgress) => void): Promise<PollReport>;
    /** The daemon; resolves after `stop` fired and visits are drained. */
    serve(stop: AbortSignal): Promise<void>;
  };

/** Throws `disk_failed` when the data folder cannot be made. `askPassphrase`: null, and absent, for nobody to ask. */
export async function compose(
  config: Config,
  log: Log,
  people: { readonly askPassphrase?: AskPassphrase } = {},
): Promise<App> {
  await using building = new AsyncDisposableStack();
  boundHeaps();
  await makeDataFolder(config.dataDir);
  const store = building.use(await openDatabase(config.database));
  const newId = createIds(systemClock.nowMs);
  const raw = building.use(createRawSources(join(config.dataDir, 'raw'), systemClock, newId));
  const blobs = createBlobs(join(config.dataDir, 'blobs'), newId);
  const { parseThreads: threads, parseTimeoutMs: timeoutMs, parseMemoryMb: memoryMb } = config.message;
  const digester = building.use(createDigester({ threads, timeoutMs, memoryMb }));
  const { connectTimeoutMs, commandTimeoutMs } = config.poll;
  const sessions = imapSessions({ connectTimeoutMs, commandTimeoutMs, literalBytesMax: literalBytesMax(config) });
  const workers = thisWorker();
  const askPassphrase = people.askPassphrase ?? null;
  const parts = { config, log, store, workers, clock: systemClock, askPassphrase };
  const { encryption, daemon } = composeEncryption(parts);
  const ports: PollPorts = {
    store,
    passwords: encryption.passwords,
    sessions,
    digester,
    blobs,
    raw,
    workers,
    clock: systemClock,
    log,
    newId,
    newRef: () => newReference(systemClock.nowMs(), randomBytes),
    random: Math.random,
  };
  const settings = daemonSettings(config);
  const prepare = async () => {
    const applied = config.migrateOnStart ? await store.migrations.apply() : 0;
    if (applied > 0) log.info({ applied }, events.databaseMigrated);
  };
  const undo = building.move();
  return {
    ...encryption,
    store,
    migrations: store.migrations,
    sessions,
    raw,
    blobs,
    pollOnce: (mailbox, stop, onProgress) =>
      pollMailbox(mailbox, ports, settings, { failures: 0, stop, ...(onProgress === undefined ? {} : { onProgress }) }),
    serve: (stop) => {
      const { keep: keepEncryption, checks } = daemon;
      const outside = { store, prepare, wakes: cronWakes, listen: listener(config), keepEncryption };
      return serve({ ...ports, ...outside, encryptionChecks: checks }, settings, stop);
    },
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

/** A server may announce a size and send more: the limit of a literal leaves room for what is asked, no more. */
function literalBytesMax(config: Config): number {
  return config.message.bytesMax + 1024 * 1024;
}

function daemonSettings(config: Config): DaemonSettings {
  const { poll, message } = config;
  return {
    intervalMs: poll.intervalMs,
    backOffMsMax: poll.backOffMsMax,
    leaseMs: poll.leaseMs,
    concurrencyMax: poll.concurrencyMax,
    concurrencyPerHostMax: poll.concurrencyPerHostMax,
    limits: {
      messageBytesMax: message.bytesMax,
      windowMs: 2 * poll.commandTimeoutMs,
      window: { messagesMax: message.batchMessagesMax, bytesMax: message.batchBytesMax },
    },
    drainMs: config.stop.drainMs,
    keepDays: config.raw.keepDays,
  };
}

/** The HTTP package is loaded by the daemon alone; other commands do not pay for it. */
function listener(config: Config): Parameters<typeof serve>[0]['listen'] {
  const { http } = config;
  if (http === null) return null;
  return async (ready) => {
    const { startHttp } = await import('./adapters/http/server.ts');
    return startHttp(http, ready);
  };
}
