/**
 * Leak search for every token that a provider issues, every client secret and private key, in all that leaves the
 * daemon or stays on a disk: log at level trace, answers, page, commands, tables, files of MariaDB, data folder, /proc.
 *
 * Grants of applications, a service account and a person are renewed all the time, also while encryption is enabled,
 * rotated, disabled and enabled again; a provider and two mail servers repeat what they were sent. The files are
 * searched after the clean-up that `enable` recommends. The tables before encryption show that the search finds.
 */
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { converse, type Script, type ScriptedServer, startScriptedServer } from '../adapters/imap/scripted-server.ts';
import { adminPassword, signIn } from '../admin/admin-scene.ts';
import { count, mail, metrics, opened, readiness } from '../support/instance.ts';
import { flushPages, loggingArgs, purgeFiles, scrub } from '../support/leaks/mariadb-purge.ts';
import { createNeedleSearch, type NeedleSearch, type Secret } from '../support/leaks/needle-search.ts';
import { startProvider, type TestProvider } from '../support/oauth/provider.ts';
import { openTokenSetting, type TokenSetting } from '../support/oauth/token-setting.ts';
import { type Daemon, named, runCommand } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { readCertificates } from '../support/servers/authority.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../support/servers/mariadb.ts';
import { freePort } from '../support/servers/programs.ts';
import { certificatesTemplate } from '../support/servers/templates.ts';

const stack = new AsyncDisposableStack();
let provider: TestProvider;
let dovecot: Dovecot;
let mariadb: Mariadb;

beforeAll(async () => {
  provider = stack.use(await startProvider());
  dovecot = stack.use(await startDovecot({ tokens: { mode: 'introspection', provider } }));
  mariadb = stack.use(await startMariadb({ durable: true, args: loggingArgs }));
});
afterAll(() => stack.disposeAsync());

/** Repeats the token in its answer to a login. */
async function startEcho(answer: (tag: string, token: string) => string): Promise<ScriptedServer> {
  const files = await readCertificates(await certificatesTemplate(), 'good');
  const [cert, key] = await Promise.all([readFile(files.certificateFile), readFile(files.keyFile)]);
  const script: Script = (command, rest, tag, { say, next, socket }) => {
    if (command !== 'AUTHENTICATE') return false;
    const end = (response: string): void => {
      const token = Buffer.from(response, 'base64').toString('latin1');
      say(answer(tag, token.replaceAll('\x01', ' ')));
      if (!answer(tag, '').startsWith(tag)) setTimeout(() => socket.end(), 50);
    };
    const [, initial] = rest.split(' ');
    if (initial !== undefined) end(initial);
    else {
      say('+ ');
      next(end);
    }
    return true;
  };
  const options = { capabilities: 'IMAP4rev1 AUTH=XOAUTH2', script };
  return await startScriptedServer({}, (socket: Socket, lines) =>
    converse(new TLSSocket(socket, { isServer: true, cert, key }), options, lines),
  );
}

const users = { app: 'support', secret: 'sales', service: 'billing', anna: 'anna' } as const;

/** Other ones in each test. */
const accountOf = (user: string): string => `${user}-${round}@example.test`;
let round = 0;

async function appendToAll(id: string): Promise<void> {
  for (const user of Object.values(users)) await dovecot.append(accountOf(user), 'INBOX', [mail(`${user}-${id}`)]);
}

/** Tokens, and the lines of the credentials. */
async function searchForAll(): Promise<NeedleSearch & { readonly tokens: number }> {
  const { tokens } = await provider.report();
  const issued = tokens.flatMap(({ access, refresh }, at): Secret[] => [
    { name: `access token ${at}`, text: access },
    ...(refresh === null ? [] : [{ name: `refresh token ${at}`, text: refresh }]),
  ]);
  const linesOf = (name: string, pem: string): Secret[] =>
    pem
      .split('\n')
      .filter((line) => /^[\w+/=]{40,}$/.test(line))
      .map((text, at) => ({ name: `${name}, line ${at}`, text }));
  const serviceAccount = JSON.parse(await readFile(provider.serviceAccountFile, 'utf8'));
  const credentials = [
    { name: 'client secret', text: (await readFile(provider.clientSecretFile, 'utf8')).trim() },
    ...linesOf('application key', await readFile(provider.appKeyFile, 'utf8')),
    ...linesOf('service account key', serviceAccount.private_key),
  ];
  expect(credentials.length).toBeGreaterThan(40);
  return { ...createNeedleSearch([...issued, ...credentials]), tokens: issued.length };
}

async function tablesOf(database: string): Promise<string> {
  const names = (await mariadb.query(`show tables from ${database}`)).trim().split('\n');
  return (await Promise.all(names.map((name) => mariadb.query(`select * from ${database}.${name}`)))).join('\n');
}

const shown: readonly (readonly string[])[] = [
  ['mailbox', 'list', '--json'],
  ['mailbox', 'show', 'anna', '--json'],
  ['oauth', 'list', '--json'],
  ['oauth', 'show', 'people', '--json'],
  ['oauth', 'test', 'app', '--json'],
  ['oauth', 'test', 'echo', '--json'],
  ['check', '--json'],
  ['status', '--json'],
  ['poll', 'anna', '--json'],
  ['mailbox', 'test', 'anna', '--json'],
  ['encryption', 'status', '--json'],
  ['encryption', 'log', '--json'],
];
const pages = ['/admin/overview', '/admin/quarantine', '/admin/server/encryption', '/admin/mailbox?name=anna'];

type Scene = {
  readonly setting: TokenSetting;
  readonly seen: string[];
  readonly env: Readonly<Record<string, string>>;
};

async function command({ env, seen }: Scene, args: readonly string[], input = ''): Promise<number | string> {
  const { code, stdout, stderr } = await runCommand(args, { env, input });
  seen.push(args.join(' '), stdout, stderr);
  return code;
}

async function lookEverywhere(scene: Scene, daemon: Daemon): Promise<void> {
  const { seen, env } = scene;
  const { address } = await daemon.waitFor(named('http.listening'));
  for (const path of ['readyz', 'livez', 'nothing']) seen.push(await (await fetch(`${address}/${path}`)).text());
  seen.push(await metrics(daemon));
  const admin = await signIn({ address: `http://${env['TICKETMAILD_ADMIN_LISTEN']}` });
  for (const path of pages) seen.push((await admin.get(path)).text);
  for (const file of ['environ', 'cmdline']) seen.push(await readFile(`/proc/${daemon.pid}/${file}`, 'latin1'));
  for (const args of shown) await command(scene, args);
}

async function end({ seen }: Scene, daemon: Daemon): Promise<void> {
  daemon.signal('SIGTERM');
  const { stdout, stderr } = await daemon.exit;
  seen.push(stdout, stderr);
}

/** Until each kind of grant was renewed once more, and mail arrives. */
async function renewals(daemon: Daemon, id: string): Promise<void> {
  const before = { opened: opened(daemon), renewed: count(daemon, 'oauth.renewed') };
  await appendToAll(id);
  await until(`mail ${id}`, async () => opened(daemon) === before.opened + 4);
  await until(`renewals ${id}`, async () => count(daemon, 'oauth.renewed') >= before.renewed + 5);
}

const enable = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared'];
const forms = [
  { form: 'enable', changes: [enable], tags: [] as string[] },
  {
    form: 'enable, rotate, disable, enable',
    changes: [enable, ['encryption', 'rotate'], ['encryption', 'disable', '--yes'], enable],
    tags: ['long'],
  },
];

/** The provider repeats the request in error responses, of which the last one ends the grant of the person. */
async function provokeEchoes({ setting }: Scene, daemon: Daemon): Promise<void> {
  const path = '/token';
  const faults = [
    { status: 500 },
    { status: 200 },
    { status: 400, body: { error: 'temporarily_unavailable' } },
    { status: 400, count: 1, grantType: 'refresh_token', body: { error: 'invalid_grant' } },
  ];
  for (const fault of faults) {
    await provider.set({ fault: { path, count: 2, echoes: true, ...fault } });
    await until('the echo was sent', async () => (await provider.report()).faults === 0, 60_000);
  }
  await until(
    'anna has to sign in',
    async () => (await readiness(daemon)).body.checks.oauth.grants.needs_consent === 1,
  );
  await setting.consent('anna', accountOf('anna'));
}

for (const { form, changes, tags } of forms)
  test(`no token, client secret or private key is seen anywhere once encryption is on (${form})`, {
    timeout: 300_000,
    tags,
  }, async () => {
    round += 1;
    await using echoNo = await startEcho((tag, token) => `${tag} NO ${token} is wrong`);
    await using echoBye = await startEcho((_, token) => `* BYE ${token}`);
    await provider.set({ accessTtlS: 5, rotation: 'lenient' });
    const database = await mariadb.createDatabase();
    const ports = [echoNo.port, echoBye.port];
    const hosts = `imap_hosts = [${ports.map((port) => `"localhost:${port}"`).join()}]`;
    await using setting = await openTokenSetting(
      { provider, dovecot },
      [
        { name: 'app', as: 'key' },
        { name: 'secret', as: 'secret' },
        { name: 'service', as: 'service' },
        { name: 'people', as: 'person' },
        { name: 'echo', as: 'secret', lines: [hosts] },
      ],
      { database },
    );
    const more = {
      TICKETMAILD_CONFIG: setting.configFile,
      TICKETMAILD_ADMIN_LISTEN: `127.0.0.1:${await freePort()}`,
      TICKETMAILD_LOG_LEVEL: 'trace',
    };
    const scene: Scene = { setting, seen: [], env: { ...setting.instance.env, ...more } };
    await scrub(mariadb);
    for (const [grant, user] of Object.entries(users)) await setting.add(accountOf(user), grant, { name: grant });
    for (const port of ports) await setting.add(`echo-${port}@example.test`, 'echo', { connection: { port } });
    await setting.consent('anna', accountOf('anna'));
    expect(await command(scene, ['admin', 'add', 'ada', '--password-stdin'], adminPassword)).toBe(0);

    let daemon = await setting.start(more);
    await renewals(daemon, 'plain');
    expect((await searchForAll()).inText(await tablesOf(database.name))).not.toEqual([]);
    for (const [at, args] of changes.entries()) {
      expect(await command(scene, args)).toBe(0);
      await renewals(daemon, `switch-${at}`);
    }
    await end(scene, daemon);
    await purgeFiles(mariadb);
    daemon = await setting.start(more);
    await renewals(daemon, 'sealed');
    await provokeEchoes(scene, daemon);
    await renewals(daemon, 'again');
    await lookEverywhere(scene, daemon);
    await end(scene, daemon);
    await flushPages(mariadb);

    const search = await searchForAll();
    expect(search.tokens).toBeGreaterThan(30);
    for (const { lines } of [echoNo, echoBye]) expect(search.inText(lines.join('\n'))).not.toEqual([]);
    expect(scene.seen.join('').length).toBeGreaterThan(100_000);
    expect(search.inText(scene.seen.join('\n'))).toEqual([]);
    expect(search.inText(await tablesOf(database.name))).toEqual([]);
    expect(await search.inFolder(setting.instance.folder)).toEqual([]);
    expect(await search.inFolder(mariadb.dataFolder)).toEqual([]);
  });
