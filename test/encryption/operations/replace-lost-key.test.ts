import { describe, expect, test } from 'vitest';
import { replaceLostKey } from '../../../src/encryption/operations/replace-lost-key.ts';
import { reseal } from '../../../src/encryption/operations/rotate.ts';
import { Failure } from '../../../src/errors.ts';
import { initialSwitchRow } from '../../../src/secret/switch.ts';
import { startProcess } from '../memory-ports.ts';
import { keysInFile, putSealed, randomKey, rowOf, worldAt } from '../stored-passwords.ts';

const options = { force: false, waitMs: 1000, signal: new AbortController().signal };

describe('replacing a lost key', () => {
  test('puts a new key in force, leaves the lost passwords, and opens those that are set again', async () => {
    const lost = randomKey();
    const world = await worldAt('on', [lost], ['a', 'b']);
    world.file = null;
    const done = await replaceLostKey(startProcess(world), options);
    expect(done).toMatchObject({ lostKeyId: lost.id, lost: 2, setAside: null });
    const [key] = keysInFile(world);
    expect(world.row).toMatchObject({ state: 'on', keyId: key?.id, revision: 3 });
    expect((await startProcess(world).vault.refresh()).problem).toBeNull();
    if (key !== undefined) await putSealed(world, key, ['a']);
    expect(await reseal(startProcess(world), options)).toMatchObject({
      unopened: [{ mailbox: 'b', code: 'key_unknown' }],
    });
    expect(world.audit.map(({ action }) => action)).toContain('switch.lost_key_replaced');
  });

  test('resumes with the key file that an interrupted run created', async () => {
    const world = await worldAt('rotating', [randomKey(), randomKey()], ['a'], { nextKeyId: '0123456789abcdef' });
    const key = randomKey();
    world.file = [key];
    expect(await replaceLostKey(startProcess(world), options)).toMatchObject({ keyId: key.id, setAside: null });
  });

  test('sets a damaged key file aside', async () => {
    const world = await worldAt('on', [randomKey()], ['a']);
    world.file = new Failure('key_file_refused', 'damaged');
    expect((await replaceLostKey(startProcess(world), options)).setAside).toEqual(expect.any(String));
  });

  test('continues above an older row of a restored database too', async () => {
    const key = randomKey();
    const world = await worldAt('on', [key], ['a'], { revision: 9 });
    world.row = rowOf(key, { revision: 4 });
    world.file = null;
    await replaceLostKey(startProcess(world), options);
    expect(world.row).toMatchObject({ revision: 10 });
  });

  test('is not led to a revision that no change could follow by a row that cannot be verified', async () => {
    const lost = randomKey();
    const world = await worldAt('on', [lost], ['a']);
    world.row = { ...rowOf(lost, { revision: 2 }), revision: Number.MAX_SAFE_INTEGER - 1 };
    world.file = null;
    await replaceLostKey(startProcess(world), options);
    expect(world.row).toMatchObject({ state: 'on', revision: 3 });
    expect((await startProcess(world).vault.refresh()).problem).toBeNull();
  });

  test('is refused while the key is here, while a live worker holds it, and while the switch is off', async () => {
    const key = randomKey();
    const world = await worldAt('on', [key], ['a']);
    await expect(replaceLostKey(startProcess(world), options)).rejects.toMatchObject({ code: 'refused' });
    world.file = null;
    const worker = { worker: 'w', host: 'other', pid: 7, keyIds: [key.id], vault: 'orphaned', revision: 2 };
    world.workers = [{ ...worker, live: true, startedAtMs: 1, seenAtMs: 1 }];
    await expect(replaceLostKey(startProcess(world), options)).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringContaining('other (pid 7)'),
    });
    world.workers = [];
    world.row = initialSwitchRow;
    world.remembered = null;
    await expect(replaceLostKey(startProcess(world), options)).rejects.toMatchObject({ code: 'refused' });
    expect(world.file).toBeNull();
  });
});
