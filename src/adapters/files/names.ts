/**
 * Allow-list of file names in the data folder, and their opening: the exact forms that this program creates.
 *
 * Rows hold the names of segments and blobs, and a writer of the database chooses them (path traversal, CWE-22). So
 * every reader and writer gets its path here. A file is opened without following a link (O_NOFOLLOW), without blocking
 * on a pipe, and only directly in its folder. `raw` and `blobs` themselves may be links to another disk.
 */
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';

/** Day and UUIDv7 (RFC 9562). */
const segmentForm = /^(\d{4})(\d{2})(\d{2})-[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.zst$/;
/** SHA-256 in hexadecimal. */
const blobForm = /^[0-9a-f]{64}$/;

/** Name of the segment of `day` (YYYYMMDD). Throws when `id` is no UUIDv7. */
export function segmentName(day: string, id: string): string {
  const name = `${day}-${id}.zst`;
  if (!segmentForm.test(name)) throw new Error('not the name of a segment');
  return name;
}

/** When the day of the segment was over, in milliseconds since 1970; null: not the name of a segment. */
export function segmentEndMs(name: string): number | null {
  const parts = segmentForm.exec(name);
  return parts === null ? null : Date.UTC(Number(parts[1]), Number(parts[2]) - 1, Number(parts[3]) + 1);
}

/** null: not the name of a segment. */
export function segmentPath(folder: string, name: string): string | null {
  return segmentEndMs(name) === null ? null : join(folder, name);
}

/** null: not a SHA-256. */
export function blobPath(folder: string, sha256: string): string | null {
  return blobForm.test(sha256) ? join(folder, sha256.slice(0, 2), sha256) : null;
}

/**
 * Opens a regular file for reading. `path` is of `segmentPath` or `blobPath`, below `folder`. Throws `source_refused`
 * for a link, a folder, a pipe or a device, and the errors of open(2).
 */
export async function openStored(path: string, folder: string): Promise<FileHandle> {
  const file = await openUnfollowed(path);
  try {
    if ((await file.stat()).isFile() && (await isBelow(path, folder))) return file;
  } catch (error) {
    await file.close();
    throw error;
  }
  await file.close();
  throw notRegular(path);
}

async function openUnfollowed(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    // ELOOP: a link. ENXIO: a socket.
    if (['ELOOP', 'ENXIO'].includes(causeCode(error))) throw notRegular(path, error);
    throw error;
  }
}

/** True when no folder between `folder` and the file is a link. */
async function isBelow(path: string, folder: string): Promise<boolean> {
  const above = dirname(path) === folder ? '' : basename(dirname(path));
  return (await realpath(path)) === join(await realpath(folder), above, basename(path));
}

function notRegular(path: string, cause?: unknown): Failure {
  const more = cause === undefined ? {} : { cause };
  return new Failure('source_refused', `${basename(path)} is not a regular file in the data folder`, more);
}

/** Length in bytes; null: no regular file, or `path` null. */
export async function storedLength(path: string | null): Promise<number | null> {
  if (path === null) return null;
  try {
    const found = await lstat(path);
    return found.isFile() ? found.size : null;
  } catch (error) {
    if (causeCode(error) === 'ENOENT' || causeCode(error) === 'ENOTDIR') return null;
    throw error;
  }
}
