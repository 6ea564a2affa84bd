import { describe, expect, test } from 'vitest';
import type { OperationView } from '../../../src/admin/service.ts';
import { operationProgress } from '../../../src/admin/views/encryption.ts';
import type { EncryptionStatus } from '../../../src/encryption/status.ts';

describe('the progress', () => {
  const counts = {
    sealed: 6,
    plaintext: 4,
    sealed_tokens: 0,
    plaintext_tokens: 0,
    by_key: [
      { key_id: 'k1', count: 4 },
      { key_id: 'k2', count: 2 },
    ],
  };
  const base = { ...counts, key_id: 'k1', next_key_id: null, changed_at: '2026-01-31T08:00:00.000Z' };
  const status = (given: Partial<EncryptionStatus>) => ({ ...base, ...given }) as EncryptionStatus;
  const startedAtMs = Date.parse('2026-01-31T08:30:00.000Z');
  const running = (kind: OperationView['kind']) => ({ kind, state: 'running', startedAtMs }) as OperationView;

  test('follows from the switch while no worker runs an operation: it is unfinished', () => {
    expect(operationProgress(status({ state: 'off' }), null, false)).toEqual({
      mode: 'off',
      progress: null,
      unfinished: null,
    });
    expect(operationProgress(status({ state: 'on' }), null, false)).toEqual({
      mode: 'on',
      progress: null,
      unfinished: null,
    });
    const enabling = { mode: 'working', progress: { done: 6, total: 10 }, unfinished: 'enable' };
    expect(operationProgress(status({ state: 'enabling' }), null, false)).toEqual(enabling);
    const rotating = { mode: 'working', progress: { done: 2, total: 10 }, unfinished: 'rotate' };
    expect(operationProgress(status({ state: 'rotating', next_key_id: 'k2' }), null, false)).toEqual(rotating);
    expect(operationProgress(status({ state: 'on', next_key_id: 'k2' }), null, false)).toEqual(rotating);
    const disabling = { mode: 'working', progress: { done: 4, total: 10 }, unfinished: 'disable' };
    expect(operationProgress(status({ state: 'disabling' }), null, false)).toEqual(disabling);
  });

  test('waits for the proof file only while encryption is on and no password is being unsealed', () => {
    const modes = (['on', 'disabling', 'off'] as const).map(
      (state) => operationProgress(status({ state }), null, true).mode,
    );
    expect(modes).toEqual(['disabling', 'working', 'off']);
    expect(operationProgress(status({ state: 'on' }), running('disable'), true).mode).toBe('working');
    expect(operationProgress(status({ state: 'on' }), null, false).mode).toBe('on');
  });

  test('follows from the operation before the switch shows it and after', () => {
    const progress = { done: 6, total: 10 };
    expect(operationProgress(status({ state: 'off' }), running('enable'), false)).toEqual({
      mode: 'working',
      progress,
      unfinished: null,
    });
    expect(operationProgress(status({ state: 'on' }), running('rotate'), false).progress).toEqual({
      done: 0,
      total: 10,
    });
    const behind = { state: 'on', key_id: 'k2', changed_at: '2026-01-31T08:31:00.000Z' } as const;
    expect(operationProgress(status(behind), running('rotate'), false).progress).toEqual({ done: 2, total: 10 });
    expect(operationProgress(status({ state: 'off' }), running('disable'), false).mode).toBe('working');
    const over = { ...running('enable'), state: 'failed' } as OperationView;
    expect(operationProgress(status({ state: 'enabling' }), over, false).unfinished).toBe('enable');
  });
});
