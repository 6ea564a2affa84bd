/**
 * The file `can-disable-encryption.txt` in the data folder, by which somebody shows that they reach the file system.
 *
 * It counts when it is a regular file of this user or root that others cannot write, and is newer than the asking: by its
 * time of content, and by the time of its last change, which nobody sets (touch -d changes the first one only). What it says
 * is not read. Errors: `disk_failed` when it cannot be looked at.
 */
import type { BigIntStats } from 'node:fs';
import { lstat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProofCheck, ProofFile } from '../../encryption/ports.ts';
import { causeCode } from '../../errors.ts';
import { syncFolder } from './atomic-file.ts';
import { onDisk } from './disk-failures.ts';
import {
  type Complaint,
  complaintAbout,
  type FileRules,
  shellWord,
  trustedOwners,
  writableByOthers,
} from './file-rules.ts';

const proofFileName = 'can-disable-encryption.txt';

export function createProofFile({ dataDir }: { readonly dataDir: string }): ProofFile {
  const path = join(dataDir, proofFileName);
  return {
    path,
    checks: (sinceMs) => onDisk(path, () => checksOf(path, dataDir, sinceMs)),
    remove: () => onDisk(path, () => remove(path, dataDir)),
  };
}

async function checksOf(path: string, folder: string, sinceMs: number): Promise<readonly ProofCheck[]> {
  const stats = await lookAt(path);
  const absent: Complaint = { why: `is not there: make it with touch ${shellWord(path)}`, hint: '' };
  if (stats === null || !stats.isFile()) {
    const complaint = stats === null ? absent : complaintAbout(path, stats, { ...proofFileRules, owners: null });
    return [check('exists', path, complaint), unseen('owner'), unseen('newer')];
  }
  const complaint = complaintAbout(path, stats, { ...proofFileRules, owners: await trustedOwners(folder) });
  const isNew = Number(stats.mtimeMs) > sinceMs && Number(stats.ctimeMs) > sinceMs;
  const anew = `rm ${shellWord(path)} && touch ${shellWord(path)}`;
  const age = isNew ? null : { why: `is older than this request: make it anew with ${anew}`, hint: '' };
  return [check('exists', path, null), check('owner', path, complaint), check('newer', path, age)];
}

function check(name: ProofCheck['name'], path: string, complaint: Complaint | null): ProofCheck {
  if (complaint === null) return { name, ok: true, why: null, hint: null };
  const { why, hint } = complaint;
  return { name, ok: false, why: `${path} ${why}`, hint: hint === '' ? null : hint };
}

function unseen(name: ProofCheck['name']): ProofCheck {
  return { name, ok: false, why: null, hint: null };
}

/** Whatever it says, it is not read. */
const proofFileRules: Omit<FileRules, 'owners'> = {
  what: 'the proof',
  code: 'disk_failed',
  forbiddenMode: writableByOthers,
  isLinkFollowed: false,
  sizeBytesMax: Number.MAX_SAFE_INTEGER,
};

async function lookAt(path: string): Promise<BigIntStats | null> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(causeCode(error))) return null;
    throw error;
  }
}

/** Lasting, so that it does not stand there again after a power cut. */
async function remove(path: string, folder: string): Promise<void> {
  try {
    await unlink(path);
    await syncFolder(folder);
  } catch (error) {
    if (causeCode(error) !== 'ENOENT') throw error;
  }
}
