/**
 * Takes keys out of the key file that nothing needs any more. A key that is dropped is only in backups from then on, so
 * every doubt keeps it: what the switch names, what a sealed password names in its column or in itself stays.
 */
import { Failure } from '../errors.ts';
import { type KeyId, type KeySet, keyById, keyIds } from '../secret/key.ts';
import type { SwitchRow } from '../secret/switch.ts';
import { auditEntry, heldKey, type Operation } from './operation.ts';
import type { KeyFile } from './ports.ts';

/**
 * The ids of the dropped keys, all of `keys`, which are those that were looked at: one that somebody adds meanwhile stays.
 * `neededIds` are kept beside those that the switch and the columns name. Throws `key_file_*`, `key_unknown` when the
 * key of the switch is not in the file (then nothing is dropped), `disk_*`.
 */
export async function dropKeys(
  operation: Operation,
  row: SwitchRow,
  keys: KeySet,
  neededIds: ReadonlySet<KeyId>,
): Promise<readonly KeyId[]> {
  const { store, keyFile, vault, tell } = operation.ports;
  const { byKey } = await store.passwordCounts();
  const needed = new Set([row.keyId, row.nextKeyId, ...neededIds, ...byKey.map(({ keyId }) => keyId)]);
  const inFile = await keysInFile(keyFile);
  heldKey(inFile, row.keyId);
  const kept = inFile.filter(({ id }) => needed.has(id) || keyById(keys, id) === null);
  const dropped = keyIds(inFile).filter((id) => keyById(kept, id) === null);
  if (dropped.length === 0) return dropped;
  operation.check();
  await keyFile.replace(kept);
  const entry = { action: 'key.dropped', nextKeyId: null, detail: null };
  await store.audit(dropped.map((keyId) => auditEntry(operation.ports, { ...entry, keyId })));
  await vault.refresh();
  tell.step(`Dropped from the key file, as nothing needs it any more: ${dropped.join(', ')}.`);
  return dropped;
}

async function keysInFile(keyFile: KeyFile): Promise<KeySet> {
  const reading = await keyFile.read();
  if (reading.kind === 'refused') throw reading.failure;
  if (reading.kind === 'absent') throw new Failure('key_file_missing', `there is no key file at ${keyFile.path}`);
  return reading.keys;
}
