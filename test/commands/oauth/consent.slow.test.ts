/**
 * A person signs in at the terminal: by a device code, a pasted address and a browser on loopback, from the command to
 * the ticket, with a real provider and a real Dovecot; and every sign-in that is refused, with nothing stored.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { App } from '../../../src/compose/compose.ts';
import type { Mailbox } from '../../../src/ingest/model.ts';
import { mail } from '../../support/instance.ts';
import { visitProvider } from '../../support/oauth/person.ts';
import { failureOf } from '../../support/promises.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import type { CommandLine } from '../command-line.ts';
import { type OAuthScene, startScene } from './scene.ts';
import { runWithPerson, type SignedIn, type SignInWay } from './sign-in.ts';

const ways = ['device', 'paste', 'browser'] as const;
const anna = 'anna@example.test';
let scene: OAuthScene;

beforeAll(async () => {
  const more = (common: readonly string[]) => [
    ...['[oauth.online]', ...common, 'flow = "person"', 'client_id = "test-public"', 'scopes = ["openid", "mail"]'],
    ...['[oauth.shared]', ...common, 'flow = "person"', 'client_id = "test-public"'],
    ...['scopes = ["openid", "email", "offline_access", "mail"]', 'mailboxes = ["desk@example.test"]'],
    ...['[oauth.nameless]', ...common, 'flow = "person"', 'client_id = "test-public"'],
    'scopes = ["offline_access", "mail"]',
  ];
  scene = await startScene({ more });
});

afterAll(() => scene[Symbol.asyncDispose]());

/** As a helpdesk writes it: it names a grant that is not there yet. */
async function addMailbox(app: App, name: string, user: string, grant = name): Promise<void> {
  const { dovecot } = scene;
  const mailbox: Mailbox = {
    ...{ id: crypto.randomUUID(), name, grant, addresses: [user], state: 'active', pollIntervalMs: null },
    ...{ start: { from: 'all' }, postAction: { kind: 'seen' } },
    connection: {
      ...{ host: dovecot.host, port: dovecot.tlsPort, tls: 'implicit', caPem: null, fingerprint: null },
      ...{ allowPlaintext: false, user, folder: 'INBOX' },
    },
  };
  await app.store.addMailbox(mailbox, null, null, app.actor);
}

async function issuedTokens(): Promise<readonly string[]> {
  const { tokens } = await scene.provider.report();
  return tokens.flatMap(({ access, refresh }) => (refresh === null ? [access] : [access, refresh]));
}

const enable = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared'];

async function showTickets(env: Record<string, string>, id: string): Promise<void> {
  await using cli = await scene.open(env);
  {
    await using app = await cli.open();
    await app.migrations.apply();
    for (const way of ways) await addMailbox(app, way, `${way}-${id}@example.test`);
  }
  expect(await cli.run(enable)).toMatchObject({ code: 0 });
  for (const way of ways) {
    const user = `${way}-${id}@example.test`;
    const ended = await signIn(cli, way, way, { user });
    expect(ended).toMatchObject({ code: 0 });
    expect(ended.out).toMatch(new RegExp(`^authorized ${way}: ${user} signed in \\(0 messages there; certificate`));
    await scene.dovecot.append(user, 'INBOX', [mail(`${way}-${id}`)]);
    expect(await cli.run(['poll', way])).toMatchObject({ code: 0 });
    const tickets = await cli.run(['ticket', 'list', '--json']);
    expect(tickets.json.filter(({ subject }) => subject === `${way}-${id}`)).toHaveLength(1);
    expectNoCode(ended);
    if (env['TICKETMAILD_DATABASE_URL'] === undefined) await expectNotStored(cli, ended.answer);
  }
  await using app = await cli.open();
  for (const way of ways) {
    const grant = await app.store.grantByName(way);
    expect(grant).toMatchObject({ state: 'ready', account: `${way}-${id}@example.test`, flow: 'person' });
    expect(await app.store.readRefresh(grant?.id ?? '')).toMatchObject({ form: 'sealed' });
  }
  const log = await cli.run(['encryption', 'log', '--json']);
  expect(log.out).toContain('oauth.consented');
  cli.expectNothingLeaked(await issuedTokens());
}

/** Neither the code nor what came with it is printed again. */
function expectNoCode({ out, err, answer }: SignedIn): void {
  const code = answer === '' ? null : URL.parse(answer)?.searchParams.get('code');
  if (typeof code === 'string') expect(`${out}${err}`).not.toContain(code);
}

/** Neither code nor state of a sign-in, nor a token, is in any file of the data folder. */
async function expectNotStored({ dataDir }: CommandLine, answer: string): Promise<void> {
  const parameters = URL.parse(answer)?.searchParams;
  const once = [parameters?.get('code'), parameters?.get('state')].filter((one) => typeof one === 'string');
  const secrets = [...once, ...(await issuedTokens())];
  for (const entry of await readdir(dataDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const content = await readFile(join(entry.parentPath, entry.name), 'latin1');
    expect(secrets.filter((secret) => content.includes(secret))).toEqual([]);
  }
}

type Person = { readonly user: string; readonly denies?: boolean; readonly alter?: (answer: string) => string };

async function signIn(
  { env }: CommandLine,
  mailbox: string,
  way: SignInWay,
  person: Person,
  at = 'people',
): Promise<SignedIn> {
  const args = ['mailbox', 'authorize', mailbox, '--provider', at];
  return await runWithPerson(args, { env, provider: scene.provider, way, ...person });
}

test('mail becomes a ticket after each way to sign in, on SQLite', { timeout: 60_000 }, () =>
  showTickets({}, 'sqlite'),
);

describe('on MariaDB', () => {
  let mariadb: Mariadb;

  beforeAll(async () => {
    mariadb = await startMariadb();
  });

  afterAll(() => mariadb[Symbol.asyncDispose]());

  test('mail becomes a ticket after each way to sign in', { timeout: 60_000, tags: ['long'] }, async () => {
    const { url } = await mariadb.createDatabase();
    await showTickets({ TICKETMAILD_DATABASE_URL: url }, 'mariadb');
  });
});

describe('a sign-in that is refused stores nothing', () => {
  let cli: CommandLine;

  beforeAll(async () => {
    cli = await scene.open();
    await using app = await cli.open();
    await app.migrations.apply();
    await addMailbox(app, 'anna', anna);
  });

  afterAll(() => cli[Symbol.asyncDispose]());

  async function expectRefused(ended: SignedIn, words: RegExp): Promise<void> {
    expect(ended).toMatchObject({ code: /is empty/.test(ended.err) ? 2 : 1, out: '' });
    expect(ended.err).toMatch(words);
    expectNoCode(ended);
    await using app = await cli.open();
    expect(await app.store.grantByName('anna')).toBeNull();
    cli.expectNothingLeaked(await issuedTokens());
  }

  test.each(ways)('another account (%s)', async (way) => {
    const ended = await signIn(cli, 'anna', way, { user: 'eve@example.test' });
    await expectRefused(ended, /eve@example\.test signed in, and the mailbox is that of anna@example\.test\./);
    expect(ended.err).toContain('hint: Nothing was stored. Sign in as anna@example.test, in a private window; or,');
  });

  test.each(['paste', 'browser'] as const)('denied (%s)', async (way) => {
    const ended = await signIn(cli, 'anna', way, { user: anna, denies: true });
    await expectRefused(ended, /The provider people grants no token \(access_denied\)\./);
    expect(ended.err).toContain('hint: Access was denied at the provider. Sign in again and allow it');
  });

  test('no refresh token: the cause is named', async () => {
    const ended = await signIn(cli, 'anna', 'paste', { user: anna }, 'online');
    await expectRefused(ended, /The provider online gave no refresh token\./);
    expect(ended.err).toContain('Add "offline_access" to scopes in [oauth.online], and begin again.');
  });

  test('the provider does not say who signed in', async () => {
    const ended = await signIn(cli, 'anna', 'paste', { user: anna }, 'nameless');
    await expectRefused(
      ended,
      /provider nameless does not say who signed in, and the mailbox of anna@example\.test is not listed\./,
    );
  });

  test.each([
    [
      'a foreign state',
      (answer: string) => answer.replace(/state=[^&]*/, 'state=stolen'),
      /belongs to another sign-in/,
    ],
    ['no code', (answer: string) => answer.replace(/code=[^&]*&/, ''), /The address holds no code\./],
    [
      'another code',
      (answer: string) => answer.replace(/code=[^&]*/, 'code=guessed'),
      /grants no token \(invalid_grant\)/,
    ],
    ['no address', () => 'what?', /That is no address\./],
    ['nothing', () => '', /the address is empty/],
  ])('%s', async (_, alter, words) => {
    const ended = await signIn(cli, 'anna', 'paste', { user: anna, alter });
    await expectRefused(ended, words);
  });

  test.each([
    ['the code has expired', { status: 400, body: { error: 'expired_token' } }, /\(expired_token\)/, /Begin again/],
    ['a token too long', { status: 200, body: longTokens(12_500) }, /\(token_too_long\)/, /issue smaller tokens/],
    [
      'a provider that is down',
      { status: 503, body: {} },
      /does not answer as it should/,
      /Nothing was stored\. Begin/,
    ],
  ])('%s', async (_, answer, words, hint) => {
    await scene.provider.set({ fault: { path: '/token', count: 1, ...answer } });
    const ended = await signIn(cli, 'anna', 'paste', { user: anna });
    await expectRefused(ended, words);
    expect(ended.err).toMatch(hint);
    await scene.provider.set({ fault: null });
  });

  test('what is stopped at the prompt stores nothing', async () => {
    const args = ['mailbox', 'authorize', 'anna', '--provider', 'people', '--paste'];
    const ended = await cli.typed(args, [['Paste that whole address', '\x03']]);
    expect(ended.err).toContain('stopped at the address prompt');
    await expectRefused({ ...ended, code: 1, answer: '' }, /Nothing was changed/);
  });

  test('a code is good for one use', async () => {
    await using app = await cli.open();
    const provider = app.oauth.providers().find(({ name }) => name === 'people');
    if (provider === undefined) throw new Error('no provider');
    const { signal } = new AbortController();
    const request = { grant: 'twice', provider, user: anna, by: app.actor };
    const begun = await app.oauth.consents.beginBrowser(request, 'http://127.0.0.1/oauth/callback');
    const ending = await visitProvider(begun.url, anna, { caPem: scene.provider.caPem });
    const answer = ending.kind === 'address' ? ending.answer : '';
    using first = await begun.finish(answer, signal);
    expect(first.account).toBe(anna);
    const again = await failureOf(begun.finish(answer, signal));
    expect(again).toMatchObject({ code: 'oauth_consent_refused' });
    expect(again.message).toBe('This sign-in was finished already: a code is good for one use.');
    expect(await app.store.grantByName('twice')).toBeNull();
  });
});

function longTokens(bytes: number): object {
  return {
    ...{ access_token: 'a'.repeat(bytes), refresh_token: 'r'.repeat(bytes) },
    ...{ token_type: 'Bearer', expires_in: 3600 },
  };
}
