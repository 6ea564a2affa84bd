/**
 * Trust-restored operation: puts a switch in force again after a restored backup or a forged row, which no worker
 * accepts.
 *
 * Runs on the host only. A row sealed with a key of the key file is trusted as it is. For an unsealed or missing row,
 * the row that was accepted last stays in force, or the state that the sealed passwords prove. `enabling` and
 * `disabling` become `on`: replayed by a writer of the database, they would suspend part of the protection. Off after
 * on, or beside a key file, must be confirmed explicitly (`refused`). The trusted state is written with a revision
 * above every accepted one, so that all workers accept it; a damaged switch state file is replaced. Fails with
 * `key_unknown` when the key file lacks a needed key.
 */

import { Failure, isFailure } from '../../errors.ts';
import { type Key, type KeyId, type KeySet, keyById } from '../../secret/key.ts';
import {
  initialSwitchRow,
  judgeSwitchRow,
  requiredKeyIds,
  type SwitchRow,
  type SwitchState,
} from '../../secret/switch.ts';
import { countText } from '../../text/units.ts';
import type { SealCounts, SwitchStateFile } from '../ports.ts';
import { revisionAbove } from '../switch-memory.ts';
import { memoryOf, writeIssued } from './issue.ts';
import {
  auditEntry,
  type NextSwitch,
  type Operation,
  type OperationPorts,
  requireKey,
  runOperation,
  sealedRow,
} from './operation.ts';
import { secretCounts } from './rewrite-tokens.ts';

export type TrustResult = {
  /** The row in the table. */
  readonly found: SwitchRow | null;
  readonly remembered: SwitchRow | null;
  readonly trusted: SwitchRow;
  readonly counts: SealCounts;
};

type SwitchEvidence = {
  readonly found: SwitchRow | null;
  readonly remembered: SwitchRow | null;
  readonly isStateFileDamaged: boolean;
  readonly keys: KeySet;
  readonly counts: SealCounts;
};

/**
 * `acceptOff`: allows encryption to be off afterwards although it was on. Throws `refused`, `key_unknown`,
 * `key_file_refused`, `key_file_locked`, `switch_changed`.
 */
export async function trustRestored(
  ports: OperationPorts,
  { acceptOff }: { readonly acceptOff: boolean },
): Promise<TrustResult> {
  const neverStopped = new AbortController().signal;
  return await runOperation(ports, neverStopped, (operation) => trustEvidence(operation, acceptOff));
}

async function trustEvidence(operation: Operation, acceptOff: boolean): Promise<TrustResult> {
  const { ports } = operation;
  await ports.vault.refresh();
  const evidence = await gatherEvidence(ports);
  const next = switchToTrust(evidence, acceptOff);
  const key = next.keyId === null ? (evidence.keys[0] ?? null) : requireKey(evidence.keys, next.keyId);
  const trusted =
    key === null ? await trustInitialRow(ports, evidence) : await writeTrusted(operation, evidence, next, key);
  await ports.vault.refresh();
  const { found, remembered, counts } = evidence;
  return { found, remembered, trusted, counts };
}

export type SwitchPlan = {
  readonly state: SwitchState;
  /**
   * `found`: the row in the table. `settled`: the same, of an unfinished change, as `on`. `remembered`: the row
   * accepted last. `derived`: from the sealed passwords.
   */
  readonly source: 'found' | 'settled' | 'remembered' | 'derived';
};

/** Switch that the operation would put in force, for the question before it; null: it would fail. */
export async function plannedSwitch(ports: EvidencePorts): Promise<SwitchPlan | null> {
  try {
    const evidence = await gatherEvidence(ports);
    const next = switchToTrust(evidence, true);
    return { state: next.state, source: sourceOf(next, evidence) };
  } catch (error) {
    if (isFailure(error)) return null;
    throw error;
  }
}

function sourceOf(next: NextSwitch, evidence: SwitchEvidence): SwitchPlan['source'] {
  if (next === evidence.remembered) return 'remembered';
  const claimed = switchClaimedByRow(evidence);
  if (next === claimed) return 'found';
  return claimed !== null && isUnfinished(claimed) ? 'settled' : 'derived';
}

type EvidencePorts = Pick<OperationPorts, 'keyFile' | 'stateFile' | 'store'>;

async function gatherEvidence({ keyFile, stateFile, store }: EvidencePorts): Promise<SwitchEvidence> {
  const reading = await keyFile.read();
  if (reading.kind === 'refused') throw reading.failure;
  const { row: found } = await store.readSwitch();
  const keys = reading.kind === 'keys' ? reading.keys : [];
  return { found, keys, ...(await readStateFile(stateFile)), counts: await secretCounts(store) };
}

async function readStateFile(
  stateFile: SwitchStateFile,
): Promise<Pick<SwitchEvidence, 'remembered' | 'isStateFileDamaged'>> {
  try {
    return { remembered: await stateFile.read(), isStateFileDamaged: false };
  } catch (error) {
    if (!isFailure(error, 'disk_failed')) throw error;
    return { remembered: null, isStateFileDamaged: true };
  }
}

function switchToTrust(evidence: SwitchEvidence, acceptOff: boolean): NextSwitch {
  if (isInForce(evidence)) {
    const hint = 'Check it with ticketmaild encryption status';
    throw new Failure('refused', 'there is nothing to trust: the row in encryption_switch is in force', { hint });
  }
  const next = switchOfEvidence(evidence);
  if (next.state === 'off' && !acceptOff && !isOffExpected(evidence)) throw wouldSwitchOff();
  return next;
}

function switchOfEvidence(evidence: SwitchEvidence): NextSwitch {
  const { keys, counts } = evidence;
  const claimed = switchClaimedByRow(evidence);
  if (claimed !== null && claimed.state !== 'off') return requireKeysOf(settled(claimed), keys);
  return claimed === null || counts.sealed > 0 ? switchBeforeRestore(evidence) : claimed;
}

/** A key file says that encryption was on; the table can be made to say anything. */
function isOffExpected({ remembered, keys }: SwitchEvidence): boolean {
  return remembered === null ? keys.length === 0 : remembered.state === 'off';
}

/** An old row of an unfinished change, as `on` under its key: new passwords are sealed, and settings seals enforced. */
function settled(claimed: NextSwitch): NextSwitch {
  return isUnfinished(claimed) ? { ...claimed, state: 'on' } : claimed;
}

function isUnfinished({ state }: NextSwitch): boolean {
  return state === 'enabling' || state === 'disabling';
}

function isInForce({ found, remembered, isStateFileDamaged, keys, counts }: SwitchEvidence): boolean {
  if (isStateFileDamaged) return false;
  const verdict = judgeSwitchRow(found, keys, remembered);
  if (verdict.kind !== 'accepted') return false;
  const isProven = verdict.row.revision > 0 && verdict.unproven !== true;
  return isProven || counts.sealed === 0;
}

/** The state of the row without regard to earlier rows; null: no row, or a forged one. Throws `key_unknown`. */
function switchClaimedByRow({ found, keys, remembered, counts }: SwitchEvidence): NextSwitch | null {
  if (found === null) return null;
  const verdict = judgeSwitchRow(found, keys, null);
  if (verdict.kind === 'accepted') return found;
  if (verdict.kind !== 'unverified') return null;
  // A restored backup has passwords under that key. Without any, the row is an old one, put back: its key may be gone.
  const isOld = remembered !== null && found.revision < remembered.revision;
  if (isOld && !counts.byKey.some(({ keyId }) => keyId === verdict.keyId)) return null;
  throw keyNotInFile(verdict.keyId);
}

/** The switch that was in force here; on a host without one, the state that the sealed passwords prove. */
function switchBeforeRestore({ remembered, keys, counts }: SwitchEvidence): NextSwitch {
  if (remembered !== null && (remembered.state !== 'off' || counts.sealed === 0))
    return requireKeysOf(remembered, keys);
  const named = counts.byKey.flatMap(({ keyId }) => (keyId === null ? [] : [keyId]));
  const held = named.find((id) => keyById(keys, id) !== null);
  if (held !== undefined) return { state: 'on', keyId: held, nextKeyId: null };
  if (counts.sealed > 0) throw keyNotInFile(named[0] ?? 'of the sealed passwords');
  return initialSwitchRow;
}

/** Throws `key_unknown` when the key file lacks a needed key. */
function requireKeysOf(next: NextSwitch, keys: KeySet): NextSwitch {
  const lacking = requiredKeyIds({ ...initialSwitchRow, ...next }).find((id) => keyById(keys, id) === null);
  if (lacking !== undefined) throw keyNotInFile(lacking);
  return next;
}

function wouldSwitchOff(): Failure {
  const message =
    'encryption was on, or a key file says so, and would be off: new passwords would be stored in plain text';
  const hint =
    'If that is intended (a backup from before encryption was enabled), add --accept-off; then enable encryption again.';
  return new Failure('refused', message, { fields: { would_be_off: true }, hint });
}

async function writeTrusted(
  operation: Operation,
  evidence: SwitchEvidence,
  next: NextSwitch,
  key: Key,
): Promise<SwitchRow> {
  const { ports } = operation;
  const { found, remembered } = evidence;
  // A forged row may have any revision.
  const isAuthentic = found !== null && judgeSwitchRow(found, evidence.keys, null).kind === 'accepted';
  const revision = revisionAbove(
    Math.max(isAuthentic ? found.revision : 0, remembered?.revision ?? 0),
    await memoryOf(ports),
  );
  const row = sealedRow(ports, next, revision, key);
  const { keyId, nextKeyId } = row;
  operation.throwIfStopped();
  const entry = auditEntry(ports, { action: 'switch.restored_trusted', keyId, nextKeyId, detail: detailOf(evidence) });
  // A damaged state file records nothing; the operation replaces it.
  if (evidence.isStateFileDamaged) await ports.store.writeSwitch(row, found?.revision ?? 0, [entry]);
  else await writeIssued(ports, row, found?.revision ?? 0, [entry]);
  await ports.stateFile.overwrite(row);
  return row;
}

/** Without any key nothing can be sealed: trusts the initial row, which needs no seal. */
async function trustInitialRow(
  { store, stateFile, ...ports }: OperationPorts,
  evidence: SwitchEvidence,
): Promise<SwitchRow> {
  const { sealed } = evidence.counts;
  if (sealed > 0) {
    const hint = 'Restore the key file from its backup, or set these passwords: ticketmaild mailbox set-password NAME';
    throw new Failure(
      'key_unknown',
      `${countText(sealed, 'password or token is', 'passwords or tokens are')} sealed, and there is no key file`,
      { hint },
    );
  }
  const { found } = evidence;
  const action = { action: 'switch.restored_trusted', keyId: null, nextKeyId: null, detail: detailOf(evidence) };
  const entry = auditEntry(ports, action);
  if (found === null || judgeSwitchRow(found, [], null).kind === 'accepted') await store.audit([entry]);
  else await store.writeSwitch(initialSwitchRow, found.revision, [entry]);
  await stateFile.overwrite(initialSwitchRow);
  return initialSwitchRow;
}

function detailOf({ found, remembered, isStateFileDamaged }: SwitchEvidence): string {
  const text = (row: SwitchRow | null) => (row === null ? 'no row' : `${row.state} at revision ${row.revision}`);
  return `found ${text(found)}, remembered ${isStateFileDamaged ? 'nothing, as the state file is damaged' : text(remembered)}`;
}

function keyNotInFile(keyId: KeyId): Failure {
  const hint =
    'Restore the key file of that time. A key file may contain several keys, concatenated; to add those of OLD: ' +
    'cat OLD >> encryption-key.bin';
  const message = `the row in encryption_switch needs key ${keyId}, which is not in the key file`;
  return new Failure('key_unknown', message, { fields: { key_id: keyId }, hint });
}
