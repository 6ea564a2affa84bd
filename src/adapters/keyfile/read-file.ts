/**
 * Reads a small file whole, under rules about its kind, owner, mode and size, never waiting on what is no file.
 *
 * It is judged by the open file, not by its name, so nobody can put another in its place between the look and the reading.
 * A file that changes meanwhile is read again, once. The content may be secret: it is in a buffer that the caller wipes.
 * Errors: the code of the rules for what is there, `disk_failed` for what the disk does.
 */
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, lstat, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { causeCode } from '../../errors.ts';
import { scratch } from '../../secret/secret-bytes.ts';
import { onDisk } from './disk-failures.ts';
import {
  accessDenied,
  type Complaint,
  complaintAbout,
  complaintFailure,
  type FileRules,
  shellWord,
  symbolicLink,
} from './file-rules.ts';

/** `content` null: it is the known one. The caller wipes the content. */
export type FileFound = {
  readonly identity: string;
  readonly changedAtMs: number;
  readonly content: Uint8Array<ArrayBuffer> | null;
};

/** Two equal ones: the same file, unchanged, as far as times of the disk can tell. */
export function identityOf(stats: BigIntStats): string {
  const { dev, ino, size, mtimeNs, ctimeNs, mode, uid } = stats;
  return [dev, ino, size, mtimeNs, ctimeNs, mode, uid].join(':');
}

/** null when nothing is there. A file with the identity `known` is not read. */
export function readSmallFile(path: string, rules: FileRules, known: string | null = null): Promise<FileFound | null> {
  return onDisk(path, async () => {
    for (let tries = 0; tries < 2; tries += 1) {
      await using file = await openFile(path, rules);
      if (file === null) return null;
      const found = await readOpen(file, path, rules, known);
      if (found !== null) return found;
    }
    const hint = 'It is tried again; find out what keeps writing it.';
    throw complaintFailure(path, { why: 'changes while it is read', hint }, rules);
  });
}

/** null when it changed meanwhile. */
async function readOpen(
  file: FileHandle,
  path: string,
  rules: FileRules,
  known: string | null,
): Promise<FileFound | null> {
  const stats = await file.stat({ bigint: true });
  const complaint = complaintAbout(path, stats, rules);
  if (complaint !== null) throw complaintFailure(path, complaint, rules);
  const found = { identity: identityOf(stats), changedAtMs: Number(stats.ctimeMs) };
  if (found.identity === known) return { ...found, content: null };
  const content = await readContent(file, rules.sizeBytesMax);
  if (content.length === Number(stats.size) && (await isStill(file, path, stats, rules))) return { ...found, content };
  content.fill(0);
  return null;
}

/** One byte more than is allowed, so that a file that grew is seen. */
async function readContent(file: FileHandle, sizeBytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  const buffer = scratch(sizeBytesMax + 1);
  let length = 0;
  try {
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  } catch (error) {
    buffer.fill(0);
    throw error;
  }
}

async function isStill(file: FileHandle, path: string, before: BigIntStats, rules: FileRules): Promise<boolean> {
  if (identityOf(await file.stat({ bigint: true })) !== identityOf(before)) return false;
  const named = await look(path, rules.isLinkFollowed);
  return named !== null && named.ino === before.ino && named.dev === before.dev;
}

/** What is at the path now; null for nothing, or for what cannot be looked at. */
async function look(path: string, isLinkFollowed: boolean): Promise<BigIntStats | null> {
  try {
    return await (isLinkFollowed ? stat(path, { bigint: true }) : lstat(path, { bigint: true }));
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'].includes(causeCode(error))) return null;
    throw error;
  }
}

/** Does not wait for the other end of a pipe. null when nothing is there. */
async function openFile(path: string, rules: FileRules): Promise<FileHandle | null> {
  const noFollow = rules.isLinkFollowed ? 0 : constants.O_NOFOLLOW;
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK | noFollow);
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    const complaint = await whyNotOpen(path, rules, causeCode(error));
    throw complaint === null ? error : complaintFailure(path, complaint, rules, error);
  }
}

async function whyNotOpen(path: string, rules: FileRules, code: string): Promise<Complaint | null> {
  if (code === 'ELOOP') return symbolicLink(path);
  if (code === 'ENXIO') return { why: 'is a socket or a device', hint: `Remove it: rm ${shellWord(path)}` };
  if (code !== 'EACCES' && code !== 'EPERM') return null;
  return accessDenied(path, dirname(path), await look(path, rules.isLinkFollowed));
}
