/**
 * Refusals of the admin page in log and audit, within bounds: with a clock that the test sets, with rows in memory, and
 * once with the real database.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Refusal } from '../../../src/admin/service.ts';
import { createRefusals, type Refusals } from '../../../src/admin/sign-in/refusals.ts';
import type { AuditEntry } from '../../../src/encryption/ports.ts';
import { Failure } from '../../../src/errors.ts';
import { openKind } from '../../adapters/database/databases.ts';
import { actor, collectingLog, type Line } from './sign-in-scene.ts';

const csrf: Refusal = { reason: 'csrf', who: null, address: '192.0.2.1', about: 'sign-in' };
const first = 'unknown (admin page): csrf, sign-in, 192.0.2.1';

/** A minute passes when the test says so. */
function handClock() {
  let end: (() => void) | null = null;
  let sleeps = 0;
  return {
    sleeps: () => sleeps,
    async sleep(ms: number, signal: AbortSignal): Promise<void> {
      expect(ms).toBe(60_000);
      sleeps += 1;
      if (signal.aborted) return;
      await new Promise<void>((resolve) => {
        end = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    },
    async minute(): Promise<void> {
      end?.();
      end = null;
      await new Promise(setImmediate);
    },
  };
}

describe('refusals', () => {
  let rows: AuditEntry[];
  let lines: readonly Line[];
  let clock: ReturnType<typeof handClock>;
  let audit: (entries: readonly AuditEntry[]) => Promise<void>;
  let refusals: Refusals;

  beforeEach(() => {
    rows = [];
    clock = handClock();
    audit = async (entries) => void rows.push(...entries);
    const log = collectingLog();
    lines = log.lines;
    refusals = createRefusals({ store: { audit: (entries) => audit(entries) }, clock, actor, log: log.log });
  });
  afterEach(() => refusals[Symbol.asyncDispose]());

  const told = () => rows.map(({ who, detail }) => `${who}: ${detail}`);

  test('are reported at once, once, and a minute later with the number of repetitions', async () => {
    for (let at = 0; at < 1000; at += 1) refusals.recordRefusal(csrf);
    await new Promise(setImmediate);
    expect(rows).toEqual([
      {
        ...{ who: 'unknown (admin page)', host: 'desk', action: 'admin.refused', detail: 'csrf, sign-in, 192.0.2.1' },
        ...{ keyId: null, nextKeyId: null, mailboxId: null },
      },
    ]);
    await clock.minute();
    expect(told()).toEqual([first, `${first}, 999 more`]);
    const line = { level: 'warn', ...csrf, event: 'admin.refused' };
    expect(lines).toEqual([line, { ...line, repeated: 999 }]);
    await clock.minute();
    expect(told()).toHaveLength(2);
  });

  test('of the next minute are reported at once again', async () => {
    refusals.recordRefusal(csrf);
    await clock.minute();
    refusals.recordRefusal(csrf);
    await clock.minute();
    expect(told()).toEqual([first, first]);
    expect(clock.sleeps()).toBe(2);
  });

  test('that differ in reason, page, address or person are reported one by one', async () => {
    refusals.recordRefusal(csrf);
    refusals.recordRefusal({ ...csrf, reason: 'method' });
    refusals.recordRefusal({ ...csrf, about: 'encryption/enable' });
    refusals.recordRefusal({ ...csrf, address: '192.0.2.2' });
    refusals.recordRefusal({ ...csrf, who: 'Ada' });
    await new Promise(setImmediate);
    expect(told()).toEqual([
      first,
      first.replace('csrf', 'method'),
      first.replace('sign-in', 'encryption/enable'),
      first.replace('192.0.2.1', '192.0.2.2'),
      first.replace('unknown', 'Ada'),
    ]);
    expect(lines.map(({ level }) => level)).toEqual(['warn', 'info', 'warn', 'warn', 'warn']);
  });

  test('from ten thousand addresses are a few rows and a number for each reason', async () => {
    for (let at = 0; at < 10_000; at += 1) {
      const address = `2001:db8:${at.toString(16)}::1`;
      refusals.recordRefusal({ ...csrf, address });
      refusals.recordRefusal({ reason: 'not_found', who: null, about: 'request', address });
    }
    await clock.minute();
    expect(rows).toHaveLength(2 * 17);
    expect(lines).toHaveLength(2 * 17);
    expect(told().slice(-2)).toEqual([
      'unknown (admin page): csrf, elsewhere, 9984 more',
      'unknown (admin page): not_found, elsewhere, 9984 more',
    ]);
    const counted = { who: null, about: null, address: null, repeated: 9984, event: 'admin.refused' };
    expect(lines.slice(-2)).toEqual([
      { level: 'warn', reason: 'csrf', ...counted },
      { level: 'info', reason: 'not_found', ...counted },
    ]);
  });

  test('of strangers, however many, hide neither another reason nor a signed-in person', async () => {
    for (const reason of ['not_found', 'method', 'bad_request', 'foreign_host', 'csrf'] as const)
      for (let at = 0; at < 300; at += 1)
        refusals.recordRefusal({ reason, who: null, about: 'request', address: `198.51.${at >> 8}.${at & 255}` });
    const before = rows.length;
    const attacks: readonly Refusal[] = [
      { reason: 'csrf', who: 'ada', about: 'encryption rotate', address: '127.0.0.1' },
      { reason: 'foreign_origin', who: null, about: 'encryption rotate', address: '127.0.0.1' },
      { reason: 'proof_refused', who: 'ada', about: 'encryption confirm-disable', address: '127.0.0.1' },
      { reason: 'not_found', who: 'ada', about: 'request', address: '127.0.0.1' },
    ];
    for (const attack of attacks) refusals.recordRefusal(attack);
    await new Promise(setImmediate);
    expect(told().slice(before)).toEqual(
      expect.arrayContaining([
        'ada (admin page): csrf, encryption rotate, 127.0.0.1',
        'unknown (admin page): foreign_origin, encryption rotate, 127.0.0.1',
        'ada (admin page): proof_refused, encryption confirm-disable, 127.0.0.1',
        'ada (admin page): not_found, request, 127.0.0.1',
      ]),
    );
  });

  test('of one account leave room for those of another', async () => {
    for (let at = 0; at < 300; at += 1) refusals.recordRefusal({ ...csrf, who: 'eve', address: `198.51.${at}.1` });
    refusals.recordRefusal({ ...csrf, who: 'ada' });
    await new Promise(setImmediate);
    expect(told()).toContain('ada (admin page): csrf, sign-in, 192.0.2.1');
  });

  test('from one client under many addresses are one', async () => {
    for (let at = 0; at < 300; at += 1) refusals.recordRefusal({ ...csrf, address: `127.44.${at >> 8}.${at & 255}` });
    for (let at = 0; at < 300; at += 1) refusals.recordRefusal({ ...csrf, address: `2001:db8::${at.toString(16)}` });
    await clock.minute();
    expect(told()).toEqual([
      first.replace('192.0.2.1', '127.44.0.0'),
      first.replace('192.0.2.1', '2001:db8::0'),
      `${first.replace('192.0.2.1', '127.44.0.0')}, 299 more`,
      `${first.replace('192.0.2.1', '2001:db8::0')}, 299 more`,
    ]);
  });

  test('of strangers use no capacity of a signed-in person while the database does not respond', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    audit = async (entries) => {
      await promise;
      rows.push(...entries);
    };
    for (let minute = 0; minute < 30; minute += 1) {
      for (let at = 0; at < 200; at += 1) refusals.recordRefusal({ ...csrf, address: `${at}` });
      await clock.minute();
    }
    refusals.recordRefusal({ ...csrf, who: 'ada' });
    resolve();
    await refusals[Symbol.asyncDispose]();
    expect(rows).toHaveLength(402);
    expect(told()).toContain('ada (admin page): csrf, sign-in, 192.0.2.1');
  });

  test('that were counted are reported on disposal, without waiting for the minute', async () => {
    for (let at = 0; at < 3; at += 1) refusals.recordRefusal(csrf);
    await refusals[Symbol.asyncDispose]();
    expect(told()).toEqual([first, `${first}, 2 more`]);
    refusals.recordRefusal(csrf);
    await refusals[Symbol.asyncDispose]();
    expect(told()).toHaveLength(3);
    expect(clock.sleeps()).toBe(1);
  });

  test('are in the log while the database is unavailable; only their audit rows are lost', async () => {
    audit = () => Promise.reject(new Failure('database_unavailable', 'it is away'));
    refusals.recordRefusal(csrf);
    await clock.minute();
    expect(lines).toHaveLength(1);
    audit = async (entries) => void rows.push(...entries);
    refusals.recordRefusal(csrf);
    await clock.minute();
    expect(told()).toEqual([first]);
  });

  test('queue in a bounded number while the database does not respond', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    audit = async (entries) => {
      await promise;
      rows.push(...entries);
    };
    for (let minute = 0; minute < 40; minute += 1) {
      for (let at = 0; at < 200; at += 1) refusals.recordRefusal({ ...csrf, address: `${at}` });
      await clock.minute();
    }
    expect(lines).toHaveLength(40 * 17);
    resolve();
    await refusals[Symbol.asyncDispose]();
    expect(rows).toHaveLength(401);
  });

  test('with a long address are cut', async () => {
    refusals.recordRefusal({ ...csrf, address: 'f'.repeat(5000) });
    await new Promise(setImmediate);
    expect(told()).toEqual([`unknown (admin page): csrf, sign-in, ${'f'.repeat(64)}`]);
  });
});

test('refusals are rows of a real database', async () => {
  await using stack = new AsyncDisposableStack();
  const { db } = await openKind('sqlite', stack);
  const { log } = collectingLog();
  const refusals = createRefusals({ store: db, clock: handClock(), actor, log });
  for (let at = 0; at < 5; at += 1) refusals.recordRefusal(csrf);
  await refusals[Symbol.asyncDispose]();
  expect((await db.readAudit(10, 'admin')).map(({ detail }) => detail)).toEqual([
    'csrf, sign-in, 192.0.2.1, 4 more',
    'csrf, sign-in, 192.0.2.1',
  ]);
});
