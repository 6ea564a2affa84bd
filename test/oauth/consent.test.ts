/** Consent of a person: what is verified before and after the sign-in, what is stored, and that tokens are wiped. */
import { expect, test } from 'vitest';
import type { OAuthProvider } from '../../src/config/oauth-provider.ts';
import type { NewToken, TokenSealing } from '../../src/encryption/tokens.ts';
import type { Failure } from '../../src/errors.ts';
import type { Mailbox } from '../../src/ingest/model.ts';
import { type ConsentRequest, type Consents, createConsents } from '../../src/oauth/consent.ts';
import type { GrantStore, TokenAnswer } from '../../src/oauth/ports.ts';
import type { TokenContext } from '../../src/secret/sealed-token.ts';
import type { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { failureOf } from '../support/promises.ts';
import { type GrantWorld, memoryGrantStore, newGrantWorld } from './memory-store.ts';
import { failed, person, provider, scene, secret, textOf, tokenMailbox } from './scene.ts';

const by = { who: 'ada@desk', host: 'desk' };
const { signal } = new AbortController();

type ConsentScene = {
  readonly world: GrantWorld;
  readonly consents: Consents;
  readonly mailboxes: Mailbox[];
  /** Requests to the provider. */
  readonly asked: string[];
  readonly answers: TokenAnswer[];
  /** What was sealed, but for the letter that tries the key. */
  readonly sealed: TokenContext[];
  readonly faults: { seal: Failure | null; store: Failure[] };
  give(answer: Partial<TokenAnswer>): void;
};

function consentScene(): ConsentScene {
  const world = newGrantWorld();
  const store = memoryGrantStore(world);
  const { clock } = scene([]);
  const mailboxes: Mailbox[] = [];
  const asked: string[] = [];
  const answers: TokenAnswer[] = [];
  const sealed: TokenContext[] = [];
  const faults: ConsentScene['faults'] = { seal: null, store: [] };
  let next: Partial<TokenAnswer> = {};
  const answer = (what: string): TokenAnswer => {
    asked.push(what);
    const tokens = { accessToken: secret('access'), refreshToken: secret('refresh'), expiresInMs: null };
    const given = { ...tokens, scope: null, account: 'anna@example.test', ...next };
    answers.push(given);
    return given;
  };
  const sealing: Pick<TokenSealing, 'prepare'> = {
    prepare: async (token, context): Promise<NewToken> => {
      if (faults.seal !== null) throw faults.seal;
      if (token.length > 1) sealed.push(context);
      return { form: 'plain', token, switchRevision: world.switchRevision };
    },
  };
  const storeConsent: GrantStore['storeConsent'] = async (consent) => {
    const fault = faults.store.shift();
    if (fault !== undefined) throw fault;
    return await store.storeConsent(consent);
  };
  const consents = createConsents({
    store: { ...store, storeConsent, listMailboxes: async () => mailboxes },
    sealing,
    client: {
      authorize: async (_, redirectUri, user) => ({
        url: `https://id.example.test/?to=${redirectUri}&hint=${user}`,
        state: 'state',
        finish: async (address) => answer(address),
      }),
      startDevice: async () => ({
        ...{ verificationUri: 'https://id.example.test/device', userCode: 'ABCD', expiresInMs: 60_000 },
        wait: async () => answer('device'),
      }),
      requestToken: async (_, request) => answer(request.grantType),
    },
    clock,
    newId: () => 'new-id',
  });
  const give = (values: Partial<TokenAnswer>): void => {
    next = values;
  };
  return { world, consents, mailboxes, asked, answers, sealed, faults, give };
}

function requestOf(changes: Partial<OAuthProvider> = {}, more: Partial<ConsentRequest> = {}): ConsentRequest {
  const people = person({ mailboxes: [], scopes: ['openid', 'offline_access', 'mail'], ...changes });
  return { grant: 'anna', provider: people, user: 'anna@example.test', by, ...more };
}

async function signIn({ consents }: ConsentScene, request: ConsentRequest) {
  return await (await consents.beginBrowser(request, 'http://127.0.0.1/oauth/callback')).finish('answer', signal);
}

const isWiped = (token: SecretBytes | null): boolean => token?.length === 0;

test('a consent is sealed for the new grant and stored; its mailboxes are due, its tokens wiped', async () => {
  const at = consentScene();
  at.world.mailboxes.push({ name: 'anna', user: 'anna@example.test', grant: 'anna', isActive: true, failures: 3 });
  {
    using consent = await signIn(at, requestOf());
    expect(consent.account).toBe('anna@example.test');
    expect(textOf(consent.accessToken)).toBe('access');
    expect(at.world.grants.size).toBe(0);
    expect(await consent.store()).toMatchObject({ id: 'new-id', name: 'anna', account: 'anna@example.test' });
  }
  expect(at.sealed).toEqual([
    {
      ...{ grantId: 'new-id', account: 'anna@example.test', kind: 'refresh', username: '' },
      binding: ['people', 'oidc', 'person', 'https://id.example.test', 'https://id.example.test/token', 'ticketmaild'],
    },
  ]);
  expect(at.world.mailboxes[0]?.failures).toBe(0);
  expect(at.world.audit).toMatchObject([{ action: 'oauth.consented', who: 'ada@desk' }]);
  expect(at.answers.every((one) => isWiped(one.accessToken) && isWiped(one.refreshToken))).toBe(true);
});

test('a grant that exists keeps its id, by a device too', async () => {
  const at = consentScene();
  using first = await signIn(at, requestOf());
  const { id } = await first.store();
  const begun = await at.consents.beginDevice(requestOf(), signal);
  expect(begun).toMatchObject({ verificationUri: 'https://id.example.test/device', userCode: 'ABCD' });
  using second = await begun.finish(signal);
  expect((await second.store()).id).toBe(id);
});

test.each<[string, Partial<OAuthProvider>, Partial<TokenAnswer>, string, string]>([
  [
    'another account',
    {},
    { account: 'eve@example.test' },
    'eve@example.test signed in, and the mailbox is that of anna@example.test.',
    'Nothing was stored. Sign in as anna@example.test, in a private window; or, for a shared mailbox, add anna@example.test to mailboxes in [oauth.people] of the configuration file, and reload.',
  ],
  [
    'an unknown account',
    {},
    { account: null },
    'The provider people does not say who signed in, and the mailbox of anna@example.test is not listed.',
    'Nothing was stored. Add "openid" and "email" to scopes in [oauth.people], or add anna@example.test to mailboxes in [oauth.people] of the configuration file, and reload.',
  ],
  [
    'no refresh token: the scope is missing',
    { scopes: ['mail'] },
    { refreshToken: null },
    'The provider people gave no refresh token.',
    'Nothing was stored. Add "offline_access" to scopes in [oauth.people], and begin again.',
  ],
  [
    'no refresh token: it was consented to before',
    { kind: 'google', scopes: ['https://mail.google.com/'], prompt: 'select_account' },
    { refreshToken: null },
    'The provider people gave no refresh token.',
    'Nothing was stored. Set prompt = "consent" in [oauth.people], since it was consented to before, and begin again.',
  ],
  [
    'no refresh token: a provider without a prompt',
    { kind: 'oidc', scopes: ['offline_access'], prompt: null },
    { refreshToken: null },
    'The provider people gave no refresh token.',
    'Nothing was stored. Set prompt = "consent" in [oauth.people], since it was consented to before, and begin again. If it refuses that prompt: --device, or allow refresh tokens for this application there.',
  ],
  [
    'no refresh token for another reason',
    { kind: 'microsoft', scopes: ['offline_access'] },
    { refreshToken: null },
    'The provider people gave no refresh token.',
    'Nothing was stored. Allow refresh tokens (offline access) for this application at the provider, and begin again.',
  ],
  [
    'the box for mail was not ticked',
    { kind: 'google', scopes: ['https://mail.google.com/', 'openid'] },
    { scope: 'openid email' },
    'The access to mail was not allowed.',
    'Nothing was stored. Sign in again, and tick the box for Gmail.',
  ],
])('%s is refused, with nothing stored', async (_, changes, answer, message, hint) => {
  const at = consentScene();
  at.give(answer);
  const failure = await failureOf(signIn(at, requestOf(changes)));
  expect({ code: failure.code, message: failure.message, hint: failure.hint }).toEqual({
    ...{ code: 'oauth_consent_refused', message, hint },
  });
  expect(at.world.grants.size).toBe(0);
  for (const one of at.answers) expect([isWiped(one.accessToken), one.refreshToken?.length ?? 0]).toEqual([true, 0]);
});

test('a token that is too long is refused', async () => {
  const at = consentScene();
  at.give({ refreshToken: secret('r'.repeat(12_001)) });
  const failure = await failureOf(signIn(at, requestOf()));
  expect(failure.message).toBe('The provider people issued a token of 12001 bytes; 12000 can be stored.');
  expect(isWiped(at.answers[0]?.refreshToken ?? null)).toBe(true);
});

test('a listed mailbox may be opened by any account, also an unknown one', async () => {
  const at = consentScene();
  const request = requestOf({ mailboxes: ['desk@example.test'] }, { user: 'desk@example.test' });
  using consent = await signIn(at, request);
  at.give({ account: null });
  using unknown = await signIn(at, request);
  expect([consent.account, unknown.account]).toEqual(['anna@example.test', null]);
});

test('an account that would no longer open another mailbox of the grant is refused; a row that never opened is no reason', async () => {
  const at = consentScene();
  at.mailboxes.push(tokenMailbox('boss', 'anna'));
  const request = requestOf({ mailboxes: ['desk@example.test'] }, { user: 'desk@example.test' });
  using first = await signIn(at, request);
  await first.store();
  at.mailboxes.push(tokenMailbox('anna', 'anna'));
  at.give({ account: 'eve@example.test' });
  const failure = await failureOf(signIn(at, request));
  expect(failure.message).toBe('eve@example.test signed in, and the mailbox is that of anna@example.test.');
  at.give({});
  using again = await signIn(at, request);
  expect(again.account).toBe('anna@example.test');
});

test('no person is asked where the consent could not be stored', async () => {
  const at = consentScene();
  using first = await signIn(at, requestOf());
  await first.store();
  const refusals = [
    [{}, requestOf({ name: 'others' }), 'grant anna is one of provider people'],
    [{}, { ...requestOf(), provider: provider() }, 'provider desk is one of flow "application": no person signs in'],
    [{ seal: failed('key_file_missing') }, requestOf({}, { grant: 'new' }), 'key_file_missing of the test'],
  ] as const;
  const before = at.asked.length;
  for (const [faults, request, message] of refusals) {
    Object.assign(at.faults, faults);
    expect((await failureOf(at.consents.beginBrowser(request, 'http://127.0.0.1/'))).message).toBe(message);
    expect((await failureOf(at.consents.beginDevice(request, signal))).message).toBe(message);
    using token = secret('imported');
    expect((await failureOf(at.consents.importToken(request, token, null, signal))).message).toBe(message);
  }
  expect(at.asked).toHaveLength(before);
});

test('a consent is kept while the switch changes or the database fails, and given up in the end', async () => {
  const at = consentScene();
  using consent = await signIn(at, requestOf());
  at.faults.store = [failed('switch_changed'), failed('database_unavailable'), failed('database_conflict')];
  expect(await consent.store()).toMatchObject({ state: 'ready' });
  at.faults.store = Array.from({ length: 5 }, () => failed('database_unavailable'));
  expect((await failureOf(consent.store())).code).toBe('database_unavailable');
});

test('an imported token is proved by a renewal; what that issued is stored, or the imported one without rotation', async () => {
  const at = consentScene();
  const request = requestOf({}, { user: null });
  using imported = secret('imported');
  at.give({ refreshToken: secret('rotated') });
  using rotated = await at.consents.importToken(request, imported, null, signal);
  await rotated.store();
  expect(at.asked).toEqual(['refresh_token']);
  const stored = () => Buffer.from(at.world.grants.get('anna')?.refresh?.bytes ?? []).toString();
  expect(stored()).toBe('rotated');
  at.give({ refreshToken: null, account: null });
  using same = await at.consents.importToken(request, imported, 'Anna@Example.test', signal);
  expect(await same.store()).toMatchObject({ account: 'anna@example.test' });
  expect(stored()).toBe('imported');
  expect(textOf(imported)).toBe('imported');
});
