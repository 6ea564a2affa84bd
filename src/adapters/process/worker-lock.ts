/**
 * Lock file of a worker, as a PID file: flock(2) on a file of the data folder, whose content names the worker that
 * holds it, and how former ones ended.
 *
 * The kernel releases the lock when the process is gone, however it ended. So the next holder knows at once that the
 * worker that the file names has ended, also in another PID namespace and with another host name (a restarted
 * container). That holds within one boot of one kernel and for this very file alone: with another boot id (NFS from two
 * machines, a virtual machine), or in a copy of the file (another device or inode), no worker is known to have ended. A
 * name that no shutdown marked as stopped is a crash.
 *
 * A file that cannot be locked, read or written changes nothing: no worker is known to have ended then, and no crash.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { causeCode } from '../../errors.ts';
import { loadCLibrary } from './c-library.ts';
import { bootId } from './identity.ts';

export interface WorkerLock extends AsyncDisposable {
  /** True for a worker that held this lock before, and has ended. */
  isFormerHolder(worker: string): boolean;
  /** Takes the lock for `worker`. Returns when crashes of former holders were noticed, oldest first; never waits. */
  take(worker: string): Promise<readonly number[]>;
  /** A shutdown has begun: how the process ends after that is no crash. */
  markStopped(): Promise<void>;
}

/** `workerName` is that of the configuration, '' for the only worker of the folder. */
export function createWorkerLock(dataDir: string, workerName: string, nowMs: () => number): WorkerLock {
  const path = join(dataDir, workerName === '' ? 'worker.lock' : `worker-${workerName}.lock`);
  let file: FileHandle | null = null;
  let record: LockRecord | null = null;

  const write = async (next: LockRecord): Promise<void> => {
    record = next;
    await orNull(async () => {
      await file?.write(blockOf(next), 0, blockBytes, 0);
      await file?.datasync();
    });
  };

  return {
    isFormerHolder: (worker) => record?.former.includes(worker) === true,
    take: async (worker) => {
      file = await orNull(() => openLocked(path));
      if (file === null) return [];
      const { dev, ino } = await file.stat({ bigint: true });
      const holder = { worker, boot: bootId(), device: `${dev}`, inode: `${ino}` };
      const next = successor(await readRecord(file), holder, nowMs());
      await write(next);
      return next.crashedAtMs;
    },
    markStopped: async () => {
      if (record?.isStopped === false) await write({ ...record, isStopped: true });
    },
    [Symbol.asyncDispose]: async () => await file?.close(),
  };
}

const textLengthMax = 256;
const formerMax = 8;
const crashesMax = 256;

const text = z.string().check(z.maxLength(textLengthMax));
const recordForm = z.strictObject({
  worker: text,
  /** Of the kernel; null: unknown. */
  boot: z.nullable(text),
  /** Of the file that was written: a copy has others. */
  device: text,
  inode: text,
  isStopped: z.boolean(),
  /** Workers that held the lock before, the latest first, on this boot and in this file. */
  former: z.array(text).check(z.maxLength(formerMax)),
  crashedAtMs: z.array(z.number()).check(z.maxLength(crashesMax)),
});

type LockRecord = z.output<typeof recordForm>;

type Holder = Pick<LockRecord, 'worker' | 'boot' | 'device' | 'inode'>;

function successor(before: LockRecord | null, holder: Holder, nowMs: number): LockRecord {
  const fresh: LockRecord = { ...holder, isStopped: false, former: [], crashedAtMs: [] };
  // A copy, such as a restored backup, says nothing about a run.
  if (before === null || before.inode !== holder.inode) return fresh;
  const isSameLock = holder.boot !== null && before.boot === holder.boot && before.device === holder.device;
  const former = isSameLock ? [before.worker, ...before.former].slice(0, formerMax) : [];
  const crashedAtMs = before.isStopped ? before.crashedAtMs : [...before.crashedAtMs, nowMs].slice(-crashesMax);
  return { ...fresh, former, crashedAtMs };
}

/** One block of constant size, so that one write in place replaces it, and the lock stays at the file. */
const blockBytes = 8192;

function blockOf(record: LockRecord): Uint8Array {
  return Buffer.from(
    JSON.stringify(record)
      .padEnd(blockBytes - 1)
      .concat('\n'),
  );
}

/** null: a new file, or one that was not written to its end. */
async function readRecord(file: FileHandle): Promise<LockRecord | null> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(blockBytes), 0, blockBytes, 0);
  try {
    return recordForm.safeParse(JSON.parse(buffer.toString('utf8', 0, bytesRead))).data ?? null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Through no link, and without a wait for the other end of a pipe. */
const openFlags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;

// Constants of Linux, equal on x64 and arm64.
const exclusively = 2;
const withoutWaiting = 4;

/** null: another process holds it, or the system has no such lock. */
async function openLocked(path: string): Promise<FileHandle | null> {
  const library = loadCLibrary({ flock: { arguments: ['int32', 'int32'], return: 'int32' } });
  const file = await open(path, openFlags, 0o600);
  if ((await file.stat()).isFile() && library?.flock(file.fd, exclusively | withoutWaiting) === 0) return file;
  await file.close();
  return null;
}

/** null: the file system refused. */
async function orNull<T>(task: () => Promise<T>): Promise<T | null> {
  try {
    return await task();
  } catch (error) {
    if (/^E[A-Z0-9]+$/.test(causeCode(error))) return null;
    throw error;
  }
}
