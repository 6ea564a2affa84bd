/**
 * Encryption switch: one authenticated row that says whether encryption is on, and the rules for accepting it.
 *
 *     off -> enabling(k) -> on(k) -> on(k, next k2) -> rotating(k, k2) -> on(k2) -> disabling(k2) -> off
 *
 * Write access to the database is not enough to change it: a row is accepted only with its seal, an HMAC-SHA-256 (RFC
 * 2104) over all fields, under a key derived (HKDF, RFC 5869) from a key of the key file. Replay of an older valid row
 * is rejected by the revision, which only increases: each worker stores the last row that it accepted. `on` with a next
 * key: a rotation is announced and waits until every worker has that key.
 */
import { timingSafeEqual } from 'node:crypto';
import { type Key, type KeyId, type KeySet, keyById } from './key.ts';
import { keyedHash } from './keyed-hash.ts';

export type SwitchState = 'off' | 'enabling' | 'on' | 'rotating' | 'disabling';

export type SwitchRow = {
  readonly state: SwitchState;
  readonly keyId: KeyId | null;
  readonly nextKeyId: KeyId | null;
  /** 0 in the row of a new database; incremented by every change. */
  readonly revision: number;
  /** `KEY ID:HMAC` (hex); null only in the initial row. */
  readonly seal: string | null;
  readonly changedAtMs: number;
  /** `user@host` that made the change. */
  readonly changedBy: string;
};

/** A row without its seal. */
export type UnsealedSwitchRow = Omit<SwitchRow, 'seal'>;

export type SwitchJudgement =
  /** `unproven`: its seal was not verified, for lack of a key; must not be stored as accepted. */
  | { readonly kind: 'accepted'; readonly row: SwitchRow; readonly unproven?: true }
  /** Its seal is wrong, or it is no row that this program writes. */
  | { readonly kind: 'forged'; readonly reason: string }
  /** An older row that was valid once, or no row where one was accepted. */
  | { readonly kind: 'rolled_back'; readonly reason: string }
  /** The key that sealed it is not available here. */
  | { readonly kind: 'unverified'; readonly keyId: KeyId };

/** The row of a new database. */
export const initialSwitchRow: SwitchRow = {
  state: 'off',
  keyId: null,
  nextKeyId: null,
  revision: 0,
  seal: null,
  changedAtMs: 0,
  changedBy: '',
};

/** No series of changes comes near it: a row beyond was written to leave no revision for the next change. */
const revisionMax = 2 ** 50;
const unverifiedRevisionMax = 2 ** 40;

/** The revision of a row that could not be verified, as the base of a new one; 0 where it is out of reach. */
export function adoptableRevision(row: SwitchRow | null): number {
  return row === null || row.revision > unverifiedRevisionMax ? 0 : row.revision;
}

const hkdfInfo = 'ticketmaild switch seal 1';

/**
 * `change` with its seal under `key`, which must be its `keyId` unless it is `off`. Refuses to seal a malformed row:
 * every worker would reject it.
 */
export function sealSwitchRow(change: UnsealedSwitchRow, key: Key): SwitchRow {
  const isOurs = change.keyId === null || change.keyId === key.id;
  const isWhole = [change.revision, change.changedAtMs].every(Number.isSafeInteger) && change.revision > 0;
  if (!isOurs || !isWhole || !isWellFormed(change)) throw new Error(`no switch row: ${JSON.stringify(change)}`);
  return { ...change, seal: `${key.id}:${hmac(change, key)}` };
}

function hmac(change: UnsealedSwitchRow, key: Key): string {
  const { state, keyId, nextKeyId, revision, changedAtMs, changedBy } = change;
  const content = JSON.stringify([state, keyId, nextKeyId, revision, changedAtMs, changedBy]);
  return keyedHash(key, hkdfInfo, content).toString('hex');
}

/**
 * Accepts or rejects a stored row. `row` null: the table is empty. `remembered` null: no row was ever accepted here.
 */
export function judgeSwitchRow(row: SwitchRow | null, keys: KeySet, remembered: SwitchRow | null): SwitchJudgement {
  const last = remembered ?? initialSwitchRow;
  if (row === null) {
    if (last.revision === 0) return { kind: 'accepted', row: initialSwitchRow };
    return { kind: 'rolled_back', reason: `the row is missing, and revision ${last.revision} was accepted before` };
  }
  if (row.revision < last.revision) {
    return {
      kind: 'rolled_back',
      reason: `revision ${row.revision} is older than revision ${last.revision}, which was accepted before`,
    };
  }
  if (remembered !== null && isSameSwitchRow(row, remembered)) return { kind: 'accepted', row };
  if (row.revision === 0) return judgeInitialRow(row);
  return judgeSeal(row, keys, last);
}

function judgeInitialRow(row: SwitchRow): SwitchJudgement {
  const isFirst = row.state === 'off' && row.keyId === null && row.nextKeyId === null && row.seal === null;
  if (isFirst) return { kind: 'accepted', row };
  return { kind: 'forged', reason: 'revision 0 is off and has no seal' };
}

function judgeSeal(row: SwitchRow, keys: KeySet, last: SwitchRow): SwitchJudgement {
  if (!isWellFormed(row))
    return { kind: 'forged', reason: `state ${row.state} does not match the keys that the row names` };
  if (row.revision > revisionMax) return { kind: 'forged', reason: `revision ${row.revision} is out of range` };
  const [, sealerId = '', seal = ''] = /^([0-9a-f]{16}):([0-9a-f]{64})$/.exec(row.seal ?? '') ?? [];
  if (sealerId === '') return { kind: 'forged', reason: 'it has no valid seal' };
  if (row.keyId !== null && sealerId !== row.keyId)
    return { kind: 'forged', reason: 'its seal was made with another key' };
  const key = keyById(keys, sealerId);
  if (key === null) {
    // Without any key and any accepted row, an unverifiable `off` is accepted, like the row of a new database.
    const isNewcomer = last.revision === 0 && keys.length === 0;
    return row.state === 'off' && isNewcomer
      ? { kind: 'accepted', row, unproven: true }
      : { kind: 'unverified', keyId: sealerId };
  }
  if (!isEqualHex(hmac(row, key), seal)) return { kind: 'forged', reason: 'its seal is wrong' };
  if (row.revision > last.revision) return { kind: 'accepted', row };
  return { kind: 'forged', reason: `revision ${row.revision} was accepted before with other content` };
}

function isWellFormed({ state, keyId, nextKeyId }: UnsealedSwitchRow): boolean {
  switch (state) {
    case 'off':
      return keyId === null && nextKeyId === null;
    case 'enabling':
    case 'disabling':
      return keyId !== null && nextKeyId === null;
    case 'on':
      return keyId !== null && nextKeyId !== keyId;
    case 'rotating':
      return keyId !== null && nextKeyId !== null && nextKeyId !== keyId;
    default:
      return false;
  }
}

function isEqualHex(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(a, 'hex'), Buffer.from(b, 'hex'));
}

/** True when all fields are equal, seal included. */
export function isSameSwitchRow(a: SwitchRow, b: SwitchRow): boolean {
  return (
    a.state === b.state &&
    a.keyId === b.keyId &&
    a.nextKeyId === b.nextKeyId &&
    a.revision === b.revision &&
    a.seal === b.seal &&
    a.changedAtMs === b.changedAtMs &&
    a.changedBy === b.changedBy
  );
}

/** The keys that a worker needs to open every password in this state. */
export function requiredKeyIds({ keyId, nextKeyId, state }: SwitchRow): readonly KeyId[] {
  if (keyId === null) return [];
  return state === 'rotating' && nextKeyId !== null ? [keyId, nextKeyId] : [keyId];
}

/** The key that new passwords are sealed with; null: they are stored in plain text. */
export function sealingKeyId({ state, keyId, nextKeyId }: SwitchRow): KeyId | null {
  if (state === 'rotating') return nextKeyId;
  return state === 'on' || state === 'enabling' ? keyId : null;
}
