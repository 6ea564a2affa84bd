import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CommandLine, openCommandLine } from '../command-line.ts';

const secret = 'Kupfer-und-Zinn-17';
let cli: CommandLine;
let file: string;

beforeAll(async () => {
  cli = await openCommandLine({ TICKETMAILD_POLL_LEASE_S: '90' });
  file = join(cli.folder, 'own.toml');
  writeFileSync(join(cli.folder, 'client'), secret, { mode: 0o600 });
  writeFileSync(
    file,
    [
      '[poll]',
      'interval_s = 30',
      '[oauth.desk]',
      'kind = "microsoft"',
      'tenant = "t.example"',
      'client_id = "c"',
      `client_secret_file = "${join(cli.folder, 'client')}"`,
      'mailboxes = ["*@example.org"]',
    ].join('\n'),
  );
});

afterAll(async () => {
  cli.expectNothingLeaked([secret]);
  await cli[Symbol.asyncDispose]();
});

function write(name: string, lines: readonly string[]): string {
  const path = join(cli.folder, name);
  writeFileSync(path, lines.join('\n'));
  return path;
}

test('config show has every key with its value and origin, and opens nothing', async () => {
  const { code, json } = await cli.run(['config', 'show', '--config', file, '--json']);
  expect(code).toBe(0);
  const byKey = new Map(json.map((one) => [one['key'], one]));
  expect(byKey.get('poll.interval_s')).toMatchObject({
    value: 30,
    from: 'file',
    line: 2,
    file: expect.stringContaining('own.toml'),
  });
  expect(byKey.get('poll.lease_s')).toMatchObject({
    value: 90,
    from: 'variable',
    variable: 'TICKETMAILD_POLL_LEASE_S',
  });
  expect(byKey.get('raw.retention_days')).toMatchObject({ value: 7, from: 'default', file: null });
  expect(byKey.get('oauth.desk.client_secret_file')).toMatchObject({ value: join(cli.folder, 'client'), line: 7 });
  const changed = await cli.run(['config', 'show', '--config', file, '--changed']);
  expect(changed.out).toMatch(/^poll\.interval_s +30 +line 2$/m);
  expect(changed.out).toMatch(/^poll\.lease_s +90 +TICKETMAILD_POLL_LEASE_S$/m);
  expect(changed.out).not.toContain('raw.retention_days');
  expect((await cli.run(['config', 'show', '--config', file])).out).toMatch(/^raw\.retention_days +7 +default$/m);
  expect(changed.err).toMatch(/^configuration file: \S*own\.toml$/m);
  expect(existsSync(cli.dataDir)).toBe(false);
});

test.each([
  [
    'mysql://desk@localhost/mail?socket=/run/mysqld/mysqld.sock',
    'mysql://desk@localhost/mail?socket=/run/mysqld/mysqld.sock',
  ],
  ['mysql://desk@a.example:3306,b.example:3306/mail', 'mysql://desk@a.example:3306,b.example:3306/mail'],
  [`mysql://desk:${secret}@localhost/mail`, 'mysql://(not shown, as it may contain a password)'],
  [`mysql://desk:a@${secret}@localhost/mail`, 'mysql://(not shown, as it may contain a password)'],
])('the address of a database is shown without a password: %#', async (url, shown) => {
  const path = write('url.toml', ['[database]', `url = "${url}"`]);
  const { out, err } = await cli.run(['config', 'show', '--config', path, '--json']);
  if (!out.includes('"error"')) expect(out).toContain(`"key":"database.url","value":${JSON.stringify(shown)}`);
  expect(out + err).not.toContain(secret);
});

test('a password within an address in a list is not shown either', async () => {
  const scopes = `scopes = ["https://ada:${secret}@mail.example/imap", "https://mail.example/smtp"]`;
  const own = ['[oauth.own]', 'kind = "microsoft"', 'tenant = "t.example"', 'client_id = "c"', 'mailboxes = ["a"]'];
  const path = write('scopes.toml', [...own, scopes, `client_secret_file = "${join(cli.folder, 'client')}"`]);
  const { json, out } = await cli.run(['config', 'show', '--config', path, '--json']);
  expect(json.find(({ key }) => key === 'oauth.own.scopes')?.['value']).toEqual([
    ...['https://(not shown, as it may contain a password)', 'https://mail.example/smtp'],
  ]);
  expect(out).not.toContain(secret);
});

test.each([
  ['a key', `"mysql://u:${secret}@h/x" = 1`, /is not a known key/],
  [
    'a key of a table',
    `[database]\n"mysql://u:${secret}@h/x" = 1`,
    /database\.mysql:\/\/\(not shown.*is not a known key/,
  ],
  ['the name of a table', `["mysql://u:${secret}@h/x"]\na = 1`, /is not a known table/],
  ['the name of a provider', `[oauth."mysql://u:${secret}@h/x"]\nkind = "google"`, /must be named by/],
  ['a number', `[poll]\ninterval_s = "mysql://u:${secret}@h/x"`, /not "mysql:\/\/\(not shown/],
  ['a level', `[log]\nlevel = "HTTPS://${secret}@h/x"`, /not "HTTPS:\/\/\(not shown/],
  ['a list', `[admin]\nproxies = ["10.0.0.1", "http://u:${secret}@h:1"]`, /not \["10\.0\.0\.1","http:\/\/\(not shown/],
  ['an address', `[admin]\norigin = "https://u:${secret}@h"`, /not "https:\/\/\(not shown/],
  ['the TLS of the database', `[database]\ntls = "${secret}"`, /database\.tls must be "auto", "verify" or "off"/],
  ['a tenant', `[oauth.o]\nkind = "microsoft"\nclient_id = "c"\ntenant = "${secret}~"`, /must be an id or a domain/],
])('a password in place of %s is quoted by no command', async (_, toml, message) => {
  const path = write('misplaced.toml', [toml]);
  const checked = await cli.run(['config', 'check', '--config', path]);
  expect(checked).toMatchObject({ code: 2, out: expect.stringMatching(message) });
  for (const args of [['config', 'show'], ['check'], ['status'], ['config', 'check', '--json']]) {
    const { out, err } = await cli.run([...args, '--config', path]);
    expect(out + err).not.toContain(secret);
    expect(out + err).toContain('misplaced.toml');
  }
  expect(checked.out).not.toContain(secret);
});

test('config check: one line, exit code 0', async () => {
  expect(await cli.run(['config', 'check', '--config', file])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^ok +\S*own\.toml\n$/),
    err: '',
  });
});

test('config check lists all problems, in the order of the file, exit code 2', async () => {
  const path = write('wrong.toml', [
    '[poll]',
    'interval_s = "soon"',
    'leese_s = 3',
    '[raw]',
    'retention_days = -1',
    '[rwa]',
  ]);
  const { code, out } = await cli.run(['config', 'check', '--config', path]);
  expect(code).toBe(2);
  const failed = out.split('\n').filter((line) => line.startsWith('failed '));
  expect(failed).toHaveLength(4);
  expect(out).toMatch(/wrong\.toml:2: poll\.interval_s must be a whole number/);
  expect(out).toMatch(/wrong\.toml:3: poll\.leese_s is not a known key; did you mean poll\.lease_s\?/);
  expect(out).toMatch(/wrong\.toml:5: raw\.retention_days must be/);
  const { json } = await cli.run(['config', 'check', '--config', path, '--json']);
  expect(json).toEqual([{ ok: false, file: expect.stringContaining('wrong.toml'), problems: expect.any(Array) }]);
  expect(json[0]?.['problems']).toHaveLength(4);
});

test('unknown variables are listed together with the file', async () => {
  const env = { TICKETMAILD_POL_LEASE_S: '1', TICKETMAILD_NOTHING: '1' };
  await using own = await openCommandLine(env);
  const path = write('also.toml', ['[poll]', 'interval_s = 0']);
  const { code, out } = await own.run(['config', 'check', '--config', path]);
  expect(code).toBe(2);
  expect(out.split('\n').filter((line) => line.startsWith('failed '))).toHaveLength(3);
});

test.each([
  ['no TOML', ['[poll'], /this is not TOML/],
  ['combinations', ['[poll]', 'command_timeout_s = 100'], /must be/],
])('config check and show of a file with %s', async (_, lines, message) => {
  const path = write('broken.toml', lines);
  expect(await cli.run(['config', 'check', '--config', path])).toMatchObject({
    code: 2,
    out: expect.stringMatching(message),
  });
  expect(await cli.run(['config', 'show', '--config', path])).toMatchObject({
    code: 2,
    err: expect.stringMatching(message),
  });
});

test('a file that is not there', async () => {
  const { code, out } = await cli.run(['config', 'check', '--config', '/nowhere/x.toml']);
  expect({ code, out }).toEqual({
    code: 2,
    out: expect.stringMatching(/^failed {2}\S+: there is no such configuration file.*\n {8}hint: \S.*\n$/),
  });
});
