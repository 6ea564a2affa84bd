/**
 * Grants beside other programs: two workers that claim at once, rows of a helpdesk, and mailboxes that a grant opens.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../../../src/adapters/database/database.ts';
import type { OAuthProvider } from '../../../../src/config/oauth-provider.ts';
import type { Mailbox } from '../../../../src/ingest/model.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import { by, plain, plainNow, sampleMailbox, sealed, secret } from '../samples.ts';

const minute = 60_000;
const races = 200;
const key = 'k'.repeat(16);
const stack = new AsyncDisposableStack();
const application = { name: 'm365', flow: 'application' } as OAuthProvider;

afterAll(() => stack.disposeAsync());

describe.each(kinds)('grants and mailboxes on %s', (kind) => {
  let on: Opened;
  let db: Database;
  let other: Database;

  beforeAll(async () => {
    on = await openKind(kind, stack);
    db = on.db;
    other = stack.use(await openDatabase(on.config));
  });
  beforeEach(async () => {
    await on.empty('oauth_access', 'oauth_grant', 'mailbox_state', 'mailboxes', 'audit');
    await on.run('update encryption_switch set revision = 0');
  });

  async function addWithGrant(more: Partial<Mailbox> = {}): Promise<Mailbox> {
    const mailbox = sampleMailbox({ grant: 'm365', ...more });
    await db.addMailbox(mailbox, null, null, by);
    return mailbox;
  }

  const dueNames = async () => (await db.dueMailboxes(100, [], 3)).map(({ name }) => name).sort();
  const isRefused = { code: 'refused' };

  test(`exactly one of two workers gets a claim, ${races} times`, async () => {
    const { id: grantId } = await db.ensureGrant('m365', application);
    const winners: number[] = [];
    for (let race = 0; race < races; race += 1) {
      const use = { grantId, username: `u${race}` };
      const both = await Promise.all([
        db.claimRenewal(use, 'me', minute, 0),
        other.claimRenewal(use, 'other', minute, 0),
      ]);
      winners.push(both.filter((result) => result.kind === 'claimed').length);
      expect(both.map(({ kind: one }) => one).sort()).toEqual(['claimed', 'taken']);
    }
    expect(winners).toEqual(Array.from({ length: races }, () => 1));
  });

  test('two workers create a grant once', async () => {
    const grants = await Promise.all([db, other, db, other].map((one) => one.ensureGrant('m365', application)));
    expect(new Set(grants.map(({ id }) => id)).size).toBe(1);
    expect(await db.listGrants()).toHaveLength(1);
  });

  test('grants in trouble are listed up to a limit, always the same ones first', async () => {
    const change = { state: 'refused', errorCode: null, errorMessage: null, retryInMs: null } as const;
    for (const name of ['one', 'two', 'three', 'sound']) {
      const { id } = await db.ensureGrant(name, { ...application, name });
      if (name !== 'sound') await db.setGrantState(id, change, by);
    }
    const all = (await db.troubledGrants(10)).map(({ name }) => name);
    expect(all.toSorted()).toEqual(['one', 'three', 'two']);
    expect((await db.troubledGrants(2)).map(({ name }) => name)).toEqual(all.slice(0, 2));
  });

  test('a claim beyond any that is taken was written while the clock ran ahead, and counts for nothing', async () => {
    const { id: grantId } = await db.ensureGrant('m365', application);
    await db.claimRenewal({ grantId, username: '' }, 'other', minute, 0);
    await on.run(`update oauth_access set claim_until = '2200-01-01 00:00:00.000'`);
    expect((await db.claimRenewal({ grantId, username: '' }, 'me', minute, 0)).kind).toBe('claimed');
  });

  test('whatever a provider says about times and codes can be stored', async () => {
    const { id: grantId } = await db.ensureGrant('m365', application);
    for (const timeMs of [Number.MAX_VALUE, Number.NaN, -1, Infinity]) {
      const result = await db.claimRenewal({ grantId, username: '' }, 'me', minute, Infinity);
      if (result.kind !== 'claimed') throw new Error(result.kind);
      const access = { form: 'sealed', sealed: Buffer.from('token'), keyId: key, switchRevision: 0 } as const;
      const times = { remainingMs: timeMs, renewInMs: timeMs };
      expect(await db.storeRenewal(result.claim, { access, ...times, refresh: null, scope: 'ö'.repeat(70_000) })).toBe(
        true,
      );
    }
    const change = { errorCode: `ü${'x'.repeat(99)}`, errorMessage: '😀'.repeat(20_000), retryInMs: Number.MAX_VALUE };
    await db.setGrantState(grantId, { state: 'refused', ...change }, by);
    const grant = await db.grantByName('m365');
    expect(grant?.errorCode).toBe(`?${'x'.repeat(63)}`);
    expect(grant?.retryInMs).toBeGreaterThan(minute);
    const refresh = { form: 'plain', token: secret('r'), switchRevision: 0 } as const;
    const consent = { name: 'm', provider: 'google', account: null, scope: null, refresh, by };
    for (const bad of [{ name: 'n'.repeat(256) }, { name: ' m' }, { name: 'a\nb' }, { account: 'a'.repeat(321) }])
      await expect(db.storeConsent({ ...consent, ...bad })).rejects.toMatchObject(isRefused);
    await expect(db.claimRenewal({ grantId, username: 'u'.repeat(321) }, 'me', minute, 0)).rejects.toMatchObject(
      isRefused,
    );
  });

  test('a grant of a helpdesk needs a name, a provider and a token', async () => {
    await on.run(`insert into oauth_grant (name, provider, refresh) values ('desk', 'google', 'from-desk')`);
    const grant = await db.grantByName('desk');
    expect(grant).toMatchObject({ provider: 'google', flow: 'person', state: 'ready', account: null });
    const token = await db.readRefresh(grant?.id ?? '');
    expect(token).toMatchObject({ form: 'plain', switchRevision: 0 });
    expect(Buffer.from(token?.bytes ?? []).toString()).toBe('from-desk');
    expect(Math.abs((grant?.stateSinceMs ?? 0) - Date.now())).toBeLessThan(10_000);
    expect(await db.nextRenewalInMs()).toBeGreaterThan(minute);
  });

  test.each([
    ['provider', `provider = ''`],
    ['flow', `flow = 'magic-SECRET'`],
    ['state', `state = 'SECRET'`],
    ...(kind === 'sqlite'
      ? [
          ['name', `name = replace(hex(zeroblob(150)), '0', 'n')`],
          ['account', `account = replace(hex(zeroblob(50)), '0', 'SECRET')`],
          ['account', `account = 'a' || char(10) || 'SECRET'`],
        ]
      : []),
  ])('a row with an invalid %s is refused alone, and is not quoted (%s)', async (column, spoil = '') => {
    for (const name of ['bad', 'good'])
      await on.run(`insert into oauth_grant (name, provider, refresh, renewed_at)
        values ('${name}', 'google', 'x', '2020-01-01 00:00:00.000')`);
    await on.run(`update oauth_grant set ${spoil} where name = 'bad'`);
    const listed = await db.listGrants();
    const good = listed.find(({ name }) => name === 'good');
    const bad = listed.find(({ name }) => name !== 'good');
    expect(good).toMatchObject({ name: 'good', state: 'ready' });
    expect(bad).toMatchObject({ state: 'refused', errorCode: 'grant_invalid' });
    expect(bad?.errorMessage).toContain(`${column} `);
    expect(bad?.errorMessage).not.toContain('SECRET');
    expect(await db.grantByName('good')).toMatchObject({ name: 'good' });
    if (column !== 'name') await expect(db.grantByName('bad')).rejects.toMatchObject({ code: 'grant_invalid' });
    expect((await db.dueRenewals(10)).map(({ name }) => name)).toContain('good');
  });

  test('a token of an unknown form is damaged, and one beyond the limit is cut one byte beyond it', async () => {
    await on.run(
      `insert into oauth_grant (name, provider, refresh, refresh_form) values ('d', 'google', 'x', 'magic')`,
    );
    const { id = '' } = (await db.grantByName('d')) ?? {};
    await expect(db.readRefresh(id)).rejects.toMatchObject({ code: 'token_damaged' });
    await on.run(`update oauth_grant set refresh = null`);
    expect(await db.readRefresh(id)).toBe(null);
    await on.run(`update oauth_grant set refresh = '', refresh_form = 'plain'`);
    expect(await db.readRefresh(id)).toBe(null);
    if (kind !== 'sqlite') return;
    await on.run(`update oauth_grant set refresh = '${'x'.repeat(100_000)}'`);
    expect((await db.readRefresh(id))?.bytes.length).toBe(16_385);
  });

  test('impossible times of another program are no times', async () => {
    if (kind !== 'sqlite') return;
    const { id } = await db.ensureGrant('m365', application);
    await addWithGrant();
    await db.claimRenewal({ grantId: id, username: '' }, 'me', minute, 0);
    await on.run(`update oauth_grant set state_since = 'x', retry_at = 'never', asked_at = '?', renewed_at = 'x'`);
    await on.run(`update oauth_access set access = x'41', access_until = 'later', claim_until = 'z', renew_at = 'y'`);
    expect(await db.grantByName('m365')).toMatchObject({ stateSinceMs: 0, retryInMs: null, cutOffAtMs: null });
    expect((await db.readAccess({ grantId: id, username: '' }))?.remainingMs).toBeLessThan(0);
    expect(await db.nextRenewalInMs()).toBe(null);
  });

  test('a mailbox with a grant has no password, and counts as none', async () => {
    const mailbox = await addWithGrant();
    expect(await db.mailboxByName(mailbox.name)).toEqual(mailbox);
    expect(await db.readPassword(mailbox.id)).toMatchObject({ form: 'plain', bytes: new Uint8Array(0) });
    expect(await db.passwordCounts()).toEqual({ sealed: 0, plaintext: 0, byKey: [] });
    expect(await db.plaintextPeriods()).toEqual([]);
    expect(await db.readSwitch()).toMatchObject({ hasPlaintext: false, hasSealed: false });
    for (const selection of ['plain', 'sealable', 'sealed', { notUnder: key }] as const) {
      const batch = { selection, after: null, limit: 10, revision: 0, audit: { ...by, action: 'x' } };
      expect(await db.rewritePasswords(batch, async () => null)).toMatchObject({ seen: 0 });
    }
    expect(await dueNames()).toEqual([mailbox.name]);
    const seal = { settingsSeal: `${key}:seal`, switchRevision: 0 };
    const sealedMailbox = sampleMailbox({ grant: 'm365' });
    await db.addMailbox(sealedMailbox, null, null, by, seal);
    expect(await db.readSettingsSeal(sealedMailbox.id)).toBe(`${key}:seal`);
    const none = sampleMailbox();
    await expect(db.addMailbox(none, null, null, by)).rejects.toMatchObject(isRefused);
    expect(await db.mailboxById(none.id)).toBe(null);
  });

  test('a password that a helpdesk left beside a grant counts and is sealed, but its key is not needed', async () => {
    const mailbox = await addWithGrant();
    await on.run(`update mailboxes set password = 'left'`);
    expect(await db.passwordCounts()).toMatchObject({ plaintext: 1 });
    const batch = {
      selection: 'sealable',
      after: null,
      limit: 10,
      revision: 0,
      audit: { ...by, action: 'x' },
    } as const;
    const sealing = { form: 'sealed', sealed: Buffer.from('jwe'), keyId: key } as const;
    expect(await db.rewritePasswords(batch, async () => sealing)).toMatchObject({ changed: 1 });
    expect(await db.passwordCounts()).toMatchObject({ sealed: 1, plaintext: 0 });
    expect(await db.countMailboxesWithoutKey([])).toBe(0);
    expect(await dueNames()).toEqual([mailbox.name]);
  });

  test('a grant takes the place of a password, and a password that of a grant', async () => {
    const before = sampleMailbox();
    await db.addMailbox(before, plain('p4ss'), null, by);
    const withGrant = { ...before, grant: 'm365' };
    await db.changeMailbox(await db.versionedMailbox(before.name), withGrant, null, by);
    expect(await db.mailboxByName(before.name)).toEqual(withGrant);
    expect((await db.readPassword(before.id))?.bytes).toHaveLength(0);
    expect(await db.passwordCounts()).toMatchObject({ plaintext: 0 });
    const versioned = await db.versionedMailbox(before.name);
    await expect(db.changeMailbox(versioned, before, null, by)).rejects.toMatchObject(isRefused);
    await db.changeMailbox(versioned, before, await plainNow(db, 'new'), by);
    expect(Buffer.from((await db.readPassword(before.id))?.bytes ?? []).toString()).toBe('new');
    const underKey = sampleMailbox();
    await db.addMailbox(underKey, sealed(key), null, by);
    await db.changeMailbox(await db.versionedMailbox(underKey.name), { ...underKey, grant: 'm365' }, null, by);
    const { password } = await db.versionedMailbox(underKey.name);
    expect(password).toEqual({ form: 'plain', keyId: null });
  });

  test('no login is tried while a grant needs a person, until the next try or a consent', async () => {
    const { id } = await db.ensureGrant('m365', application);
    const [mailbox, password] = [await addWithGrant({ name: 'a' }), sampleMailbox({ name: 'p' })];
    await db.addMailbox(password, plain('x'), null, by);
    await addWithGrant({ name: 'unknown', grant: 'none' });
    expect(await dueNames()).toEqual(['a', 'p', 'unknown']);
    const ended = { state: 'refused', errorCode: 'invalid_client', errorMessage: null, retryInMs: null } as const;
    await db.setGrantState(id, ended, by);
    expect(await dueNames()).toEqual(['p', 'unknown']);
    await db.setGrantState(id, { ...ended, retryInMs: 60 * minute }, by);
    expect(await dueNames()).toEqual(['p', 'unknown']);
    await db.setGrantState(id, { ...ended, retryInMs: 0 }, by);
    expect(await dueNames()).toEqual(['a', 'p', 'unknown']);
    await db.setGrantState(id, ended, by);
    await on.run(`update mailbox_state set next_poll_at = '2100-01-01 00:00:00.000', failures = 2
      where mailbox_id = '${mailbox.id}'`);
    await db.setGrantState(id, { ...ended, state: 'ready', errorCode: null }, by);
    expect(await dueNames()).toEqual(['a', 'p', 'unknown']);
  });
});
