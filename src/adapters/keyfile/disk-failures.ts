/** Turns errors of the file system into failures; the paths they name are ours, not secrets. */
import { dirname } from 'node:path';
import { causeCode, Failure, isFailure } from '../../errors.ts';
import { shellWord } from './file-rules.ts';

const full = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Runs `task`; what the file system refuses becomes `disk_full` or `disk_failed`, naming `path`. */
export async function onDisk<T>(path: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (isFailure(error)) throw error;
    const code = causeCode(error);
    const message = `${path} cannot be written or read (${code})`;
    if (full.has(code)) throw new Failure('disk_full', message, { cause: error });
    const hint = `Look at owner and mode of the folder, and at the disk: ls -ld ${shellWord(dirname(path))}; df ${shellWord(dirname(path))}`;
    throw new Failure('disk_failed', message, { cause: error, hint });
  }
}
