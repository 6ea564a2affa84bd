/**
 * Reproducible archives (tar, gzip): sorted names, one date, root as the owner, modes without the umask.
 *
 * The same files give the same bytes, whatever their times, the locale and the time zone (reproducible-builds.org).
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { runTool } from './command.ts';

/** Writes a tar (ustar, POSIX.1-1988) of `folder` under its own name. Needs GNU tar. */
export async function writeTar(folder: string, tar: string, dateS: number): Promise<void> {
  await writeTarOfContents(dirname(folder), [basename(folder)], tar, dateS);
}

/** The same of files and folders in `folder`, by their names. */
export async function writeTarOfContents(
  folder: string,
  names: readonly string[],
  tar: string,
  dateS: number,
): Promise<void> {
  const fixed = ['--format=ustar', '--sort=name', '--owner=0', '--group=0', '--numeric-owner', `--mtime=@${dateS}`];
  const place = ['--file', tar, '--directory', folder];
  await runTool('tar', ['--create', '--mode=u=rwX,go=rX', ...fixed, ...place, ...names]);
}

/** Compresses `file` (RFC 1952, no name and time in its header) into `compressed`, and deletes it. */
export async function gzipFile(file: string, compressed: string): Promise<void> {
  await writeFile(compressed, await promisify(gzip)(await readFile(file), { level: 9 }));
  await rm(file);
}
