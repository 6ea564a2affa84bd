/**
 * Credentials that were stored in plain text, were shown, or could not be opened any more, in what others used.
 *
 * One daemon at log level trace goes through most of it, in this order: it begins with readable passwords, encryption
 * is switched on under it, its key is rotated, lost and put back. The password of every mailbox is a canary, which is
 * then looked for, in every form that it could have, where it must not be.
 */
import { randomBytes } from 'node:crypto';
import { chmod, cp, mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startScriptedServer } from '../adapters/imap/scripted-server.ts';
import { openSetting, type Setting } from '../support/encryption-setting.ts';

import { checkOf, count, opened, readiness } from '../support/instance.ts';
import { newCanary } from '../support/leaks/canary.ts';
import { countFormsIn } from '../support/leaks/form-search.ts';
import { type Daemon, named, runCommand, startDaemon } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../support/servers/mariadb.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { mail } from './scene.ts';

const stack = new AsyncDisposableStack();
const canary = newCanary();
let dovecot: Dovecot;
let mariadb: Mariadb;
let setting: Setting;
let daemon: Daemon;

beforeAll(async () => {
  [dovecot, mariadb] = await Promise.all([startDovecot({ password: canary }), startMariadb()]);
  stack.use(dovecot);
  stack.use(mariadb);
  setting = stack.use(await openSetting(mariadb, dovecot, canary));
  start();
});

afterAll(() => stack.disposeAsync());

const told: Daemon[] = [];

function start(): void {
  const env = { ...setting.env, TICKETMAILD_LOG_LEVEL: 'trace', TICKETMAILD_POLL_BACKOFF_MAX_S: '1' };
  daemon = stack.use(startDaemon(['run'], { env }));
  told.push(daemon);
}

async function stop(): Promise<void> {
  daemon.signal('SIGTERM');
  await daemon.exit;
}

const hits = (text: string) => countFormsIn(canary, Buffer.from(text, 'latin1'));

const sql = (text: string): Promise<string> => mariadb.query(`USE ${setting.database}; ${text}`);

async function tables(): Promise<string> {
  const names = (await sql('SHOW TABLES')).trim().split('\n');
  return (await Promise.all(names.map((name) => sql(`SELECT * FROM ${name}`)))).join('\n');
}

const passwords = (): Promise<string> => sql('SELECT name, password_form, HEX(password) FROM mailboxes ORDER BY name');

const unsealed = async (): Promise<number> =>
  Number(await sql(`SELECT COUNT(*) FROM mailboxes WHERE password_form <> 'sealed'`));

/** A mailbox as the helpdesk writes it: with the password of the first one, readable. */
const copied = (name: string, password: string): string =>
  `INSERT INTO mailboxes (name, host, port, tls_mode, username, password, since_kind)
   VALUES ('${name}', '127.0.0.1', ${dovecot.port}, 'none', '${name}', ${password}, 'all')`;

const readable = (): string => `X'${Buffer.from(canary).toString('hex')}'`;

/** Mail of a mailbox becomes a ticket. */
async function works(user = setting.user): Promise<void> {
  const before = opened(daemon, user);
  await dovecot.append(user, 'INBOX', [mail()]);
  await until(`mail of ${user}`, () => opened(daemon, user) > before);
}

async function succeeds(args: readonly string[], input?: Uint8Array): Promise<void> {
  const { code, stderr } = await setting.command(args, input === undefined ? '' : Buffer.from(input).toString());
  expect(code, `${args.join(' ')}: ${stderr}`).toBe(0);
}

test('case 105 (we-promise/sure#2422): a key of our own, put under a running daemon, makes no stored password unreadable', async () => {
  await sql(copied('second', readable()));
  await works();
  await works('second');
  expect(hits(await tables())).not.toEqual([]);
  await writeFile(setting.keyFile, randomBytes(32), { mode: 0o600 });
  const owner = await stat(setting.dataDir);
  expect((await stat(setting.keyFile)).uid).toBe(owner.uid);
  await succeeds(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
  await daemon.waitFor((line) => named('switch.changed')(line) && line['state'] === 'on');
  await works();
  await works('second');
  expect(count(daemon, 'poll.failed')).toBe(0);
});

test('case 97 (ZA#460): once encryption is on, no password stands in the database', async () => {
  expect(await unsealed()).toBe(0);
  expect(hits(await tables())).toEqual([]);
});

test('case 98 (nylas/sync-engine#108): a password that is written in plain text into the table is sealed there within seconds', async () => {
  await sql(copied('third', readable()));
  await until('it is sealed', async () => (await unsealed()) === 0, 5000);
  expect(hits(await tables())).toEqual([]);
  await works('third');
});

test('case 110 (warmbly/warmbly#105): all that writes a password seals it, and all that reads one opens either form', async () => {
  const server = ['--host', '127.0.0.1', '--port', `${dovecot.port}`, '--tls', 'none', '--since', 'all'];
  await succeeds(['mailbox', 'add', '--name', 'fourth', '--user', 'fourth', '--password-stdin', ...server], canary);
  // The helpdesk wrote the password that is stored.
  await succeeds(['mailbox', 'set-password', '--no-probe', 'third', '--password-stdin', '--accept-connection'], canary);
  expect(await unsealed()).toBe(0);
  expect(hits(await tables())).toEqual([]);
  // Read while it is readable still: by a command that does not wait for the daemon.
  await sql(copied('fifth', readable()));
  await succeeds(['mailbox', 'test', 'fifth']);
  for (const name of ['third', 'fourth', 'fifth']) await works(name);
});

test('case 109 (jbostoen/itop-jb-mail-to-ticket-automation-v2#148): no log has the password, not even of a LOGIN line that failed, at level trace', async () => {
  await using server = await startScriptedServer({
    capabilities: 'IMAP4rev1',
    script: (command, _rest, tag, { say, next }) => {
      if (command !== 'LOGIN') return false;
      say('+ user');
      next(() => {
        say('+ password');
        next((line) => say(`${tag} BAD Error in command: LOGIN sixth ${line}`));
      });
      return true;
    },
  });
  await sql(copied('sixth', readable()).replace(`${dovecot.port}`, `${server.port}`));
  await daemon.waitFor((line) => named('poll.failed')(line) && line['mailbox'] === 'sixth');
  // What the server saw shows that it was the real one.
  expect(hits(server.lines.join('\n'))).not.toEqual([]);
  const tested = await runCommand(['mailbox', 'test', 'sixth', '--json'], {
    env: { ...setting.env, TICKETMAILD_LOG_LEVEL: 'trace' },
  });
  const texts = [tested.stdout, tested.stderr, ...told.flatMap((each) => [each.stdout(), each.stderr()])];
  expect(texts.join('').length).toBeGreaterThan(5000);
  expect(hits(texts.join('\n'))).toEqual([]);
  await sql(`DELETE FROM mailboxes WHERE name = 'sixth'`);
});

test('case 108 (EE commits 5c62ac4, 52f0527, e577825): no secret file is for others, no setting is logged, and a new password is not lost beside a rotation', async () => {
  const files = (await readdir(setting.dataDir, { recursive: true, withFileTypes: true })).filter(
    (entry) => !entry.isDirectory(),
  );
  for (const { parentPath, name } of files)
    expect([name, (await stat(join(parentPath, name))).mode & 0o077]).toEqual([name, 0]);
  await chmod(setting.keyFile, 0o644);
  await daemon.waitFor(named('vault.orphaned'));
  await chmod(setting.keyFile, 0o600);
  await until('it is open again', async () => (await readiness(daemon)).body.checks.vault.status === 'ok');
  // The one that is stored fails; the new one comes in the middle of a rotation.
  await sql(`UPDATE mailboxes SET password = 'wrong', password_form = 'plain' WHERE name = 'second'`);
  await Promise.all([
    succeeds(['encryption', 'rotate']),
    succeeds(['mailbox', 'set-password', '--no-probe', 'second', '--password-stdin', '--accept-connection'], canary),
  ]);
  expect(await unsealed()).toBe(0);
  await works('second');
  const logged = JSON.stringify(daemon.lines);
  expect(logged).not.toMatch(/"password(_form)?":|eyJ[A-Za-z0-9_-]{20}/);
});

test('case 106 (forwardemail/forwardemail.net#571): a change of the key that is killed half-way loses no mailbox', async () => {
  const preload = fileURLToPath(new URL('../support/faults/kill-at.ts', import.meta.url));
  const before = (await passwords()).split('\n').length;
  let killed = 0;
  for (const at of [8, 20, 32]) {
    const { code } = await runCommand(['encryption', 'rotate'], {
      env: { ...setting.env, KILL_AT: `${at}` },
      nodeOptions: ['--import', preload],
    });
    if (code === 'SIGKILL') killed += 1;
    await works();
  }
  expect(killed).toBeGreaterThan(0);
  await succeeds(['encryption', 'rotate']);
  expect((await passwords()).split('\n')).toHaveLength(before);
  expect(await unsealed()).toBe(0);
  for (const name of [setting.user, 'second', 'third', 'fourth', 'fifth']) await works(name);
});

test('case 111 (coollabsio/coolify-docs PR#643): a restored database opens on another host with the keys of then and now in one file', async () => {
  await using folder = await temporaryFolder('restored');
  const dataDir = join(folder.path, 'data');
  // A backup from before the rotation.
  const { name, url } = await mariadb.createDatabase();
  const list = (await sql('SHOW TABLES')).trim().split('\n');
  const copies = list.map(
    (table) =>
      `CREATE TABLE ${name}.${table} LIKE ${setting.database}.${table}; INSERT INTO ${name}.${table} SELECT * FROM ${setting.database}.${table};`,
  );
  // Whose claims those are is over on another host once they have run out.
  const claims = `UPDATE ${name}.mailbox_state SET lease_owner = NULL, lease_until = NULL;`;
  await mariadb.query([...copies, claims].join('\n'));
  const former = await readFile(setting.keyFile);
  await succeeds(['encryption', 'rotate']);
  const latter = await readFile(setting.keyFile);
  expect(former.equals(latter)).toBe(false);
  await mkdir(dataDir, { mode: 0o700 });
  await cp(join(setting.dataDir, 'switch-state'), join(dataDir, 'switch-state'));
  await writeFile(join(dataDir, 'encryption-key.bin'), Buffer.concat([latter, former]), { mode: 0o600 });
  const env = { ...setting.env, TICKETMAILD_DATA_DIR: dataDir, TICKETMAILD_DATABASE_URL: url };
  const owned = { env };
  expect(await runCommand(['encryption', 'trust-restored', '--yes'], owned)).toMatchObject({ code: 0 });
  const polled = await runCommand(['poll', '--json'], owned);
  expect([polled.code, polled.stdout.match(/"ok":true/g)?.length], polled.stderr).toEqual([0, 5]);
});

test('case 99 (FS#4395): with another key in the file no stored password changes, and all work when the right one is back', async () => {
  const before = await passwords();
  await stop();
  await rename(setting.keyFile, `${setting.keyFile}.right`);
  await writeFile(setting.keyFile, randomBytes(32), { mode: 0o600 });
  start();
  await daemon.waitFor(({ event }) => /^vault\.(refused|missing)$|^switch\.unverified$/.test(`${event}`));
  await sleep(500);
  expect(await passwords()).toBe(before);
});

test('case 101 (nextcloud/mail#3015, #9660): a wrong key is reported when it changes, and not at every interval', async () => {
  const about = () =>
    daemon.lines.filter(({ event }) => /^(vault|switch|poll|sealing)\./.test(`${event}`) && event !== 'poll.started');
  const before = about().length;
  // Two intervals and more.
  await sleep(2500);
  expect(about().slice(before)).toEqual([]);
  expect(count(daemon, 'poll.failed')).toBe(0);
  expect(await readiness(daemon)).toMatchObject({ status: 503, body: { checks: { mailboxes: { waiting: 5 } } } });
});

test('case 104 (SplitTime/OpenSplitTime#1889): with a key that does not match, everything still answers, and passwords can be entered again', async () => {
  // There is no page to administrate yet: the commands and /readyz.
  for (const command of [
    ['mailbox', 'list'],
    ['mailbox', 'show', 'second'],
    ['status', '--json'],
  ]) {
    const { code, stderr } = await setting.command(command);
    expect([0, 1], `${command.join(' ')}: ${stderr}`).toContain(code);
    expect(stderr).not.toMatch(/unexpected|defect/);
  }
  expect([200, 503]).toContain((await readiness(daemon)).status);
  await rename(setting.keyFile, `${setting.keyFile}.wrong`);
  await succeeds(['encryption', 'replace-lost-key', '--accept-password-loss']);
  await succeeds(
    ['mailbox', 'set-password', '--no-probe', 'second', '--password-stdin', '--accept-connection'],
    canary,
  );
  await works('second');
  // Case 99: the right key beside the new one, and the others are back with what was stored.
  const [right, fresh] = [await readFile(`${setting.keyFile}.right`), await readFile(setting.keyFile)];
  await writeFile(`${setting.keyFile}.both`, Buffer.concat([fresh, right]), { mode: 0o600 });
  await rename(`${setting.keyFile}.both`, setting.keyFile);
  for (const name of [setting.user, 'third', 'fourth', 'fifth']) {
    await until(`${name} is well`, async () => (await checkOf(daemon, name))?.status === 'ok');
  }
});

test('case 102 (uvdesk/community-skeleton#276): special characters in a password neither break the configuration nor show it', async () => {
  await using folder = await temporaryFolder('special');
  const password = `p:w@#/?%"'\\ {}[]&*!|>`;
  const { name } = await mariadb.createDatabase();
  await mariadb.query(
    `CREATE USER odd@'127.0.0.1' IDENTIFIED BY '${password.replaceAll(/['\\]/g, '\\$&')}'; GRANT ALL ON ${name}.* TO odd@'127.0.0.1'`,
  );
  const passwordFile = join(folder.path, 'password');
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  const at = `127.0.0.1:${mariadb.port}/${name}`;
  const migrate = async (lines: readonly string[]) => {
    const file = join(folder.path, 'ticketmaild.toml');
    await writeFile(file, [`data_dir = "${folder.path}/data"`, '[database]', ...lines].join('\n'));
    return await runCommand(['migrate', '--config', file]);
  };
  expect(await migrate([`url = "mysql://odd@${at}"`, `password_file = "${passwordFile}"`])).toMatchObject({ code: 0 });
  expect(
    await migrate([`url = 'mysql://odd:${encodeURIComponent(password).replaceAll("'", '%27')}@${at}'`]),
  ).toMatchObject({ code: 0 });
  // As it must not be written: it is refused, with the place and without the password.
  for (const line of [
    `url = "mysql://odd:${password}@${at}"`,
    `url = '''mysql://odd:${password}@${at}'''`,
    `url: mysql://odd:${password}@${at}`,
  ]) {
    const { code, stdout, stderr } = await migrate([line]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/ticketmaild\.toml/)]);
    for (const piece of ['p:w', '{}[]', '&*!|']) expect(stdout + stderr).not.toContain(piece);
  }
});
