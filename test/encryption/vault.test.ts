import { randomFillSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { KeyFileReading, SwitchReading } from '../../src/encryption/ports.ts';
import { encryptionChecks } from '../../src/encryption/status.ts';
import type { IssuedSwitch } from '../../src/encryption/switch-memory.ts';
import { createVault, unprovenOff } from '../../src/encryption/vault.ts';
import { Failure } from '../../src/errors.ts';
import type { EventName, LogFields } from '../../src/events.ts';
import { generateKey, type Key } from '../../src/secret/key.ts';
import { initialSwitchRow, type SwitchRow, sealSwitchRow, type UnsealedSwitchRow } from '../../src/secret/switch.ts';

const [first, second] = [
  generateKey((bytes) => randomFillSync(bytes)),
  generateKey((bytes) => randomFillSync(bytes)),
] as const;

function on(key: Key, revision: number, given: Partial<UnsealedSwitchRow> = {}): SwitchRow {
  const change = {
    state: 'on',
    keyId: key.id,
    nextKeyId: null,
    revision,
    changedAtMs: 1,
    changedBy: 'ada@desk',
  } as const;
  return sealSwitchRow({ ...change, ...given }, key);
}

function off(revision: number, key: Key): SwitchRow {
  return on(key, revision, { state: 'off', keyId: null });
}

/** Key file, state file and row are variables of the test; log lines are collected. */
function world() {
  const lines: { event: EventName; fields: LogFields }[] = [];
  const collect = (fields: LogFields, event: EventName): void => void lines.push({ event, fields });
  const at: {
    file: KeyFileReading;
    files: KeyFileReading[];
    row: SwitchRow | null | Failure;
    remembered: SwitchRow | null | Failure;
    nowMs: number;
    hasSealed: boolean;
    hasPlaintext: boolean;
    issued: readonly IssuedSwitch[];
  } = {
    issued: [],
    file: { kind: 'absent' },
    files: [],
    row: initialSwitchRow,
    remembered: null,
    nowMs: 1000,
    hasSealed: false,
    hasPlaintext: false,
  };
  const vault = createVault({
    keyFile: { path: 'data/encryption-key.bin', read: async () => at.files.shift() ?? at.file },
    stateFile: {
      readMemory: async () => {
        if (at.remembered instanceof Failure) throw at.remembered;
        return { row: at.remembered, origin: null, issued: at.issued };
      },
      remember: async (row) => {
        at.remembered = row;
        at.issued = at.issued.filter(({ revision }) => revision > row.revision);
      },
      withdraw: async (seal) => {
        at.issued = at.issued.map((one) => (one.seal === seal ? { ...one, by: null } : one));
      },
    },
    worker: { isDead: (owner) => owner === 'dead' },
    store: {
      readSwitch: async (): Promise<SwitchReading> => {
        if (at.row instanceof Failure) throw at.row;
        return { row: at.row, hasPlaintext: at.hasPlaintext, hasSealed: at.hasSealed };
      },
    },
    clock: { nowMs: () => at.nowMs, monotonicMs: () => at.nowMs },
    log: { debug: collect, info: collect, warn: collect, error: collect },
  });
  const told = (): readonly string[] => lines.splice(0).map(({ event }) => event);
  return { at, vault, told };
}

const holds = (...keys: readonly Key[]): KeyFileReading => ({ kind: 'keys', keys, wrapped: null });
const refused: KeyFileReading = { kind: 'refused', failure: new Failure('key_file_refused', 'others can read it') };

describe('the vault', () => {
  test('is closed without a key file while the switch is off, and says nothing', async () => {
    const { vault, told } = world();
    expect((await vault.refresh()).state.kind).toBe('closed');
    expect(told()).toEqual([]);
  });

  test('opens with the key file and goes by the row that its key sealed', async () => {
    const { at, vault, told } = world();
    at.file = holds(first);
    at.row = on(first, 1);
    const view = await vault.refresh();
    expect(view).toMatchObject({ state: { kind: 'open' }, switch: { state: 'on', revision: 1 }, problem: null });
    expect(told()).toEqual(['switch.changed', 'vault.opened']);
    expect(at.remembered).toEqual(at.row);
    await vault.refresh();
    expect(told()).toEqual([]);
  });

  test('misses the key file at the start, refuses a bad one, and opens when it is right', async () => {
    const { at, vault, told } = world();
    at.row = on(first, 1);
    expect((await vault.refresh()).state).toMatchObject({
      kind: 'missing',
      // No worker that could write it holds the key.
      failure: { code: 'key_file_missing', hint: 'Put the key file back from its backup.' },
    });
    expect(told()).toEqual(['switch.unverified', 'vault.missing']);
    at.file = refused;
    expect((await vault.refresh()).state.kind).toBe('refused');
    at.file = holds(second);
    expect((await vault.refresh()).state).toMatchObject({ kind: 'refused', failure: { code: 'key_file_refused' } });
    // What is sealed under a key that the file does hold can be opened all the same.
    expect(vault.keys()).toEqual([second]);
    at.file = holds(second, first);
    expect((await vault.refresh()).state.kind).toBe('open');
    expect(told()).toEqual(['vault.refused', 'vault.refused', 'switch.changed', 'switch.recovered', 'vault.opened']);
  });

  test.each([
    ['vanishes', { kind: 'absent' } as const, 'key_file_missing', /key recover/],
    ['goes bad', refused, 'key_file_refused', /./],
    ['holds another key', holds(second), 'key_file_refused', /key recover/],
  ])('keeps the keys in memory when the key file %s, tells it once, and recovers', async (_, file, code, hint) => {
    const { at, vault, told } = world();
    at.file = holds(first);
    at.row = on(first, 1);
    await vault.refresh();
    told();
    at.file = file;
    at.nowMs = 2000;
    expect(await vault.refresh()).toMatchObject({
      state: { kind: 'orphaned', failure: { code, hint: expect.stringMatching(hint) } },
      stateSinceMs: 2000,
    });
    at.nowMs = 3000;
    expect((await vault.refresh()).stateSinceMs).toBe(2000);
    expect(told()).toEqual(['vault.orphaned']);
    expect(vault.keys().map(({ id }) => id)).toContain(first.id);
    at.file = holds(first);
    expect((await vault.refresh()).state.kind).toBe('open');
    expect(told()).toEqual(['vault.opened']);
  });

  test('reads the key file again when the row needs a key that was written a moment after', async () => {
    const { at, vault, told } = world();
    at.files = [{ kind: 'absent' }];
    at.file = holds(first);
    at.row = on(first, 1, { state: 'enabling' });
    expect((await vault.refresh()).state.kind).toBe('open');
    expect(told()).toEqual(['switch.changed', 'vault.opened']);
  });

  test('refuses a row that was issued and withdrawn between its readings of state file and table', async () => {
    const { at, vault, told } = world();
    at.file = holds(first);
    at.row = on(first, 1);
    await vault.refresh();
    told();
    const planted = on(first, 2, { state: 'disabling' });
    const { seal } = planted;
    const readRow = () => {
      at.issued = [{ revision: 2, seal: seal ?? '', origin: 'command', by: null }];
      return planted;
    };
    Object.defineProperty(at, 'row', { get: readRow });
    const view = await vault.refresh();
    expect(view).toMatchObject({ switch: { state: 'on', revision: 1 }, problem: { code: 'switch_rolled_back' } });
    expect(at.remembered).toMatchObject({ state: 'on', revision: 1 });
    expect(told()).toEqual(['switch.rolled_back']);
  });

  test('closes when its own key switched off and the key file is gone', async () => {
    const { at, vault, told } = world();
    at.file = holds(first);
    at.row = on(first, 1);
    await vault.refresh();
    told();
    at.row = off(3, first);
    at.file = { kind: 'absent' };
    expect(await vault.refresh()).toMatchObject({ state: { kind: 'closed' }, switch: { state: 'off' }, problem: null });
    expect(told()).toEqual(['switch.changed', 'vault.closed']);
  });

  test.each([
    ['an unsealed off', { ...off(6, first), seal: null }, 'switch_forged'],
    ['an off sealed by a key of somebody else', off(6, second), 'key_unknown'],
    ['the first row of a new database', initialSwitchRow, 'switch_rolled_back'],
    ['an older row', on(first, 4), 'switch_rolled_back'],
    ['no row', null, 'switch_rolled_back'],
    ['another row of the same revision', on(first, 5, { changedBy: 'mallory@desk' }), 'switch_forged'],
  ])('does not go by %s, keeps the last good switch, and tells it once', async (_, forged, code) => {
    const { at, vault, told } = world();
    at.file = holds(first);
    at.row = on(first, 5);
    await vault.refresh();
    told();
    at.row = forged;
    const view = await vault.refresh();
    expect(view).toMatchObject({ switch: { state: 'on', revision: 5 }, problem: { code } });
    expect(view.state.kind).toBe('open');
    await vault.refresh();
    expect(told()).toHaveLength(1);
    at.row = on(first, 5);
    expect((await vault.refresh()).problem).toBeNull();
    expect(told()).toEqual(['switch.recovered']);
  });

  test('accepts an unverifiable off without a key and a state file, and does not store it', async () => {
    const { at, vault, told } = world();
    at.row = off(7, first);
    expect(await vault.refresh()).toMatchObject({ state: { kind: 'closed' }, switch: { revision: 7 }, problem: null });
    expect([at.remembered, told()]).toEqual([null, ['switch.changed']]);
    at.file = holds(second);
    at.row = on(second, 8);
    expect(await vault.refresh()).toMatchObject({ state: { kind: 'open' }, switch: { state: 'on', revision: 8 } });
  });

  test('remembers the switch over a restart, also while the database is away', async () => {
    const { at, vault } = world();
    at.file = holds(first);
    at.remembered = on(first, 5);
    at.row = new Failure('database_unavailable', 'away');
    expect(await vault.refresh()).toMatchObject({ switch: { state: 'on', revision: 5 }, state: { kind: 'open' } });
    at.row = initialSwitchRow;
    expect(await vault.refresh()).toMatchObject({ switch: { revision: 5 }, problem: { code: 'switch_rolled_back' } });
  });

  test.each([
    ['the first row', initialSwitchRow],
    ['no row', null],
    ['an off that it cannot verify', off(7, first)],
  ] as const)('does not believe %s while passwords are sealed, although it remembers nothing', async (_, row) => {
    const { at, vault } = world();
    at.hasSealed = true;
    at.row = row;
    expect((await vault.refresh()).problem?.code).toBe('switch_rolled_back');
    at.file = holds(second);
    expect((await vault.refresh()).problem?.code).toMatch(/switch_rolled_back|key_unknown/);
  });

  test('off is not known where there is a key file, usable or not, and no row was ever accepted', async () => {
    const { at, vault } = world();
    at.row = initialSwitchRow;
    expect(unprovenOff(await vault.refresh())).toBeNull();
    at.file = holds(first);
    for (const row of [initialSwitchRow, null]) {
      at.row = row;
      expect(unprovenOff(await vault.refresh())).toMatchObject({ code: 'refused' });
    }
    at.file = refused;
    expect(unprovenOff(await vault.refresh())).toMatchObject({ code: 'key_file_refused' });
    at.file = holds(first);
    at.row = on(first, 1);
    expect(unprovenOff(await vault.refresh())).toBeNull();
  });

  test('returns to an older row when an operator restored the switch state file', async () => {
    const { at, vault } = world();
    at.file = holds(first);
    at.row = on(first, 5);
    await vault.refresh();
    await vault.refresh();
    at.row = initialSwitchRow;
    expect((await vault.refresh()).problem?.code).toBe('switch_rolled_back');
    at.remembered = initialSwitchRow;
    expect(await vault.refresh()).toMatchObject({ switch: { state: 'off', revision: 0 }, problem: null });
  });

  test('keeps the switch in force when the state file is damaged, and reports that', async () => {
    const { at, vault, told } = world();
    at.file = holds(first);
    at.row = on(first, 1);
    await vault.refresh();
    told();
    at.remembered = new Failure('disk_failed', 'switch-state is damaged');
    at.row = initialSwitchRow;
    expect(await vault.refresh()).toMatchObject({ switch: { state: 'on' }, problem: { code: 'disk_failed' } });
    expect(told()).toEqual(['switch.state_file_invalid']);
  });

  test('a readable password is overdue only when it stays readable while the switch is on', async () => {
    const { at, vault } = world();
    at.file = holds(first);
    at.row = on(first, 1);
    const sealingAfter = async (ms: number, hasPlaintext: boolean) => {
      at.nowMs += ms;
      at.hasPlaintext = hasPlaintext;
      await vault.refresh();
      return encryptionChecks(vault, at.nowMs).sealing;
    };
    expect(await sealingAfter(0, true)).toBe('running');
    expect(await sealingAfter(9000, true)).toBe('running');
    expect(await sealingAfter(300, false)).toBe('running');
    expect(await sealingAfter(9000, true)).toBe('running');
    expect(await sealingAfter(10_001, true)).toBe('overdue');
    expect(await sealingAfter(300, false)).toBe('running');
  });

  test('coalesces refreshes: a caller gets one that started after its call', async () => {
    const { at, vault } = world();
    at.file = holds(first);
    const running = vault.refresh();
    at.row = on(first, 1);
    const [asked, alsoAsked] = [vault.refresh(), vault.refresh()];
    await running;
    expect(await asked).toMatchObject({ switch: { state: 'on' } });
    expect(await alsoAsked).toBe(await asked);
  });
});
