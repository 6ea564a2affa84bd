/**
 * Reply keys at rest: the HMAC keys of reply tokens, sealed with AES-256-GCM under a key derived (HKDF, RFC 5869) from
 * a key of the key file.
 *
 * A sealed reply key is a 12-byte nonce, 32 bytes of ciphertext and the 16-byte tag; its number is authenticated. While
 * encryption is off, it is its 32 bytes. A key that is retired is accepted for tickets that existed by then alone, so
 * that tokens that were issued stay valid, and a reader of an old backup cannot make any for a newer ticket.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomFillSync } from 'node:crypto';
import { type Key, type KeyId, type KeySet, keyById } from './key.ts';

/** `keyId` null: in plain text. `retiredAtMs` null: new tokens are made with it. */
export type StoredReplyKey = {
  readonly id: number;
  readonly secret: Uint8Array;
  readonly keyId: KeyId | null;
  readonly retiredAtMs: number | null;
};

/** A reply key for verification: `ticketsUntilMs` bounds when a ticket was created; null: at any time. */
export type OpenReplyKey = { readonly secret: Uint8Array; readonly ticketsUntilMs: number | null };

const cipher = 'aes-256-gcm';
const hkdfInfo = 'ticketmaild reply key 1';
const nonceBytes = 12;
const tagBytes = 16;
export const replyKeyBytes = 32;
/** A ticket has the time of a worker, the retirement that of the database. */
const clockToleranceMs = 86_400_000;

export function sealReplyKey(secret: Uint8Array, id: number, key: Key): Uint8Array {
  const nonce = randomFillSync(Buffer.alloc(nonceBytes));
  const derived = derivedFrom(key);
  const sealer = createCipheriv(cipher, derived, nonce).setAAD(numberOf(id));
  derived.fill(0);
  return Buffer.concat([nonce, sealer.update(secret), sealer.final(), sealer.getAuthTag()]);
}

/** null: its key is not among `keys`, or it is not what was sealed. */
export function openReplyKey(
  { id, secret, keyId }: Omit<StoredReplyKey, 'retiredAtMs'>,
  keys: KeySet,
): Uint8Array | null {
  if (keyId === null) return secret.length === replyKeyBytes ? secret : null;
  const key = keyById(keys, keyId);
  if (key === null || secret.length !== nonceBytes + replyKeyBytes + tagBytes) return null;
  const derived = derivedFrom(key);
  const opener = createDecipheriv(cipher, derived, secret.subarray(0, nonceBytes), { authTagLength: tagBytes });
  derived.fill(0);
  opener.setAAD(numberOf(id)).setAuthTag(secret.subarray(-tagBytes));
  try {
    return Buffer.concat([opener.update(secret.subarray(nonceBytes, -tagBytes)), opener.final()]);
  } catch {
    // final() only compares the tag.
    return null;
  }
}

/** Those that can be opened, for verification. */
export function openReplyKeys(stored: readonly StoredReplyKey[], keys: KeySet): readonly OpenReplyKey[] {
  return stored.flatMap((row) => {
    const secret = openReplyKey(row, keys);
    const { retiredAtMs } = row;
    return secret === null
      ? []
      : [{ secret, ticketsUntilMs: retiredAtMs === null ? null : retiredAtMs + clockToleranceMs }];
  });
}

function derivedFrom(key: Key): Buffer {
  return Buffer.from(hkdfSync('sha256', key.object, Buffer.alloc(0), hkdfInfo, 32));
}

function numberOf(id: number): Buffer {
  return Buffer.from(`${id}`);
}
