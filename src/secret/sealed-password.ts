/**
 * Sealed password: a JWE (jwe.ts) that is bound to its mailbox.
 *
 * The context is mailbox, server and user, so a sealed password that is copied to another mailbox, or whose mailbox is
 * pointed at another server, does not open. Whether a command or the page chose that server is not part of it: the
 * settings seal says so. Any doubt fails closed with `password_damaged`.
 */
import { Failure } from '../errors.ts';
import { contextHashOf, damagedSeal, decryptJwe, encryptJwe, keyOfJwe, parseJwe, type SealedKind } from './jwe.ts';
import type { Key, KeyId, KeySet } from './key.ts';
import { SecretBytes } from './secret-bytes.ts';

/** The context that a sealed password is bound to; it opens in no other. */
export type SealContext = {
  readonly mailboxId: string;
  readonly connection: {
    readonly host: string;
    readonly port: number;
    readonly tls: string;
    readonly caPem: string | null;
    readonly fingerprint: string | null;
    readonly allowPlaintext: boolean;
    readonly user: string;
  };
};

/** Upper limit for an IMAP login; a NUL is not allowed either (RFC 4616). */
export const passwordBytesMax = 1024;
const kind: SealedKind = { noun: 'password', damagedCode: 'password_damaged', sealedBytesMax: 4096 };
const contextTag = 'ticketmaild password context 1';

/**
 * Returns the ASCII bytes of the JWE; borrows the password. Throws `password_damaged` unless it is 1 to 1024 bytes
 * without NUL.
 */
export function sealPassword(password: SecretBytes, key: Key, context: SealContext): Uint8Array {
  return password.use((plaintext) => {
    if (!isValidPassword(plaintext)) throw notSealable();
    return encryptJwe(plaintext, key, hashContext(context));
  });
}

/** Throws `password_damaged`, `password_binding_mismatch`, `key_unknown` (field `key_id`). */
export function unsealPassword(sealed: Uint8Array, keys: KeySet, context: SealContext): SecretBytes {
  const parts = parseJwe(sealed, kind);
  const key = keyOfJwe(parts, keys, kind);
  if (parts.contextHash !== hashContext(context)) throw boundElsewhere();
  const plaintext = decryptJwe(parts, key, kind);
  if (isValidPassword(plaintext)) return SecretBytes.take(plaintext);
  plaintext.fill(0);
  throw damagedSeal(kind, 'its content is not a valid password');
}

/** The key that the header names. Throws `password_damaged`. */
export function keyIdOfSealed(sealed: Uint8Array): KeyId {
  return parseJwe(sealed, kind).keyId;
}

function hashContext({ mailboxId, connection }: SealContext): string {
  const { host, port, tls, caPem, fingerprint, allowPlaintext, user } = connection;
  const pin = fingerprint === null ? null : asciiLowerCase(fingerprint);
  const server = [asciiLowerCase(host), port, tls, caPem, pin, allowPlaintext, user];
  return contextHashOf([contextTag, mailboxId, ...server, 'password']);
}

/** ASCII only: toLowerCase maps some different names to one. */
export function asciiLowerCase(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** 1 to 1024 bytes without NUL. Byte by byte, for the reason of `copySecret`. */
export function isValidPassword(bytes: Uint8Array): boolean {
  return bytes.length >= 1 && bytes.length <= passwordBytesMax && bytes.every((byte) => byte !== 0);
}

function notSealable(): Failure {
  const message = `the password cannot be sealed: it must have 1 to ${passwordBytesMax} bytes and no NUL`;
  return new Failure('password_damaged', message, { hint: 'Set the password: ticketmaild mailbox set-password NAME.' });
}

function boundElsewhere(): Failure {
  return new Failure('password_binding_mismatch', 'the password was sealed for another mailbox, server or user');
}
