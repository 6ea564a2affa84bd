/**
 * Admin sessions and the limits of sign-ins, on a SQLite file and on a real MariaDB; what takes the time of a hash is
 * in sign-in.slow.test.ts.
 */
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { unlockSignIn } from '../../../src/admin/sign-in/accounts.ts';
import { attemptLimits } from '../../../src/admin/sign-in/limits.ts';
import { kinds, type Opened, openKind } from '../../adapters/database/databases.ts';
import { actor, address, adminTables, minuteMs, password, type Scene, signInOver } from './sign-in-scene.ts';

describe.each(kinds)('signing in on %s', (kind) => {
  const stack = new AsyncDisposableStack();
  let on: Opened;
  let scene: Scene;

  beforeAll(async () => {
    on = await openKind(kind, stack);
  });
  afterAll(() => stack.disposeAsync());
  beforeEach(async () => {
    await on.empty(...adminTables);
    scene = signInOver(on.db);
  });

  test('a token that was not issued has no session, and gets none', async () => {
    await scene.addAccount('Ada');
    const planted = randomBytes(32).toString('base64url');
    expect(await scene.session(planted, true)).toBe(null);
    for (const token of ['', 'x', `${planted}\0`, `${planted}=`, "' or 1=1 --", createHash('sha256').digest('hex')])
      expect(await scene.session(token, true)).toBe(null);
    await scene.signOut(planted);
    await scene.signOut("' or 1=1 --");
  });

  test('the hash out of the database is no token', async () => {
    await scene.addAccount('Ada');
    await scene.begun();
    const hash = await on.run('select token_hash from admin_session');
    expect(await scene.session(hash, true)).toBe(null);
    expect(await scene.session(Buffer.from(hash, 'hex').toString('base64url'), true)).toBe(null);
  });

  test('signing out ends this admin session, and no other', async () => {
    await scene.addAccount('Ada');
    const [one, two] = [await scene.begun(), await scene.begun()];
    await scene.signOut(one);
    expect(await scene.session(one, true)).toBe(null);
    expect(await scene.session(two, true)).toMatchObject({ name: 'Ada' });
  });

  test('a session ends after the idle timeout; automatic refreshes do not extend it', async () => {
    await scene.addAccount('Ada');
    const [used, refreshed] = [await scene.begun(), await scene.begun()];
    for (let minutes = 0; minutes < 60; minutes += 10) {
      scene.clock.ms += 10 * minuteMs - 1;
      expect(await scene.session(used, true)).not.toBe(null);
      expect((await scene.session(refreshed, false)) !== null).toBe(minutes < 30);
      scene.clock.ms += 1;
    }
    scene.clock.ms += 30 * minuteMs - 2;
    expect(await scene.session(used, false)).not.toBe(null);
    scene.clock.ms += 1;
    expect(await scene.session(used, true)).toBe(null);
    expect(await on.run('select * from admin_session')).toBe('');
  });

  test('a session ends after twelve hours, however active', async () => {
    await scene.addAccount('Ada');
    const token = await scene.begun();
    for (let minutes = 20; minutes < 12 * 60; minutes += 20) {
      scene.clock.ms += 20 * minuteMs;
      expect(await scene.session(token, true)).not.toBe(null);
    }
    scene.clock.ms += 20 * minuteMs - 1;
    expect(await scene.session(token, true)).not.toBe(null);
    scene.clock.ms += 1;
    expect(await scene.session(token, true)).toBe(null);
  });

  test('an admin session is written to once a minute at most, and often enough for the shortest idle time', async () => {
    await scene.addAccount('Ada');
    const token = await scene.begun();
    const seen = () => on.run('select seen_at from admin_session');
    const first = await seen();
    scene.clock.ms += minuteMs - 1;
    await scene.session(token, true);
    expect(await seen()).toBe(first);
    scene.clock.ms += 1;
    await scene.session(token, false);
    expect(await seen()).toBe(first);
    await scene.session(token, true);
    expect(await seen()).not.toBe(first);
    scene.idle.ms = minuteMs;
    for (let seconds = 0; seconds < 180; seconds += 45) {
      scene.clock.ms += 45_000;
      expect(await scene.session(token, true)).not.toBe(null);
    }
  });

  test.each([
    ['what asks for more memory than there is', '$argon2id$v=19$m=4194304,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$'],
    ['what asks for half a minute and 256 MiB', '$argon2id$v=19$m=262144,t=10,p=16$c29tZXNhbHRzb21lc2FsdA$'],
    ['what asks for a year', '$argon2id$v=19$m=65536,t=4294967295,p=4$c29tZXNhbHRzb21lc2FsdA$'],
    ['a readable password', password],
    ['nothing', ''],
  ])('with a row written by another program is refused: %s', async (_title, start) => {
    await scene.addAccount('Ada', start.startsWith('$') ? `${start}${'A'.repeat(43)}` : start);
    expect(await scene.try('Ada')).toEqual({ kind: 'refused' });
  });

  test(`of 200 guesses from one address, ${attemptLimits.perAddress} are looked at, and then not the right one`, async () => {
    await scene.addAccount('Ada', 'none');
    const answers = [];
    // No more at once than may wait: who is sent away has not used up a try.
    for (let round = 0; round < 8; round += 1)
      answers.push(...(await Promise.all(Array.from({ length: 25 }, (_, at) => scene.try('Ada', `guess ${at}`)))));
    const limited = answers.filter(({ kind }) => kind === 'limited');
    expect(limited).toHaveLength(200 - attemptLimits.perAddress);
    for (const answer of limited)
      if (answer.kind === 'limited') {
        expect(answer.retryAfterS).toBeGreaterThan(14 * 60);
        expect(answer.retryAfterS).toBeLessThanOrEqual(15 * 60);
      }
    await scene.addAccount('Grace');
    expect(await scene.try('Grace')).toMatchObject({ kind: 'limited' });
    expect(await scene.try('Nobody at all')).toMatchObject({ kind: 'limited' });
    expect(await scene.try('Grace', password, '192.0.2.2')).toMatchObject({ kind: 'signed_in' });
    const rows = await scene.audit();
    const told = rows.filter((row) => row.startsWith('admin.sign_in_limited'));
    expect(told).toEqual([`admin.sign_in_limited: unknown (admin page): limit of the address, ${address}`]);
    expect(rows.length).toBeLessThanOrEqual(attemptLimits.perAddress + 4);
  });

  test('of 200 parallel guesses from one address most are rejected, without being counted', async () => {
    await scene.addAccount('Ada', 'none');
    const answers = await Promise.all(Array.from({ length: 200 }, (_, at) => scene.try('Ada', `guess ${at}`)));
    const count = (kind: string) => answers.filter((answer) => answer.kind === kind).length;
    // Two run and 32 wait.
    expect([count('busy'), count('refused'), count('limited')]).toEqual([166, 20, 14]);
  });

  test('addresses of one IPv6 network are one, those of another are another', async () => {
    await scene.addAccount('Eve', 'none');
    for (let at = 0; at < attemptLimits.perAddress; at += 1)
      expect(await scene.try('Eve', 'x', `2001:db8:0:7::${at}`)).toEqual({ kind: 'refused' });
    expect(await scene.try('Eve', 'x', '2001:DB8::7:ffff:0:0:1')).toMatchObject({ kind: 'limited' });
    expect(await scene.try('Eve', 'x', '2001:db8:0:8::1')).toEqual({ kind: 'refused' });
  });

  test('all addresses of this machine are one', async () => {
    await scene.addAccount('Eve', 'none');
    for (let at = 0; at < attemptLimits.perAddress; at += 1)
      expect(await scene.try('Eve', 'x', `127.3.0.${at}`)).toEqual({ kind: 'refused' });
    for (const from of ['127.0.0.1', '127.99.0.1', '::1', '::ffff:127.0.0.1'])
      expect(await scene.try('Eve', 'x', from)).toMatchObject({ kind: 'limited' });
    expect(await scene.try('Eve', 'x', '128.0.0.1')).toEqual({ kind: 'refused' });
  });

  test('a blocked address is rejected without the database, except for one query every few seconds', async () => {
    await scene.addAccount('Eve', 'none');
    for (let at = 0; at < attemptLimits.perAddress; at += 1) await scene.try('Eve', 'x');
    expect(await scene.try('Eve', 'x')).toMatchObject({ kind: 'limited' });
    const counted = () => on.run('select count from admin_attempt order by count desc limit 1');
    expect(await counted()).toBe(`${attemptLimits.perAddress + 1}`);
    scene.clock.ms += attemptLimits.recheckMs - 1;
    for (let at = 0; at < 5; at += 1) expect(await scene.try('Eve', 'x')).toMatchObject({ kind: 'limited' });
    expect(await counted()).toBe(`${attemptLimits.perAddress + 1}`);
    scene.clock.ms += 1;
    const answers = await Promise.all(Array.from({ length: 50 }, () => scene.try('Eve', 'x')));
    expect(new Set(answers.map(({ kind }) => kind))).toEqual(new Set(['limited']));
    expect(await counted()).toBe(`${attemptLimits.perAddress + 2}`);
    scene.clock.ms += 10 * minuteMs;
    await scene.try('Eve', 'x');
    const answer = await scene.try('Eve', 'x');
    // Until the window ends by the clock of the database, which did not move here.
    if (answer.kind === 'limited') expect(answer.retryAfterS).toBeLessThanOrEqual(15 * 60);
    expect(answer.kind).toBe('limited');
  });

  test('an address whose counter was cleared on the host may try again within seconds', async () => {
    await scene.addAccount('Eve', 'none');
    const rounds = 2;
    for (let round = 0; round < rounds; round += 1) {
      for (let at = 0; at < attemptLimits.perAddress; at += 1)
        expect(await scene.try('Eve', 'x')).toEqual({ kind: 'refused' });
      expect(await scene.try('Eve', 'x')).toMatchObject({ kind: 'limited' });
      await unlockSignIn({ store: on.db, actor });
      expect(await scene.try('Eve', 'x')).toMatchObject({ kind: 'limited' });
      scene.clock.ms += attemptLimits.recheckMs;
    }
    expect(await scene.try('Eve', 'x')).toEqual({ kind: 'refused' });
    const rows = await scene.audit();
    expect(rows.filter((row) => row === 'admin.unlocked: ticketmaild@desk: null')).toHaveLength(rounds);
    expect(rows.filter((row) => row.startsWith('admin.sign_in_limited'))).toHaveLength(rounds);
  });

  test('a clock that was set back prolongs no block', async () => {
    await scene.addAccount('Eve', 'none');
    for (let at = 0; at <= attemptLimits.perAddress; at += 1) await scene.try('Eve', 'x');
    await on.empty('admin_attempt');
    expect(await scene.try('Eve', 'x')).toMatchObject({ kind: 'limited' });
    scene.clock.ms -= 60 * minuteMs;
    expect(await scene.try('Eve', 'x')).toEqual({ kind: 'refused' });
  });
});
