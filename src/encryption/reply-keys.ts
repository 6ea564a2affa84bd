/**
 * Reply keys: sealed under the key in use while encryption is on, retired and replaced by each operation on the switch.
 *
 * Enable and rotate seal every reply key under the new key, retire it, and make a new one; disable opens them again. A
 * reply key whose key is lost stays as it is, and counts again when that key is back. All rows are written in one
 * transaction, each by compare-and-swap.
 */
import { Failure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import { type Key, type KeySet, keyById } from '../secret/key.ts';
import {
  type OpenReplyKey,
  openReplyKey,
  openReplyKeys,
  replyKeyBytes,
  type StoredReplyKey,
  sealReplyKey,
} from '../secret/reply-key.ts';
import { sealingKeyId } from '../secret/switch.ts';
import type { ReplyKeyChange, ReplyKeyStore } from './ports.ts';
import { isEncryptionOn, type Vault } from './vault.ts';

export type ReplyKeys = {
  /** The reply key for new tokens. Throws why the key of the switch is not available. */
  current(): Promise<Uint8Array>;
  /** For verification. Logs a key that is missing, once; its tokens are not valid meanwhile. */
  open(stored: readonly StoredReplyKey[]): Promise<readonly OpenReplyKey[]>;
};

/** `random` fills bytes, as randomFillSync of node:crypto does. */
type ReplyKeySource = { readonly store: ReplyKeyStore; readonly random: (bytes: Uint8Array) => Uint8Array };
type ReplyKeyPorts = ReplyKeySource & { readonly vault: Vault; readonly log: Log };

export function createReplyKeys(ports: ReplyKeyPorts): ReplyKeys {
  const { vault, log } = ports;
  const logged = new Set<string>();
  const open = async (stored: readonly StoredReplyKey[]): Promise<readonly OpenReplyKey[]> => {
    const lacksKey = ({ keyId }: StoredReplyKey) => keyId !== null && keyById(vault.keys(), keyId) === null;
    if (stored.some(lacksKey)) await vault.refresh();
    for (const { keyId } of stored.filter(lacksKey)) {
      if (keyId === null || logged.has(keyId)) continue;
      logged.add(keyId);
      log.warn({ key_id: keyId }, events.replyKeyUnopened);
    }
    return openReplyKeys(stored, vault.keys());
  };
  return { current: () => currentReplyKey(ports), open };
}

async function currentReplyKey({ store, vault, random }: ReplyKeyPorts): Promise<Uint8Array> {
  const view = await vault.refresh();
  const key = keyById(vault.keys(), sealingKeyId(view.switch));
  if (key !== null) await sealReplyKeys({ store, random }, vault.keys(), key);
  else if (isEncryptionOn(view)) throw 'failure' in view.state ? view.state.failure : keyUnknown();
  const stored = await store.readReplyKeys();
  let active = activeOf(stored, vault.keys());
  if (active !== null) return active;
  await store.writeReplyKeys([newReplyKey(stored, key, random)]);
  active = activeOf(await store.readReplyKeys(), vault.keys());
  if (active === null) throw new Failure('database_failed', 'the key of the reply tokens was stored and is not there');
  return active;
}

function keyUnknown(): Failure {
  return new Failure('key_unknown', 'the key of the switch is not in the key file');
}

/** The newest that is not retired and can be opened. */
function activeOf(stored: readonly StoredReplyKey[], keys: KeySet): Uint8Array | null {
  const active = stored.filter(({ retiredAtMs }) => retiredAtMs === null).toSorted((a, b) => b.id - a.id);
  return active.map((row) => openReplyKey(row, keys)).find((secret) => secret !== null) ?? null;
}

/** Seals all under `key`, retires those that were not, and adds a new one where none is left. */
export async function sealReplyKeys({ store, random }: ReplyKeySource, keys: KeySet, key: Key): Promise<void> {
  const stored = await store.readReplyKeys();
  const resealed = stored.flatMap((row): ReplyKeyChange[] => {
    const secret = row.keyId === key.id ? null : openReplyKey(row, keys);
    if (secret === null) return [];
    return [{ id: row.id, before: row, secret: sealReplyKey(secret, row.id, key), keyId: key.id, isRetired: true }];
  });
  const isActive = ({ keyId, retiredAtMs }: StoredReplyKey) => keyId === key.id && retiredAtMs === null;
  const changes = stored.some(isActive) ? resealed : [...resealed, newReplyKey(stored, key, random)];
  if (changes.length > 0) await store.writeReplyKeys(changes);
}

/** Restores all to plain text. One whose key is lost stays. */
export async function unsealReplyKeys(store: ReplyKeyStore, keys: KeySet): Promise<void> {
  const changes = (await store.readReplyKeys()).flatMap((row): ReplyKeyChange[] => {
    const secret = row.keyId === null ? null : openReplyKey(row, keys);
    return secret === null
      ? []
      : [{ id: row.id, before: row, secret, keyId: null, isRetired: row.retiredAtMs !== null }];
  });
  if (changes.length > 0) await store.writeReplyKeys(changes);
}

/** `key` null: in plain text. Of several processes at the same moment one adds it. */
function newReplyKey(
  stored: readonly StoredReplyKey[],
  key: Key | null,
  random: ReplyKeySource['random'],
): ReplyKeyChange {
  const id = Math.max(0, ...stored.map((row) => row.id)) + 1;
  const secret = random(new Uint8Array(replyKeyBytes));
  const row = key === null ? { secret, keyId: null } : { secret: sealReplyKey(secret, id, key), keyId: key.id };
  return { id, ...row, before: null, isRetired: false };
}
