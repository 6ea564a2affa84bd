/**
 * File trees of packages: a copy, modes that do not depend on the umask, and the size.
 */
import { chmod, cp, lstat, mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** A file, or a folder with everything in it. Makes the folder above `to`. */
export async function copyTo(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await cp(from, to, { recursive: true });
}

/** 0755 for folders and programs, 0644 for other files. */
export async function setModes(root: string): Promise<void> {
  await chmod(root, 0o755);
  for (const path of await readdir(root, { recursive: true })) {
    const stat = await lstat(join(root, path));
    const isRunnable = stat.isDirectory() || (stat.mode & 0o100) !== 0;
    if (!stat.isSymbolicLink()) await chmod(join(root, path), isRunnable ? 0o755 : 0o644);
  }
}

/** Without folders. */
export async function sizeOf(root: string): Promise<{ readonly files: number; readonly bytes: number }> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
  const sizes = await Promise.all(paths.map(async (path) => (await lstat(path)).size));
  return { files: paths.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
}
