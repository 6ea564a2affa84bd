/**
 * Runs once before and after all test files: the folder of the run, and the templates of the servers in it.
 */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { certificatesTemplate, mariadbTemplate } from './servers/templates.ts';
import { runFolderVariable } from './temporary.ts';

const memoryFolder = '/dev/shm';
const mountOptions = / \/dev\/shm tmpfs (\S+)/;
const memoryBytesMin = 4 * 1024 ** 3;

/** Vitest calls it before the first file, and what it returns after the last one. */
export async function setup(): Promise<() => void> {
  const folder = mkdtempSync(join(parentFolder(), 'ticketmaild-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  // Also when the run is interrupted: then vitest does not call what this function returns.
  process.once('exit', remove);
  chmodSync(folder, 0o755);
  process.env[runFolderVariable] = folder;
  await Promise.all([certificatesTemplate(), mariadbTemplate()]);
  return remove;
}

/**
 * The memory file system where it is large enough and may hold programs, unless TMPDIR names a folder: the servers sync
 * to disk hundreds of times a second, and no test loses the power of the machine.
 */
function parentFolder(): string {
  if (process.env['TMPDIR'] !== undefined || !existsSync('/proc/mounts')) return tmpdir();
  const options = mountOptions.exec(readFileSync('/proc/mounts', 'utf8'))?.[1] ?? 'noexec';
  if (options.split(',').includes('noexec')) return tmpdir();
  const { bavail, bsize } = statfsSync(memoryFolder);
  return bavail * bsize >= memoryBytesMin ? memoryFolder : tmpdir();
}
