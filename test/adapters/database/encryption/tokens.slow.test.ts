/**
 * Tokens of grants on SQLite and MariaDB: the operations on the switch rewrite them while logins open them and renewals
 * store new ones, and rows that a helpdesk writes are sealed.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../../../src/adapters/clock/clock.ts';
import type { Database } from '../../../../src/adapters/database/database.ts';
import { createKeyFile } from '../../../../src/adapters/keyfile/key-file.ts';
import { createSwitchStateFile } from '../../../../src/adapters/keyfile/state-files.ts';
import { disable } from '../../../../src/encryption/operations/disable.ts';
import { enable } from '../../../../src/encryption/operations/enable.ts';
import { replaceLostKey } from '../../../../src/encryption/operations/replace-lost-key.ts';
import { rotate } from '../../../../src/encryption/operations/rotate.ts';
import { createSealSweep } from '../../../../src/encryption/seal-sweep.ts';
import { createTokenSealing, type NewToken } from '../../../../src/encryption/tokens.ts';
import { Failure, isFailure } from '../../../../src/errors.ts';
import { openStoredToken } from '../../../../src/oauth/stored-tokens.ts';
import type { TokenContext } from '../../../../src/secret/sealed-token.ts';
import { SecretBytes } from '../../../../src/secret/secret-bytes.ts';
import { processOver } from '../../../encryption/operations/process.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import { by } from '../samples.ts';

const options = { force: false, waitMs: 0, signal: new AbortController().signal };
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const provider = 'm365';
const hourMs = 3_600_000;
/** So that a search finds them and nothing else. */
const refreshText = (name: string): string => `canary-refresh-token-of-${name}`;
const accessText = (name: string): string => `canary-access-token-of-${name}`;
const secret = (text: string): SecretBytes => SecretBytes.take(Buffer.from(text));

describe.each(kinds)('tokens on %s', (kind) => {
  const stack = new AsyncDisposableStack();
  let [opened, db]: [Opened, Database] = [] as never;

  beforeAll(async () => {
    opened = await openKind(kind, stack);
    ({ db } = opened);
  });
  afterEach(() => opened.empty('oauth_access', 'oauth_grant', 'mailboxes', 'encryption_switch', 'audit'));
  afterAll(() => stack.disposeAsync());

  /** A host with an empty data folder; each `process` has a vault and a sealing of its own. */
  async function newHost() {
    const { path: dataDir } = stack.use(await temporaryFolder('host'));
    const keyFile = createKeyFile({ dataDir, passphrase: async () => null, nowMs: Date.now });
    const parts = { keyFile, memory: createSwitchStateFile({ dataDir }), store: db, clock: systemClock };
    // None takes another for dead: that would withdraw the rows of the switch that the other is about to write.
    const alive: string[] = [];
    const start = async () => {
      const process = processOver(parts, undefined, alive);
      alive.push(process.worker.name);
      const { store, vault, bindingOf, actor } = process;
      const sealPlaintext = createSealSweep({ store, vault, bindingOf, log: silent, actor });
      await vault.refresh();
      return { ...process, sealPlaintext, sealing: createTokenSealing({ vault, sealPlaintext }) };
    };
    return { keyFile, start };
  }

  type Running = Awaited<ReturnType<Awaited<ReturnType<typeof newHost>>['start']>>;

  function contextOf(grantId: string, name: string, tokenKind: TokenContext['kind']): TokenContext {
    return { grantId, binding: [provider], account: `${name}@example.test`, kind: tokenKind, username: '' };
  }

  /** Stores, and prepares again while the switch changes. */
  async function stored<T>(prepare: () => Promise<NewToken>, write: (token: NewToken) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await write(await prepare());
      } catch (error) {
        if (!isFailure(error, 'switch_changed')) throw error;
      }
    }
  }

  async function addGrant({ sealing }: Running, name: string): Promise<string> {
    const account = `${name}@example.test`;
    const consent = { name, provider, account, scope: null, by };
    const plain = await sealing.prepare(secret(refreshText(name)), contextOf('', name, 'refresh'));
    if (plain.form === 'sealed') throw new Error('the grant id is not known yet');
    return (await db.storeConsent({ ...consent, refresh: plain })).id;
  }

  /** As a renewal does. */
  async function renew({ sealing, worker }: Running, grantId: string, name: string): Promise<boolean> {
    const claimed = await db.claimRenewal({ grantId, username: '' }, worker.name, 60_000, Number.POSITIVE_INFINITY);
    if (claimed.kind !== 'claimed') return false;
    return await stored(
      () => sealing.prepare(secret(accessText(name)), contextOf(grantId, name, 'access')),
      async (access) => {
        const renewal = { access, refresh: null, scope: null, remainingMs: hourMs, renewInMs: hourMs / 2 };
        return await db.storeRenewal(claimed.claim, renewal);
      },
    );
  }

  /** Opens the tokens of a grant as a login does; the reason when one does not open. */
  async function open({ sealing }: Running, grantId: string, name: string): Promise<string> {
    const readAccess = () => db.readAccess({ grantId, username: '' });
    const readRefresh = () => db.readRefresh(grantId);
    try {
      using first = await openStoredToken(readAccess, contextOf(grantId, name, 'access'), sealing);
      using second = await openStoredToken(readRefresh, contextOf(grantId, name, 'refresh'), sealing);
      if (first === null || second === null) return 'none is stored';
      const textOf = (token: SecretBytes) => token.use((bytes) => Buffer.from(bytes).toString());
      return textOf(first) === accessText(name) && textOf(second) === refreshText(name) ? 'opened' : 'another token';
    } catch (error) {
      if (error instanceof Failure) return error.code;
      throw error;
    }
  }

  test('a rotation over 1,000 grants takes less than 20 s, and no login and no renewal fails meanwhile', async ({
    annotate,
  }) => {
    const host = await newHost();
    const operator = await host.start();
    const names = Array.from({ length: 1000 }, (_, index) => `person-${index}`);
    const ids = new Map<string, string>();
    for (const name of names) ids.set(name, await addGrant(operator, name));
    await enable(operator, options);
    expect(await db.tokenCounts()).toMatchObject({ refresh: { sealed: 1000, plaintext: 0 } });
    for (const [name, id] of ids) await renew(operator, id, name);

    const worker = await host.start();
    const results = new Map<string, number>();
    const count = (what: string) => results.set(what, (results.get(what) ?? 0) + 1);
    const isOver = { now: false };
    const forever = async (work: (name: string, id: string) => Promise<unknown>) => {
      for (let at = 0; !isOver.now; at += 1) {
        const name = `person-${(at * 7) % 1000}`;
        await work(name, ids.get(name) ?? '').catch((error: Failure) => count(`${error.code}: ${error.message}`));
        await sleep(2);
      }
    };
    const logins = forever(async (name, id) => count(await open(worker, id, name)));
    const renewals = forever(async (name, id) => count(`renewed ${await renew(worker, id, name)}`));
    const synced = forever(() => worker.vault.refresh());
    const startedMs = performance.now();
    const done = await rotate(operator, options);
    const tookMs = performance.now() - startedMs;
    isOver.now = true;
    await Promise.all([logins, renewals, synced]);

    expect(done).toMatchObject({ unopened: [], isFormerKeyKept: false });
    expect(done.resealedTokens).toBeGreaterThanOrEqual(1000);
    expect([...results.keys()].sort()).toEqual(['opened', 'renewed true']);
    expect(results.get('opened')).toBeGreaterThan(10);
    expect(tookMs).toBeLessThan(20_000);
    await annotate(`${Math.round(tookMs)} ms, ${JSON.stringify(Object.fromEntries(results))}`);
    const fresh = await host.start();
    for (const [name, id] of ids) expect(await open(fresh, id, name)).toBe('opened');
    const { refresh, access } = await db.tokenCounts();
    const byKey = [{ keyId: done.keyId, count: 1000 }];
    expect([refresh, access]).toEqual([
      { sealed: 1000, plaintext: 0, byKey },
      { sealed: 1000, plaintext: 0, byKey },
    ]);
  }, 180_000);

  test('enabled, rotated and disabled again: the tables contain what they may', async () => {
    const host = await newHost();
    const operator = await host.start();
    const id = await addGrant(operator, 'ada');
    await renew(operator, id, 'ada');
    expect(await open(operator, id, 'ada')).toBe('opened');
    expect(await enable(operator, options)).toMatchObject({ sealedTokens: 1, unopened: [] });
    expect(await db.readAccess({ grantId: id, username: '' })).toBeNull();
    await renew(operator, id, 'ada');
    await rotate(operator, options);
    expect(await open(operator, id, 'ada')).toBe('opened');
    const file = opened.file.replace(/mailboxes\.ibd$/, 'oauth_grant.ibd');
    const content = async () => Buffer.concat([await readFile(file), await readFile(opened.file)]).toString('latin1');
    if (kind === 'sqlite') expect(await content()).not.toContain('canary');
    const dump = async () =>
      (await opened.run('select hex(refresh) from oauth_grant')) +
      (await opened.run('select hex(access) from oauth_access'));
    const hex = Buffer.from('canary').toString('hex').toUpperCase();
    expect(await dump()).not.toContain(hex);
    expect(await disable(operator, options)).toMatchObject({ unsealedTokens: 1, unopened: [] });
    expect(await dump()).toContain(Buffer.from(refreshText('ada')).toString('hex').toUpperCase());
    expect(await dump()).not.toContain(Buffer.from(accessText('ada')).toString('hex').toUpperCase());
    const audit = (await db.readAudit(100)).filter(({ action }) => action.startsWith('token.'));
    expect(audit.map(({ action, detail }) => `${action} ${detail}`).reverse()).toEqual([
      'token.sealed ada',
      'token.resealed ada',
      'token.unsealed ada',
    ]);
  });

  test('a refresh token that a helpdesk writes as text is sealed by the sweep', async () => {
    const worker = await (await newHost()).start();
    await enable(worker, options);
    await opened.run(`insert into oauth_grant (name, provider, account, refresh, refresh_form)
      values ('ada', '${provider}', 'ada@example.test', '${refreshText('ada')}', 'plain')`);
    expect((await worker.vault.refresh()).hasPlaintext).toBe(true);
    await worker.sealPlaintext();
    expect((await worker.vault.refresh()).hasPlaintext).toBe(false);
    const grant = await db.grantByName('ada');
    await renew(worker, grant?.id ?? '', 'ada');
    expect(await open(worker, grant?.id ?? '', 'ada')).toBe('opened');
  });

  test('a token of an unknown provider stays as it is, and holds up no other', async () => {
    const worker = await (await newHost()).start();
    await enable(worker, options);
    for (const [name, of] of [
      ['ada', 'unknown'],
      ['eve', provider],
    ])
      await opened.run(`insert into oauth_grant (name, provider, refresh) values ('${name}', '${of}', 'token')`);
    await worker.vault.refresh();
    await worker.sealPlaintext();
    expect(await opened.run('select name, refresh_form from oauth_grant order by name')).toBe(
      'ada\tplain\neve\tsealed',
    );
  });

  test('the claim of a renewal survives that its access token is dropped', async () => {
    const worker = await (await newHost()).start();
    const id = await addGrant(worker, 'ada');
    const claimed = await db.claimRenewal({ grantId: id, username: '' }, 'desk', 60_000, 0);
    await enable(worker, options);
    if (claimed.kind !== 'claimed') throw new Error('not claimed');
    const access = await worker.sealing.prepare(secret(accessText('ada')), contextOf(id, 'ada', 'access'));
    const renewal = { access, refresh: null, scope: null, remainingMs: hourMs, renewInMs: hourMs };
    expect(await db.storeRenewal(claimed.claim, renewal)).toBe(true);
    expect(await open(worker, id, 'ada')).toBe('opened');
  });

  test('a lost key: tokens are dropped, persons sign in again, and applications continue', async () => {
    const host = await newHost();
    const worker = await host.start();
    const id = await addGrant(worker, 'ada');
    await opened.run(`insert into oauth_grant (name, provider, flow) values ('app', '${provider}', 'application')`);
    await enable(worker, options);
    await renew(worker, id, 'ada');
    await host.keyFile.setAside('damaged');
    const other = await host.start();
    expect(await replaceLostKey(other, options)).toMatchObject({ lostTokens: 1 });
    expect(await db.readRefresh(id)).toBeNull();
    expect(await db.readAccess({ grantId: id, username: '' })).toBeNull();
    expect(await db.grantByName('ada')).toMatchObject({ state: 'needs_consent', errorCode: 'key_lost' });
    expect(await db.grantByName('app')).toMatchObject({ state: 'ready', errorCode: null });
    expect(await db.readAudit(1)).toMatchObject([{ action: 'oauth.needs_consent', detail: 'ada' }]);
  });

  test('a batch after a change of the switch changes nothing', async () => {
    const worker = await (await newHost()).start();
    await addGrant(worker, 'ada');
    const batch = { kind: 'refresh', selection: 'plain', after: null, limit: 10, revision: 7 } as const;
    const audit = { ...by, action: 'token.sealed' };
    const rewriting = db.rewriteTokens({ ...batch, audit }, async () => ({ form: 'dropped' }));
    await expect(rewriting).rejects.toMatchObject({ code: 'switch_changed' });
    await expect(db.dropAccessTokens('plain', 7)).rejects.toMatchObject({ code: 'switch_changed' });
    expect(await db.tokenCounts()).toMatchObject({ refresh: { plaintext: 1 } });
  });

  test('batches of access tokens pass every row once, whatever the user names are', async () => {
    const names = ['a', 'a b', 'A', '["x"]', ''];
    for (const [index, grant] of ['1', '2'].entries())
      for (const name of names)
        await opened.run(`insert into oauth_access (grant_id, username, access, access_form)
          values ('${grant.repeat(8)}-0000-7000-8000-00000000000${index}', '${name}', x'746f6b656e', 'sealed')`);
    const seen: string[] = [];
    const audit = { ...by, action: 'token.resealed' };
    for (let after: string | null = null; ; ) {
      const batch = { kind: 'access', selection: 'sealed', after, limit: 3, revision: 0, audit } as const;
      const { lastId } = await db.rewriteTokens(batch, async ({ grantId, username }) => {
        seen.push(`${grantId.slice(0, 1)} ${username}`);
        return null;
      });
      if (lastId === null) break;
      after = lastId;
    }
    expect(seen.toSorted()).toEqual(['1', '2'].flatMap((grant) => names.map((name) => `${grant} ${name}`)).toSorted());
  });
});
