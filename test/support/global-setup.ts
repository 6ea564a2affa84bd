/**
 * Runs once before and after all test files: the folder of the run, and the templates of the servers in it.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { certificatesTemplate, mariadbTemplate } from './servers/templates.ts';
import { runFolderVariable } from './temporary.ts';

/** Vitest calls it before the first file, and what it returns after the last one. */
export async function setup(): Promise<() => void> {
  const folder = mkdtempSync(join(tmpdir(), 'ticketmaild-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  // Also when the run is interrupted: then vitest does not call what this function returns.
  process.once('exit', remove);
  chmodSync(folder, 0o755);
  process.env[runFolderVariable] = folder;
  await Promise.all([certificatesTemplate(), mariadbTemplate()]);
  return remove;
}
