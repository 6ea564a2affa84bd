/**
 * State files of encryption in the data folder: the switch row that was accepted last with those issued since, and the
 * proof of file system access.
 *
 * `switch-state` (JSON) prevents a rollback to an older valid row, and the use of one whose write failed. A file that
 * others could have written, or that is not exactly what this program writes, is `disk_failed` and never counts as
 * absent: it has to be restored, or the row of the database trusted explicitly. Writes are atomic, and the revision
 * only increases.
 *
 * `can-disable-encryption.txt` proves access to the file system. It counts when it is a regular file of this user or
 * root that others cannot write, and newer than the request: by mtime, and by ctime, which `touch -d` cannot set. Its
 * content is not read.
 */
import { isUtf8 } from 'node:buffer';
import type { BigIntStats } from 'node:fs';
import { lstat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { createMutex } from '../../async/mutex.ts';
import type { ProofCheck, ProofFault, ProofFile, SwitchStateFile } from '../../encryption/ports.ts';
import {
  accepting,
  emptySwitchMemory,
  issuedMax,
  issuing,
  replacing,
  type SwitchMemory,
  withdrawing,
} from '../../encryption/switch-memory.ts';
import { causeCode, Failure, isFailure } from '../../errors.ts';
import type { SwitchRow } from '../../secret/switch.ts';
import { shellArg } from '../../text/shell.ts';
import {
  onDiskAt,
  type RuleViolation,
  readSmallFile,
  ruleViolation,
  syncFolder,
  trustedOwners,
  writableByOthers,
  writeOver,
} from './small-file.ts';

const stateFileName = 'switch-state';
const restoreHint =
  'Restore it from a backup, or trust the row in the database: ticketmaild encryption trust-restored (encryption status shows both)';

export function createSwitchStateFile({ dataDir }: { readonly dataDir: string }): SwitchStateFile {
  const path = join(dataDir, stateFileName);
  const mutex = createMutex();
  const change = (changed: (memory: SwitchMemory) => SwitchMemory | null): Promise<void> =>
    mutex.run(async () => {
      const memory = changed(await read(path, dataDir));
      if (memory !== null) await writeOver(path, serializeMemory(memory));
    });
  const overwrite = async (row: SwitchRow): Promise<void> => {
    const before = await read(path, dataDir).catch((error: unknown) => {
      if (isFailure(error, 'disk_failed')) return emptySwitchMemory;
      throw error;
    });
    await writeOver(path, serializeMemory(replacing(before, row)));
  };
  return {
    read: async () => (await mutex.run(() => read(path, dataDir))).row,
    readMemory: () => mutex.run(() => read(path, dataDir)),
    issue: (row, origin, by) => change((memory) => issuing(memory, row, origin, by)),
    withdraw: (seal) => change((memory) => withdrawing(memory, seal)),
    remember: (row, origin) => change((memory) => accepting(memory, row, origin)),
    overwrite: (row) => mutex.run(() => overwrite(row)),
  };
}

/** The fields of the row; `origin` and `issued` only where there is something to say. */
function serializeMemory({ row, origin, issued }: SwitchMemory): Uint8Array {
  const more = { ...(origin === null ? {} : { origin }), ...(issued.length === 0 ? {} : { issued }) };
  return Buffer.from(`${JSON.stringify(row === null ? more : { ...fieldsOf(row), ...more })}\n`);
}

function fieldsOf({ state, keyId, nextKeyId, revision, seal, changedAtMs, changedBy }: SwitchRow): SwitchRow {
  return { state, keyId, nextKeyId, revision, seal, changedAtMs, changedBy };
}

async function read(path: string, folder: string): Promise<SwitchMemory> {
  const found = await readTrusted(path, folder);
  if (found === null) return emptySwitchMemory;
  const memory = isUtf8(found) ? parseMemory(Buffer.from(found).toString()) : null;
  if (memory !== null) return memory;
  throw new Failure('disk_failed', `the switch state file ${path} is damaged`, { hint: restoreHint });
}

/** Extends the hint of a refused file: it may have been tampered with. */
async function readTrusted(path: string, folder: string): Promise<Uint8Array | null> {
  try {
    const owners = await onDiskAt(path, () => trustedOwners(folder));
    const found = await readSmallFile(path, { ...stateFileRules, owners });
    return found?.content ?? null;
  } catch (error) {
    if (!isFailure(error, 'disk_failed')) throw error;
    const hint = `${error.hint}; then check its content. ${restoreHint}`;
    throw new Failure('disk_failed', error.message, { hint, cause: error.cause });
  }
}

const bothRules = { code: 'disk_failed', forbiddenMode: writableByOthers, isLinkFollowed: false } as const;
const stateFileRules = { ...bothRules, description: 'the switch state file', sizeBytesMax: 4096 };

const keyId = z.nullable(z.string().check(z.regex(/^[0-9a-f]{16}$/)));
const count = z.int().check(z.nonnegative());
const seal = z.string().check(z.regex(/^[0-9a-f]{16}:[0-9a-f]{64}$/));
const origin = z.enum(['daemon', 'command']);
const rowFields = {
  state: z.enum(['off', 'enabling', 'on', 'rotating', 'disabling']),
  keyId,
  nextKeyId: keyId,
  revision: count,
  seal: z.nullable(seal),
  changedAtMs: count,
  changedBy: z.string(),
};
const issued = z
  .array(z.strictObject({ revision: count, seal, origin, by: z.nullable(z.string()) }))
  .check(z.maxLength(issuedMax), z.minLength(1));
const withRow = z.strictObject({ ...rowFields, origin: z.optional(origin), issued: z.optional(issued) });
const withoutRow = z.strictObject({ issued });

/** null: not exactly what this program writes. */
function parseMemory(text: string): SwitchMemory | null {
  try {
    const value: unknown = JSON.parse(text);
    const found = withRow.safeParse(value).data;
    if (found !== undefined) return { row: fieldsOf(found), origin: found.origin ?? null, issued: found.issued ?? [] };
    const first = withoutRow.safeParse(value).data;
    return first === undefined ? null : { ...emptySwitchMemory, issued: first.issued };
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

// The proof file.

const proofFileName = 'can-disable-encryption.txt';

export function createProofFile({ dataDir }: { readonly dataDir: string }): ProofFile {
  const path = join(dataDir, proofFileName);
  return {
    path,
    checks: (sinceMs) => onDiskAt(path, () => proofChecks(path, dataDir, sinceMs)),
    remove: () => onDiskAt(path, () => remove(path, dataDir)),
  };
}

async function proofChecks(path: string, folder: string, sinceMs: number): Promise<readonly ProofCheck[]> {
  const stats = await statProof(path);
  const absent: RuleViolation = { predicate: `does not exist: create it with touch ${shellArg(path)}`, hint: '' };
  if (stats === null || !stats.isFile()) {
    const complaint = stats === null ? absent : ruleViolation(path, stats, { ...proofFileRules, owners: null });
    const fault = stats === null ? 'missing' : stats.isSymbolicLink() ? 'link' : 'not_a_file';
    return [check('exists', path, complaint, fault), unchecked('owner'), unchecked('newer')];
  }
  const owners = await trustedOwners(folder);
  const complaint = ruleViolation(path, stats, { ...proofFileRules, owners });
  const isNew = Number(stats.mtimeMs) > sinceMs && Number(stats.ctimeMs) > sinceMs;
  const recreate = `rm ${shellArg(path)} && touch ${shellArg(path)}`;
  const age = isNew ? null : { predicate: `is older than this request: create it again with ${recreate}`, hint: '' };
  const isShared = (Number(stats.mode) & writableByOthers) !== 0;
  const ownerFault = owners.includes(Number(stats.uid)) && isShared ? 'writable_by_others' : 'wrong_owner';
  return [
    check('exists', path, null, 'missing'),
    check('owner', path, complaint, ownerFault),
    check('newer', path, age, 'too_old'),
  ];
}

/** `fault` is the one that `complaint` describes. */
function check(name: ProofCheck['name'], path: string, complaint: RuleViolation | null, fault: ProofFault): ProofCheck {
  if (complaint === null) return { name, ok: true, fault: null, why: null, hint: null };
  const { predicate: why, hint } = complaint;
  return { name, ok: false, fault, why: `${path} ${why}`, hint: hint === '' ? null : hint };
}

function unchecked(name: ProofCheck['name']): ProofCheck {
  return { name, ok: false, fault: 'unchecked', why: null, hint: null };
}

/** Any size: its content is not read. */
const proofFileRules = { ...bothRules, description: 'the proof file', sizeBytesMax: Number.MAX_SAFE_INTEGER };

async function statProof(path: string): Promise<BigIntStats | null> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(causeCode(error))) return null;
    throw error;
  }
}

/** Durable: the folder is synced, so that a power failure does not bring it back. */
async function remove(path: string, folder: string): Promise<void> {
  try {
    await unlink(path);
    await syncFolder(folder);
  } catch (error) {
    if (causeCode(error) !== 'ENOENT') throw error;
  }
}
