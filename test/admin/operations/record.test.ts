import { describe, expect, test } from 'vitest';
import {
  emptyRecord,
  type OperationRecord,
  parseRecord,
  recordBytesMax,
  serializeRecord,
} from '../../../src/admin/operations/record.ts';
import { parseStep } from '../../../src/encryption/operations/steps.ts';

const keyId = '0123456789abcdef';

const full: OperationRecord = {
  steps: [{ step: 'resealing_started', keyId }, { step: 'sealed', count: 3 }, { step: 'encryption_off' }],
  waiting: [{ host: 'far', pid: 7 }],
  error: { code: 'password_damaged', count: 2 },
  unopened: [{ mailbox: 'desk', code: 'password_damaged' }],
  setAside: '/data/encryption-key.bin.disabled-20260131T083000Z-0a1b2c3d',
};

describe('the record of an operation', () => {
  test('is read as it was written', () => {
    expect(parseRecord(serializeRecord(full))).toEqual(full);
    expect(parseRecord(serializeRecord(emptyRecord))).toEqual(emptyRecord);
  });

  test('that is too long is cut, and can still be read', () => {
    const long = '\u0001'.repeat(5000);
    const unopened = Array.from({ length: 500 }, (_, index) => ({ mailbox: `${index} ${long}`, code: 'c' }));
    const waiting = Array.from({ length: 500 }, (_, pid) => ({ host: 'h'.repeat(64), pid }));
    const steps = Array.from({ length: 500 }, (_, count) => ({ step: 'sealed', count }) as const);
    const text = serializeRecord({ ...full, steps, waiting, unopened });
    expect(text.length).toBeLessThanOrEqual(recordBytesMax);
    const read = parseRecord(text);
    expect(read.steps.at(-1)).toEqual({ step: 'sealed', count: 499 });
    expect(read.unopened[0]?.mailbox).toMatch(/^0 \u0001+$/);
    expect(read.error).toEqual(full.error);
    expect(parseRecord(serializeRecord({ ...full, steps })).steps).toEqual(steps.slice(-100));
  });

  test('that is not valid JSON of an object, or too long, counts as empty', () => {
    const foreign = ['', 'x', '1', 'null', '[]', '{}', `${serializeRecord(full)} `.slice(0, -3)];
    for (const text of foreign) expect(parseRecord(text)).toEqual(emptyRecord);
    expect(parseRecord(JSON.stringify({ ...full, more: 'x'.repeat(70_000) }))).toEqual(emptyRecord);
    expect(parseRecord('{"__proto__":{"steps":[{"step":"encryption_off"}]}}')).toEqual(emptyRecord);
  });

  test('loses every part of another form, and nothing else', () => {
    const other = (given: object) => parseRecord(JSON.stringify({ ...full, ...given }));
    expect(other({ more: 1, toString: 1 })).toEqual(full);
    for (const steps of ['one', 1, {}, Array.from({ length: 101 }, () => ({ step: 'encryption_off' }))])
      expect(other({ steps })).toEqual({ ...full, steps: [] });
    expect(other({ steps: [null, 'x'] }).steps).toEqual([null, null]);
    const waiting = [{ host: 'far <b>', pid: 7 }, { host: 'far', pid: '7' }, { host: 'h'.repeat(65), pid: 1 }, null];
    expect(other({ waiting }).waiting).toEqual([]);
    expect(other({ error: { code: 1 } }).error).toBeNull();
    expect(other({ error: { code: 'a', count: '2', message: 'b' } }).error).toEqual({ code: 'a', count: null });
    expect(other({ unopened: [{}, { mailbox: 'x'.repeat(5000), code: 'c' }, 'x'] }).unopened).toEqual([]);
    expect(other({ setAside: 1 }).setAside).toBeNull();
  });
});

test('a stored step is known only by its exact name and a value of its type', () => {
  const unknown: readonly unknown[] = [
    ...[null, 'encryption_off', [], {}, { step: 1 }, { step: 'encryption_off ' }, { step: 'constructor' }],
    ...[
      { step: '__proto__' },
      { step: 'resealing_started' },
      { step: 'resealing_started', keyId: keyId.toUpperCase() },
    ],
    ...[
      { step: 'key_dropped', keyId: `${keyId} evil` },
      { step: 'key_dropped', count: 1 },
      { step: 'sealed', keyId },
    ],
    ...[
      { step: 'sealed', count: '3' },
      { step: 'sealed', count: -1 },
      { step: 'sealed', count: 1.5 },
    ],
    ...[
      { step: 'sealed', count: 1e300 },
      { step: 'sealed', count: [3] },
    ],
  ];
  for (const value of unknown) expect(parseStep(value)).toBeNull();
  expect(parseStep({ step: 'encryption_off', keyId: 'evil', text: 'evil' })).toEqual({ step: 'encryption_off' });
  expect(parseStep({ step: 'sealed', count: 3, keyId })).toEqual({ step: 'sealed', count: 3 });
});
