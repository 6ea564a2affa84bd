/**
 * Translation of file system errors (errno) into `disk_full` or `disk_failed`.
 */
import { causeCode, Failure, isFailure } from '../../errors.ts';
import { hints } from '../../text/hints.ts';

const diskFullCodes = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/**
 * Runs `task`; an error of the file system becomes `disk_full` or `disk_failed` about `what`. `hint` is for
 * `disk_failed`; left out: the hint of that code.
 */
export async function onDisk<T>(what: string, task: () => Promise<T>, hint?: string): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (isFailure(error)) throw error;
    const code = causeCode(error);
    const message = `${what} cannot be written or read (${code})`;
    if (diskFullCodes.has(code)) throw new Failure('disk_full', message, { cause: error });
    const advice = code === 'ENOENT' ? hints.fileMissing : hint;
    throw new Failure('disk_failed', message, { cause: error, ...(advice === undefined ? {} : { hint: advice }) });
  }
}
