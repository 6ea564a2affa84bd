/**
 * The kernel's limit of inotify instances of one user, raised while a benchmark runs.
 *
 * Each process of the mail server needs an instance for its connection in IDLE; one that gets none looks for new
 * message only every half minute. All mail belongs to one user here, and the usual limit is 128.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { causeCode } from '../../../src/errors.ts';

export type RaisedLimit = AsyncDisposable & {
  /** Why the limit is too low for what is measured; null: it is not. */
  readonly complaint: string | null;
};

const limitFile = '/proc/sys/fs/inotify/max_user_instances';

/**
 * At least so many until it is disposed, which sets it back. Where that is not allowed, it stays, and `complaint` says
 * so.
 */
export async function raiseInotifyLimit(least: number): Promise<RaisedLimit> {
  const before = await readOrNull();
  if (before === null || Number(before) >= least) return unchanged(null);
  try {
    await writeFile(limitFile, `${least}`);
  } catch (error) {
    if (!['EACCES', 'EPERM', 'EROFS'].includes(causeCode(error))) throw error;
    return unchanged(
      `${limitFile} is ${before.trim()}, ${least} are needed and only root may raise it: the mail server announces late`,
    );
  }
  return {
    complaint: null,
    [Symbol.asyncDispose]: async () => {
      // Another run may have raised it further, and still needs it.
      if (Number(await readOrNull()) === least) await writeFile(limitFile, before);
    },
  };
}

function unchanged(complaint: string | null): RaisedLimit {
  return { complaint, [Symbol.asyncDispose]: async () => undefined };
}

/** null where there is no such limit. */
async function readOrNull(): Promise<string | null> {
  try {
    return await readFile(limitFile, 'utf8');
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    throw error;
  }
}
