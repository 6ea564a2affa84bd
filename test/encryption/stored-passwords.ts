/**
 * Passwords in the world of a test: stored in plain text or sealed, and opened as a worker does.
 */
import { randomFillSync } from 'node:crypto';
import { Failure } from '../../src/errors.ts';
import { generateKey, type Key, type KeySet } from '../../src/secret/key.ts';
import { sealPassword, unsealPassword } from '../../src/secret/sealed-password.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { allSettings, sealSettings, verifySettingsSeal } from '../../src/secret/settings-seal.ts';
import { type SwitchRow, sealSwitchRow, type UnsealedSwitchRow } from '../../src/secret/switch.ts';
import { connectionOf, mailboxOf, newWorld, type Stored, type World } from './memory-ports.ts';

export const randomKey = (): Key => generateKey((bytes) => randomFillSync(bytes));

export function names(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `box${String(index).padStart(5, '0')}`);
}

/** The password of the mailbox of that name, everywhere in these tests. */
function passwordOf(name: string): string {
  return `secret of ${name}`;
}

export function putPlain(world: World, ...all: readonly string[]): void {
  for (const name of all) {
    const bytes = new TextEncoder().encode(passwordOf(name));
    const settings = { host: 'mail.example.test', seal: null, postAction: { kind: 'delete' } } as const;
    world.passwords.set(name, { id: name, name, form: 'plain', bytes, keyId: null, ...settings });
  }
}

/** `column`: the key id in the row; by default that of the key. */
export async function putSealed(
  world: World,
  key: Key,
  all: readonly string[],
  column: string | null = key.id,
): Promise<void> {
  putPlain(world, ...all);
  for (const name of all) {
    const stored = storedOf(world, name);
    using password = SecretBytes.take(stored.bytes);
    stored.bytes = sealPassword(password, key, { mailboxId: name, connection: connectionOf(stored) });
    stored.form = 'sealed';
    stored.keyId = column;
    stored.seal = sealSettings(mailboxOf(stored), allSettings, key);
  }
}

export function storedOf(world: World, name: string): Stored {
  const stored = world.passwords.get(name);
  if (stored === undefined) throw new Error(`there is no ${name}`);
  return stored;
}

/** The mailbox is pointed at another server, behind our back: its sealed password is bound to the one before. */
export function pointElsewhere(world: World, name: string): void {
  storedOf(world, name).host = 'other.example.test';
}

/** Every password that does not open, in the form it has, with what is in the key file; none: all is well. */
export async function wrongPasswords(world: World): Promise<readonly string[]> {
  const wrong: string[] = [];
  for (const stored of world.passwords.values()) {
    const text = await openedText(stored, keysInFile(world));
    if (text !== passwordOf(stored.name)) wrong.push(`${stored.name}: ${text}`);
  }
  return wrong;
}

async function openedText(stored: Stored, keys: KeySet): Promise<string> {
  const { id: mailboxId, form, bytes } = stored;
  if (form === 'plain') return new TextDecoder().decode(bytes);
  try {
    using password = unsealPassword(bytes, keys, { mailboxId, connection: connectionOf(stored) });
    return password.use((opened) => new TextDecoder().decode(opened));
  } catch (error) {
    if (error instanceof Failure) return error.code;
    throw error;
  }
}

/** Verdicts on the settings seals under the keys of the key file, each once: `connection action`. */
export function sealVerdicts(world: World): readonly string[] {
  const verdicts = [...world.passwords.values()].map((stored) => {
    const { connection, action } = verifySettingsSeal(mailboxOf(stored), stored.seal, keysInFile(world));
    return `${connection} ${action}`;
  });
  return [...new Set(verdicts)];
}

export function keysInFile({ file }: World): KeySet {
  return file === null || file instanceof Failure ? [] : file;
}

/** A row as an operation would have written it. */
export function rowOf(key: Key, given: Partial<UnsealedSwitchRow> = {}): SwitchRow {
  const change = { state: 'on', keyId: key.id, nextKeyId: null, revision: 2, changedAtMs: 1, changedBy: 'eve@desk' };
  return sealSwitchRow({ ...change, ...given } as UnsealedSwitchRow, key);
}

/** A world in which the switch is at that state since long, all passwords as they should be. */
export async function worldAt(
  state: SwitchRow['state'],
  keys: readonly [Key, ...KeySet],
  all: readonly string[],
  given: Partial<UnsealedSwitchRow> = {},
): Promise<World> {
  const world = newWorld();
  const [key] = keys;
  world.file = keys;
  world.row = rowOf(key, { state, keyId: state === 'off' ? null : key.id, ...given });
  world.remembered = world.row;
  if (state === 'off') putPlain(world, ...all);
  else await putSealed(world, key, all);
  return world;
}
