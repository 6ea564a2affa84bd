/** Turns errors of the file system into failures; the paths they name are ours, not secrets. */
import { causeCode, Failure, isFailure } from '../../errors.ts';

const full = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Runs `task`; what the file system refuses becomes `disk_full` or `disk_failed`, naming `what`. */
export async function onDisk<T>(what: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (isFailure(error)) throw error;
    const code = causeCode(error);
    throw new Failure(full.has(code) ? 'disk_full' : 'disk_failed', `${what} cannot be written or read (${code})`, {
      cause: error,
    });
  }
}
