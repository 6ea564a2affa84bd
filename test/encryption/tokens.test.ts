import { describe, expect, test } from 'vitest';
import { createSealSweep } from '../../src/encryption/seal-sweep.ts';
import { createTokenSealing, type NewToken } from '../../src/encryption/tokens.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { newWorld, startProcess, tokenContextOf, type World } from './memory-ports.ts';
import { randomKey, rowOf, worldAt } from './stored-passwords.ts';
import { putSealedToken, putToken, tokenForms } from './stored-tokens.ts';

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

/** A process with its sealing; `sweeps` counts the seal sweeps. */
async function sealingIn(world: World) {
  const { store, vault, bindingOf, actor } = startProcess(world);
  const sweep = createSealSweep({ store, vault, bindingOf, log: silent, actor });
  const counted = { sweeps: 0 };
  const sealPlaintext = async () => {
    counted.sweeps += 1;
    await sweep();
  };
  await vault.refresh();
  return { vault, sweep, counted, sealing: createTokenSealing({ vault, sealPlaintext }) };
}

const secret = (text: string): SecretBytes => SecretBytes.take(Buffer.from(text));
const textOf = (token: SecretBytes): string => token.use((bytes) => Buffer.from(bytes).toString());
const row = { kind: 'refresh', name: 'ada', provider: 'm365', form: 'plain', bytes: null, keyId: null } as const;
const context = { ...tokenContextOf({ ...row, isEnded: false }), binding: ['m365'] };

function stored(token: NewToken, switchRevision: number | null = token.switchRevision) {
  const bytes = token.form === 'sealed' ? Uint8Array.from(token.sealed) : Buffer.from(textOf(token.token));
  return { form: token.form, bytes, switchRevision };
}

describe('a new token', () => {
  test('is sealed while encryption is on, and opens in its context alone', async () => {
    const { sealing } = await sealingIn(await worldAt('on', [randomKey()], []));
    const prepared = await sealing.prepare(secret('abc'), context);
    expect(prepared).toMatchObject({ form: 'sealed', switchRevision: 2 });
    expect(textOf(await sealing.open(stored(prepared), context))).toBe('abc');
    const elsewhere = sealing.open(stored(prepared), { ...context, binding: ['google'] });
    await expect(elsewhere).rejects.toMatchObject({ code: 'token_bound_elsewhere' });
  });

  test('is plain while encryption is off', async () => {
    const { sealing } = await sealingIn(newWorld());
    const prepared = await sealing.prepare(secret('abc'), context);
    expect(prepared).toMatchObject({ form: 'plain', switchRevision: 0 });
    expect(textOf(await sealing.open(stored(prepared), context))).toBe('abc');
  });

  test('is refused while the key is not available', async () => {
    const world = await worldAt('on', [randomKey()], []);
    world.file = null;
    const { sealing } = await sealingIn(world);
    await expect(sealing.prepare(secret('abc'), context)).rejects.toMatchObject({ code: 'key_file_missing' });
  });

  test('is not written in plain text for a row that no process sealed', async () => {
    const world = await worldAt('on', [randomKey()], []);
    const { sealing } = await sealingIn(world);
    world.row = { ...rowOf(randomKey()), state: 'off', keyId: null, seal: null };
    await expect(sealing.prepare(secret('abc'), context)).rejects.toMatchObject({ code: 'switch_forged' });
  });
});

describe('a stored token', () => {
  test('opens under a key that came after the last refresh', async () => {
    const [key, next] = [randomKey(), randomKey()];
    const world = await worldAt('on', [key], []);
    const { sealing } = await sealingIn(world);
    const { bytes } = putSealedToken(world, next, 'refresh', 'ada');
    world.file = [key, next];
    const opened = await sealing.open({ form: 'sealed', bytes: bytes ?? new Uint8Array(), switchRevision: 2 }, context);
    expect(textOf(opened)).toBe('refresh token of ada');
  });

  test('under a key that is nowhere is refused, and its bytes are wiped', async () => {
    const world = await worldAt('on', [randomKey()], []);
    const { sealing } = await sealingIn(world);
    const bytes = putSealedToken(world, randomKey(), 'refresh', 'ada').bytes ?? new Uint8Array();
    const opening = sealing.open({ form: 'sealed', bytes, switchRevision: 2 }, context);
    await expect(opening).rejects.toMatchObject({ code: 'key_unknown' });
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  });

  test('in plain text while encryption is on: a refresh token is sealed first, an access token refused', async () => {
    const world = await worldAt('on', [randomKey()], []);
    putToken(world, 'refresh', 'ada');
    const { sealing, counted } = await sealingIn(world);
    const reading = () => ({ form: 'plain', bytes: Buffer.from('written'), switchRevision: 2 }) as const;
    expect(textOf(await sealing.open(reading(), context))).toBe('written');
    expect(counted.sweeps).toBe(1);
    expect(tokenForms(world)).toEqual({ 'refresh ada': 'sealed' });
    const access = sealing.open(reading(), { ...context, kind: 'access' });
    await expect(access).rejects.toMatchObject({ code: 'token_damaged' });
  });

  test('in plain text is refused as soon as the switch is on, though the last refresh was before', async () => {
    const world = newWorld();
    const { sealing } = await sealingIn(world);
    const key = randomKey();
    world.file = [key];
    world.row = rowOf(key);
    const reading = { form: 'plain', bytes: Buffer.from('abc'), switchRevision: 2 } as const;
    const access = sealing.open(reading, { ...context, kind: 'access' });
    await expect(access).rejects.toMatchObject({ code: 'token_damaged' });
  });

  test.each(['', 'a\nb', 'x'.repeat(12_001)])('that no provider issues is refused (%#)', async (text) => {
    const { sealing } = await sealingIn(newWorld());
    const opening = sealing.open({ form: 'plain', bytes: Buffer.from(text), switchRevision: 0 }, context);
    await expect(opening).rejects.toMatchObject({ code: 'token_damaged' });
  });
});

describe('the seal sweep', () => {
  test('seals refresh tokens in plain text, and skips those of an unknown provider', async () => {
    const world = await worldAt('on', [randomKey()], []);
    putToken(world, 'refresh', 'ada');
    putToken(world, 'refresh', 'gone', 'unknown');
    const { vault, sweep } = await sealingIn(world);
    expect(vault.view.hasPlaintext).toBe(true);
    await sweep();
    expect(tokenForms(world)).toEqual({ 'refresh ada': 'sealed', 'refresh gone': 'plain' });
    expect(world.audit).toMatchObject([{ action: 'token.sealed', detail: 'ada' }]);
  });
});
