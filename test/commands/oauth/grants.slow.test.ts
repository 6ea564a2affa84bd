/**
 * Import and revocation of grants, and the removal of their mailboxes, with a real provider: what it counts, what is
 * left in the table, and what a mailbox then says.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Grant } from '../../../src/oauth/model.ts';
import type { CommandLine, Ran } from '../command-line.ts';
import { type OAuthScene, startScene, storeConsent, tokenOfAnotherProgram } from './scene.ts';
import { runWithPerson } from './sign-in.ts';

const anna = 'anna@example.test';
let scene: OAuthScene;
let cli: CommandLine;

beforeAll(async () => {
  const more = (common: readonly string[]) => [
    ...['[oauth.shared]', ...common, 'flow = "person"', 'client_id = "test-public"'],
    ...['scopes = ["openid", "email", "offline_access", "mail"]', 'mailboxes = ["desk@example.test"]'],
  ];
  scene = await startScene({ more });
});

afterAll(() => scene[Symbol.asyncDispose]());

beforeEach(async () => {
  cli = await scene.open();
  await using app = await cli.open();
  await app.migrations.apply();
  return () => cli[Symbol.asyncDispose]();
});

async function grantNamed(name: string): Promise<Grant | null> {
  await using app = await cli.open();
  return await app.store.grantByName(name);
}

/** A mailbox with the grant of the same name, which has consent. */
async function addAnna(name = 'anna', grant = 'anna'): Promise<void> {
  if ((await grantNamed(grant)) === null) {
    await using app = await cli.open();
    await storeConsent(scene, app, { grant, account: anna });
  }
  const options = ['--name', name, ...scene.server, '--user', anna, '--oauth', 'people', '--grant', grant];
  expect(await cli.run(['mailbox', 'add', ...options])).toMatchObject({ code: 0 });
}

async function expectNothingLeaked(): Promise<void> {
  const { tokens } = await scene.provider.report();
  cli.expectNothingLeaked(tokens.flatMap(({ access, refresh }) => [access, ...(refresh === null ? [] : [refresh])]));
}

const imported = ['oauth', 'import', 'anna', '--provider', 'people', '--refresh-token-stdin'];

test('an imported token is renewed once, and what that issued opens the mailbox', async () => {
  const token = await tokenOfAnotherProgram(scene, anna);
  const before = await scene.provider.count('refresh_token 200');
  expect(await cli.run(imported, `${token}\n`)).toMatchObject({
    code: 0,
    out: `imported anna: the provider renewed the grant of ${anna}\n`,
  });
  expect(await scene.provider.count('refresh_token 200')).toBe(before + 1);
  await addAnna();
  // A provider with strict rotation ends the grant when the imported one is used again.
  expect(await cli.run(['mailbox', 'test', 'anna'])).toMatchObject({ code: 0 });
  await expectNothingLeaked();
});

test.each<[string, string, RegExp, (readonly string[])?]>([
  [
    'an unknown token',
    'made-up',
    /The provider refuses this refresh token \(invalid_grant\)\.\nhint: Nothing was stored\./,
  ],
  ['no token', '', /the refresh token is empty/],
  ['a token that is too long', 'r'.repeat(12_001), /the refresh token is longer than 12000 bytes/],
  ['a token of two lines', 'made\nup\n', /a refresh token is one line of 1 to 12000 printable ASCII characters/],
  ['an unknown provider', 'x', /no provider named "other"/, ['oauth', 'import', 'anna', '--provider', 'other']],
  ['an application', 'x', /"app.*": no person signs in/, ['oauth', 'import', 'anna', '--provider', 'appkey']],
  ['the name of a provider', 'x', /choose another name/, ['oauth', 'import', 'appkey', '--provider', 'people']],
])('%s is not imported', async (_, input, words, args) => {
  const ended = await cli.run(args === undefined ? imported : [...args, '--refresh-token-stdin'], input);
  expect(ended.code).toBeGreaterThan(0);
  expect(ended.err).toMatch(words);
  expect(ended.out).toBe('');
  expect(await grantNamed('anna')).toBeNull();
  if (input.startsWith('made')) expect(ended.err).not.toContain('made-up');
});

test('a revoked grant ends at the provider; its mailbox says why, until a person signs in again', async () => {
  await addAnna();
  const before = await scene.provider.count('/token/revocation 200');
  const ended = await cli.run(['oauth', 'revoke', 'anna', '--yes']);
  expect(ended).toMatchObject({ code: 0, err: '' });
  expect(ended.out.split('\n')).toEqual([
    'revoked anna at its provider',
    'its mailboxes need consent: anna',
    'to sign in again: ticketmaild mailbox authorize anna',
    '',
  ]);
  expect(await scene.provider.count('/token/revocation 200')).toBe(before + 1);
  expect(await grantNamed('anna')).toMatchObject({ state: 'needs_consent', errorCode: 'revoked' });
  const polled = await cli.run(['poll', 'anna']);
  expect(polled.code).toBe(1);
  expect(`${polled.out}${polled.err}`).toMatch(/oauth_needs_consent|revoked by/);
  const args = ['mailbox', 'authorize', 'anna'];
  const again = await runWithPerson(args, { env: cli.env, provider: scene.provider, way: 'browser', user: anna });
  expect(again).toMatchObject({ code: 0 });
  expect(await cli.run(['poll', 'anna'])).toMatchObject({ code: 0 });
  await expectNothingLeaked();
});

test('what cannot be revoked at the provider stays, unless that is forced', async () => {
  await addAnna();
  await scene.provider.set({ fault: { path: '/token/revocation', count: 2, status: 503, body: {} } });
  const ended = await cli.run(['oauth', 'revoke', 'anna', '--yes']);
  expect(ended).toMatchObject({ code: 1, out: '' });
  expect(ended.err).toContain('the grant was not revoked at its provider: The provider people does not answer');
  expect(ended.err).toContain(
    'Nothing was changed. To remove it here all the same, and end it at the provider by hand',
  );
  expect(await grantNamed('anna')).toMatchObject({ state: 'ready' });
  const forced: Ran = await cli.run(['oauth', 'revoke', 'anna', '--yes', '--force', '--json']);
  expect(forced.json).toEqual([
    { grant: 'anna', provider: 'people', at_provider: 'failed', here: 'needs_consent', mailboxes: ['anna'] },
  ]);
  await scene.provider.set({ fault: null });
});

test('the removal of the last mailbox of a person revokes the grant; of another one it does not', async () => {
  await addAnna();
  await addAnna('second', 'anna');
  const before = await scene.provider.count('/token/revocation 200');
  expect(await cli.run(['mailbox', 'remove', 'second', '--yes'])).toMatchObject({ out: 'removed second\n' });
  expect(await grantNamed('anna')).toMatchObject({ state: 'ready' });
  expect(await cli.run(['mailbox', 'remove', 'anna', '--yes'])).toMatchObject({
    out: 'removed anna\nrevoked anna at its provider\nremoved grant anna\n',
  });
  expect(await scene.provider.count('/token/revocation 200')).toBe(before + 1);
  expect(await grantNamed('anna')).toBeNull();
});

test('the removal of a mailbox succeeds while its provider is down, and says what is left to do', async () => {
  await addAnna();
  await scene.provider.set({ fault: { path: '/token/revocation', count: 1, status: 503, body: {} } });
  const ended = await cli.run(['mailbox', 'remove', 'anna', '--yes']);
  expect(ended).toMatchObject({ code: 0, out: 'removed anna\n' });
  expect(ended.err).toContain('note: grant anna, which no mailbox uses any more, stays');
  expect(ended.err).toContain('To revoke it: ticketmaild oauth revoke anna');
  expect(await cli.run(['oauth', 'revoke', 'anna', '--yes'])).toMatchObject({ code: 0 });
  expect(await grantNamed('anna')).toBeNull();
});

test('an account without the permission: the consent is stored, and the login that fails is shown', async () => {
  await addAnna();
  cli.sql(
    `update mailboxes set name = 'desk', username = 'desk@example.test', grant_name = 'desk' where name = 'anna'`,
  );
  const args = ['mailbox', 'authorize', 'desk', '--provider', 'shared'];
  const ended = await runWithPerson(args, { env: cli.env, provider: scene.provider, way: 'browser', user: anna });
  expect(ended.code).toBeGreaterThan(0);
  expect(ended.err).toContain('the consent is stored, but a login fails: localhost:');
  expect(await grantNamed('desk')).toMatchObject({ state: 'ready', account: anna });
});

test('what has no consent to give is refused before anyone is asked', async () => {
  await addAnna();
  const refused = async (args: readonly string[], words: RegExp): Promise<void> => {
    const ended = await cli.run(args);
    expect(ended.code).toBeGreaterThan(0);
    expect(ended.err).toMatch(words);
  };
  await refused(['mailbox', 'authorize', 'other'], /no mailbox/i);
  await refused(['mailbox', 'authorize', 'anna', '--device', '--paste'], /--device and --paste exclude each other/);
  await refused(
    ['mailbox', 'authorize', 'anna', '--paste', '--browser-port', '4000'],
    /--browser-port is that of --browser/,
  );
  await refused(
    ['mailbox', 'authorize', 'anna', '--provider', 'shared'],
    /is one of provider people: leave --provider out/,
  );
  await refused(['oauth', 'revoke', 'other', '--yes'], /there is no grant named "other"/);
  await refused(['oauth', 'revoke', 'appkey', '--yes'], /That is a provider/);
  cli.sql(`update mailboxes set host = 'evil.example' where name = 'anna'`);
  await refused(['mailbox', 'authorize', 'anna', '--paste'], /no token of \[oauth\.people\] is sent there/);
});
