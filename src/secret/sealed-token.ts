/**
 * Sealed token of OAuth 2 (RFC 6749): a JWE (jwe.ts) that is bound to its grant, provider and account.
 *
 * A token that is copied to another grant, or whose provider has another endpoint or client in the configuration, does
 * not open. The tag of the context separates tokens from passwords. Sealing under another key retains the hash of the
 * context, which the tag authenticates, so it needs no configuration. Any doubt fails closed with `token_damaged`.
 */
import { Failure } from '../errors.ts';
import { contextHashOf, damagedSeal, decryptJwe, encryptJwe, keyOfJwe, parseJwe, type SealedKind } from './jwe.ts';
import type { Key, KeyId, KeySet } from './key.ts';
import { SecretBytes } from './secret-bytes.ts';

/** What a token is bound to: sealed, it opens in no other context. */
export type TokenContext = {
  readonly grantId: string;
  /** `providerBinding` of the provider. */
  readonly binding: readonly string[];
  readonly account: string | null;
  readonly kind: 'refresh' | 'access';
  /** The mailbox of a service account's access token; '' for the others. */
  readonly username: string;
};

/** Sealed and base64url-encoded it is smaller than the column. */
export const tokenBytesMax = 12_000;
/** The size of the columns. */
export const sealedTokenBytesMax = 16_384;
const kind: SealedKind = { noun: 'token', damagedCode: 'token_damaged', sealedBytesMax: sealedTokenBytesMax };
const contextTag = 'ticketmaild token context 1';

/**
 * Returns the ASCII bytes of the JWE; borrows the token. Throws `token_damaged` unless it is 1 to 12,000 bytes of
 * printable ASCII.
 */
export function sealToken(token: SecretBytes, key: Key, context: TokenContext): Uint8Array {
  return token.use((plaintext) => {
    if (!isValidToken(plaintext)) throw notSealable();
    return encryptJwe(plaintext, key, hashContext(context));
  });
}

/** Throws `token_damaged`, `token_bound_elsewhere`, `key_unknown` (field `key_id`). */
export function unsealToken(sealed: Uint8Array, keys: KeySet, context: TokenContext): SecretBytes {
  const parts = parseJwe(sealed, kind);
  const key = keyOfJwe(parts, keys, kind);
  if (parts.contextHash !== hashContext(context)) throw boundElsewhere();
  return checkedToken(decryptJwe(parts, key, kind));
}

/** The same token under `key`, bound to the same context. Throws `token_damaged`, `key_unknown`. */
export function resealToken(sealed: Uint8Array, keys: KeySet, key: Key): Uint8Array {
  const parts = parseJwe(sealed, kind);
  using token = checkedToken(decryptJwe(parts, keyOfJwe(parts, keys, kind), kind));
  return token.use((plaintext) => encryptJwe(plaintext, key, parts.contextHash));
}

/** The key that the header names. Throws `token_damaged`. */
export function keyIdOfSealedToken(sealed: Uint8Array): KeyId {
  return parseJwe(sealed, kind).keyId;
}

/** Takes the plaintext. Throws `token_damaged`, and wipes it then. */
function checkedToken(plaintext: Uint8Array): SecretBytes {
  if (isValidToken(plaintext)) return SecretBytes.take(plaintext);
  plaintext.fill(0);
  throw damagedSeal(kind, 'its content is not a valid token');
}

/** 1 to 12,000 bytes of printable ASCII (RFC 6749 appendix A). Byte by byte, for the reason of `copySecret`. */
export function isValidToken(bytes: Uint8Array): boolean {
  return bytes.length >= 1 && bytes.length <= tokenBytesMax && bytes.every((byte) => byte >= 0x20 && byte <= 0x7e);
}

function hashContext({ grantId, binding, account, kind: use, username }: TokenContext): string {
  return contextHashOf([contextTag, grantId, binding, account, use, username]);
}

function notSealable(): Failure {
  const message = `the token cannot be sealed: it must have 1 to ${tokenBytesMax} bytes of printable ASCII`;
  return new Failure('token_damaged', message);
}

function boundElsewhere(): Failure {
  const hint =
    'The table [oauth.NAME] of its provider changed, or the row was modified. If the change is yours: ticketmaild mailbox authorize NAME';
  return new Failure('token_bound_elsewhere', 'the token was sealed for another grant, provider or account', { hint });
}
