/** Sign-ins of persons begun on the page: bound to a session, for one use and 10 minutes; what each refusal says. */
import { beforeEach, describe, expect, test } from 'vitest';
import { createOAuthSignIn } from '../../src/admin/oauth-sign-in.ts';
import type { OAuthProvider } from '../../src/config/oauth-provider.ts';
import { Failure } from '../../src/errors.ts';
import type { Mailbox } from '../../src/ingest/model.ts';
import type { ConsentRequest, ObtainedConsent } from '../../src/oauth/consent.ts';
import type { Grant } from '../../src/oauth/model.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';

const redirectUri = 'https://desk.example.org/admin/oauth/callback';
const ada = { redirectUri, token: 'session of ada', by: 'ada' };

const microsoft = {
  ...{ name: 'm365', kind: 'microsoft', flow: 'person', mailboxes: [], caPem: null },
  imapHosts: [{ host: 'imap.example.org', port: 993 }],
} as unknown as OAuthProvider;

const mailbox = {
  ...{ id: 'm', name: 'desk', grant: 'desk', state: 'active' },
  connection: {
    ...{ host: 'imap.example.org', port: 993, tls: 'implicit', caPem: null, fingerprint: null },
    ...{ user: 'desk@example.org' },
  },
} as unknown as Mailbox;

const grant = { name: 'desk', provider: 'm365', state: 'needs_consent', stateSinceMs: 5, account: 'desk@example.org' };

let nowMs: number;
let asked: ConsentRequest[];
let answers: string[];
let stored: number;
let failure: Failure | null;
let shown: { mailbox: Mailbox; grant: Grant | null; providers: readonly OAuthProvider[] };

function signIn() {
  let number = 0;
  return createOAuthSignIn({
    store: {
      versionedMailbox: async () => ({ mailbox: shown.mailbox }) as never,
      grantByName: async () => shown.grant,
    },
    consents: {
      beginBrowser: async (request) => {
        asked.push(request);
        number += 1;
        const state = `state-${number}`;
        return { url: `https://login.example.org/?state=${state}`, state, finish: async (answer) => finish(answer) };
      },
    },
    providers: () => shown.providers,
    actor: { who: 'ticketmaild', host: 'mail1' },
    clock: { monotonicMs: () => nowMs },
  });
}

function finish(answer: string): ObtainedConsent {
  answers.push(answer);
  if (failure !== null) throw failure;
  return {
    account: 'desk@example.org',
    accessToken: SecretBytes.take(Uint8Array.of(1)),
    store: async () => {
      stored += 1;
      return { ...grant, state: 'ready' } as unknown as Grant;
    },
    [Symbol.dispose]: () => undefined,
  };
}

beforeEach(() => {
  nowMs = 0;
  asked = [];
  answers = [];
  stored = 0;
  failure = null;
  shown = { mailbox, grant: grant as Grant, providers: [microsoft] };
});

test('a sign-in is stored for the admin who began it, whose name the audit has', async () => {
  const page = signIn();
  const begun = await page.connectMailbox('desk', 'm365', ada);
  expect(begun).toMatchObject({ label: 'Microsoft', user: 'desk@example.org', redirectUri });
  expect(asked).toMatchObject([{ grant: 'desk', by: { who: 'ada (admin page)', host: 'mail1' } }]);
  nowMs = 10 * 60_000;
  expect(await page.finishSignIn('?code=c&state=state-1', ada)).toEqual({
    ...{ mailbox: 'desk', isDone: true },
    sentence: 'The sign-in of desk@example.org is stored: the mailbox is fetched now.',
  });
  expect([answers, stored]).toEqual([[`${redirectUri}?code=c&state=state-1`], 1]);
});

describe('nothing is asked of the provider, and nothing stored', () => {
  test.each([
    ['for an answer that was not begun here', '?code=c&state=state-of-an-attacker', ada.token, 0, 'not begun here'],
    ['for an answer without a state', '?code=c', ada.token, 0, 'not begun here'],
    ['for two states', '?code=c&state=state-1&state=state-1', ada.token, 0, 'not begun here'],
    ['in the session of another admin', '?code=c&state=state-1', 'session of eve', 0, 'another session'],
    ['after 10 minutes', '?code=c&state=state-1', ada.token, 10 * 60_000 + 1, 'longer than 10 minutes'],
  ])('%s', async (_name, answer, token, atMs, sentence) => {
    const page = signIn();
    await page.connectMailbox('desk', 'm365', ada);
    nowMs = atMs;
    const finished = await page.finishSignIn(answer, { token });
    expect(finished.isDone).toBe(false);
    expect(finished.sentence).toContain(sentence);
    expect(finished.sentence).toContain('Nothing was stored.');
    expect([answers, stored]).toEqual([[], 0]);
  });

  test('for an answer that came before', async () => {
    const page = signIn();
    await page.connectMailbox('desk', 'm365', ada);
    await page.finishSignIn('?code=c&state=state-1', ada);
    expect((await page.finishSignIn('?code=c&state=state-1', ada)).sentence).toContain('finished already');
    expect([answers.length, stored]).toEqual([1, 1]);
  });

  test('for the oldest of more than 64', async () => {
    const page = signIn();
    for (let count = 0; count < 65; count += 1) await page.connectMailbox('desk', 'm365', ada);
    expect((await page.finishSignIn('?code=c&state=state-1', ada)).sentence).toContain('not begun here');
    expect((await page.finishSignIn('?code=c&state=state-65', ada)).isDone).toBe(true);
  });
});

test('a refused consent says why once, and that nothing was stored', async () => {
  const page = signIn();
  await page.connectMailbox('desk', 'm365', ada);
  failure = new Failure('oauth_consent_refused', 'eve@example.org signed in.', { hint: 'Sign in as desk.' });
  const { sentence } = await page.finishSignIn('?code=c&state=state-1', ada);
  expect(sentence).toBe('eve@example.org signed in. Sign in as desk. Nothing was stored.');
});

describe('no sign-in begins', () => {
  test.each([
    ['for a password', { mailbox: { ...mailbox, grant: null } as Mailbox }, 'm365', 'refused'],
    ['at a provider of another name', {}, 'google', 'refused'],
    [
      'at a provider without persons',
      { providers: [{ ...microsoft, flow: 'application' } as OAuthProvider] },
      'm365',
      'refused',
    ],
    [
      'for a mailbox on another server',
      { mailbox: { ...mailbox, connection: { ...mailbox.connection, host: 'evil.test' } } as Mailbox },
      'm365',
      'token_bound_elsewhere',
    ],
  ])('%s', async (_name, change, provider, code) => {
    shown = { ...shown, ...change };
    await expect(signIn().connectMailbox('desk', provider, ada)).rejects.toMatchObject({ code });
    expect(asked).toEqual([]);
  });
});

test.each([
  ['a password', { mailbox: { ...mailbox, grant: null } as Mailbox }, { kind: 'password' }],
  ['an ended consent', {}, { state: 'needs_consent', sinceMs: 5, connect: [{ provider: 'm365', label: 'Microsoft' }] }],
  ['no grant yet', { grant: null }, { state: 'no_grant', provider: null, connect: [{ provider: 'm365' }] }],
  ['no provider', { providers: [] }, { state: 'no_provider', provider: 'm365', connect: [] }],
  [
    'an application without a token',
    { grant: null, providers: [{ ...microsoft, name: 'desk', flow: 'application' } as OAuthProvider] },
    { state: 'unused', flow: 'application', connect: [] },
  ],
])('the page of a mailbox shows %s', async (_name, change, view) => {
  shown = { ...shown, ...change };
  expect(await signIn().signInOf(shown.mailbox)).toMatchObject(view);
});
