/** The judge sees what a night has to show: each kind of false ok, and none where mail flows or nothing says ok. */
import { expect, test } from 'vitest';
import type { Canary } from './canaries.ts';
import { falseOk, firstSign, lastSignAtMs, signKey } from './judge.ts';
import { type Look, readinessSays, type Surface, unitSays } from './surfaces.ts';

const looksOf = (surface: Surface, ok: Look['ok'], signs: readonly string[] = []): readonly Look[] =>
  Array.from({ length: 30 }, (_, second) => ({
    ...{ surface, ok, signs },
    ...{ askedAtMs: second * 1_000, atMs: second * 1_000 + 10 },
  }));

const canary = (arrivedAtMs: number | null, mailbox = 'support'): Canary => ({
  ...{ mark: 'C1', mailbox, sentAtMs: 0, arrivedAtMs },
});

const within = (ms: number) => () => ms;

test('a surface that says ok is wrong from the moment at which a canary is overdue until it is there', () => {
  const looks = looksOf('readyz', new Set(['support']));
  expect(falseOk(looks, [canary(20_000)], within(10_000)).readyz).toBe(8);
  expect(falseOk(looks, [canary(null)], within(10_000)).readyz).toBe(18);
  expect(falseOk(looks, [canary(9_000)], within(10_000)).readyz).toBe(0);
  expect(falseOk(looks, [canary(20_000)], within(20_000)).readyz).toBe(0);
});

test('a surface that does not say ok of that mailbox is not wrong, one that says it of all is', () => {
  const of = (ok: Look['ok']) => falseOk(looksOf('systemd', ok), [canary(20_000)], within(10_000)).systemd;
  expect([of(new Set()), of(new Set(['sales'])), of('all')]).toEqual([0, 0, 8]);
});

test('a surface that turns to ok has three seconds until the mail that waited is in', () => {
  const fine = new Set(['support']);
  const looks = looksOf('readyz', fine).map((look) =>
    look.askedAtMs < 15_000 ? { ...look, ok: new Set<string>() } : look,
  );
  expect(falseOk(looks, [canary(18_000)], within(10_000)).readyz).toBe(0);
  expect(falseOk(looks, [canary(25_000)], within(10_000)).readyz).toBe(6);
});

test('a sign counts once the fault is there, when it was not there before, and when it fits', () => {
  const looks = looksOf('readyz', new Set(), [
    'check passwords warning: readable',
    'check disk failing: disk_full: no',
  ]);
  const known = new Set(['check passwords warning']);
  expect(firstSign(looks, 5_000, known, /^check disk failing/)).toEqual({
    ...{ afterMs: 10, by: 'readyz: check disk failing: disk_full: no' },
  });
  expect(firstSign(looks, 5_000, known, /passwords/)).toBeNull();
  expect(firstSign(looks, 60_000, known, /disk/)).toBeNull();
  expect(lastSignAtMs(looks, 5_000, known)).toBe(29_010);
  expect(lastSignAtMs(looks, 5_000, new Set(['check passwords warning', 'check disk failing']))).toBeNull();
});

test('two signs of one thing differ in their figures alone', () => {
  expect(signKey('mailbox push-1 failing: connect_refused: 2 tries')).toBe('mailbox push-1 failing');
});

test('a readiness says ok of no mailbox unless it is ready', () => {
  const check = (status: string) => ({ status, reason: status === 'ok' ? null : 'code: words' });
  const list = [
    { mailbox: 'support', ...check('ok') },
    { mailbox: 'sales', ...check('failing') },
  ];
  const text = (ready: boolean) =>
    JSON.stringify({
      ready,
      checks: { database: check(ready ? 'ok' : 'failing'), mailboxes: { ...check('ok'), list } },
    });
  expect(readinessSays(text(true))).toEqual({
    ok: new Set(['support']),
    signs: ['mailbox sales failing: code: words'],
  });
  expect(readinessSays(text(false)).ok).toEqual(new Set());
});

test('the unit says ok when it is active, ready, and every mailbox is ok', () => {
  const ok = (active: string, text: string) => unitSays(active, text).ok === 'all';
  expect(ok('active', 'Ready: 50 of 50 mailboxes ok, 46 idle connections, 0 polls in progress')).toBe(true);
  expect(ok('active', 'Ready: 49 of 50 mailboxes ok, 46 idle connections, 0 polls in progress')).toBe(false);
  expect(ok('active', 'Ready: 50 of 50 mailboxes ok, 46 idle connections; disk_low: 3 MB')).toBe(false);
  const past = '; crashes: crashed: the process ended without a shutdown, once within 10 minutes';
  expect(ok('active', `Ready: 50 of 50 mailboxes ok, 46 idle connections${past}`)).toBe(true);
  expect(ok('active', `Ready: 50 of 50 mailboxes ok, 46 idle connections${past}; and 1 more`)).toBe(false);
  expect(ok('activating', 'Ready: 50 of 50 mailboxes ok, 46 idle connections')).toBe(false);
  expect(ok('active', 'Not ready: the database does not answer')).toBe(false);
});
