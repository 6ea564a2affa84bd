/**
 * PEM reader (RFC 7468) for bytes: private keys become DER without a string, certificates an `X509Certificate`.
 *
 * A signature parses the DER each time, so that no key object lives on; the algorithm of RFC 7518 section
 * 3.1 comes from the object identifier in it.
 */
import { createHash, createSign, X509Certificate } from 'node:crypto';
import { SecretBytes, secretBuffer } from '../../secret/secret-bytes.ts';
import { wipingFreedMemory } from '../process/scrub-memory.ts';

export type PrivateKeyDer = { readonly der: SecretBytes; readonly type: 'pkcs8' | 'pkcs1' | 'sec1' };

/** Why a private key cannot be used, for the field `cause`. */
export type KeyProblem = 'key_missing' | 'key_encrypted' | 'key_of_other_kind';

const keyLabels = {
  'PRIVATE KEY': 'pkcs8',
  'RSA PRIVATE KEY': 'pkcs1',
  'EC PRIVATE KEY': 'sec1',
} as const;

/** The first private key in a PEM file. The caller wipes both. */
export function readPrivateKey(pem: Uint8Array): PrivateKeyDer | KeyProblem {
  if (findBlock(pem, 'ENCRYPTED PRIVATE KEY') !== null) return 'key_encrypted';
  for (const label of Object.keys(keyLabels) as (keyof typeof keyLabels)[]) {
    const block = findBlock(pem, label);
    if (block !== null) return { der: decodeBase64(block), type: keyLabels[label] };
  }
  return 'key_missing';
}

/** SHA-256 thumbprint of the first certificate (header `x5t#S256`, RFC 7515 section 4.1.8); null: none is there. */
export function certificateThumbprint(pem: Uint8Array): string | null {
  const block = findBlock(pem, 'CERTIFICATE');
  if (block === null) return null;
  using der = decodeBase64(block);
  try {
    return der.use((bytes) => createHash('sha256').update(new X509Certificate(bytes).raw).digest('base64url'));
  } catch {
    return null;
  }
}

/** The base64 between BEGIN and END; borrowed. */
function findBlock(pem: Uint8Array, label: string): Uint8Array | null {
  const text = Buffer.from(pem.buffer, pem.byteOffset, pem.length);
  const begin = `-----BEGIN ${label}-----`;
  const start = text.indexOf(begin);
  const end = text.indexOf(`-----END ${label}-----`, start);
  return start < 0 || end < 0 ? null : pem.subarray(start + begin.length, end);
}

const base64Alphabet = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');

/** Skips everything that is not of the alphabet. */
function decodeBase64(text: Uint8Array): SecretBytes {
  const out = secretBuffer(text.length);
  let length = 0;
  let [bits, count] = [0, 0];
  for (const byte of text) {
    const value = base64Alphabet.indexOf(byte);
    if (value < 0) continue;
    bits = ((bits << 6) | value) & 0xfff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out[length] = (bits >> count) & 0xff;
    length += 1;
  }
  const der = SecretBytes.take(out.subarray(0, length));
  out.fill(0);
  return der;
}

export type SigningAlgorithm = 'RS256' | 'PS256' | 'ES256' | 'ES384' | 'ES512';

/** Object identifiers (DER) of RFC 8017 and RFC 5480. */
const identifiers: readonly (readonly [algorithm: SigningAlgorithm, oid: string])[] = [
  ['RS256', '2a864886f70d010101'],
  ['ES256', '2a8648ce3d030107'],
  ['ES384', '2b81040022'],
  ['ES512', '2b81040023'],
];

/** `rsa`: the algorithm for RSA keys. null: a key of another kind. */
export function algorithmOf({ der, type }: PrivateKeyDer, rsa: 'RS256' | 'PS256'): SigningAlgorithm | null {
  if (type === 'pkcs1') return rsa;
  return der.use((bytes) => {
    const searched = Buffer.from(
      bytes.buffer,
      bytes.byteOffset,
      type === 'pkcs8' ? Math.min(64, bytes.length) : bytes.length,
    );
    const found = identifiers.find(([, oid]) => searched.includes(Buffer.from(oid, 'hex')))?.[0];
    return found === 'RS256' ? rsa : (found ?? null);
  });
}

const digests = { RS256: 'sha256', PS256: 'sha256', ES256: 'sha256', ES384: 'sha384', ES512: 'sha512' };
const pssPadding = 6;
const digestLength = -1;

/**
 * JWS signature (RFC 7518 section 3). Throws an error of OpenSSL for a damaged key.
 *
 * `createSign` frees the parsed key at once; `crypto.sign` keeps it until the next garbage collection (Node 26.10).
 */
export function signWith({ der, type }: PrivateKeyDer, algorithm: SigningAlgorithm, input: string): Buffer {
  const padding = algorithm === 'PS256' ? { padding: pssPadding, saltLength: digestLength } : {};
  return der.use((bytes) => {
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const options = { key, format: 'der', type, dsaEncoding: 'ieee-p1363', ...padding } as const;
    return wipingFreedMemory(() => createSign(digests[algorithm]).update(input).sign(options));
  });
}
