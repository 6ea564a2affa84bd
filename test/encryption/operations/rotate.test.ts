import { describe, expect, test } from 'vitest';
import type { OperationOptions } from '../../../src/encryption/operations/operation.ts';
import { reseal, rotate } from '../../../src/encryption/operations/rotate.ts';
import type { StoredWorker } from '../../../src/encryption/ports.ts';
import { keyIds } from '../../../src/secret/key.ts';
import { startProcess, type World } from '../memory-ports.ts';
import {
  keysInFile,
  names,
  pointElsewhere,
  putPlain,
  putSealed,
  randomKey,
  rowOf,
  storedOf,
  worldAt,
  wrongPasswords,
} from '../stored-passwords.ts';
import type { Process } from './process.ts';

const options: OperationOptions = { force: false, waitMs: 2000, signal: new AbortController().signal };

const idsInFile = (world: World) => keyIds(keysInFile(world));
const keyColumns = (world: World) => [...new Set([...world.passwords.values()].map(({ keyId }) => keyId))];
const switchActions = (world: World) =>
  world.audit.map(({ action }) => action).filter((action) => !action.startsWith('password.'));

/** The live worker of this host, with the keys of the key file and the row in the table in force. */
function followingWorker(world: World, given: () => Partial<StoredWorker> = () => ({})): Process['store'] {
  const { store } = startProcess(world);
  const listWorkers = async (): Promise<readonly StoredWorker[]> => {
    const facts = { worker: 'desk/1', host: 'desk', pid: 7, vault: 'open', startedAtMs: 0, seenAtMs: 0, live: true };
    return [{ ...facts, keyIds: idsInFile(world), revision: world.row?.revision ?? 0, ...given() }];
  };
  return { ...store, listWorkers };
}

describe('a rotation', () => {
  test('announces a new key, reseals every password under it, and drops the former key', async () => {
    const former = randomKey();
    const world = await worldAt('on', [former], names(405));
    putPlain(world, 'plain');
    const done = await rotate({ ...startProcess(world), store: followingWorker(world) }, options);
    expect(done).toMatchObject({ formerKeyId: former.id, resealed: 405, unopened: [], isFormerKeyKept: false });
    expect(done.keyId).not.toBe(former.id);
    expect(idsInFile(world)).toEqual([done.keyId]);
    expect(world.row).toMatchObject({ state: 'on', keyId: done.keyId, nextKeyId: null, revision: 5 });
    expect(world.remembered).toEqual(world.row);
    expect(keyColumns(world)).toEqual([done.keyId]);
    expect(await wrongPasswords(world)).toEqual([]);
    expect(switchActions(world)).toEqual(['switch.rotation_announced', 'switch.rotating', 'switch.on', 'key.dropped']);
    const on = world.audit.find(({ action }) => action === 'switch.on');
    expect(on).toMatchObject({ keyId: done.keyId, detail: expect.stringContaining(former.id) });
  });

  test('writes the new key into the file only after it is announced, and reseals only after every worker has it', async () => {
    const former = randomKey();
    const world = await worldAt('on', [former], ['a']);
    const seen: unknown[] = [];
    const hasAll = { asked: 0 };
    const store = followingWorker(world, () => {
      hasAll.asked += 1;
      seen.push([world.row?.state, world.row?.nextKeyId !== null, idsInFile(world).length, storedOf(world, 'a').keyId]);
      return hasAll.asked < 4 ? { keyIds: [former.id] } : {};
    });
    const done = await rotate({ ...startProcess(world), store }, options);
    const waited = ['on', true, 2, former.id];
    expect(seen).toEqual([waited, waited, waited, waited, ['on', false, 2, done.keyId]]);
  });

  test('waits for workers, and resumes with the announced key when it is run again', async () => {
    const former = randomKey();
    const world = await worldAt('on', [former], ['a']);
    const store = followingWorker(world, () => ({ keyIds: [former.id], host: 'east' }));
    await expect(rotate({ ...startProcess(world), store }, options)).rejects.toMatchObject({
      code: 'workers_lack_key',
      message: expect.stringContaining('east (pid 7)'),
    });
    expect(storedOf(world, 'a').keyId).toBe(former.id);
    const next = world.row?.nextKeyId;
    expect(idsInFile(world)).toEqual([former.id, next]);
    expect(await rotate(startProcess(world), options)).toMatchObject({ keyId: next, formerKeyId: former.id });
    expect(idsInFile(world)).toEqual([next]);
  });

  test('makes another key when the announced one was lost before it was in the file', async () => {
    const [former, lost] = [randomKey(), randomKey()];
    const world = await worldAt('on', [former], ['a'], { nextKeyId: lost.id });
    const done = await rotate(startProcess(world), options);
    expect([former.id, lost.id]).not.toContain(done.keyId);
    expect(switchActions(world)[0]).toBe('switch.rotation_announced');
    expect(await wrongPasswords(world)).toEqual([]);
  });

  test('retains its announced key when it repeats a step', async () => {
    const former = randomKey();
    const world = await worldAt('on', [former], ['a']);
    const ports = startProcess(world);
    const announced: unknown[] = [];
    const replace: Process['keyFile']['replace'] = async (keys) => {
      announced.push(world.row?.nextKeyId);
      await ports.keyFile.replace(announced.length === 1 ? [former] : keys);
    };
    const done = await rotate({ ...ports, keyFile: { ...ports.keyFile, replace } }, options);
    expect(announced.slice(0, 2)).toEqual([done.keyId, done.keyId]);
  });

  test('resumes from rotating', async () => {
    const [former, next] = [randomKey(), randomKey()];
    const world = await worldAt('rotating', [former, next], ['a', 'b'], { nextKeyId: next.id });
    await putSealed(world, next, ['b']);
    expect(await rotate(startProcess(world), options)).toEqual({
      keyId: next.id,
      formerKeyId: former.id,
      resealed: 1,
      resealedTokens: 0,
      unopened: [],
      isFormerKeyKept: false,
      settings: {
        removing: [expect.objectContaining({ name: 'a' }), expect.objectContaining({ name: 'b' })],
        unrenewed: [],
      },
    });
  });

  test('retains the former key when a password cannot be opened, and reports which', async () => {
    const [former, lost] = [randomKey(), randomKey()];
    const world = await worldAt('on', [former], ['a', 'b', 'c']);
    pointElsewhere(world, 'b');
    await putSealed(world, lost, ['c']);
    const done = await rotate(startProcess(world), options);
    expect(done).toMatchObject({ resealed: 1, isFormerKeyKept: true });
    expect(done.unopened.map(({ mailbox, code }) => [mailbox, code])).toEqual([
      ['b', 'password_binding_mismatch'],
      ['c', 'key_unknown'],
    ]);
    expect(idsInFile(world)).toEqual([former.id, done.keyId]);
    expect(world.row?.state).toBe('on');
  });

  test('retains the former key too when an unopened password names another one', async () => {
    const [former, lost] = [randomKey(), randomKey()];
    const world = await worldAt('on', [former], ['a']);
    await putSealed(world, lost, ['c']);
    const done = await rotate(startProcess(world), options);
    expect(done).toMatchObject({ unopened: [{ mailbox: 'c', code: 'key_unknown' }], isFormerKeyKept: true });
    expect(idsInFile(world)).toEqual([former.id, done.keyId]);
    expect((await reseal(startProcess(world), options)).droppedKeyIds).toEqual([former.id]);
  });

  test('reports a plain-text password that cannot be sealed, and still removes the former key', async () => {
    const world = await worldAt('on', [randomKey()], ['a']);
    putPlain(world, 'empty');
    storedOf(world, 'empty').bytes = new Uint8Array(0);
    const done = await rotate(startProcess(world), options);
    expect(done.unopened.map(({ mailbox, code }) => [mailbox, code])).toEqual([['empty', 'password_damaged']]);
    expect(done.isFormerKeyKept).toBe(false);
  });

  test('reseals a password whose column names another key than it is sealed under', async () => {
    const [former, other] = [randomKey(), randomKey()];
    const world = await worldAt('on', [former, other], ['a']);
    const ports = startProcess(world);
    const writeSwitch: Process['store']['writeSwitch'] = async (row, ...more) => {
      await ports.store.writeSwitch(row, ...more);
      // Written between two looks, with the new key in the column and a former one in the password.
      if (row.state === 'on' && row.nextKeyId === null) await putSealed(world, other, ['wrong'], row.keyId);
    };
    const done = await rotate({ ...ports, store: { ...ports.store, writeSwitch } }, options);
    expect(idsInFile(world)).toEqual([done.keyId]);
    expect(await wrongPasswords(world)).toEqual([]);
  });

  test('retains a key that is added to the file, or needed by a password, while it waits for the workers', async () => {
    const [former, added, needed] = [randomKey(), randomKey(), randomKey()];
    const world = await worldAt('on', [former, needed], ['a']);
    const ports = startProcess(world);
    const passwordCounts: Process['store']['passwordCounts'] = async () => {
      const counts = await ports.store.passwordCounts();
      const isOver = world.row?.state === 'on' && world.row.revision > 2 && world.row.nextKeyId === null;
      if (!isOver) return counts;
      if (!idsInFile(world).includes(added.id)) world.file = [...keysInFile(world), added];
      return { ...counts, byKey: [...counts.byKey, { keyId: needed.id, count: 1 }] };
    };
    const done = await rotate({ ...ports, store: { ...ports.store, passwordCounts } }, options);
    expect(idsInFile(world)).toEqual([needed.id, done.keyId, added.id]);
    expect(done.isFormerKeyKept).toBe(false);
  });

  test('waits a few seconds for workers to go by the new row, and does not fail when they do not', async () => {
    const world = await worldAt('on', [randomKey()], ['a']);
    const startMs = world.nowMs;
    const store = followingWorker(world, () => ({ revision: 1 }));
    expect(await rotate({ ...startProcess(world), store }, options)).toMatchObject({ isFormerKeyKept: false });
    expect(world.nowMs - startMs).toBe(5000);
  });

  test('is refused when the key file has no room for one more', async () => {
    const key = randomKey();
    const world = await worldAt('on', [key, ...Array.from({ length: 7 }, randomKey)], ['a']);
    await expect(rotate(startProcess(world), options)).rejects.toMatchObject({
      code: 'refused',
      hint: expect.stringContaining('reseal'),
    });
    expect(world.row?.nextKeyId).toBeNull();
  });

  test.each([
    ['off', 'encryption enable'],
    ['enabling', 'encryption enable'],
    ['disabling', 'encryption disable'],
  ] as const)('is refused while the switch is %s, and told the way out', async (state, command) => {
    const world = await worldAt(state, [randomKey()], ['a']);
    await expect(rotate(startProcess(world), options)).rejects.toMatchObject({
      code: 'refused',
      hint: expect.stringContaining(command),
    });
  });

  test('says that reseal is left to do when it is stopped behind the new row', async () => {
    const former = randomKey();
    const world = await worldAt('on', [former], ['a']);
    const stop = new AbortController();
    const ports = startProcess(world);
    const writeSwitch: Process['store']['writeSwitch'] = async (row, ...more) => {
      await ports.store.writeSwitch(row, ...more);
      if (row.state === 'on' && row.nextKeyId === null) stop.abort();
    };
    const stopped = { ...ports, store: { ...ports.store, writeSwitch } };
    await expect(rotate(stopped, { ...options, signal: stop.signal })).rejects.toMatchObject({
      code: 'interrupted',
      hint: expect.stringContaining('encryption reseal'),
    });
    const keyId = world.row?.keyId;
    expect(await reseal(startProcess(world), options)).toMatchObject({ keyId, droppedKeyIds: [former.id] });
    expect(idsInFile(world)).toEqual([keyId]);
  });
});

describe('resealing', () => {
  test('brings every password under the key of the switch and drops what nothing needs', async () => {
    const [key, old, unused] = [randomKey(), randomKey(), randomKey()];
    const world = await worldAt('on', [key, old, unused], ['a']);
    await putSealed(world, old, ['b', 'c']);
    await putSealed(world, old, ['unnamed'], null);
    await putSealed(world, old, ['misnamed'], key.id);
    putPlain(world, 'plain');
    expect(await reseal(startProcess(world), options)).toEqual({
      keyId: key.id,
      resealed: 4,
      resealedTokens: 0,
      sealed: 1,
      unopened: [],
      droppedKeyIds: [old.id, unused.id],
    });
    expect(idsInFile(world)).toEqual([key.id]);
    expect(keyColumns(world)).toEqual([key.id]);
    expect(await wrongPasswords(world)).toEqual([]);
    expect(world.audit.filter(({ action }) => action === 'key.dropped').map(({ keyId }) => keyId)).toEqual([
      old.id,
      unused.id,
    ]);
  });

  test('retains the announced key, and each key that an unopened password needs, whatever its column says', async () => {
    const [key, next, old, other] = [randomKey(), randomKey(), randomKey(), randomKey()];
    const world = await worldAt('on', [key, next, old, other], ['a'], { nextKeyId: next.id });
    await putSealed(world, old, ['b']);
    pointElsewhere(world, 'b');
    await putSealed(world, other, ['misnamed'], key.id);
    pointElsewhere(world, 'misnamed');
    const done = await reseal(startProcess(world), options);
    expect(done.unopened.map(({ mailbox }) => mailbox)).toEqual(['b', 'misnamed']);
    expect(done.droppedKeyIds).toEqual([]);
    expect(idsInFile(world)).toEqual([key.id, next.id, old.id, other.id]);
  });

  test.each([
    ['off', 'encryption enable'],
    ['enabling', 'encryption enable'],
    ['rotating', 'encryption rotate'],
    ['disabling', 'encryption disable'],
  ] as const)('is refused while the switch is %s, and told the way out', async (state, command) => {
    const [key, next] = [randomKey(), randomKey()];
    const world = await worldAt(state, [key, next], ['a'], state === 'rotating' ? { nextKeyId: next.id } : {});
    await expect(reseal(startProcess(world), options)).rejects.toMatchObject({
      code: 'refused',
      hint: expect.stringContaining(command),
    });
  });

  test('reports at most a thousand unopened passwords, and retains their keys', async () => {
    const [key, lost] = [randomKey(), randomKey()];
    const world = await worldAt('on', [key, lost], []);
    await putSealed(world, lost, names(1100));
    world.file = [key];
    const done = await reseal(startProcess(world), options);
    expect(done.unopened).toHaveLength(1000);
    expect(done.resealed).toBe(0);
  });

  test('reports the last outcome of a password that the database returns twice', async () => {
    const [key, old] = [randomKey(), randomKey()];
    const world = await worldAt('on', [key, old], []);
    await putSealed(world, old, ['misnamed'], key.id);
    const ports = startProcess(world);
    const rewritePasswords: Process['store']['rewritePasswords'] = async (stretch, change) =>
      await ports.store.rewritePasswords(stretch, async (row) => {
        await change({ ...row, bytes: new Uint8Array(3) });
        return await change(row);
      });
    const done = await reseal({ ...ports, store: { ...ports.store, rewritePasswords: rewritePasswords } }, options);
    expect(done).toMatchObject({ resealed: 1, unopened: [], droppedKeyIds: [old.id] });
  });

  test('goes by the row that is in force after the switch was changed under it', async () => {
    const [key, old] = [randomKey(), randomKey()];
    const world = await worldAt('on', [key, old], ['a']);
    await putSealed(world, old, ['b']);
    const ports = startProcess(world);
    const counting = ports.store.passwordCounts;
    const passwordCounts: Process['store']['passwordCounts'] = async () => {
      if (world.row?.revision === 2) world.row = rowOf(key, { revision: 3 });
      return await counting();
    };
    const done = await reseal({ ...ports, store: { ...ports.store, passwordCounts } }, options);
    expect(done).toMatchObject({ resealed: 1, droppedKeyIds: [old.id] });
  });
});
