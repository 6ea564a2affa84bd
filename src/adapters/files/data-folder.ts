/** The data folder: made for us alone, and refused where everybody could put something into it. */
import { existsSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { causeCode, Failure } from '../../errors.ts';
import { quoted } from '../../text/shell.ts';

const writableByOthers = 0o002;

/** Throws `disk_failed` when it cannot be made, `refused` when everybody can write to it. */
export async function makeDataFolder(dataDir: string): Promise<void> {
  try {
    await makeFolder(dataDir);
    const { mode } = await stat(dataDir);
    if ((mode & writableByOthers) === 0) return;
  } catch (error) {
    throw new Failure('disk_failed', `data_dir ${dataDir} cannot be made (${causeCode(error)})`, { cause: error });
  }
  const hint = `Close it: chmod o-w ${quoted(dataDir)}; then look for files in it that are not yours.`;
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
