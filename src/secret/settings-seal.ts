/**
 * Settings seal: keyed hashes (HMAC-SHA-256, RFC 2104) by which a command or the admin page vouches for the settings of
 * a mailbox row.
 *
 * `KEY ID:CONNECTION:ACTION`, each hash 43 characters of base64url, or empty where that part was not confirmed. Part
 * `connection` covers mailbox id, name and connection: where a new password goes. Part `action` covers mailbox id,
 * connection, folder, start point and post-action: what is removed from the server. The HMAC key is derived (HKDF, RFC
 * 5869) from a key of the key file, so a writer of the database cannot make a seal. A seal of former settings of the
 * same mailbox stays valid for those until the key is rotated.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { type Key, type KeySet, keyById } from './key.ts';
import { keyedHash } from './keyed-hash.ts';
import { asciiLowerCase, type SealContext } from './sealed-password.ts';

/** The settings of a mailbox that a seal covers. */
export type SealableSettings = {
  readonly id: string;
  readonly name: string;
  readonly connection: SealContext['connection'] & { readonly folder: string };
  readonly start: { readonly from: 'all' } | { readonly from: 'time'; readonly atMs: number };
  readonly postAction: { readonly kind: string; readonly folder?: string };
};

export type SettingsPart = 'connection' | 'action';

/** Which parts a seal vouches for. */
export type SettingsParts = Readonly<Record<SettingsPart, boolean>>;

export const allSettings: SettingsParts = { connection: true, action: true };

/** `missing`: the part was never confirmed, or its key is not available. `wrong`: other settings were confirmed. */
export type SealVerdict = 'valid' | 'wrong' | 'missing';

const hkdfInfo = 'ticketmaild settings seal 1';
const sealPattern = /^([0-9a-f]{16}):([A-Za-z0-9_-]{43}|):([A-Za-z0-9_-]{43}|)$/;

/** The seal of these parts under `key`; null: of no part. */
export function sealSettings(settings: SealableSettings, parts: SettingsParts, key: Key): string | null {
  if (!parts.connection && !parts.action) return null;
  const part = (name: SettingsPart) => (parts[name] ? hmac(settings, name, key) : '');
  return `${key.id}:${part('connection')}:${part('action')}`;
}

/** Compares a stored seal with the present settings. `keys`: those that may seal now. */
export function verifySettingsSeal(
  settings: SealableSettings,
  seal: string | null,
  keys: KeySet,
): Readonly<Record<SettingsPart, SealVerdict>> {
  const [, keyId = null, connection = '', action = ''] = sealPattern.exec(seal ?? '') ?? [];
  const key = keyById(keys, keyId);
  const verdict = (part: SettingsPart, hash: string): SealVerdict => {
    if (key === null || hash === '') return 'missing';
    return timingSafeEqual(Buffer.from(hash), Buffer.from(hmac(settings, part, key))) ? 'valid' : 'wrong';
  };
  return { connection: verdict('connection', connection), action: verdict('action', action) };
}

/** SHA-256 of all that a seal covers: a form names by it the settings that it showed. */
export function settingsDigest(settings: SealableSettings): string {
  const content = [contentOf(settings, 'connection'), contentOf(settings, 'action')];
  return createHash('sha256').update(JSON.stringify(content)).digest('base64url');
}

function hmac(settings: SealableSettings, part: SettingsPart, key: Key): string {
  return keyedHash(key, hkdfInfo, contentOf(settings, part)).toString('base64url');
}

/** A JSON array, an injective encoding. */
function contentOf({ id, name, connection, start, postAction }: SealableSettings, part: SettingsPart): string {
  const { host, port, tls, caPem, fingerprint, allowPlaintext, user, folder } = connection;
  const pin = fingerprint === null ? null : asciiLowerCase(fingerprint);
  const server = [asciiLowerCase(host), port, tls, caPem, pin, allowPlaintext, user];
  if (part === 'connection') return JSON.stringify([part, id, name, ...server]);
  const from = start.from === 'all' ? null : start.atMs;
  return JSON.stringify([part, id, ...server, folder, from, postAction.kind, postAction.folder ?? null]);
}
