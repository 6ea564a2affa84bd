/**
 * Provenance of a password: the mark of plain text found while encryption was on survives every rewrite.
 */
import { describe, expect, test } from 'vitest';
import { enable } from '../../src/encryption/operations/enable.ts';
import type { OperationOptions } from '../../src/encryption/operations/operation.ts';
import { reseal, rotate } from '../../src/encryption/operations/rotate.ts';
import { createPasswordAccess } from '../../src/encryption/passwords.ts';
import { createSealSweep } from '../../src/encryption/seal-sweep.ts';
import { createLog } from '../../src/log.ts';
import { originOfSealed, type PasswordOrigin, sealPassword } from '../../src/secret/sealed-password.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { sampleMailbox } from '../adapters/database/samples.ts';
import { connectionOf, newWorld, startProcess, type World } from './memory-ports.ts';
import { putPlain, putSealed, randomKey, storedOf, worldAt, wrongPasswords } from './stored-passwords.ts';

const options: OperationOptions = { force: false, waitMs: 2000, signal: new AbortController().signal };
const log = createLog({ level: 'error', pretty: false, destination: { write: () => undefined } });

const origins = (world: World): Readonly<Record<string, PasswordOrigin>> =>
  Object.fromEntries([...world.passwords.values()].map(({ name, bytes }) => [name, originOfSealed(bytes)]));

/** Seals plain text as a worker does. */
async function sealOnSight(world: World): Promise<void> {
  const ports = startProcess(world);
  await ports.vault.refresh();
  await createSealSweep({ ...ports, log })();
}

/** Encryption is on; one password was given by a command, another stood in the table and was sealed on sight. */
async function bothKinds(): Promise<World> {
  const world = await worldAt('on', [randomKey()], ['command']);
  putPlain(world, 'table');
  await sealOnSight(world);
  return world;
}

const both = { command: 'command', table: 'table' };

describe('the mark', () => {
  test('is put on what is sealed on sight, and on nothing else', async () => {
    expect(origins(await bothKinds())).toEqual(both);
  });

  test('marks plain text that a rotation or resealing finds', async () => {
    for (const operation of [rotate, reseal]) {
      const world = await worldAt('on', [randomKey()], ['command']);
      putPlain(world, 'table');
      await operation(startProcess(world), options);
      expect(origins(world)).toEqual(both);
    }
  });

  test('is not put on what was there before encryption was on, but on what is found later', async () => {
    const world = newWorld();
    putPlain(world, 'command');
    await enable(startProcess(world), options);
    putPlain(world, 'table');
    await enable(startProcess(world), options);
    expect(origins(world)).toEqual(both);
  });

  test('stays through rotations and resealing, and is put on nothing that has none', async () => {
    const world = await bothKinds();
    const [former] = world.file as readonly [ReturnType<typeof randomKey>];
    for (let count = 0; count < 2; count += 1) await rotate(startProcess(world), options);
    expect(origins(world)).toEqual(both);
    expect(await wrongPasswords(world)).toEqual([]);
    // As after a restored backup: both are under the first key again, one of them by its header alone.
    const [key] = world.file as readonly [ReturnType<typeof randomKey>];
    world.file = [key, former];
    await putSealed(world, former, ['command'], key.id);
    const stored = storedOf(world, 'table');
    using password = SecretBytes.take(Buffer.from('secret of table'));
    stored.bytes = sealPassword(password, former, { mailboxId: 'table', connection: connectionOf(stored) }, 'table');
    stored.keyId = former.id;
    expect(await reseal(startProcess(world), options)).toMatchObject({ resealed: 2, unopened: [] });
    expect(origins(world)).toEqual(both);
    expect(await wrongPasswords(world)).toEqual([]);
  });
});

test('lending a password reports its origin, and a password moved to another server retains it', async () => {
  const world = await bothKinds();
  putPlain(world, 'new');
  const { vault } = startProcess(world);
  await vault.refresh();
  const readPassword = async (id: string) => {
    const stored = storedOf(world, id);
    const connection = { ...connectionOf(stored), tls: 'implicit' as const };
    return { ...stored, connection, bytes: Uint8Array.from(stored.bytes), switchRevision: world.row?.revision ?? null };
  };
  const passwords = createPasswordAccess({ vault, store: { readPassword }, sealPlaintext: async () => undefined });
  const mailboxOf = (name: string) =>
    sampleMailbox({
      id: name,
      connection: { ...connectionOf(storedOf(world, name)), tls: 'implicit', folder: 'INBOX' },
    });
  // Also one that could not be sealed on sight.
  for (const [name, origin] of Object.entries({ ...both, new: 'table' })) {
    const moved = await passwords.withPassword(mailboxOf(name), async (password, from) => {
      expect(from).toBe(origin);
      return await passwords.store(mailboxOf(name), password, from, async (prepared) => prepared);
    });
    expect(moved.form === 'sealed' && originOfSealed(moved.sealed)).toBe(origin);
  }
});
