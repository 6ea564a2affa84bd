/**
 * A writer of the database swaps sealed tokens between rows, or renames the provider of a grant; an operator changes
 * the token endpoint. The tokens were sealed for another use: none is sent to a provider or a mail server.
 */
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { mail, opened, readiness } from '../../support/instance.ts';
import { startProvider, type TestProvider } from '../../support/oauth/provider.ts';
import { openTokenSetting, type ProviderTable, type TokenSetting } from '../../support/oauth/token-setting.ts';
import { type Daemon, named } from '../../support/processes/daemon.ts';
import { until } from '../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { runSql } from '../../support/sql.ts';

let provider: TestProvider;
let dovecot: Dovecot;
let round = 0;

beforeAll(async () => {
  provider = await startProvider();
  dovecot = await startDovecot({ tokens: { mode: 'introspection', provider } });
});

beforeEach(async () => {
  round += 1;
  await provider.set({ accessTtlS: 6, rotation: 'lenient' });
});

afterAll(async () => {
  await dovecot[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

const people: ProviderTable = { name: 'people', as: 'person' };
const names = ['anna', 'ben'] as const;
const userOf = (name: string): string => `${name}-${round}@example.test`;

async function expectTickets(daemon: Daemon): Promise<void> {
  const before = opened(daemon);
  for (const name of names) await dovecot.append(userOf(name), 'INBOX', [mail(`${name}-${crypto.randomUUID()}`)]);
  await until('a ticket each', async () => opened(daemon) === before + 2);
}

/** Two persons, with encryption on and mail that arrives. */
async function openScene(): Promise<{ readonly setting: TokenSetting; readonly daemon: Daemon }> {
  const setting = await openTokenSetting({ provider, dovecot }, [people]);
  for (const name of names) {
    await setting.consent(name, userOf(name));
    await setting.add(userOf(name), name, { name });
  }
  const daemon = await setting.start();
  expect(await setting.command('encryption', 'enable', '--accept-key-loss', '--backup-prepared')).toMatchObject({
    code: 0,
  });
  await expectTickets(daemon);
  return { setting, daemon };
}

/** Swaps what is stored of a table for the two grants. */
async function swap(
  setting: TokenSetting,
  table: 'oauth_grant' | 'oauth_access',
  columns: readonly string[],
): Promise<void> {
  const url = `sqlite:${setting.databaseFile}`;
  const key = table === 'oauth_grant' ? 'id' : 'grant_id';
  const grants = await runSql<{ id: string }>(url, `select id from oauth_grant order by name`);
  const of = (id: string) =>
    runSql<Record<string, unknown>>(
      url,
      `select ${columns.map((name) => `quote(${name}) as ${name}`).join()} from ${table} where ${key} = '${id}'`,
    );
  const rows = await Promise.all(grants.map(({ id }) => of(id)));
  for (const [at, { id }] of grants.entries()) {
    const other = rows[1 - at]?.[0] ?? {};
    const set = columns.map((name) => `${name} = ${other[name]}`).join();
    await runSql(url, `update ${table} set ${set} where ${key} = '${id}'`);
  }
}

const requests = async (): Promise<number> => {
  const { counters } = await provider.report();
  return Object.entries(counters).reduce(
    (sum, [name, times]) => sum + (name.startsWith('refresh_token') ? times : 0),
    0,
  );
};

const failing = async (daemon: Daemon): Promise<readonly (string | undefined)[]> =>
  (await readiness(daemon)).body.checks.mailboxes.list
    .filter(({ status }) => status === 'failing')
    .map(({ reason }) => reason?.split(':')[0]);

/** Nothing is asked from the moment on at which the access tokens have ended. */
async function expectNothingAsked(daemon: Daemon, code: string): Promise<void> {
  await until('both mailboxes fail', async () => `${await failing(daemon)}` === `${[code, code]}`);
  const before = await requests();
  await sleep(4000);
  expect(await requests()).toBe(before);
}

test('access tokens that are swapped are sent to no mail server: new ones are requested', {
  timeout: 120_000,
}, async () => {
  await provider.set({ accessTtlS: 600 });
  const { setting, daemon } = await openScene();
  await using _setting = setting;
  // So that no renewal stores another one meanwhile.
  daemon.signal('SIGTERM');
  await daemon.exit;
  for (const name of names) expect(await setting.command('mailbox', 'test', name)).toMatchObject({ code: 0 });
  const before = await requests();
  await swap(setting, 'oauth_access', ['access', 'access_form', 'access_key_id']);
  for (const name of names) expect(await setting.command('mailbox', 'test', name)).toMatchObject({ code: 0 });
  expect(await requests()).toBe(before + 2);
  // Dovecot has refused the token of another user.
  const refused = (await dovecot.log()).split('\n').filter((line) => /Disconnected.*method=XOAUTH2/.test(line));
  expect(refused).toEqual([]);
});

test('refresh tokens that are swapped are not sent; swapped back they work', async () => {
  const { setting, daemon: first } = await openScene();
  await using _setting = setting;
  // Not in the middle of a renewal, which would store its own token again.
  first.signal('SIGTERM');
  await first.exit;
  await swap(setting, 'oauth_grant', ['refresh', 'refresh_form', 'refresh_key_id']);
  const daemon = await setting.start();
  const issued = (await provider.report()).tokens.length;
  await expectNothingAsked(daemon, 'token_bound_elsewhere');
  expect((await provider.report()).tokens.length).toBe(issued);
  await swap(setting, 'oauth_grant', ['refresh', 'refresh_form', 'refresh_key_id']);
  await until('both work', async () => (await failing(daemon)).length === 0);
  await expectTickets(daemon);
});

test.each([
  ['provider is renamed', `update oauth_grant set provider = 'others'`, []],
  ['token endpoint is changed', null, ['token_endpoint']],
] as const)('the %s: no refresh token is sent', { timeout: 60_000, tags: ['long'] }, async (_, sql, keys) => {
  let connections = 0;
  const elsewhere = createServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
  const address = elsewhere.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const { setting, daemon } = await openScene();
  await using _setting = setting;
  const lines = keys.map((key) => `${key} = "https://localhost:${port}/token"`);
  await setting.configure([
    { ...people, lines },
    { name: 'others', as: 'person' },
  ]);
  daemon.signal('SIGHUP');
  await daemon.waitFor(named('config.reloaded'));
  if (sql !== null) await runSql(`sqlite:${setting.databaseFile}`, sql);
  await expectNothingAsked(daemon, 'token_bound_elsewhere');
  expect(connections).toBe(0);
  elsewhere.close();
});
