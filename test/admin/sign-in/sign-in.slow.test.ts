/**
 * Signing in with everything that takes the time of a hash, on a SQLite file and on a real MariaDB.
 */
import { createHash, randomBytes, randomFillSync } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { removeAccount, setAccountPassword } from '../../../src/admin/sign-in/accounts.ts';
import { attemptLimits } from '../../../src/admin/sign-in/limits.ts';
import { decoyHash } from '../../../src/secret/admin-password.ts';
import { type Opened, openKind } from '../../adapters/database/databases.ts';
import { databaseKinds } from '../../support/database-kinds.ts';
import {
  actor,
  address,
  adminTables,
  cheapHash,
  minuteMs,
  password,
  type Scene,
  secret,
  signInOver,
} from './sign-in-scene.ts';

for (const { kind, tags } of databaseKinds)
  describe(`signing in on ${kind}`, { tags }, () => {
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

    async function signedIn(name = 'Ada'): Promise<string> {
      const answer = await scene.try(name);
      if (answer.kind !== 'signed_in') throw new Error(answer.kind);
      return answer.token;
    }

    const ports = () => ({
      ...{ store: on.db, actor, newId: () => 'an id' },
      clock: { nowMs: () => scene.clock.ms },
      random: (bytes: Uint8Array) => randomFillSync(bytes),
    });

    test('needs an account, and its password', async () => {
      expect(await scene.hasNoAccount()).toBe(true);
      await scene.addAccount('Ada');
      expect(await scene.hasNoAccount()).toBe(false);
      const answer = await scene.try('aDA');
      const session = { name: 'Ada' };
      expect(answer).toEqual({
        kind: 'signed_in',
        token: expect.stringMatching(/^[\w-]{43}$/),
        session: { ...session, csrf: expect.stringMatching(/^[\w-]{43}$/) },
      });
      if (answer.kind === 'signed_in') expect(await scene.session(answer.token, true)).toEqual(answer.session);
      expect(await scene.try('Ada', `${password}!`)).toEqual({ kind: 'refused' });
      expect(await scene.audit()).toEqual([
        'admin.added: ticketmaild@desk: Ada',
        `admin.signed_in: Ada (admin page): ${address}`,
        `admin.sign_in_refused: Ada (admin page): ${address}`,
      ]);
      expect(scene.lines).toEqual([
        { level: 'info', who: 'Ada', address, event: 'admin.signed_in' },
        { level: 'warn', reason: 'sign_in_refused', who: 'Ada', address, about: 'sign-in', event: 'admin.refused' },
      ]);
    });

    test('with an unknown name is refused alike, and the typed name is stored nowhere', async () => {
      await scene.addAccount('Ada');
      for (const name of [password, '', ' Ada', 'Ada\0', '\ud800', 'x'.repeat(100_000), "' or 1=1 --", 'unknown'])
        expect(await scene.try(name)).toEqual({ kind: 'refused' });
      const [, ...rows] = await scene.audit();
      expect(new Set(rows)).toEqual(new Set([`admin.sign_in_refused: unknown (admin page): ${address}`]));
      expect(JSON.stringify([rows, scene.lines])).not.toContain(password);
    });

    test('wipes the password, whatever the result', async () => {
      await scene.addAccount('Ada');
      for (const [name, text] of [
        ['Ada', password],
        ['Ada', 'wrong'],
        ['Eve', 'wrong'],
      ] as const) {
        const typed = secret(text);
        await scene.signIn(name, typed, address);
        expect(typed.length).toBe(0);
      }
    });

    test('stores of a token nothing but its hash', async () => {
      await scene.addAccount('Ada');
      const token = await signedIn();
      const rows = await on.run('select * from admin_session');
      expect(rows).toContain(createHash('sha256').update(token).digest('hex'));
      expect(rows).not.toContain(token);
      const csrf = (await scene.session(token, true))?.csrf;
      expect(rows).not.toContain(csrf);
      expect(csrf).not.toBe((await scene.session(await signedIn(), true))?.csrf);
    });

    test('another password ends every session of the account, and of no other', async () => {
      const account = { ...(await scene.addAccount('Ada')), lastSignInAtMs: null };
      await scene.addAccount('Grace');
      const [one, two, grace] = [await signedIn(), await signedIn(), await signedIn('Grace')];
      scene.clock.ms += 1;
      await setAccountPassword(ports(), account, secret('Schnee im Juni'));
      expect([await scene.session(one, true), await scene.session(two, true)]).toEqual([null, null]);
      expect(await scene.session(grace, true)).toMatchObject({ name: 'Grace' });
      expect(await scene.try('Ada')).toEqual({ kind: 'refused' });
      expect(await scene.try('Ada', 'Schnee im Juni')).toMatchObject({ kind: 'signed_in' });
    });

    test('an account that is removed ends its admin sessions', async () => {
      const account = { ...(await scene.addAccount('Ada')), lastSignInAtMs: null };
      const token = await signedIn();
      await removeAccount(ports(), account);
      expect(await scene.session(token, true)).toBe(null);
      expect(await scene.try('Ada')).toEqual({ kind: 'refused' });
      await expect(removeAccount(ports(), account)).rejects.toMatchObject({ code: 'not_found' });
    });

    test('is refused when the password changes during verification', async () => {
      const account = await scene.addAccount('Ada');
      const held = { ...account, lastSignInAtMs: null };
      const store = { ...on.db, accountByName: async () => held };
      const late = signInOver(store);
      late.clock.ms += 1;
      await on.db.setPasswordHash(account.id, cheapHash('another'), scene.clock.ms + 1, { ...(await anyRow()) });
      expect(await late.try('Ada')).toEqual({ kind: 'refused' });
      expect(await on.run('select * from admin_session')).toBe('');
    });

    async function anyRow() {
      const [row] = await on.db.readAudit(1, 'admin');
      if (row === undefined) throw new Error('no row');
      return row;
    }

    test('expired sessions are removed at a sign-in', async () => {
      await scene.addAccount('Ada');
      await signedIn();
      scene.clock.ms += 31 * minuteMs;
      await signedIn();
      expect((await on.run('select token_hash from admin_session')).split('\n')).toHaveLength(1);
    });

    test('with a hash of lower parameters stores one with the current ones, which accepts the same password', async () => {
      await scene.addAccount('Ada');
      const token = await signedIn();
      const hash = await scene.hashOf('Ada');
      expect(hash).toMatch(/^\$argon2id\$v=19\$m=65536,t=3,p=4\$/);
      expect(await scene.session(token, true)).not.toBe(null);
      await signedIn();
      expect(await scene.hashOf('Ada')).toBe(hash);
    });

    test(`under one name ${attemptLimits.perName} are looked at from wherever they come, whether it exists or not`, async () => {
      const ada = await scene.addAccount('Ada');
      // A hash that is none is refused at once: it would take long to compute them all.
      await scene.addAccount('Eve', 'none');
      for (const name of ['EVE', 'ada']) {
        for (let at = 0; at < attemptLimits.perName; at += 1)
          expect(await scene.try(at % 2 === 0 ? name : name.toLowerCase(), 'guess', `198.51.100.${at}`)).toEqual({
            kind: 'refused',
          });
        expect(await scene.try(name, password, '198.51.100.250')).toMatchObject({ kind: 'limited' });
      }
      scene.clock.ms += 1000;
      await setAccountPassword(ports(), { ...ada, lastSignInAtMs: null }, secret('Schnee im Juni'));
      expect(await scene.try('Ada', 'Schnee im Juni', '198.51.100.250')).toMatchObject({ kind: 'signed_in' });
    });

    test('a sign-in makes a token of its own, whatever the browser had', async () => {
      await scene.addAccount('Ada');
      const planted = randomBytes(32).toString('base64url');
      expect(await signedIn()).not.toBe(planted);
      expect(await scene.session(planted, true)).toBe(null);
    });

    test('a success clears the counter of the name, and subtracts one from that of the address', async () => {
      await scene.addAccount('Ada');
      for (let at = 0; at < attemptLimits.perAddress - 1; at += 1) await scene.try('Ada', 'guess');
      await signedIn();
      expect(await on.run('select count from admin_attempt')).toBe(`${attemptLimits.perAddress - 1}`);
      await signedIn();
      await scene.try('Ada', 'guess');
      expect(await scene.try('Ada')).toMatchObject({ kind: 'limited' });
    });

    test('succeeds more often than it may fail', async () => {
      await scene.addAccount('Ada');
      for (let at = 0; at < attemptLimits.perAddress + 4; at += 1) await signedIn();
      expect(await on.run('select count from admin_attempt')).toBe('0');
    }, 120_000);

    test('the response time reveals no name: an existing one takes as long as an unknown one', async () => {
      await scene.addAccount(
        'Ada',
        decoyHash((bytes) => randomFillSync(bytes)),
      );
      const times: Record<'Ada' | 'Eve', number[]> = { Ada: [], Eve: [] };
      for (let at = 0; at < 9; at += 1)
        for (const name of ['Ada', 'Eve'] as const) {
          const before = performance.now();
          expect(await scene.try(name, 'guess', `198.51.100.${at}`)).toEqual({ kind: 'refused' });
          times[name].push(performance.now() - before);
        }
      const [ada, eve] = [median(times.Ada), median(times.Eve)];
      expect(Math.max(ada, eve) / Math.min(ada, eve)).toBeLessThan(2);
    });

    test.each([
      ['one other address', () => '198.51.100.1'],
      ['many others', (at: number) => `198.51.100.${at % 25}`],
    ])(
      'under a flood from %s that fills all places succeeds',
      async (_title, from) => {
        await scene.addAccount('Ada');
        await scene.addAccount('Eve');
        // Six more than there are places; and one of them makes room.
        const flood = Array.from({ length: 40 }, (_, at) => scene.try('Eve', 'guess', from(at)));
        expect(await scene.try('Ada')).toMatchObject({ kind: 'signed_in' });
        const kinds = (await Promise.all(flood)).map(({ kind }) => kind);
        expect(kinds.filter((kind) => kind === 'busy')).toHaveLength(7);
      },
      60_000,
    );

    test('parallel to twenty others from the same address is served', async () => {
      await scene.addAccount('Ada');
      const others = Array.from({ length: attemptLimits.perAddress - 1 }, () => scene.try('Eve', 'guess', '127.1.2.3'));
      expect(await scene.try('Ada', password, '127.0.0.1')).toMatchObject({ kind: 'signed_in' });
      expect(new Set((await Promise.all(others)).map(({ kind }) => kind))).toEqual(new Set(['refused']));
    });
  });

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
