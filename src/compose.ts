/**
 * The composition root: builds the adapters from the configuration and hands them to the workflows.
 *
 * Nothing outside is touched but the data folder: the database is connected when it is first asked, the parse threads
 * start with the first mail. Disposing the result undoes everything, last built first.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { cronWakes, systemClock } from './adapters/clock/clock.ts';
import { type Database, openDatabase } from './adapters/database/database.ts';
import { createBlobs } from './adapters/files/blobs.ts';
import { createRawSources } from './adapters/files/segments.ts';
import { imapSessions } from './adapters/imap/sessions.ts';
import { createDigester } from './adapters/parser/digester.ts';
import { createIds } from './adapters/process/ids.ts';
import { boundHeaps } from './adapters/process/memory.ts';
import { thisWorker } from './adapters/process/workers.ts';
import type { Config } from './config.ts';
import { causeCode, Failure } from './errors.ts';
import { events, type Log } from './events.ts';
import { type DaemonSettings, serve } from './ingest/daemon.ts';
import type { Mailbox } from './ingest/mailbox.ts';
import { pollMailbox } from './ingest/poll.ts';
import type { PollPorts, PollProgress, PollReport } from './ingest/poll-ports.ts';
import type { Blobs, RawSources, Sessions } from './ingest/ports.ts';
import { newReference } from './mail/ticket.ts';

const writableByOthers = 0o002;

export type App = AsyncDisposable & {
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

/** Throws `disk_failed` when the data folder cannot be made. */
export async function compose(config: Config, log: Log): Promise<App> {
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
  const ports: PollPorts = {
    store,
    sessions,
    digester,
    blobs,
    raw,
    workers: thisWorker(),
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
    store,
    migrations: store.migrations,
    sessions,
    raw,
    blobs,
    pollOnce: (mailbox, stop, onProgress) =>
      pollMailbox(mailbox, ports, settings, { failures: 0, stop, ...(onProgress === undefined ? {} : { onProgress }) }),
    serve: (stop) => serve({ ...ports, store, prepare, wakes: cronWakes, listen: listener(config) }, settings, stop),
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

/** Makes the folder for us alone; one that others can write to is refused, since they could put anything in it. */
async function makeDataFolder(dataDir: string): Promise<void> {
  try {
    await makeFolder(dataDir);
    const { mode } = await stat(dataDir);
    if ((mode & writableByOthers) === 0) return;
  } catch (error) {
    throw new Failure('disk_failed', `data_dir ${dataDir} cannot be made (${causeCode(error)})`, { cause: error });
  }
  const hint = `Close it: chmod o-w ${dataDir}; then look for files in it that are not yours.`;
  throw new Failure('refused', `data_dir ${dataDir} can be written by everybody`, { hint });
}

/** Like a recursive mkdir, which never ends where a parent exists and can hold nothing (/proc). */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (causeCode(error) === 'EEXIST' && (await stat(path)).isDirectory()) return;
    const isParentMissing = causeCode(error) === 'ENOENT' && !existsSync(dirname(path));
    if (!isParentMissing) throw error;
    await makeFolder(dirname(path));
    await mkdir(path, { mode: 0o700 });
  }
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
