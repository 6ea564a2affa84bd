/**
 * In-memory grant store that fulfils the contract of `GrantStore`; the `GrantWorld` is what a database would hold.
 *
 * Tokens are copies, which `readAccess` and `readRefresh` copy again. Time advances by `world.nowMs` alone.
 */
import { randomUUID } from 'node:crypto';
import type { AuditEntry } from '../../src/encryption/ports.ts';
import type { NewToken } from '../../src/encryption/tokens.ts';
import { Failure } from '../../src/errors.ts';
import type { AuditActor } from '../../src/ingest/model.ts';
import type { AccessUse, Grant, GrantState, GrantView, OAuthFlow, StoredToken } from '../../src/oauth/model.ts';
import type { ClaimResult, Consent, GrantStore, RenewalClaim } from '../../src/oauth/ports.ts';
import { copySecret, secretBuffer } from '../../src/secret/secret-bytes.ts';

export type MemoryToken = {
  readonly form: 'plain' | 'sealed';
  readonly bytes: Uint8Array;
  readonly keyId: string | null;
};

export type MemoryGrant = {
  readonly id: string;
  readonly name: string;
  provider: string;
  flow: OAuthFlow;
  account: string | null;
  scope: string | null;
  refresh: MemoryToken | null;
  state: GrantState;
  stateSinceMs: number;
  errorCode: string | null;
  errorMessage: string | null;
  retryAtMs: number | null;
  askedAtMs: number | null;
  renewedAtMs: number;
  consentedAtMs: number | null;
  consentedBy: string | null;
};

export type MemoryAccess = AccessUse & {
  token: MemoryToken | null;
  untilMs: number;
  renewAtMs: number | null;
  version: number;
  claim: { readonly owner: string; readonly untilMs: number } | null;
};

export type MemoryMailbox = {
  readonly name: string;
  readonly user: string;
  grant: string | null;
  isActive: boolean;
  /** Consecutive failures; a consent forgets them. */
  failures: number;
};

export type GrantWorld = {
  nowMs: number;
  /** Of the encryption switch. */
  switchRevision: number;
  readonly grants: Map<string, MemoryGrant>;
  /** By grant id and user name. */
  readonly access: Map<string, MemoryAccess>;
  readonly mailboxes: MemoryMailbox[];
  readonly audit: AuditEntry[];
};

const weekMs = 604_800_000;

export function newGrantWorld(): GrantWorld {
  return {
    nowMs: 1_800_000_000_000,
    switchRevision: 0,
    grants: new Map(),
    access: new Map(),
    mailboxes: [],
    audit: [],
  };
}

export function memoryGrantStore(world: GrantWorld): GrantStore {
  return { ...readsOf(world), ...renewalsOf(world), ...changesOf(world), ...scheduleOf(world) };
}

type Part<K extends keyof GrantStore> = Pick<GrantStore, K>;

function readsOf(
  world: GrantWorld,
): Part<'grantByName' | 'listGrants' | 'troubledGrants' | 'readAccess' | 'readRefresh' | 'mailboxesOfGrant'> {
  return {
    grantByName: async (name) => grantOf(world, named(world, name)),
    listGrants: async () => grantsOf(world).map((grant) => viewOf(world, grant)),
    troubledGrants: async () =>
      grantsOf(world)
        .filter(({ state }) => state !== 'ready')
        .map((one) => granted(world, one)),
    readAccess: async (use) => {
      const row = world.access.get(keyOf(use));
      return row === undefined ? null : stored(world, row.token, row);
    },
    readRefresh: async (grantId) => stored(world, byId(world, grantId)?.refresh ?? null, null),
    mailboxesOfGrant: async (name) => usersOf(world, name).map((mailbox) => mailbox.name),
  };
}

function renewalsOf(world: GrantWorld): Part<'claimRenewal' | 'markAsked' | 'storeRenewal' | 'releaseRenewal'> {
  return {
    claimRenewal: async (use, owner, forMs, marginMs) => claimRenewal(world, use, owner, forMs, marginMs),
    markAsked: async (claim) => {
      const grant = byId(world, claim.grantId);
      const row = held(world, claim);
      if (grant === null || row?.claim == null || row.claim.untilMs <= world.nowMs) return false;
      grant.askedAtMs ??= world.nowMs;
      return true;
    },
    storeRenewal: async (claim, renewal) => {
      checkRevision(world, renewal.access);
      if (renewal.refresh !== null) checkRevision(world, renewal.refresh);
      const grant = byId(world, claim.grantId);
      const row = held(world, claim);
      if (grant === null || row === null) return false;
      Object.assign(row, {
        token: tokenOf(renewal.access),
        untilMs: world.nowMs + renewal.remainingMs,
        renewAtMs: world.nowMs + renewal.renewInMs,
        version: row.version + 1,
        claim: null,
      });
      if (renewal.refresh !== null) grant.refresh = tokenOf(renewal.refresh);
      grant.scope = renewal.scope ?? grant.scope;
      grant.renewedAtMs = world.nowMs;
      makeReady(world, grant);
      return true;
    },
    releaseRenewal: async (claim, wasAnswered) => {
      const row = held(world, claim);
      if (row === null) return;
      row.claim = null;
      const grant = byId(world, claim.grantId);
      if (wasAnswered && grant !== null) grant.askedAtMs = null;
    },
  };
}

function changesOf(
  world: GrantWorld,
): Part<'ensureGrant' | 'setGrantState' | 'storeConsent' | 'revokeGrant' | 'removeGrant' | 'forgetUnusedAccess'> {
  return {
    ensureGrant: async (name, { name: provider, flow }) => {
      const found = named(world, name);
      if (flow === 'person') {
        if (found === null) throw new Failure('oauth_needs_consent', `grant ${name} has no consent yet`);
        return granted(world, found);
      }
      if (found !== null && found.flow === flow && found.provider === provider) return granted(world, found);
      const grant = found ?? addGrant(world, name, provider, flow);
      Object.assign(grant, { provider, flow, account: null, scope: null, refresh: null });
      forgetAccess(world, grant.id);
      makeReady(world, grant);
      return granted(world, grant);
    },
    setGrantState: async (grantId, { state, errorCode, errorMessage, retryInMs }, by) => {
      const grant = byId(world, grantId);
      if (grant === null) return false;
      const isOther = grant.state !== state;
      const retryAtMs = retryInMs === null ? (state === 'ready' ? null : Infinity) : world.nowMs + retryInMs;
      Object.assign(grant, { state, errorCode, errorMessage, retryAtMs });
      if (!isOther) return false;
      grant.stateSinceMs = world.nowMs;
      audit(world, `oauth.${state}`, grant.name, by);
      return true;
    },
    storeConsent: async (consent) => storeConsent(world, consent),
    revokeGrant: async (name, by) => {
      const grant = named(world, name);
      if (grant === null) throw new Failure('not_found', `There is no grant named ${JSON.stringify(name)}.`);
      forgetAccess(world, grant.id);
      audit(world, 'oauth.revoked', grant.name, by);
      if (usersOf(world, name).length === 0) {
        world.grants.delete(name);
        return 'removed';
      }
      const ended = { state: 'needs_consent', errorCode: 'revoked', errorMessage: `revoked by ${by.who}` };
      Object.assign(grant, {
        ...ended,
        refresh: null,
        askedAtMs: null,
        retryAtMs: Infinity,
        stateSinceMs: world.nowMs,
      });
      return 'needs_consent';
    },
    removeGrant: async (name, by) => {
      const grant = named(world, name);
      if (grant === null) throw new Failure('not_found', `There is no grant named ${JSON.stringify(name)}.`);
      if (usersOf(world, name).length > 0) throw new Failure('refused', `mailboxes use grant ${name}`);
      world.grants.delete(name);
      forgetAccess(world, grant.id);
      audit(world, 'oauth.removed', name, by);
    },
    forgetUnusedAccess: async () => {
      const isUsed = usedAccess(world, () => true);
      const unused = [...world.access.values()].filter((row) => !isUsed(row) && !isClaimed(world, row));
      for (const row of unused) world.access.delete(keyOf(row));
      return unused.length;
    },
  };
}

function scheduleOf(world: GrantWorld): Part<'dueRenewals' | 'nextRenewalInMs'> {
  const renewals = () => [...usedRenewals(world), ...weeklyRenewals(world)].toSorted((a, b) => a.atMs - b.atMs);
  return {
    dueRenewals: async (limit) =>
      renewals()
        .filter(({ atMs }) => atMs <= world.nowMs)
        .slice(0, limit)
        .map(({ name, use }) => ({ name, use })),
    nextRenewalInMs: async () => {
      const atMs = renewals()[0]?.atMs ?? Infinity;
      return atMs === Infinity ? null : Math.max(0, atMs - world.nowMs);
    },
  };
}

type DueRenewal = { readonly name: string; readonly use: AccessUse; readonly atMs: number };

function usedRenewals(world: GrantWorld): readonly DueRenewal[] {
  const isUsed = usedAccess(world, ({ isActive }) => isActive);
  return [...world.access.values()].flatMap((row) => {
    const grant = byId(world, row.grantId);
    if (grant === null || row.renewAtMs === null || isClaimed(world, row) || !isUsed(row)) return [];
    return [{ name: grant.name, use: useOf(row), atMs: Math.max(row.renewAtMs, grant.retryAtMs ?? 0) }];
  });
}

function weeklyRenewals(world: GrantWorld): readonly DueRenewal[] {
  return grantsOf(world).flatMap((grant) => {
    const use = { grantId: grant.id, username: '' };
    const row = world.access.get(keyOf(use));
    if (grant.flow !== 'person' || grant.refresh === null || (row !== undefined && isClaimed(world, row))) return [];
    if (usersOf(world, grant.name).some(({ isActive }) => isActive)) return [];
    return [{ name: grant.name, use, atMs: Math.max(grant.renewedAtMs + weekMs, grant.retryAtMs ?? 0) }];
  });
}

function claimRenewal(world: GrantWorld, use: AccessUse, owner: string, forMs: number, marginMs: number): ClaimResult {
  if (byId(world, use.grantId) === null) throw new Failure('not_found', 'The grant is gone.');
  const empty = { ...useOf(use), token: null, untilMs: 0, renewAtMs: null, version: 0, claim: null };
  const row = world.access.get(keyOf(use)) ?? empty;
  world.access.set(keyOf(use), row);
  if (row.token !== null && row.untilMs > world.nowMs + marginMs) return { kind: 'fresh' };
  if (isClaimed(world, row)) return { kind: 'taken' };
  row.version += 1;
  row.claim = { owner, untilMs: world.nowMs + forMs };
  return { kind: 'claimed', claim: { ...useOf(use), owner, version: row.version } };
}

function storeConsent(world: GrantWorld, { id, refresh, by, ...consent }: Consent): Grant {
  checkRevision(world, refresh);
  const found = named(world, consent.name);
  if (found !== null && found.provider !== consent.provider)
    throw new Failure('refused', `grant ${consent.name} is one of provider ${found.provider}`);
  if (found !== null && found.id !== (id ?? found.id))
    throw new Failure('database_conflict', `grant ${consent.name} was replaced`);
  const grant = found ?? addGrant(world, consent.name, consent.provider, 'person', id);
  Object.assign(grant, { flow: 'person', account: consent.account, scope: consent.scope, refresh: tokenOf(refresh) });
  Object.assign(grant, { consentedAtMs: world.nowMs, consentedBy: by.who, renewedAtMs: world.nowMs });
  forgetAccess(world, grant.id);
  makeReady(world, grant);
  for (const mailbox of usersOf(world, grant.name)) mailbox.failures = 0;
  audit(world, 'oauth.consented', grant.name, by);
  return granted(world, grant);
}

function addGrant(
  world: GrantWorld,
  name: string,
  provider: string,
  flow: OAuthFlow,
  id: string = randomUUID(),
): MemoryGrant {
  const grant: MemoryGrant = {
    ...{ id, name, provider, flow, account: null, scope: null, refresh: null },
    ...{ state: 'ready', stateSinceMs: world.nowMs, errorCode: null, errorMessage: null, retryAtMs: null },
    ...{ askedAtMs: null, renewedAtMs: world.nowMs, consentedAtMs: null, consentedBy: null },
  };
  world.grants.set(name, grant);
  return grant;
}

function makeReady(world: GrantWorld, grant: MemoryGrant): void {
  if (grant.state !== 'ready') grant.stateSinceMs = world.nowMs;
  Object.assign(grant, { state: 'ready', errorCode: null, errorMessage: null, retryAtMs: null, askedAtMs: null });
}

function forgetAccess(world: GrantWorld, grantId: string): void {
  for (const row of world.access.values()) if (row.grantId === grantId) world.access.delete(keyOf(row));
}

function keyOf({ grantId, username }: AccessUse): string {
  return JSON.stringify([grantId, username]);
}

function useOf({ grantId, username }: AccessUse): AccessUse {
  return { grantId, username };
}

function named(world: GrantWorld, name: string): MemoryGrant | null {
  return world.grants.get(name) ?? null;
}

function byId(world: GrantWorld, id: string): MemoryGrant | null {
  return grantsOf(world).find((grant) => grant.id === id) ?? null;
}

function grantsOf(world: GrantWorld): readonly MemoryGrant[] {
  return [...world.grants.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function usersOf(world: GrantWorld, name: string): readonly MemoryMailbox[] {
  return world.mailboxes.filter(({ grant }) => grant === name).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** The access tokens that some mailbox of `isOne` opens with. */
function usedAccess(world: GrantWorld, isOne: (mailbox: MemoryMailbox) => boolean): (use: AccessUse) => boolean {
  const grantIds = new Map(grantsOf(world).map(({ name, id }) => [name, id]));
  const usersByKey = (): ReadonlySet<string> =>
    new Set(
      world.mailboxes.filter(isOne).map(({ grant, user }) => `${grantIds.get(grant ?? '')} ${user.toLowerCase()}`),
    );
  let keys: ReadonlySet<string> | null = null;
  return ({ grantId, username }) => {
    if (username === '') return world.mailboxes.some((one) => isOne(one) && grantIds.get(one.grant ?? '') === grantId);
    keys ??= usersByKey();
    return keys.has(`${grantId} ${username.toLowerCase()}`);
  };
}

function isClaimed(world: GrantWorld, { claim }: MemoryAccess): boolean {
  return claim !== null && claim.untilMs > world.nowMs;
}

/** The row of a claim that no other owner took meanwhile, expired or not. */
function held(world: GrantWorld, claim: RenewalClaim): MemoryAccess | null {
  const row = world.access.get(keyOf(claim));
  return row?.claim?.owner === claim.owner && row.version === claim.version ? row : null;
}

function checkRevision(world: GrantWorld, { switchRevision }: NewToken): void {
  if (switchRevision !== world.switchRevision)
    throw new Failure('switch_changed', `the switch is at revision ${world.switchRevision}`);
}

function tokenOf(token: NewToken): MemoryToken {
  if (token.form === 'sealed') return { form: 'sealed', bytes: Uint8Array.from(token.sealed), keyId: token.keyId };
  return { form: 'plain', bytes: token.token.use((bytes) => Uint8Array.from(bytes)), keyId: null };
}

/** `times`: those of an access token. */
function stored(
  world: GrantWorld,
  token: MemoryToken | null,
  times: Pick<MemoryAccess, 'untilMs' | 'renewAtMs'> | null,
): StoredToken | null {
  if (token === null) return null;
  const bytes = secretBuffer(token.bytes.length);
  copySecret(token.bytes, bytes);
  return {
    ...{ form: token.form, bytes, switchRevision: world.switchRevision },
    remainingMs: times === null ? null : times.untilMs - world.nowMs,
    renewInMs: times === null ? null : (times.renewAtMs ?? 0) - world.nowMs,
  };
}

function grantOf(world: GrantWorld, grant: MemoryGrant | null): Grant | null {
  return grant === null ? null : granted(world, grant);
}

function granted(world: GrantWorld, grant: MemoryGrant): Grant {
  const { id, name, provider, flow, account, state, stateSinceMs, errorCode, errorMessage, retryAtMs, askedAtMs } =
    grant;
  const retryInMs = retryAtMs === null || retryAtMs <= world.nowMs ? null : retryAtMs - world.nowMs;
  return {
    ...{ id, name, provider, flow, account, state, stateSinceMs, errorCode, errorMessage, retryInMs },
    cutOffAtMs: askedAtMs,
  };
}

function viewOf(world: GrantWorld, grant: MemoryGrant): GrantView {
  const { scope, consentedAtMs, consentedBy, refresh } = grant;
  const tokens = [...world.access.values()].filter(({ grantId, token }) => grantId === grant.id && token !== null);
  return {
    ...granted(world, grant),
    ...{ scope, consentedAtMs, consentedBy, hasRefreshToken: refresh !== null },
    mailboxes: usersOf(world, grant.name).length,
    accessUntilMs: tokens.length === 0 ? null : Math.max(...tokens.map(({ untilMs }) => untilMs)),
  };
}

function audit(world: GrantWorld, action: string, detail: string, by: AuditActor): void {
  world.audit.push({ ...by, action, keyId: null, nextKeyId: null, mailboxId: null, detail });
}
