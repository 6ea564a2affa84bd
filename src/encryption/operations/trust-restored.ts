/**
 * Puts a switch in force again when the row in the table is not believed: after a restored backup, or when somebody
 * else wrote it.
 *
 * Only on the host. A row that a key of the key file sealed counts as it is. One that nobody sealed, or none at all, says
 * nothing: then what was accepted last stays in force, or what the sealed passwords tell. That encryption would be off
 * after it was on has to be said expressly (`refused`). What is to count is written anew above every revision that was
 * accepted, so that it counts everywhere; so is a memory of the last row that cannot be understood. Fails with
 * `key_unknown` when the key that is needed is not in the key file.
 */
import { Failure, isFailure } from '../../errors.ts';
import { type Key, type KeyId, type KeySet, keyById } from '../../secret/key.ts';
import { initialSwitchRow, judgeSwitchRow, requiredKeyIds, type SwitchRow } from '../../secret/switch.ts';
import type { PasswordCounts, SwitchStateFile } from '../ports.ts';
import {
  auditEntry,
  type NextSwitch,
  type Operation,
  type OperationPorts,
  requireKey,
  runSteps,
  sealedRow,
  withClaim,
} from './operation.ts';

export type TrustResult = {
  /** What the table held. */
  readonly found: SwitchRow | null;
  readonly remembered: SwitchRow | null;
  readonly trusted: SwitchRow;
  readonly counts: PasswordCounts;
};

type SwitchEvidence = {
  readonly found: SwitchRow | null;
  readonly remembered: SwitchRow | null;
  readonly isStateFileDamaged: boolean;
  readonly keys: KeySet;
  readonly counts: PasswordCounts;
};

/**
 * `acceptOff`: encryption may be off afterwards although it was on. Throws `refused`, `key_unknown`, `key_file_refused`,
 * `key_file_locked`, `switch_changed`, `operation_running`, `disk_*`, `database_*`.
 */
export async function trustRestored(
  ports: OperationPorts,
  { acceptOff }: { readonly acceptOff: boolean },
): Promise<TrustResult> {
  const neverStopped = new AbortController().signal;
  return await withClaim(ports, neverStopped, (operation) =>
    runSteps(operation, () => trustEvidence(operation, acceptOff)),
  );
}

async function trustEvidence(operation: Operation, acceptOff: boolean): Promise<TrustResult> {
  const { ports } = operation;
  await ports.vault.refresh();
  const known = await gatherEvidence(ports);
  const next = switchToTrust(known, acceptOff);
  const key = next.keyId === null ? (known.keys[0] ?? null) : requireKey(known.keys, next.keyId);
  const trusted = key === null ? await trustInitialRow(ports, known) : await writeTrusted(operation, known, next, key);
  await ports.vault.refresh();
  const { found, remembered, counts } = known;
  return { found, remembered, trusted, counts };
}

async function gatherEvidence({ keyFile, stateFile: memory, store }: OperationPorts): Promise<SwitchEvidence> {
  const reading = await keyFile.read();
  if (reading.kind === 'refused') throw reading.failure;
  const { row: found } = await store.readSwitch();
  const keys = reading.kind === 'keys' ? reading.keys : [];
  return { found, keys, ...(await recall(memory)), counts: await store.passwordCounts() };
}

async function recall(memory: SwitchStateFile): Promise<Pick<SwitchEvidence, 'remembered' | 'isStateFileDamaged'>> {
  try {
    return { remembered: await memory.read(), isStateFileDamaged: false };
  } catch (error) {
    if (!isFailure(error, 'disk_failed')) throw error;
    return { remembered: null, isStateFileDamaged: true };
  }
}

function switchToTrust(known: SwitchEvidence, acceptOff: boolean): NextSwitch {
  const { remembered, keys, counts } = known;
  if (isInForce(known)) {
    const hint = 'See ticketmaild encryption status.';
    throw new Failure('refused', 'there is nothing to accept: the row in encryption_switch is in force', { hint });
  }
  const said = switchClaimedByRow(known);
  if (said !== null && said.state !== 'off') return requireKeysOf(said, keys);
  if (said === null || counts.sealed > 0) return switchBeforeRestore(known);
  if (!acceptOff && remembered !== null && remembered.state !== 'off') throw wouldSwitchOff();
  return said;
}

function isInForce({ found, remembered, isStateFileDamaged, keys, counts }: SwitchEvidence): boolean {
  if (isStateFileDamaged) return false;
  const verdict = judgeSwitchRow(found, keys, remembered);
  if (verdict.kind !== 'accepted') return false;
  const isProven = verdict.row.revision > 0 && verdict.unproven !== true;
  return isProven || counts.sealed === 0;
}

/** What the row says by itself; null when that is nothing: it is gone, or not ours. Throws `key_unknown`. */
function switchClaimedByRow({ found, keys }: SwitchEvidence): NextSwitch | null {
  if (found === null) return null;
  const verdict = judgeSwitchRow(found, keys, null);
  if (verdict.kind === 'unverified') throw keyNotInFile(verdict.keyId);
  return verdict.kind === 'accepted' ? found : null;
}

/** The switch that was in force here; on a host that remembers none, the one that the sealed passwords tell. */
function switchBeforeRestore({ remembered, keys, counts }: SwitchEvidence): NextSwitch {
  if (remembered !== null && (remembered.state !== 'off' || counts.sealed === 0))
    return requireKeysOf(remembered, keys);
  const named = counts.byKey.flatMap(({ keyId }) => (keyId === null ? [] : [keyId]));
  const held = named.find((id) => keyById(keys, id) !== null);
  if (held !== undefined) return { state: 'on', keyId: held, nextKeyId: null };
  if (counts.sealed > 0) throw keyNotInFile(named[0] ?? 'of the sealed passwords');
  return initialSwitchRow;
}

/** Throws `key_unknown` when a key that it needs is not there. */
function requireKeysOf(next: NextSwitch, keys: KeySet): NextSwitch {
  const lacking = requiredKeyIds({ ...initialSwitchRow, ...next }).find((id) => keyById(keys, id) === null);
  if (lacking !== undefined) throw keyNotInFile(lacking);
  return next;
}

function wouldSwitchOff(): Failure {
  const message = 'encryption was on, and would be off: readable passwords would be stored from then on';
  const hint =
    'If that is meant (a backup from before it was switched on), say so with --accept-off; then enable it again.';
  return new Failure('refused', message, { fields: { would_be_off: true }, hint });
}

async function writeTrusted(
  operation: Operation,
  known: SwitchEvidence,
  next: NextSwitch,
  key: Key,
): Promise<SwitchRow> {
  const { ports } = operation;
  const { found, remembered } = known;
  // The revision of a row that is not ours may be any number.
  const isOurs = found !== null && judgeSwitchRow(found, known.keys, null).kind === 'accepted';
  const revision = Math.max(isOurs ? found.revision : 0, remembered?.revision ?? 0) + 1;
  const row = sealedRow(ports, next, revision, key);
  const { keyId, nextKeyId } = row;
  operation.throwIfStopped();
  const entry = auditEntry(ports, { action: 'switch.restored_trusted', keyId, nextKeyId, detail: detailOf(known) });
  await ports.store.writeSwitch(row, found?.revision ?? 0, [entry]);
  await ports.stateFile.overwrite(row);
  return row;
}

/** Without a key nothing can be sealed: the first row, which needs no seal, is taken for what it is. */
async function trustInitialRow(
  { store, stateFile: memory, ...ports }: OperationPorts,
  known: SwitchEvidence,
): Promise<SwitchRow> {
  const { sealed } = known.counts;
  if (sealed > 0) {
    const hint = 'Put the key file back from its backup, or set these passwords anew with mailbox set-password.';
    throw new Failure('key_unknown', `${sealed} passwords are sealed, and there is no key file`, { hint });
  }
  const { found } = known;
  const action = { action: 'switch.restored_trusted', keyId: null, nextKeyId: null, detail: detailOf(known) };
  const entry = auditEntry(ports, action);
  if (found === null || judgeSwitchRow(found, [], null).kind === 'accepted') await store.audit([entry]);
  else await store.writeSwitch(initialSwitchRow, found.revision, [entry]);
  await memory.overwrite(initialSwitchRow);
  return initialSwitchRow;
}

function detailOf({ found, remembered, isStateFileDamaged }: SwitchEvidence): string {
  const text = (row: SwitchRow | null) => (row === null ? 'no row' : `${row.state} at revision ${row.revision}`);
  return `found ${text(found)}, remembered ${isStateFileDamaged ? 'nothing that can be read' : text(remembered)}`;
}

function keyNotInFile(keyId: KeyId): Failure {
  const hint =
    'Put the backup of the key file from that time back. A key file may hold several keys, one after the other: ' +
    'cat OLD >> encryption-key.bin adds those of OLD.';
  const message = `the row in encryption_switch needs key ${keyId}, which is not in the key file`;
  return new Failure('key_unknown', message, { fields: { key_id: keyId }, hint });
}
