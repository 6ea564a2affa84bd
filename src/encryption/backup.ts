/**
 * Verification of a key backup: the key ids of a copy, compared with the keys in use and with former keys.
 *
 * Former keys are known from the audit log alone, which a writer of the database can forge: so it decides between
 * `former` and `other`, and never makes a copy a backup.
 */
import { isKeyId, type KeyId, keyIds } from '../secret/key.ts';
import { requiredKeyIds, type SwitchRow } from '../secret/switch.ts';
import type { AuditReader, KeyFileReading } from './ports.ts';
import type { Vault } from './vault.ts';

/** Audit action of a backup that holds every key; its detail is their ids. */
export const backupVerifiedAction = 'key.backup_verified';

/** `namedAtMs`: of the newest audit row about the switch that names it. */
export type FormerKey = { readonly id: KeyId; readonly namedAtMs: number };

/** `lacks`: it holds keys of the switch, and not all keys of the file. `other`: no key that was in use here. */
export type BackupComparison = {
  readonly kind: 'same' | 'lacks' | 'former' | 'other';
  readonly lacks: readonly KeyId[];
  readonly former: readonly FormerKey[];
};

/** `wanted`: the keys that a backup must hold. `required`: those of them that the switch names. */
export type KeysInUse = { readonly wanted: readonly KeyId[]; readonly required: readonly KeyId[] };

/** `audit` null: the database does not respond. */
export async function compareBackup(
  held: readonly KeyId[],
  { wanted, required }: KeysInUse,
  audit: Pick<AuditReader, 'lastSwitchAudit'> | null,
): Promise<BackupComparison> {
  const lacks = wanted.filter((id) => !held.includes(id));
  if (lacks.length === 0) return { kind: 'same', lacks, former: [] };
  const current = required.length === 0 ? wanted : required;
  if (held.some((id) => current.includes(id))) return { kind: 'lacks', lacks, former: [] };
  const former: FormerKey[] = [];
  for (const id of held) {
    const named = (await audit?.lastSwitchAudit(id)) ?? null;
    if (named !== null) former.push({ id, namedAtMs: named.atMs });
  }
  return { kind: former.length === 0 ? 'other' : 'former', lacks, former };
}

/**
 * Keys that a backup must hold: every key of the key file, and those that the switch requires, which a replaced file
 * may lack. When the file cannot be read: the keys in memory, and those that the stored switch names, even if it cannot
 * be verified.
 */
export function keysInUse(reading: KeyFileReading, { view, keys }: Pick<Vault, 'view' | 'keys'>): KeysInUse {
  const required = requiredKeyIds(namingRow(view));
  const inFile = keyIds(reading.kind === 'keys' ? reading.keys : keys());
  return { wanted: [...new Set([...inFile, ...required])], required };
}

/** A row that cannot be verified without its key names the lost one. */
function namingRow({ problem, stored, switch: inForce }: Vault['view']): SwitchRow {
  return problem?.code === 'key_unknown' && stored !== null ? stored : inForce;
}

export type VerifiedBackup = {
  readonly atMs: number;
  readonly by: string;
  readonly keyIds: readonly KeyId[];
};

/** null: the backup that was verified last lacks a key that is required now, as after a rotation; or none was. */
export async function lastVerifiedBackup(
  audit: Pick<AuditReader, 'lastAudit'>,
  { wanted }: Pick<KeysInUse, 'wanted'>,
): Promise<VerifiedBackup | null> {
  const row = wanted.length === 0 ? null : await audit.lastAudit(backupVerifiedAction);
  if (row === null) return null;
  const held = (row.detail ?? '').split(' ').filter(isKeyId);
  return wanted.every((id) => held.includes(id)) ? { atMs: row.atMs, by: row.who, keyIds: held } : null;
}
