/**
 * Outcome seal: a keyed hash (HMAC-SHA-256, RFC 2104) by which this program vouches that it stored the message of an
 * outcome row, so that its post-action may remove it from the server.
 *
 * `KEY ID:HASH`, the hash 43 characters of base64url, over mailbox id, folder epoch, UID, arrival and size. A writer of
 * the database cannot make one for a message that was never stored. It stays valid until the key is rotated.
 */
import { timingSafeEqual } from 'node:crypto';
import { type Key, type KeySet, keyById } from './key.ts';
import { keyedHash } from './keyed-hash.ts';

/** What an outcome seal covers. */
export type SealableOutcome = {
  readonly mailboxId: string;
  readonly folderEpoch: number;
  readonly uid: number;
  readonly receivedAtMs: number | null;
  readonly sizeBytes: number;
};

const hkdfInfo = 'ticketmaild outcome seal 1';
const sealPattern = /^([0-9a-f]{16}):([A-Za-z0-9_-]{43})$/;

export function sealOutcome(outcome: SealableOutcome, key: Key): string {
  return `${key.id}:${hashOf(outcome, key).toString('base64url')}`;
}

/** False for a seal of another outcome, a malformed one, and one under none of `keys`. */
export function isOutcomeSealed(outcome: SealableOutcome, seal: string | null, keys: KeySet): boolean {
  const [, keyId = null, hash = ''] = sealPattern.exec(seal ?? '') ?? [];
  const key = keyById(keys, keyId);
  return key !== null && timingSafeEqual(Buffer.from(hash, 'base64url'), hashOf(outcome, key));
}

/** Over a JSON array, an injective encoding. */
function hashOf({ mailboxId, folderEpoch, uid, receivedAtMs, sizeBytes }: SealableOutcome, key: Key): Buffer {
  return keyedHash(key, hkdfInfo, JSON.stringify([mailboxId, folderEpoch, uid, receivedAtMs, sizeBytes]));
}
