import { describe, expect, test } from 'vitest';
import { enable } from '../../../src/encryption/operations/enable.ts';
import { plannedSwitch, trustRestored } from '../../../src/encryption/operations/trust-restored.ts';
import { encryptionChecks, encryptionStatus } from '../../../src/encryption/status.ts';
import { Failure } from '../../../src/errors.ts';
import { initialSwitchRow, type SwitchRow } from '../../../src/secret/switch.ts';
import { newWorld, startProcess, type World } from '../memory-ports.ts';
import { keysInFile, putPlain, putSealed, randomKey, rowOf, worldAt, wrongPasswords } from '../stored-passwords.ts';

/** Off afterwards is not allowed. */
const asItIs = { acceptOff: false };
const options = { force: false, waitMs: 1000, signal: new AbortController().signal };

/** On since long with `keys`, and then a backup of the database was restored that has `row` in it. */
async function restoredTo(row: SwitchRow | null, keys = [randomKey(), randomKey()] as const): Promise<World> {
  const world = await worldAt('on', keys, ['a'], { revision: 9 });
  world.row = row;
  return world;
}

async function problemOf(world: World): Promise<string | null> {
  return (await startProcess(world).vault.refresh()).problem?.code ?? null;
}

describe('trusting a restored switch', () => {
  test('rewrites the older row above every accepted revision', async () => {
    const keys = [randomKey(), randomKey()] as const;
    const found = rowOf(keys[1], { revision: 4 });
    const world = await restoredTo(found, keys);
    const remembered = world.remembered;
    expect(await problemOf(world)).toBe('switch_rolled_back');
    const done = await trustRestored(startProcess(world), asItIs);
    expect(done).toMatchObject({ found, remembered, counts: { sealed: 1, plaintext: 0 } });
    expect(done.trusted).toMatchObject({ state: 'on', keyId: keys[1].id, revision: 10, changedBy: 'ada@desk' });
    expect(world.row).toEqual(done.trusted);
    expect(world.remembered).toEqual(done.trusted);
    expect(await problemOf(world)).toBeNull();
    expect(world.audit).toMatchObject([
      { action: 'switch.restored_trusted', keyId: keys[1].id, detail: expect.stringContaining('revision 4') },
    ]);
  });

  test.each(['enabling', 'disabling'] as const)('makes %s on under its key, and says so before', async (state) => {
    const keys = [randomKey(), randomKey()] as const;
    const found = rowOf(keys[1], { revision: 4, state });
    const damaged = new Failure('disk_failed', 'switch-state is damaged');
    for (const remembered of ['on', 'damaged'] as const) {
      const world = await restoredTo(found, keys);
      if (remembered === 'damaged') world.remembered = damaged;
      expect(await plannedSwitch(startProcess(world))).toEqual({ state: 'on', source: 'settled' });
      const { trusted } = await trustRestored(startProcess(world), asItIs);
      expect(trusted).toMatchObject({ state: 'on', keyId: keys[1].id, nextKeyId: null });
    }
  });

  test.each(['on', 'off'] as const)(
    'passes an old row whose key is gone and seals nothing, while the switch is %s',
    async (state) => {
      const [lost, key] = [randomKey(), randomKey()];
      const world = await worldAt(state, [key], ['a'], { revision: 9 });
      if (state === 'off') world.file = null;
      world.row = rowOf(lost, { revision: 4 });
      expect(await problemOf(world)).toBe('switch_rolled_back');
      expect(await plannedSwitch(startProcess(world))).toEqual({ state, source: 'remembered' });
      expect((await trustRestored(startProcess(world), asItIs)).trusted).toMatchObject({ state });
      expect(await problemOf(world)).toBeNull();
      expect(await wrongPasswords(world)).toEqual([]);
    },
  );

  test('trusts another row of the same revision, as from two histories', async () => {
    const keys = [randomKey(), randomKey()] as const;
    const world = await restoredTo(rowOf(keys[0], { revision: 9, changedBy: 'bob@desk' }), keys);
    expect(await problemOf(world)).toBe('switch_forged');
    expect((await trustRestored(startProcess(world), asItIs)).trusted).toMatchObject({ state: 'on', revision: 10 });
  });

  test('trusts the initial row of an older backup when off is confirmed, and enable seals', async () => {
    const world = await restoredTo(initialSwitchRow);
    putPlain(world, 'a', 'b');
    const [key] = keysInFile(world);
    await expect(trustRestored(startProcess(world), asItIs)).rejects.toMatchObject({
      code: 'refused',
      hint: expect.stringContaining('--accept-off'),
    });
    const done = await trustRestored(startProcess(world), { acceptOff: true });
    expect(done).toMatchObject({ found: initialSwitchRow, trusted: { state: 'off', keyId: null, revision: 10 } });
    expect(done.trusted.seal).toContain(key?.id);
    expect(done.counts).toMatchObject({ sealed: 0, plaintext: 2 });
    expect(await enable(startProcess(world), options)).toMatchObject({ keyId: key?.id, sealed: 2 });
    expect(world.row).toMatchObject({ state: 'on', revision: 12 });
  });

  test.each([
    ['the first row', initialSwitchRow],
    ['no row', null],
    ['an unsealed row', { ...initialSwitchRow, revision: 2 ** 50 }],
  ] as const)('restores the switch in force in place of %s while passwords are sealed', async (_, row) => {
    const keys = [randomKey(), randomKey()] as const;
    const world = await restoredTo(row, keys);
    const done = await trustRestored(startProcess(world), { acceptOff: true });
    expect(done).toMatchObject({ found: row, trusted: { state: 'on', keyId: keys[0].id, revision: 10 } });
    expect(await problemOf(world)).toBeNull();
  });

  test('uses the key of the sealed passwords on a host without a remembered switch', async () => {
    const keys = [randomKey(), randomKey()] as const;
    const world = await restoredTo(initialSwitchRow, keys);
    world.remembered = null;
    expect(await problemOf(world)).toBe('switch_rolled_back');
    const done = await trustRestored(startProcess(world), asItIs);
    expect(done.trusted).toMatchObject({ state: 'on', keyId: keys[0].id, revision: 1 });
  });

  test('requires a confirmation for off beside a key file, on a host without a remembered switch', async () => {
    const [key] = [randomKey()];
    const forged = { ...rowOf(key, { revision: 3 }), seal: `${key.id}:${'0'.repeat(64)}` };
    for (const row of [forged, { ...initialSwitchRow, revision: 3 }]) {
      const world = await worldAt('on', [key], []);
      Object.assign(world, { row, remembered: null });
      const refusal = { code: 'refused', fields: { would_be_off: true } };
      await expect(trustRestored(startProcess(world), asItIs)).rejects.toMatchObject(refusal);
      expect(world.row).toEqual(row);
      expect((await trustRestored(startProcess(world), { acceptOff: true })).trusted).toMatchObject({ state: 'off' });
    }
  });

  test('trusts the initial row without any key when no password is sealed', async () => {
    const world = await restoredTo(initialSwitchRow);
    world.file = null;
    await expect(trustRestored(startProcess(world), asItIs)).rejects.toMatchObject({ code: 'key_unknown' });
    expect(world.remembered).toMatchObject({ revision: 9 });
    putPlain(world, 'a');
    expect(await trustRestored(startProcess(world), { acceptOff: true })).toMatchObject({
      trusted: initialSwitchRow,
    });
    expect(world.remembered).toEqual(initialSwitchRow);
    expect(world.row).toEqual(initialSwitchRow);
    expect(await problemOf(world)).toBeNull();
    expect(world.audit.map(({ action }) => action)).toEqual(['switch.restored_trusted']);
  });

  test('reports the needed key, and how to add it', async () => {
    const [key, old] = [randomKey(), randomKey()];
    const world = await restoredTo(rowOf(old, { revision: 4 }), [key, randomKey()]);
    await putSealed(world, old, ['b']);
    await expect(trustRestored(startProcess(world), asItIs)).rejects.toMatchObject({
      code: 'key_unknown',
      fields: { key_id: old.id },
      hint: expect.stringContaining('cat OLD >>'),
    });
    world.file = [key, old];
    expect((await trustRestored(startProcess(world), asItIs)).trusted.keyId).toBe(old.id);
  });

  test('requires both keys of a rotation', async () => {
    const [key, next] = [randomKey(), randomKey()];
    const row = rowOf(key, { revision: 4, state: 'rotating', nextKeyId: next.id });
    const world = await restoredTo(row, [key, randomKey()]);
    await expect(trustRestored(startProcess(world), asItIs)).rejects.toMatchObject({ fields: { key_id: next.id } });
    world.file = [key, next];
    expect((await trustRestored(startProcess(world), asItIs)).trusted).toMatchObject({
      state: 'rotating',
      revision: 10,
    });
  });

  test('never trusts an unsealed row', async () => {
    const keys = [randomKey(), randomKey()] as const;
    const rows = [
      { ...rowOf(keys[0], { revision: 4, state: 'off', keyId: null }), seal: null },
      { ...rowOf(keys[1], { revision: 4 }), changedBy: 'mallory@desk' },
      { ...initialSwitchRow, state: 'on', keyId: keys[1].id } as const,
    ];
    for (const row of rows) {
      const world = await restoredTo(row, keys);
      await trustRestored(startProcess(world), { acceptOff: true });
      expect(world.row).toMatchObject({ state: 'on', keyId: keys[0].id, revision: 10 });
    }
  });

  test('has nothing to trust when the row is in force', async () => {
    for (const world of [newWorld(), await worldAt('on', [randomKey()], ['a'])]) {
      await expect(trustRestored(startProcess(world), asItIs)).rejects.toMatchObject({ code: 'refused' });
      expect(world.audit).toEqual([]);
    }
  });

  test('replaces a damaged switch state file', async () => {
    const world = await worldAt('on', [randomKey()], ['a'], { revision: 9 });
    world.remembered = new Failure('disk_failed', 'switch-state is damaged');
    expect(await problemOf(world)).toBe('disk_failed');
    const done = await trustRestored(startProcess(world), asItIs);
    expect(done).toMatchObject({ remembered: null, trusted: { state: 'on', revision: 10 } });
    expect(await problemOf(world)).toBeNull();
  });

  test('is refused with what is wrong with the key file', async () => {
    const world = await restoredTo(initialSwitchRow);
    world.file = new Failure('key_file_locked', 'no passphrase');
    await expect(trustRestored(startProcess(world), asItIs)).rejects.toMatchObject({ code: 'key_file_locked' });
  });
});

describe('the status', () => {
  test('of a new database is off', async () => {
    const world = newWorld();
    putPlain(world, 'a');
    expect(await encryptionStatus(startProcess(world))).toEqual({
      state: 'off',
      key_id: null,
      next_key_id: null,
      revision: 0,
      changed_at: null,
      changed_by: null,
      sealed: 0,
      plaintext: 1,
      by_key: [],
      sealed_tokens: 0,
      plaintext_tokens: 0,
      waiting: 0,
      problem: null,
      stored_state: null,
      stored_key_id: null,
      stored_revision: null,
      vault: { state: 'closed', key_ids: [], weak_key_ids: [], reason: null, hint: null },
      workers: [],
      plaintext_periods: [{ mailbox: 'desk', since: '1970-01-01T00:00:01.000Z', until: null }],
    });
  });

  test('shows keys, workers, and what waits', async () => {
    const [key, next, other] = [randomKey(), randomKey(), randomKey()];
    const world = await worldAt('on', [key, next], ['a', 'b'], { nextKeyId: next.id });
    await putSealed(world, other, ['c']);
    const facts = { pid: 7, vault: 'open', revision: 2, startedAtMs: 0, seenAtMs: 1000, live: true };
    world.workers = [
      { worker: 'east/1', host: 'east', keyIds: [key.id, next.id], ...facts },
      { worker: 'west/1', host: 'west', keyIds: [key.id], ...facts, live: false },
    ];
    const status = await encryptionStatus(startProcess(world));
    expect(status).toMatchObject({
      state: 'on',
      key_id: key.id,
      next_key_id: next.id,
      changed_at: '1970-01-01T00:00:00.001Z',
      changed_by: 'eve@desk',
      by_key: [
        { key_id: key.id, count: 2 },
        { key_id: other.id, count: 1 },
      ],
      waiting: 1,
      vault: { state: 'open', key_ids: [key.id, next.id] },
    });
    expect(status.workers[0]).toEqual({
      worker: 'east/1',
      host: 'east',
      pid: 7,
      live: true,
      key_ids: [key.id, next.id],
      has_key: true,
      vault: 'open',
      revision: 2,
      seen_at: '1970-01-01T00:00:01.000Z',
    });
    expect(status.workers[1]).toMatchObject({ live: false, has_key: false });
  });

  test('of a second worker without the key is unknown, with a hint about the key file', async () => {
    const world = await restoredTo(rowOf(randomKey(), { revision: 2 }));
    world.file = null;
    world.remembered = null;
    const { vault } = startProcess(world);
    await vault.refresh();
    const check = encryptionChecks({ view: vault.view, keys: () => vault.keys() }, 0).switch;
    expect(check).toMatchObject({ status: 'failing', state: 'unknown' });
    expect(check.reason).toMatch(/^key_unknown: /);
    expect(check.hint).toContain('from a worker that has it');
    expect(check.hint).not.toContain('password');
  });

  test('shows the problems: a row that is not accepted, and the key file', async () => {
    const world = await restoredTo(initialSwitchRow);
    world.file = null;
    expect(await encryptionStatus(startProcess(world))).toMatchObject({
      state: 'on',
      revision: 9,
      stored_state: 'off',
      problem: { code: 'switch_rolled_back', hint: expect.stringContaining('trust-restored') },
      vault: {
        state: 'missing',
        key_ids: [],
        reason: expect.stringContaining('no key file'),
        hint: expect.any(String),
      },
    });
    world.file = [randomKey()];
    world.remembered = new Failure('disk_failed', 'switch-state is damaged');
    expect(await encryptionStatus(startProcess(world))).toMatchObject({
      problem: { code: 'disk_failed' },
      stored_state: null,
    });
    world.file = null;
    world.remembered = rowOf(randomKey(), { revision: 9 });
    world.row = null;
    expect(await encryptionStatus(startProcess(world))).toMatchObject({ stored_state: 'gone' });
    expect(await wrongPasswords(world)).toEqual(['a: key_unknown']);
  });
});
