/**
 * Contract of the grant store: on SQLite, MariaDB, and the store in memory that other tests use.
 */

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase } from '../../../../src/adapters/database/database.ts';
import type { OAuthProvider } from '../../../../src/config/oauth-provider.ts';
import type { NewToken } from '../../../../src/encryption/tokens.ts';
import type { StoredToken } from '../../../../src/oauth/model.ts';
import type { Consent, GrantStore, Renewal, RenewalClaim } from '../../../../src/oauth/ports.ts';
import { type GrantWorld, memoryGrantStore, newGrantWorld } from '../../../oauth/memory-store.ts';
import { kinds, openKind } from '../databases.ts';
import { by, sampleMailbox, secret } from '../samples.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const week = 7 * day;
const stack = new AsyncDisposableStack();

afterAll(() => stack.disposeAsync());

/** A store under test, and what a test changes beside it. */
type Scene = {
  readonly store: GrantStore;
  /** A second process on the same rows. */
  readonly other: GrantStore;
  clear(): Promise<void>;
  addMailbox(mailbox: { name: string; user: string; grant: string; isActive: boolean }): Promise<void>;
  removeMailboxes(): Promise<void>;
  failMailboxes(): Promise<void>;
  /** Names of the mailboxes with failures. */
  failing(): Promise<readonly string[]>;
  setSwitch(revision: number): Promise<void>;
  /** Lets time pass for all that is stored. */
  pass(ms: number): Promise<void>;
  audited(): Promise<readonly string[]>;
};

function inMemory(): Scene {
  let world: GrantWorld = newGrantWorld();
  const proxy = new Proxy({} as GrantWorld, {
    get: (_, key) => Reflect.get(world, key),
    set: (_, key, value) => Reflect.set(world, key, value),
  });
  return {
    store: memoryGrantStore(proxy),
    other: memoryGrantStore(proxy),
    clear: async () => {
      world = newGrantWorld();
    },
    addMailbox: async (mailbox) => void world.mailboxes.push({ ...mailbox, failures: 0 }),
    removeMailboxes: async () => void world.mailboxes.splice(0),
    failMailboxes: async () => {
      for (const mailbox of world.mailboxes) mailbox.failures = 3;
    },
    failing: async () => world.mailboxes.filter(({ failures }) => failures > 0).map(({ name }) => name),
    setSwitch: async (revision) => {
      world.switchRevision = revision;
    },
    pass: async (ms) => {
      world.nowMs += ms;
    },
    audited: async () => world.audit.map(({ action, detail }) => `${action} ${detail}`),
  };
}

const times = {
  oauth_grant: ['state_since', 'retry_at', 'asked_at', 'renewed_at', 'consented_at', 'created_at'],
  oauth_access: ['access_until', 'renew_at', 'claim_until'],
};

async function inDatabase(kind: (typeof kinds)[number]): Promise<Scene> {
  const on = await openKind(kind, stack);
  const other = stack.use(await openDatabase(on.config));
  const earlier = (column: string, ms: number) =>
    kind === 'sqlite'
      ? `${column} = strftime('%Y-%m-%d %H:%M:%f', ${column}, '-${ms / 1000} seconds')`
      : `${column} = ${column} - interval ${ms * 1000} microsecond`;
  return {
    store: on.db,
    other,
    clear: async () => {
      await on.empty('oauth_access', 'oauth_grant', 'mailbox_state', 'mailboxes', 'audit');
      await on.run('update encryption_switch set revision = 0');
    },
    addMailbox: async ({ name, user, grant, isActive }) => {
      const mailbox = sampleMailbox({ name, grant, state: isActive ? 'active' : 'paused' });
      const connection = { ...mailbox.connection, user };
      await on.db.addMailbox({ ...mailbox, connection }, null, null, by);
    },
    removeMailboxes: () => on.empty('mailbox_state', 'mailboxes'),
    failMailboxes: async () => {
      await on.run(`update mailbox_state set failures = 3, login_failures = 3, last_error_code = 'oauth_needs_consent',
        next_poll_at = '2100-01-01 00:00:00.000'`);
    },
    failing: async () =>
      (await on.db.listMailboxes()).filter(({ health }) => health.failures > 0).map(({ name }) => name),
    setSwitch: async (revision) => void (await on.run(`update encryption_switch set revision = ${revision}`)),
    pass: async (ms) => {
      for (const [table, columns] of Object.entries(times))
        await on.run(`update ${table} set ${columns.map((column) => earlier(column, ms)).join(', ')}`);
    },
    audited: async () => (await on.db.readAudit(100)).map(({ action, detail }) => `${action} ${detail}`).reverse(),
  };
}

const scenes: readonly (readonly [string, () => Promise<Scene>])[] = [
  ...kinds.map((kind) => [kind, () => inDatabase(kind)] as const),
  ['memory', async () => inMemory()],
];

function plain(text: string, switchRevision = 0): NewToken {
  return { form: 'plain', token: secret(text), switchRevision };
}

function consent(name: string, more: Partial<Consent> = {}): Consent {
  const account = 'ada@example.org';
  return { name, provider: 'google', account, scope: 'mail', refresh: plain('refresh-1'), by, ...more };
}

function renewal(more: Partial<Renewal> = {}): Renewal {
  const access = { form: 'sealed', sealed: Buffer.from('access-1'), keyId: 'k'.repeat(16), switchRevision: 0 } as const;
  return { access, remainingMs: hour, renewInMs: hour / 2, refresh: null, scope: null, ...more };
}

const application = { name: 'm365', flow: 'application' } as OAuthProvider;
const serviceAccount = { name: 'workspace', flow: 'service_account' } as OAuthProvider;
const person = { name: 'google', flow: 'person' } as OAuthProvider;

function textOf(token: StoredToken | null): string | null {
  return token === null ? null : `${token.form} ${Buffer.from(token.bytes)}`;
}

describe.each(scenes)('grants in %s', (_, open) => {
  let on: Scene;

  beforeAll(async () => {
    on = await open();
  });
  beforeEach(() => on.clear());

  async function claim(grantId: string, username = '', store = on.store, owner = 'me'): Promise<RenewalClaim> {
    const result = await store.claimRenewal({ grantId, username }, owner, minute, 2 * minute);
    if (result.kind !== 'claimed') throw new Error(result.kind);
    return result.claim;
  }

  async function renew(grantId: string, username = '', more: Partial<Renewal> = {}): Promise<void> {
    const stored = await on.store.storeRenewal(await claim(grantId, username), renewal(more));
    if (!stored) throw new Error('not stored');
  }

  const dueNames = async () =>
    (await on.store.dueRenewals(10)).map(({ name, use }) => `${name}:${use.username}`).sort();

  test('an application has its grant from the first use on, and a person only by a consent', async () => {
    const grant = await on.store.ensureGrant('m365', application);
    expect(grant).toMatchObject({ name: 'm365', provider: 'm365', flow: 'application', account: null, state: 'ready' });
    expect(grant).toMatchObject({ errorCode: null, errorMessage: null, retryInMs: null, cutOffAtMs: null });
    expect((await on.other.ensureGrant('m365', application)).id).toBe(grant.id);
    await expect(on.store.ensureGrant('support', person)).rejects.toMatchObject({ code: 'oauth_needs_consent' });
    expect(await on.store.grantByName('support')).toBe(null);
    const stored = await on.store.storeConsent(consent('support'));
    expect(await on.store.ensureGrant('support', person)).toEqual(stored);
    expect((await on.store.listGrants()).map(({ name }) => name)).toEqual(['m365', 'support']);
  });

  test('a grant follows the flow that the configuration gives its provider', async () => {
    const before = await on.store.storeConsent(consent('m365', { provider: 'm365' }));
    await renew(before.id);
    const after = await on.store.ensureGrant('m365', application);
    expect(after).toMatchObject({ id: before.id, flow: 'application', account: null });
    expect(await on.store.readAccess({ grantId: after.id, username: '' })).toBe(null);
    expect(await on.store.readRefresh(after.id)).toBe(null);
  });

  test('names are compared letter by letter', async () => {
    await on.store.storeConsent(consent('Support'));
    for (const name of ['support', 'Suppört', 'Support ', ' Support', '']) {
      expect(await on.store.grantByName(name)).toBe(null);
    }
    expect(await on.store.grantByName('Support')).toMatchObject({ name: 'Support' });
  });

  test('a token is read with its form, the revision of the switch and the time that is left', async () => {
    const grant = await on.store.storeConsent(consent('support'));
    const use = { grantId: grant.id, username: '' };
    expect(await on.store.readAccess(use)).toBe(null);
    const refresh = await on.store.readRefresh(grant.id);
    expect(refresh).toMatchObject({ switchRevision: 0, remainingMs: null, renewInMs: null });
    expect(textOf(refresh)).toBe('plain refresh-1');
    await renew(grant.id, '', { refresh: plain('refresh-2'), scope: 'other' });
    const access = await on.store.readAccess(use);
    expect(textOf(access)).toBe('sealed access-1');
    expect(access?.switchRevision).toBe(0);
    expect(Math.abs((access?.remainingMs ?? 0) - hour)).toBeLessThan(5000);
    expect(Math.abs((access?.renewInMs ?? 0) - hour / 2)).toBeLessThan(5000);
    expect(textOf(await on.store.readRefresh(grant.id))).toBe('plain refresh-2');
    expect(await on.store.listGrants()).toMatchObject([{ scope: 'other', hasRefreshToken: true, mailboxes: 0 }]);
    await on.pass(2 * hour);
    expect((await on.store.readAccess(use))?.remainingMs).toBeLessThan(-50 * minute);
  });

  test('a claim is refused while another is in force and while the token is good for longer', async () => {
    const { id } = await on.store.ensureGrant('m365', application);
    const use = { grantId: id, username: '' };
    const first = await claim(id);
    expect(await on.other.claimRenewal(use, 'other', minute, 2 * minute)).toEqual({ kind: 'taken' });
    expect(await on.store.claimRenewal(use, 'me', minute, 2 * minute)).toEqual({ kind: 'taken' });
    expect(await on.store.storeRenewal(first, renewal())).toBe(true);
    expect(await on.other.claimRenewal(use, 'other', minute, 2 * minute)).toEqual({ kind: 'fresh' });
    // As before: not fresh for one who read this very token.
    const read = (await on.store.readAccess(use))?.remainingMs ?? 0;
    expect((await on.other.claimRenewal(use, 'other', minute, read)).kind).toBe('claimed');
  });

  test('a token is claimed however long it is good when the server refused it', async () => {
    const { id } = await on.store.ensureGrant('m365', application);
    await renew(id);
    const result = await on.store.claimRenewal({ grantId: id, username: '' }, 'me', minute, Infinity);
    expect(result.kind).toBe('claimed');
  });

  test('after a claim expired, another owner takes it, and the first one stores, marks and releases nothing', async () => {
    const grant = await on.store.storeConsent(consent('support'));
    const lost = await claim(grant.id);
    expect(await on.store.markAsked(lost)).toBe(true);
    await on.pass(2 * minute);
    expect(await on.store.markAsked(lost)).toBe(false);
    const mine = await claim(grant.id, '', on.other, 'other');
    expect(mine.version).toBeGreaterThan(lost.version);
    const late = renewal({ refresh: plain('late') });
    expect(await on.store.storeRenewal(lost, late)).toBe(false);
    await on.store.releaseRenewal(lost, true);
    expect((await on.store.grantByName('support'))?.cutOffAtMs).not.toBe(null);
    expect(await on.store.claimRenewal(lost, 'third', minute, 0)).toEqual({ kind: 'taken' });
    expect(await on.other.storeRenewal(mine, renewal({ refresh: plain('refresh-2') }))).toBe(true);
    expect(textOf(await on.store.readRefresh(grant.id))).toBe('plain refresh-2');
    expect(await on.other.storeRenewal(mine, late)).toBe(false);
  });

  test('a claim that expired and that no other owner took still stores what the provider issued', async () => {
    const { id } = await on.store.ensureGrant('m365', application);
    const mine = await claim(id);
    await on.pass(2 * minute);
    expect(await on.store.storeRenewal(mine, renewal())).toBe(true);
  });

  test('a second claim of one owner has a version of its own', async () => {
    const { id } = await on.store.ensureGrant('m365', application);
    const first = await claim(id);
    await on.pass(2 * minute);
    await claim(id);
    expect(await on.store.storeRenewal(first, renewal())).toBe(false);
  });

  test('a mark stays from the first request until a token or an answer is stored', async () => {
    const { id } = await on.store.ensureGrant('m365', application);
    const cutOffAtMs = async () => (await on.store.grantByName('m365'))?.cutOffAtMs ?? null;
    const first = await claim(id);
    await on.store.markAsked(first);
    const markedAtMs = await cutOffAtMs();
    expect(markedAtMs).not.toBe(null);
    await on.store.releaseRenewal(first, false);
    const second = await claim(id);
    await on.store.markAsked(second);
    expect(await cutOffAtMs()).toBe(markedAtMs);
    await on.store.releaseRenewal(second, true);
    expect(await cutOffAtMs()).toBe(null);
    const third = await claim(id);
    await on.store.markAsked(third);
    await on.store.storeRenewal(third, renewal());
    expect(await cutOffAtMs()).toBe(null);
  });

  test('nothing is stored for another revision of the switch', async () => {
    const grant = await on.store.storeConsent(consent('support'));
    const mine = await claim(grant.id);
    await on.setSwitch(5);
    const changed = { code: 'switch_changed' };
    await expect(on.store.storeRenewal(mine, renewal())).rejects.toMatchObject(changed);
    await expect(on.store.storeConsent(consent('support', { account: 'eve' }))).rejects.toMatchObject(changed);
    expect(await on.store.readAccess(mine)).toBe(null);
    expect(textOf(await on.store.readRefresh(grant.id))).toBe('plain refresh-1');
    expect(await on.store.grantByName('support')).toMatchObject({ account: 'ada@example.org' });
    const access = { ...renewal().access, switchRevision: 5 };
    expect(await on.store.storeRenewal(mine, renewal({ access }))).toBe(true);
  });

  test('a state has its time, and its retry; a renewal ends it', async () => {
    const { id } = await on.store.ensureGrant('m365', application);
    const read = async () => await on.store.grantByName('m365');
    const refused = { state: 'refused', errorCode: 'invalid_client', errorMessage: 'no', retryInMs: hour } as const;
    expect(await on.store.setGrantState(id, refused, by)).toBe(true);
    const first = await read();
    expect(first).toMatchObject({ state: 'refused', errorCode: 'invalid_client', errorMessage: 'no' });
    expect(Math.abs((first?.retryInMs ?? 0) - hour)).toBeLessThan(5000);
    await sleep(5);
    expect(await on.store.setGrantState(id, { ...refused, errorCode: '7000222', retryInMs: null }, by)).toBe(false);
    const second = await read();
    expect(second).toMatchObject({ state: 'refused', stateSinceMs: first?.stateSinceMs, errorCode: '7000222' });
    expect(second?.retryInMs).toBeGreaterThan(365 * day);
    await renew(id);
    expect(await read()).toMatchObject({ state: 'ready', errorCode: null, errorMessage: null, retryInMs: null });
    expect(await on.store.setGrantState('00000000-0000-4000-8000-000000000000', refused, by)).toBe(false);
    expect(await on.audited()).toEqual(['oauth.refused m365']);
  });

  test('a provider that answers later leaves the grant ready, and the next request waits', async () => {
    const { id } = await on.store.ensureGrant('m365', application);
    const wait = { state: 'ready', errorCode: 'http_503', errorMessage: null, retryInMs: minute } as const;
    expect(await on.store.setGrantState(id, wait, by)).toBe(false);
    expect((await on.store.grantByName('m365'))?.retryInMs).toBeGreaterThan(minute / 2);
    await on.pass(2 * minute);
    expect((await on.store.grantByName('m365'))?.retryInMs).toBe(null);
  });

  test('a consent replaces a grant of the same provider, and starts its mailboxes again', async () => {
    const first = await on.store.storeConsent(consent('support'));
    await renew(first.id);
    for (const [name, grant] of [
      ['a', 'support'],
      ['b', 'support'],
      ['c', 'm365'],
    ] as const)
      await on.addMailbox({ name, user: 'u', grant, isActive: name !== 'b' });
    const ended = {
      state: 'needs_consent',
      errorCode: 'invalid_grant',
      errorMessage: 'ended',
      retryInMs: null,
    } as const;
    await on.store.setGrantState(first.id, ended, by);
    await on.failMailboxes();
    const second = await on.store.storeConsent(consent('support', { refresh: plain('refresh-2'), account: null }));
    expect(second).toMatchObject({ id: first.id, state: 'ready', account: null, retryInMs: null, errorCode: null });
    expect(await on.store.readAccess({ grantId: first.id, username: '' })).toBe(null);
    expect(textOf(await on.store.readRefresh(first.id))).toBe('plain refresh-2');
    expect(await on.failing()).toEqual(['c']);
    await expect(on.store.storeConsent(consent('support', { provider: 'yahoo' }))).rejects.toMatchObject({
      code: 'refused',
    });
    expect(textOf(await on.store.readRefresh(first.id))).toBe('plain refresh-2');
    const [view] = await on.store.listGrants();
    expect(view).toMatchObject({ consentedBy: by.who, mailboxes: 2, accessUntilMs: null, hasRefreshToken: true });
    expect(await on.store.mailboxesOfGrant('support')).toEqual(['a', 'b']);
    const audited = (await on.audited()).filter((entry) => entry.startsWith('oauth.'));
    expect(audited.map((entry) => entry.split(' ')[0])).toEqual([
      'oauth.consented',
      'oauth.needs_consent',
      'oauth.consented',
    ]);
  });

  test('a consent is stored under the id that its token is sealed for, or not at all', async () => {
    const id = randomUUID();
    expect(await on.store.storeConsent(consent('support', { id }))).toMatchObject({ id, name: 'support' });
    expect((await on.store.storeConsent(consent('support', { id }))).id).toBe(id);
    const other = on.store.storeConsent(consent('support', { id: randomUUID(), refresh: plain('refresh-2') }));
    await expect(other).rejects.toMatchObject({ code: 'database_conflict' });
    expect(textOf(await on.store.readRefresh(id))).toBe('plain refresh-1');
  });

  test('a grant is revoked: removed, or without tokens and in need of a consent while a mailbox uses it', async () => {
    const grant = await on.store.storeConsent(consent('support'));
    await renew(grant.id);
    await on.addMailbox({ name: 'a', user: 'u', grant: 'support', isActive: true });
    expect(await on.store.revokeGrant('support', by)).toBe('needs_consent');
    expect(await on.store.grantByName('support')).toMatchObject({
      ...{ id: grant.id, state: 'needs_consent', errorCode: 'revoked', errorMessage: `revoked by ${by.who}` },
    });
    expect((await on.store.grantByName('support'))?.retryInMs).toBeGreaterThan(0);
    expect(await on.store.readAccess({ grantId: grant.id, username: '' })).toBe(null);
    expect(await on.store.readRefresh(grant.id)).toBe(null);
    expect(await dueNames()).toEqual([]);
    expect(await on.store.storeConsent(consent('support'))).toMatchObject({ id: grant.id, state: 'ready' });
    await on.removeMailboxes();
    expect(await on.store.revokeGrant('support', by)).toBe('removed');
    expect(await on.store.grantByName('support')).toBe(null);
    await expect(on.store.revokeGrant('support', by)).rejects.toMatchObject({ code: 'not_found' });
    expect((await on.audited()).filter((entry) => entry.startsWith('oauth.revoked'))).toHaveLength(2);
  });

  test('a grant is removed with its tokens, unless a mailbox uses it', async () => {
    const grant = await on.store.storeConsent(consent('support'));
    await renew(grant.id);
    await on.addMailbox({ name: 'a', user: 'u', grant: 'support', isActive: false });
    await expect(on.store.removeGrant('support', by)).rejects.toMatchObject({ code: 'refused' });
    await on.removeMailboxes();
    await on.store.removeGrant('support', by);
    expect(await on.store.grantByName('support')).toBe(null);
    expect(await on.store.readAccess({ grantId: grant.id, username: '' })).toBe(null);
    expect(await on.store.readRefresh(grant.id)).toBe(null);
    await expect(on.store.removeGrant('support', by)).rejects.toMatchObject({ code: 'not_found' });
    await expect(claim(grant.id)).rejects.toMatchObject({ code: 'not_found' });
    expect((await on.audited()).at(-1)).toBe('oauth.removed support');
  });

  test('renewals are due at their time for active mailboxes, and weekly for a person without one', async () => {
    expect(await on.store.nextRenewalInMs()).toBe(null);
    const app = await on.store.ensureGrant('m365', application);
    const support = await on.store.storeConsent(consent('support'));
    const service = await on.store.ensureGrant('workspace', serviceAccount);
    await on.addMailbox({ name: 'a', user: 'a@example.org', grant: 'm365', isActive: true });
    await on.addMailbox({ name: 'b', user: 'B@example.org', grant: 'workspace', isActive: true });
    await on.addMailbox({ name: 'c', user: 'c@example.org', grant: 'workspace', isActive: false });
    await renew(app.id);
    await renew(support.id);
    for (const user of ['b@example.org', 'c@example.org', 'd@example.org']) await renew(service.id, user);
    expect(await dueNames()).toEqual([]);
    const nextMs = (await on.store.nextRenewalInMs()) ?? 0;
    expect(Math.abs(nextMs - hour / 2)).toBeLessThan(5000);
    await on.pass(hour / 2 + 1000);
    expect(await dueNames()).toEqual(['m365:', 'workspace:b@example.org']);
    expect(await on.store.nextRenewalInMs()).toBe(0);
    await claim(app.id, '', on.other, 'other').catch(() => undefined);
    await on.pass(week);
    expect(await dueNames()).toEqual(['m365:', 'support:', 'workspace:b@example.org']);
    expect(await on.store.dueRenewals(1)).toHaveLength(1);
    await renew(support.id);
    expect(await dueNames()).toEqual(['m365:', 'workspace:b@example.org']);
    await on.removeMailboxes();
    expect(await dueNames()).toEqual([]);
    expect(Math.abs(((await on.store.nextRenewalInMs()) ?? 0) - week)).toBeLessThan(5000);
  });

  test('a renewal is not due while another worker does it, nor before the provider may be asked again', async () => {
    const { id } = await on.store.ensureGrant('m365', application);
    await on.addMailbox({ name: 'a', user: 'a', grant: 'm365', isActive: true });
    await renew(id);
    await on.pass(hour);
    expect(await dueNames()).toEqual(['m365:']);
    const mine = await claim(id);
    expect(await dueNames()).toEqual([]);
    await on.store.releaseRenewal(mine, true);
    const failed = { state: 'ready', errorCode: 'http_503', errorMessage: null, retryInMs: 10 * minute } as const;
    await on.store.setGrantState(id, failed, by);
    expect(await dueNames()).toEqual([]);
    expect(Math.abs(((await on.store.nextRenewalInMs()) ?? 0) - 10 * minute)).toBeLessThan(5000);
    await on.pass(11 * minute);
    expect(await dueNames()).toEqual(['m365:']);
    await on.store.setGrantState(id, { ...failed, state: 'refused', retryInMs: null }, by);
    expect(await dueNames()).toEqual([]);
  });

  test('access tokens that no mailbox uses are forgotten, except during their renewal', async () => {
    const app = await on.store.ensureGrant('m365', application);
    const service = await on.store.ensureGrant('workspace', serviceAccount);
    await on.addMailbox({ name: 'b', user: 'B@example.org', grant: 'workspace', isActive: false });
    await renew(app.id);
    await renew(service.id, 'b@example.org');
    await renew(service.id, 'd@example.org');
    await claim(service.id, 'e@example.org');
    expect(await on.store.forgetUnusedAccess()).toBe(2);
    expect(await on.store.readAccess({ grantId: app.id, username: '' })).toBe(null);
    expect(await on.store.readAccess({ grantId: service.id, username: 'd@example.org' })).toBe(null);
    expect(textOf(await on.store.readAccess({ grantId: service.id, username: 'b@example.org' }))).toBe(
      'sealed access-1',
    );
    await on.pass(hour);
    expect(await on.store.forgetUnusedAccess()).toBe(1);
  });
});
