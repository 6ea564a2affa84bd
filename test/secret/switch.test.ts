import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { importKey, type Key } from '../../src/secret/key.ts';
import {
  initialSwitchRow,
  isSameSwitchRow,
  judgeSwitchRow,
  requiredKeyIds,
  type SwitchRow,
  type SwitchState,
  sealingKeyId,
  sealSwitchRow,
  type UnsealedSwitchRow,
} from '../../src/secret/switch.ts';

const keyFrom = (first: number): Key => importKey(Uint8Array.from({ length: 32 }, (_, at) => first + at));
const one = keyFrom(1);
const two = keyFrom(2);
const stranger = keyFrom(3);
const changed = { changedAtMs: 1_767_225_600_000, changedBy: 'ada@desk.example.test' };

function change(
  revision: number,
  state: SwitchState,
  keyId: string | null,
  nextKeyId: string | null = null,
): UnsealedSwitchRow {
  return { state, keyId, nextKeyId, revision, ...changed };
}

/** The state diagram of the module, with the key that seals each row. */
const picture: readonly (readonly [UnsealedSwitchRow, Key])[] = [
  [change(1, 'enabling', one.id), one],
  [change(2, 'on', one.id), one],
  [change(3, 'on', one.id, two.id), one],
  [change(4, 'rotating', one.id, two.id), one],
  [change(5, 'on', two.id), two],
  [change(6, 'disabling', two.id), two],
  [change(7, 'off', null), two],
];
const rows = picture.map(([what, key]) => sealSwitchRow(what, key));
const sealedRow = fc.constantFrom(...rows);
const onRow = sealSwitchRow(change(2, 'on', one.id), one);

const judged = (row: SwitchRow | null, remembered: SwitchRow | null, keys: readonly Key[] = [one, two]): string =>
  judgeSwitchRow(row, keys, remembered).kind;

/** A row as an attacker with write access to the database could write it. */
const written = (row: Readonly<Record<string, unknown>>): SwitchRow => row as unknown as SwitchRow;

describe('the picture', () => {
  test('is accepted in order, and each row repeatedly', () => {
    let remembered: SwitchRow | null = null;
    for (const row of [initialSwitchRow, ...rows]) {
      expect(judgeSwitchRow(row, [one, two], remembered)).toEqual({ kind: 'accepted', row });
      expect(judgeSwitchRow({ ...row }, [one, two], row)).toEqual({ kind: 'accepted', row });
      remembered = row;
    }
  });

  test('is accepted by a worker that missed a part of it', () => {
    fc.assert(
      fc.property(fc.nat(rows.length - 1), fc.nat(rows.length - 1), (a, b) => {
        const [before, after] = [rows[Math.min(a, b)] ?? initialSwitchRow, rows[Math.max(a, b)] ?? initialSwitchRow];
        expect(judged(after, before)).toBe('accepted');
      }),
    );
  });

  test('continues after off, with another key', () => {
    const again = sealSwitchRow(change(8, 'enabling', stranger.id), stranger);
    expect(judged(again, rows.at(-1) ?? null, [stranger])).toBe('accepted');
  });

  test('needs these keys, and seals with these', () => {
    expect([initialSwitchRow, ...rows].map(requiredKeyIds)).toEqual([
      [],
      [one.id],
      [one.id],
      [one.id],
      [one.id, two.id],
      [two.id],
      [two.id],
      [],
    ]);
    const sealing = [initialSwitchRow, ...rows].map(sealingKeyId);
    expect(sealing).toEqual([null, one.id, one.id, one.id, two.id, two.id, null, null]);
  });

  test('never seals with a key that is not needed', () => {
    for (const row of rows) {
      const key = sealingKeyId(row);
      if (key !== null) expect(requiredKeyIds(row)).toContain(key);
    }
  });
});

describe('a seal', () => {
  test('is for ever the same for the same row and key', () => {
    expect(onRow.seal).toBe('fb6a0aaf3a945d8c:49463570b75d5507585c08f24762306fbd47da1ec4857d71de76b0418f98b230');
  });

  test('does not hold when a field is changed, whatever it is changed to', () => {
    const other = {
      state: fc.constantFrom('off', 'enabling', 'on', 'rotating', 'disabling', 'ON', '', null),
      keyId: fc.constantFrom(one.id, two.id, null, '', 'x'),
      nextKeyId: fc.constantFrom(one.id, two.id, null, '', 'x'),
      revision: fc.oneof(fc.integer({ min: 8 }), fc.double({ min: 8 })),
      changedAtMs: fc.oneof(fc.integer(), fc.constantFrom(null, 0, changed.changedAtMs + 1)),
      changedBy: fc.oneof(fc.string(), fc.constantFrom('', 'root@desk', `${changed.changedBy} `)),
    };
    const fields = Object.keys(other) as (keyof typeof other)[];
    const oneChanged = fc
      .tuple(sealedRow, fc.constantFrom(...fields))
      .chain(([row, field]) => fc.tuple(fc.constant(row), fc.constant(field), other[field]))
      .filter(([row, field, value]) => row[field] !== value);
    fc.assert(
      fc.property(oneChanged, ([row, field, value]) => {
        expect(judged(written({ ...row, [field]: value }), null)).toBe('forged');
      }),
      { numRuns: 1000 },
    );
  });

  test('does not hold when any character of it is changed', () => {
    const seal = onRow.seal ?? '';
    const forged = Array.from({ length: seal.length }, (_, at) => {
      const digit = seal[at] === '0' ? '1' : '0';
      return { ...onRow, seal: seal.slice(0, at) + digit + seal.slice(at + 1) };
    });
    expect(new Set(forged.map((row) => judged(row, null)))).toEqual(new Set(['forged']));
  });

  test.each([
    null,
    '',
    ':',
    one.id,
    `${one.id}:`,
    onRow.seal?.toUpperCase() ?? null,
    ` ${onRow.seal}`,
    `${onRow.seal}\n`,
    `${onRow.seal}00`,
    onRow.seal?.slice(0, -1) ?? null,
    onRow.seal?.slice(17) ?? null,
    `${one.id}:${'0'.repeat(64)}`,
    'x'.repeat(100_000),
  ])('must have its exact form (%#)', (seal) => {
    expect(judged({ ...onRow, seal }, null)).toBe('forged');
  });

  test('must be made with the key that the row names, not with another key of the file', () => {
    const row = { ...onRow, seal: sealSwitchRow(change(2, 'off', null), two).seal };
    expect(judged(row, null)).toBe('forged');
  });

  test('does not hold under another key that takes the same id', () => {
    const impostor = { ...stranger, id: one.id };
    expect(judged(sealSwitchRow(change(2, 'on', one.id), impostor), null)).toBe('forged');
    expect(judged(onRow, null, [impostor])).toBe('forged');
  });

  test('by an unavailable key is unverified', () => {
    expect(judgeSwitchRow(onRow, [two], null)).toEqual({ kind: 'unverified', keyId: one.id });
    expect(judgeSwitchRow(onRow, [], initialSwitchRow)).toEqual({ kind: 'unverified', keyId: one.id });
    const off = sealSwitchRow(change(9, 'off', null), stranger);
    expect(judgeSwitchRow(off, [one, two], onRow)).toEqual({ kind: 'unverified', keyId: stranger.id });
  });

  test('is put on no row that would not be believed', () => {
    const refused: readonly (readonly [UnsealedSwitchRow, Key])[] = [
      [change(1, 'on', one.id), two],
      [change(0, 'on', one.id), one],
      [change(-1, 'on', one.id), one],
      [change(1.5, 'on', one.id), one],
      [change(Number.NaN, 'on', one.id), one],
      [{ ...change(1, 'on', one.id), changedAtMs: 0.5 }, one],
      [change(1, 'on', null), one],
      [change(1, 'off', one.id), one],
      [change(1, 'rotating', one.id), one],
    ];
    for (const [what, key] of refused) expect(() => sealSwitchRow(what, key)).toThrow('no switch row');
  });

  test('is another one for each row and each key', () => {
    const off = [one, two].map((key) => sealSwitchRow(change(9, 'off', null), key));
    const seals = [...rows, ...off].map(({ seal }) => seal);
    expect(new Set(seals.map((seal) => seal?.slice(17))).size).toBe(seals.length);
    for (const seal of seals) expect(seal).toMatch(/^[0-9a-f]{16}:[0-9a-f]{64}$/);
  });
});

describe('a malformed row', () => {
  const { id } = one;
  test.each([
    ['off', id, null],
    ['off', null, id],
    ['enabling', null, null],
    ['enabling', id, two.id],
    ['disabling', null, null],
    ['disabling', id, two.id],
    ['on', null, null],
    ['on', null, id],
    ['on', id, id],
    ['rotating', null, null],
    ['rotating', id, null],
    ['rotating', null, id],
    ['rotating', id, id],
    ['ON', id, null],
    ['', id, null],
    ['constructor', id, null],
  ])('%s with the keys %s and %s is forged, even when one of our keys sealed it', (state, keyId, nextKeyId) => {
    const { seal } = sealSwitchRow(change(3, 'off', null), one);
    const row = written({ ...change(3, 'off', null), state, keyId, nextKeyId, seal });
    expect(judgeSwitchRow(row, [one, two], null)).toEqual({
      kind: 'forged',
      reason: expect.stringContaining('the keys'),
    });
  });
});

describe('going back', () => {
  test('to any older row is refused', () => {
    fc.assert(
      fc.property(fc.nat(rows.length - 1), fc.nat(rows.length - 1), (a, b) => {
        fc.pre(a < b);
        expect(judged(rows[a] ?? null, rows[b] ?? null)).toBe('rolled_back');
        expect(judged(rows[a] ?? null, rows[b] ?? null, [])).toBe('rolled_back');
      }),
    );
  });

  test('to the row of a new database, or to none, is refused after any other', () => {
    for (const row of rows) {
      expect(judged(initialSwitchRow, row)).toBe('rolled_back');
      expect(judged(null, row)).toBe('rolled_back');
    }
  });

  test('names both revisions', () => {
    expect(judgeSwitchRow(rows[1] ?? null, [], rows[4] ?? null)).toEqual({
      kind: 'rolled_back',
      reason: 'revision 2 is older than revision 5, which was accepted before',
    });
  });

  test('to an off without a seal is refused, whatever revision it claims', () => {
    fc.assert(
      fc.property(sealedRow, fc.integer({ min: -1, max: 20 }), (remembered, revision) => {
        const off = { ...initialSwitchRow, revision, changedBy: 'nobody' };
        expect(judged(off, remembered)).toBe(revision < remembered.revision ? 'rolled_back' : 'forged');
      }),
    );
  });
});

describe('the same revision', () => {
  test('with other content is refused, although it has a valid seal', () => {
    const other = sealSwitchRow({ ...change(2, 'on', one.id), changedBy: 'eve@desk.example.test' }, one);
    expect(judgeSwitchRow(other, [one], onRow)).toEqual({
      kind: 'forged',
      reason: 'revision 2 was accepted before with other content',
    });
    expect(judged(sealSwitchRow(change(2, 'off', null), one), onRow)).toBe('forged');
  });

  test('with the same content is accepted without any key', () => {
    for (const row of [initialSwitchRow, ...rows]) {
      const copy = { ...row };
      expect(judgeSwitchRow(copy, [], row)).toEqual({ kind: 'accepted', row: copy });
    }
  });

  test('is another content when a single field differs', () => {
    const others: readonly Partial<SwitchRow>[] = [
      { state: 'off' },
      { keyId: two.id },
      { nextKeyId: two.id },
      { revision: 3 },
      { seal: null },
      { changedAtMs: 0 },
      { changedBy: '' },
    ];
    expect(others.filter((other) => isSameSwitchRow({ ...onRow, ...other }, onRow))).toEqual([]);
    expect(isSameSwitchRow({ ...onRow }, onRow)).toBe(true);
  });
});

describe('a worker without an accepted row', () => {
  test('takes an empty table, and the row of a new database, for off', () => {
    expect(judgeSwitchRow(null, [], null)).toEqual({ kind: 'accepted', row: initialSwitchRow });
    expect(judgeSwitchRow(null, [], initialSwitchRow)).toEqual({ kind: 'accepted', row: initialSwitchRow });
    const migrated = { ...initialSwitchRow, changedAtMs: 5, changedBy: 'migrate' };
    expect(judgeSwitchRow(migrated, [], null)).toEqual({ kind: 'accepted', row: migrated });
  });

  test('takes a sealed row of any revision when it has the key', () => {
    for (const row of rows) expect(judged(row, null)).toBe('accepted');
  });

  test('takes no sealed row without the key, and no row that pretends to be first', () => {
    for (const row of rows)
      expect(judged(row, null, [two])).toBe(row.seal?.startsWith(two.id) ? 'accepted' : 'unverified');
    for (const row of rows.filter(({ state }) => state !== 'off')) expect(judged(row, null, [])).toBe('unverified');
    expect(judged({ ...initialSwitchRow, state: 'on', keyId: one.id }, null)).toBe('forged');
    expect(judged({ ...initialSwitchRow, state: 'enabling', keyId: one.id }, null)).toBe('forged');
    expect(judged({ ...initialSwitchRow, nextKeyId: one.id }, null)).toBe('forged');
    expect(judged({ ...initialSwitchRow, seal: onRow.seal }, null)).toBe('forged');
    expect(judged({ ...onRow, revision: 0 }, null)).toBe('forged');
    expect(judged({ ...initialSwitchRow, revision: 1 }, null)).toBe('forged');
    expect(judged({ ...initialSwitchRow, revision: -1 }, null)).toBe('rolled_back');
    expect(judged({ ...initialSwitchRow, revision: Number.NaN }, null)).toBe('forged');
  });

  test('takes an off that it cannot verify for what it is only while it holds no key at all', () => {
    const off = sealSwitchRow(change(9, 'off', null), one);
    expect(judgeSwitchRow(off, [], null)).toEqual({ kind: 'accepted', row: off, unproven: true });
    expect(judgeSwitchRow(off, [two], null).kind).toBe('unverified');
    expect(judgeSwitchRow(off, [], onRow).kind).toBe('unverified');
  });
});
