/**
 * Claims of an access token that is a JWT (RFC 7519), read for a diagnosis and never trusted: no signature is verified.
 *
 * Only role names and the object id of a Microsoft service principal are returned. Bytes are decoded into a buffer that
 * is wiped; the claims alone, without the signature, open nothing.
 */
import { type SecretBytes, secretBuffer } from '../secret/secret-bytes.ts';

export type TokenClaims = {
  /** Application permissions (Microsoft: `roles`). */
  readonly roles: readonly string[];
  /** Object id of the enterprise application (Microsoft: `oid`); null: none, or no UUID. */
  readonly objectId: string | null;
};

/** null: the token is opaque. */
export function readTokenClaims(token: SecretBytes): TokenClaims | null {
  return token.use((bytes) => {
    const dot = '.'.charCodeAt(0);
    const begin = bytes.indexOf(dot) + 1;
    const end = bytes.indexOf(dot, begin);
    if (begin === 0 || end < 0) return null;
    const decoded = decodeBase64Url(bytes.subarray(begin, end));
    try {
      return claimsOf(JSON.parse(Buffer.from(decoded.buffer, decoded.byteOffset, decoded.length).toString()));
    } catch (error) {
      if (error instanceof SyntaxError) return null;
      throw error;
    } finally {
      decoded.fill(0);
    }
  });
}

const rolesMax = 50;

function claimsOf(value: unknown): TokenClaims | null {
  if (typeof value !== 'object' || value === null) return null;
  const roles = 'roles' in value && Array.isArray(value.roles) ? value.roles.slice(0, rolesMax) : [];
  const objectId = 'oid' in value && typeof value.oid === 'string' ? value.oid : '';
  return {
    roles: roles.filter((role) => typeof role === 'string' && /^[\w.]{1,100}$/.test(role)),
    objectId: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(objectId) ? objectId : null,
  };
}

const alphabet = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_');

/** RFC 4648 section 5, without padding; other characters are skipped. */
function decodeBase64Url(text: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = secretBuffer(Math.ceil((text.length * 3) / 4));
  let length = 0;
  let [bits, count] = [0, 0];
  for (const byte of text) {
    const value = alphabet.indexOf(byte);
    if (value < 0) continue;
    bits = ((bits << 6) | value) & 0xfff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out[length++] = (bits >> count) & 0xff;
  }
  return out.subarray(0, length);
}
