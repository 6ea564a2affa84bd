/**
 * Operations on the switch carry the tokens of grants: as passwords, and what cannot be opened is named by its grant.
 */
import { describe, expect, test } from 'vitest';
import { disable } from '../../../src/encryption/operations/disable.ts';
import { enable } from '../../../src/encryption/operations/enable.ts';
import { replaceLostKey } from '../../../src/encryption/operations/replace-lost-key.ts';
import { reseal, rotate } from '../../../src/encryption/operations/rotate.ts';
import { trustRestored } from '../../../src/encryption/operations/trust-restored.ts';
import { encryptionStatus } from '../../../src/encryption/status.ts';
import { keyIds } from '../../../src/secret/key.ts';
import { initialSwitchRow } from '../../../src/secret/switch.ts';
import { newWorld, startProcess } from '../memory-ports.ts';
import { keysInFile, randomKey, worldAt } from '../stored-passwords.ts';
import { putSealedToken, putToken, tokenForms } from '../stored-tokens.ts';

const options = { force: false, waitMs: 0, signal: new AbortController().signal };

describe('switching on', () => {
  test('seals refresh tokens and drops access tokens in plain text', async () => {
    const world = newWorld();
    putToken(world, 'refresh', 'ada');
    putToken(world, 'refresh', 'eve');
    putToken(world, 'access', 'ada');
    const process = startProcess(world);
    expect(await enable(process, options)).toMatchObject({ sealed: 0, sealedTokens: 2, unopened: [] });
    expect(tokenForms(world)).toEqual({
      'refresh ada': 'sealed',
      'refresh eve': 'sealed',
      'access ada': 'plain, dropped',
    });
    expect(process.told.steps).toContain('Refresh tokens sealed: 2.');
  });

  test('stays unfinished while the provider of a token is unknown, and names the grant', async () => {
    const world = newWorld();
    putToken(world, 'refresh', 'ada');
    putToken(world, 'refresh', 'gone', 'unknown');
    await expect(enable(startProcess(world), options)).rejects.toMatchObject({
      code: 'token_damaged',
      message: expect.stringContaining('grant gone (there is no provider named unknown'),
    });
    expect(world.row?.state).toBe('enabling');
    expect(tokenForms(world)).toEqual({ 'refresh ada': 'sealed', 'refresh gone': 'plain' });
    world.tokens.delete('refresh gone');
    expect(await enable(startProcess(world), options)).toMatchObject({ unopened: [] });
  });
});

describe('a rotation', () => {
  test('reseals tokens of both kinds without the configuration, and drops the former key', async () => {
    const key = randomKey();
    const world = await worldAt('on', [key], []);
    putSealedToken(world, key, 'refresh', 'ada');
    putSealedToken(world, key, 'access', 'ada');
    const process = { ...startProcess(world), bindingOf: () => null };
    expect(await rotate(process, options)).toMatchObject({ resealedTokens: 2, isFormerKeyKept: false });
    expect(tokenForms(world)).toEqual({ 'refresh ada': 'sealed', 'access ada': 'sealed' });
    expect(keyIds(keysInFile(world))).not.toContain(key.id);
  });

  test('reseals a token whose column names the new key, by its header', async () => {
    const [former, next] = [randomKey(), randomKey()];
    const world = await worldAt('rotating', [former, next], [], { nextKeyId: next.id });
    putSealedToken(world, former, 'refresh', 'ada', next.id);
    putSealedToken(world, former, 'access', 'ada', next.id);
    expect(await rotate(startProcess(world), options)).toMatchObject({ resealedTokens: 2, isFormerKeyKept: false });
    expect(tokenForms(world)).toEqual({ 'refresh ada': 'sealed', 'access ada': 'sealed' });
  });

  test('keeps the former key for a refresh token that does not open; an access token is dropped', async () => {
    const key = randomKey();
    const world = await worldAt('on', [key], []);
    for (const kind of ['refresh', 'access'] as const) {
      const { bytes } = putSealedToken(world, key, kind, 'ada');
      if (bytes !== null) bytes[bytes.length - 3] = bytes[bytes.length - 3] === 0x41 ? 0x42 : 0x41;
    }
    const done = await rotate(startProcess(world), options);
    expect(done.unopened).toMatchObject([{ grant: 'ada', code: 'token_damaged' }]);
    expect(done.isFormerKeyKept).toBe(true);
    expect(tokenForms(world)).toEqual({ 'refresh ada': 'sealed, token_damaged', 'access ada': 'plain, dropped' });
  });

  test('seals a refresh token that a helpdesk wrote meanwhile', async () => {
    const key = randomKey();
    const world = await worldAt('on', [key], []);
    putToken(world, 'refresh', 'ada');
    await rotate(startProcess(world), options);
    expect(tokenForms(world)).toEqual({ 'refresh ada': 'sealed' });
  });
});

describe('resealing', () => {
  test('drops no key that a token needs', async () => {
    const [key, old, unused] = [randomKey(), randomKey(), randomKey()];
    const world = await worldAt('on', [key, old, unused], []);
    const damaged = putSealedToken(world, old, 'refresh', 'ada');
    if (damaged.bytes !== null) damaged.bytes[damaged.bytes.length - 3] = 0x7e;
    const done = await reseal(startProcess(world), options);
    expect(done.droppedKeyIds).toEqual([unused.id]);
    expect(done.unopened).toMatchObject([{ grant: 'ada' }]);
  });
});

describe('switching off', () => {
  test('restores refresh tokens to plain text, and drops access tokens', async () => {
    const key = randomKey();
    const world = await worldAt('on', [key], []);
    putSealedToken(world, key, 'refresh', 'ada');
    putSealedToken(world, key, 'access', 'ada');
    const done = await disable(startProcess(world), options);
    expect(done).toMatchObject({ unsealedTokens: 1, unopened: [], setAside: expect.anything() });
    expect(tokenForms(world)).toEqual({ 'refresh ada': 'plain', 'access ada': 'plain, dropped' });
  });

  test('stays unfinished while a refresh token is bound to another provider', async () => {
    const key = randomKey();
    const world = await worldAt('on', [key], []);
    putSealedToken(world, key, 'refresh', 'ada').provider = 'elsewhere';
    const done = await disable(startProcess(world), options);
    expect(done.unopened).toMatchObject([{ grant: 'ada', code: 'token_bound_elsewhere' }]);
    expect(world.row?.state).toBe('disabling');
  });
});

test('a lost key takes the tokens under it along: persons sign in again', async () => {
  const [lost, other] = [randomKey(), randomKey()];
  const world = await worldAt('on', [lost], []);
  putSealedToken(world, lost, 'refresh', 'ada');
  putSealedToken(world, lost, 'access', 'ada');
  world.file = [other];
  const done = await replaceLostKey(startProcess(world), options);
  expect(done).toMatchObject({ keyId: other.id, lostTokens: 1 });
  expect(tokenForms(world)).toEqual({ 'refresh ada': 'plain, dropped', 'access ada': 'plain, dropped' });
  expect(world.tokens.get('refresh ada')?.isEnded).toBe(true);
});

test('a replacement that dies behind its commit has dropped the tokens with the switch', async () => {
  const [lost, other] = [randomKey(), randomKey()];
  const world = await worldAt('on', [lost], []);
  putSealedToken(world, lost, 'refresh', 'ada');
  world.file = [other];
  const ports = startProcess(world);
  const replaceSwitchKey: typeof ports.store.replaceSwitchKey = async (...given) => {
    await ports.store.replaceSwitchKey(...given);
    throw new Error('the process dies here');
  };
  const dying = { ...ports, store: { ...ports.store, replaceSwitchKey } };
  await expect(replaceLostKey(dying, options)).rejects.toThrow('dies here');
  expect([world.row?.keyId, tokenForms(world)]).toEqual([other.id, { 'refresh ada': 'plain, dropped' }]);
});

test('sealed tokens prove that encryption was on, after a restored backup', async () => {
  const key = randomKey();
  const world = await worldAt('on', [key], []);
  putSealedToken(world, key, 'refresh', 'ada');
  world.row = initialSwitchRow;
  world.remembered = null;
  const done = await trustRestored(startProcess(world), { acceptOff: false });
  expect(done).toMatchObject({ trusted: { state: 'on', keyId: key.id }, counts: { sealed: 1 } });
});

test('the status counts tokens, and the keys that they are under', async () => {
  const [key, old] = [randomKey(), randomKey()];
  const world = await worldAt('on', [key, old], ['a']);
  putSealedToken(world, old, 'refresh', 'ada');
  putSealedToken(world, key, 'access', 'ada');
  putToken(world, 'refresh', 'eve');
  expect(await encryptionStatus(startProcess(world))).toMatchObject({
    sealed: 1,
    sealed_tokens: 2,
    plaintext_tokens: 1,
    by_key: [
      { key_id: key.id, count: 2 },
      { key_id: old.id, count: 1 },
    ],
  });
});
