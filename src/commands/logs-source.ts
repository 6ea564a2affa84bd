/**
 * Where `logs` reads from: a file, which may grow and be rotated, or a program.
 *
 * Pieces of bytes as they come, never the whole. Where something goes on, `null` says once that all there was so far has
 * been read. What cannot be read is `usage`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { causeCode, Failure } from '../errors.ts';

export type Pieces = AsyncIterable<Uint8Array | null>;

const pieceBytes = 64 * 1024;
const lookAgainMs = 300;

/** The bytes of a file; with `follow` also those that are added, until `stop` fires. */
export async function* filePieces(path: string, follow: boolean, stop: AbortSignal): Pieces {
  let file = await openFile(path);
  try {
    let at = 0;
    for (let hasCaughtUp = false; ; ) {
      const { buffer, bytesRead } = await readAt(file, at, path);
      at += bytesRead;
      if (bytesRead > 0) yield buffer.subarray(0, bytesRead);
      else if (!follow || stop.aborted) return;
      else {
        if (!hasCaughtUp) yield null;
        hasCaughtUp = true;
        await wait(lookAgainMs, undefined, { signal: stop }).catch(() => undefined);
        const next = await nextFile(path, file, at);
        if (next === file && at > (await file.stat()).size) at = 0;
        if (next !== file) {
          await file.close();
          file = next;
          at = 0;
        }
      }
    }
  } finally {
    await file.close();
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

async function readAt(file: FileHandle, at: number, path: string) {
  try {
    return await file.read(Buffer.allocUnsafe(pieceBytes), 0, pieceBytes, isPipe(await file.stat()) ? null : at);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** A pipe, as of a shell's `<(…)`, has no places to read at. */
function isPipe(stats: { isFIFO(): boolean; isCharacterDevice(): boolean }): boolean {
  return stats.isFIFO() || stats.isCharacterDevice();
}

function unreadable(path: string, error: unknown): Failure {
  const code = causeCode(error);
  const why = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
  return new Failure('usage', `${path}: ${why}`, { cause: error, hint: 'Name a file of log lines that you may read.' });
}

/** The file that has taken the name meanwhile, or the same one. What was rotated is read to its end first. */
async function nextFile(path: string, file: FileHandle, at: number): Promise<FileHandle> {
  try {
    const [named, held] = await Promise.all([stat(path), file.stat()]);
    return named.ino === held.ino || at < held.size ? file : await open(path);
  } catch (error) {
    // Between the two steps of a rotation there is none.
    if (causeCode(error) === 'ENOENT') return file;
    throw unreadable(path, error);
  }
}

/** What a program prints; its messages go to standard error as they are. Throws when it ends with an exit code. */
export async function* programPieces(name: string, args: readonly string[], stop: AbortSignal): Pieces {
  const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'inherit'], signal: stop });
  const ended = once(child, 'close').then(([code]) => code as number | null);
  // It is awaited below; until then a failure to start is nobody's.
  ended.catch(() => undefined);
  for await (const piece of child.stdout) yield piece;
  const code = await endOf(ended, name, stop);
  if (code === 0 || code === null) return;
  throw new Failure('check_failed', `${name} ended with exit code ${code}`, { hint: 'What it says stands above.' });
}

async function endOf(ended: Promise<number | null>, name: string, stop: AbortSignal): Promise<number | null> {
  try {
    return await ended;
  } catch (error) {
    if (stop.aborted) return null;
    const code = causeCode(error);
    const why = code === 'ENOENT' ? 'is not on this machine' : `cannot be started (${code})`;
    const hint = 'Name a file, or pipe the lines in: ticketmaild logs FILE; docker logs NAME | ticketmaild logs.';
    throw new Failure('usage', `${name} ${why}, so the journal cannot be read`, { cause: error, hint });
  }
}
