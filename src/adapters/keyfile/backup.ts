/**
 * Backup of the key file, read with its place: device, inode and real path, which distinguish it from the key file.
 *
 * Symbolic and hard links, and bind mounts of the file, the data folder or a folder above it, lead to the same device
 * and inode. A snapshot, a loop device and a subvolume do not.
 */
import { constants } from 'node:fs';
import { open, readlink, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { BackupPlace, FilePlace, KeyBackup } from '../../encryption/ports.ts';
import { causeCode, Failure } from '../../errors.ts';
import { shellArg } from '../../text/shell.ts';
import { backupFileRules } from './reader.ts';
import { readSmallFile } from './small-file.ts';

type Inode = Omit<FilePlace, 'path'>;

/** The content of a copy of the key file, of any owner. Throws `not_found`, `key_file_refused`. */
export async function readKeyBackup(path: string): Promise<KeyBackup> {
  const found = await readSmallFile(path, backupFileRules);
  if (found?.content != null) return { content: found.content, ...(await placeOf(path)) };
  throw new Failure('not_found', `there is no file at ${path}`, { hint: `Check the path: ls -l ${shellArg(path)}` });
}

/** Root reaches the file through a link in /proc, as its owner: its real path is known from the open file alone. */
async function placeOf(path: string): Promise<FilePlace> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const { dev: device, ino: inode } = await file.stat({ bigint: true });
  return { device, inode, path: await openPath(file.fd, path) };
}

async function openPath(descriptor: number, path: string): Promise<string> {
  try {
    return await readlink(`/proc/self/fd/${descriptor}`);
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return resolve(path);
    throw error;
  }
}

/** As far as it is seen by this process: a folder that it cannot enter is taken for another one. */
export async function backupPlace(backup: FilePlace, keyFile: string): Promise<BackupPlace> {
  const [itself, folder] = [await inodeAt(keyFile), await inodeAt(dirname(keyFile))];
  if (isSame(backup, itself)) return 'key_file';
  for (let path = dirname(backup.path); ; path = dirname(path)) {
    if (isSame(folder, await inodeAt(path))) return 'data_dir';
    if (path === dirname(path)) break;
  }
  return backup.device === folder?.device ? 'same_file_system' : 'elsewhere';
}

function isSame(one: Inode | null, other: Inode | null): boolean {
  return one !== null && one.device === other?.device && one.inode === other.inode;
}

async function inodeAt(path: string): Promise<Inode | null> {
  try {
    const { dev: device, ino: inode } = await stat(path, { bigint: true });
    return { device, inode };
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'].includes(causeCode(error))) return null;
    throw error;
  }
}
