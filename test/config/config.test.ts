import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'smol-toml';
import { describe, expect, test } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { allSettings, parseSettings } from '../../src/config/schema.ts';
import { Failure } from '../../src/errors.ts';
import { certificatesTemplate } from '../support/servers/templates.ts';
import { temporaryFolder } from '../support/temporary.ts';

const ownFile = fileURLToPath(new URL('../../config/ticketmaild.toml', import.meta.url));

type Given = {
  readonly env?: Record<string, string>;
  readonly files?: Record<string, string | Uint8Array>;
  readonly file?: string | null;
  readonly ownFile?: string | null;
};

/** Loads `toml` as /srv/app/mail.toml in a file system that has nothing else but `files`. */
function load(toml: string, given: Given = {}): Config {
  const files: Record<string, string | Uint8Array> = { '/srv/app/mail.toml': toml, ...given.files };
  return loadConfig({
    file: given.file === undefined ? 'mail.toml' : given.file,
    env: given.env ?? {},
    cwd: '/srv/app',
    ownFile: given.ownFile === undefined ? '/opt/ticketmaild/config/ticketmaild.toml' : given.ownFile,
    readFile(path) {
      const content = files[path];
      if (content === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
      return typeof content === 'string' ? Buffer.from(content) : content;
    },
  });
}

function failure(toml: string, given: Given = {}): Failure {
  return caught(() => load(toml, given));
}

function caught(work: () => Config): Failure {
  try {
    work();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('the configuration was accepted');
}

describe('the file that comes with the program', () => {
  test('has every key, each with its default', () => {
    const written = parse(readFileSync(ownFile, 'utf8'));
    const defaults = parseSettings({});
    expect(defaults.ok && defaults.settings).toEqual({ ...written, oauth: {} });
  });

  test('has a comment above every key', () => {
    const lines = readFileSync(ownFile, 'utf8').split('\n');
    const unexplained = lines.filter((line, index) => /^\w+ = /.test(line) && !lines[index - 1]?.startsWith('# '));
    expect(unexplained).toEqual([]);
  });

  test('gives the same configuration as no file at all', () => {
    const env = {};
    expect(loadConfig({ file: ownFile, env })).toEqual(loadConfig({ file: null, env, systemFile: '/nowhere' }));
  });
});

test('a list is written as one in the file, and with commas in a variable', () => {
  const senders = ['a@example.org', 'b@example.org'];
  expect(load('[limits]\nsender_limit_exempt = ["A@example.org", "b@example.org"]').limits.senderExempt).toEqual(
    senders,
  );
  const env = { TICKETMAILD_LIMITS_SENDER_LIMIT_EXEMPT: 'a@example.org, b@Example.org' };
  expect(load('limits.sender_limit_exempt = ["c@example.org"]', { env }).limits.senderExempt).toEqual(senders);
  expect(load('', { env: { TICKETMAILD_LIMITS_SENDER_LIMIT_EXEMPT: '' } }).limits.senderExempt).toEqual([]);
});

describe('errors are one line', () => {
  const wrong: readonly [toml: string, message: string][] = [
    [
      '[poll]\ninterval_s = "soon"',
      'mail.toml:2: poll.interval_s must be a whole number of seconds from 1 to 86400, not "soon"',
    ],
    [
      '[poll]\n\ninterval_s = 0',
      'mail.toml:3: poll.interval_s must be a whole number of seconds from 1 to 86400, not 0',
    ],
    [
      '[poll]\ninterval_s = 1.5',
      'mail.toml:2: poll.interval_s must be a whole number of seconds from 1 to 86400, not 1.5',
    ],
    [
      'poll.concurrency_max = 300',
      'mail.toml:1: poll.concurrency_max must be a whole number of polls from 1 to 256, not 300',
    ],
    ['data_dir = 5', 'mail.toml:1: data_dir must be a text in quotes, not 5'],
    [
      'limits.sender_limit_exempt = ["monitor"]',
      'mail.toml:1: limits.sender_limit_exempt must be a list of at most 1000 mail addresses, as ["monitor@example.org"], not ["monitor"]',
    ],
    [
      'limits.sender_limit_exempt = "a@example.org"',
      'mail.toml:1: limits.sender_limit_exempt must be a list of at most 1000 mail addresses, as ["monitor@example.org"], not "a@example.org"',
    ],
    ['data_dir = ""', 'mail.toml:1: data_dir must not be empty'],
    ['[database]\nmigrate = "yes"', 'mail.toml:2: database.migrate must be true or false, not "yes"'],
    ['[log]\nlevel = "loud"', 'mail.toml:2: log.level must be "trace", "debug", "info", "warn" or "error", not "loud"'],
    ['[database]\ntls = true', 'mail.toml:2: database.tls must be "auto", "verify" or "off", not true'],
    ['poll = 5', 'mail.toml:1: poll must be a table, written as [name] on a line of its own, not 5'],
    ['[poll]\nintervall_s = 5', 'mail.toml:2: poll.intervall_s is not a known key; did you mean poll.interval_s?'],
    ['interval_s = 5', 'mail.toml:1: interval_s is not a known key; did you mean poll.interval_s?'],
    ['datadir = "x"', 'mail.toml:1: datadir is not a known key; did you mean data_dir?'],
    ['colour = "red"', 'mail.toml:1: colour is not a known key'],
    ['[polling]\ninterval_s = 5', 'mail.toml:1: polling is not a known table; did you mean [poll]?'],
    ['# x\n[pol]\ninterval_s = 5', 'mail.toml:2: pol is not a known table; did you mean [poll]?'],
    ['[poll]\ninterval_s = ', 'mail.toml:2: this is not TOML: invalid value'],
    [
      '[poll]\ninterval_s = 5\ninterval_s = 6',
      'mail.toml:3: this is not TOML: trying to redefine an already defined table or value',
    ],
    ['[poll]\nlease_s = 30', 'mail.toml:2: poll.lease_s must be poll.command_timeout_s (60) or more, not 30'],
    ['[poll]\ncommand_timeout_s = 90', 'mail.toml:2: poll.command_timeout_s must be poll.lease_s (60) or less, not 90'],
    [
      '[poll]\nconcurrency_max = 2\nconcurrency_per_host_max = 3',
      'mail.toml:3: poll.concurrency_per_host_max must be poll.concurrency_max (2) or less, not 3',
    ],
    [
      '[message]\nmax_size_mb = 200',
      'mail.toml:2: message.max_size_mb must be a quarter of message.parse_memory_mb (512) or less, not 200',
    ],
    [
      '[message]\nparse_memory_mb = 64',
      'mail.toml:2: message.parse_memory_mb must be 4 times message.max_size_mb (200) or more, not 64',
    ],
    [
      '[http]\nlisten = "0.0.0.0:8025"',
      'mail.toml:2: http.listen must be an address of this machine alone (127.0.0.1, [::1]) unless http.allow_remote is true, not "0.0.0.0:8025"',
    ],
    [
      '[http]\nlisten = "8025"',
      'mail.toml:2: http.listen must be HOST:PORT, as "127.0.0.1:8025" or "[::1]:8025", unix:PATH, or "off", not "8025"',
    ],
    [
      '[http]\nlisten = "127.0.0.1:70000"',
      'mail.toml:2: http.listen must be HOST:PORT, as "127.0.0.1:8025" or "[::1]:8025", unix:PATH, or "off", not "127.0.0.1:70000"',
    ],
    [
      '[admin]\nlisten = "8026"',
      'mail.toml:2: admin.listen must be HOST:PORT, as "127.0.0.1:8026" or "[::1]:8026", unix:PATH, or "off", not "8026"',
    ],
    [
      '[admin]\nlisten = "desk.example.org:8026"',
      'mail.toml:2: admin.listen must be an address of this machine alone (127.0.0.1, [::1]) unless admin.tls_certificate_file and admin.tls_key_file are given, or admin.proxies, not "desk.example.org:8026"',
    ],
    [
      '[admin]\ntls_certificate_file = "/c"',
      'mail.toml:2: admin.tls_certificate_file needs admin.tls_key_file as well',
    ],
    ['[admin]\ntls_key_file = "/k"', 'mail.toml:2: admin.tls_key_file needs admin.tls_certificate_file as well'],
    [
      '[admin]\nproxies = ["proxy.example.org"]',
      'mail.toml:2: admin.proxies must be a list of at most 20 IP addresses, as ["10.0.0.7"], not ["proxy.example.org"]',
    ],
    [
      '[admin]\nproxies = ["10.0.0.7"]',
      'admin.origin must be https://HOST or https://HOST:PORT, without a path, the one of the proxy, when admin.proxies is given',
    ],
    [
      '[admin]\nproxies = ["10.0.0.7"]\norigin = "http://localhost:8026"',
      'mail.toml:3: admin.origin must be https://HOST or https://HOST:PORT, without a path, not "http://localhost:8026"',
    ],
    [
      '[admin]\nlisten = "[::]:8026"\ntls_certificate_file = "/c"\ntls_key_file = "/k"',
      'admin.origin must be https://HOST or https://HOST:PORT, without a path when admin.listen is every address',
    ],
    [
      '[admin]\nsession_timeout_min = 0',
      'mail.toml:2: admin.session_timeout_min must be a whole number of minutes from 1 to 1440, not 0',
    ],
    [
      '[database]\npassword_file = "/x"',
      'mail.toml:2: database.password_file must be left out with a database that is not MySQL or MariaDB',
    ],
  ];

  test.each(wrong)('%j', (toml, message) => {
    const { message: told, code, exitCode } = failure(toml);
    expect({ told, code, exitCode }).toEqual({ told: message, code: 'config_invalid', exitCode: 2 });
  });

  test('names the environment variable instead of the file', () => {
    const env = { TICKETMAILD_POLL_INTERVAL_S: 'soon' };
    expect(failure('[poll]\ninterval_s = 5', { env }).message).toBe(
      'TICKETMAILD_POLL_INTERVAL_S must be a whole number of seconds from 1 to 86400, not "soon"',
    );
    expect(failure('', { env: { TICKETMAILD_POLL_INTERVALL_S: '5' } }).message).toBe(
      'TICKETMAILD_POLL_INTERVALL_S is not a known environment variable; did you mean TICKETMAILD_POLL_INTERVAL_S?',
    );
  });

  test('counts the other errors, and lists them in the hint', () => {
    const told = failure('[poll]\ninterval_s = 0\nlease_s = 1\n[raw]\nretention_day = 3');
    expect(told.message).toBe(
      'mail.toml:2: poll.interval_s must be a whole number of seconds from 1 to 86400, not 0 (and 2 more)',
    );
    expect(told.hint).toContain('mail.toml:5: raw.retention_day is not a known key; did you mean raw.retention_days?');
  });

  test('distinguishes a missing file from an unreadable one', () => {
    expect(failure('', { file: '/etc/no.toml' }).message).toBe('/etc/no.toml: there is no such configuration file');
    const unreadable = (): Config => loadConfig({ file: '/', env: {}, cwd: '/srv' });
    expect(unreadable).toThrow('/: the configuration file cannot be read (EISDIR)');
  });

  test('shows the absolute path of a file that is not below the working directory, or when that is /', () => {
    const readFile = (): Uint8Array => Buffer.from('[poll]\ninterval_s = 0');
    const shown = (cwd: string): string =>
      caught(() => loadConfig({ file: '/etc/ticketmaild/mail.toml', env: {}, cwd, readFile })).message.split(':')[0] ??
      '';
    expect(shown('/')).toBe('/etc/ticketmaild/mail.toml');
    expect(shown('/var')).toBe('/etc/ticketmaild/mail.toml');
    expect(shown('/etc')).toBe('ticketmaild/mail.toml');
  });

  test('rejects a file that is not UTF-8', () => {
    const files = { '/srv/app/mail.toml': Uint8Array.of(0x61, 0xff) };
    expect(failure('', { files }).message).toBe('mail.toml must be text in UTF-8');
  });
});

describe('the admin page', () => {
  const admin = (toml: string, given: Given = {}): Config['admin'] => load(`[admin]\n${toml}`, given).admin;

  test('listens on the loopback interface by default, and can be off', () => {
    expect(admin('')).toEqual({
      ...{ host: '127.0.0.1', port: 8026, tls: null, proxies: [], origin: null, sessionTimeoutMs: 1_800_000 },
    });
    expect(admin('listen = "off"\ntls_key_file = "/k"')).toBeNull();
    expect(admin('listen = "[::1]:0"\nsession_timeout_min = 1')).toMatchObject({
      host: '::1',
      port: 0,
      sessionTimeoutMs: 60_000,
    });
  });

  test('can be remote with TLS, whose files are relative to the folder of the configuration', () => {
    const files = 'tls_certificate_file = "tls/chain.pem"\ntls_key_file = "/etc/ssl/key.pem"';
    expect(admin(`listen = "10.0.0.5:8026"\n${files}`)).toMatchObject({
      host: '10.0.0.5',
      tls: { certificateFile: '/srv/app/tls/chain.pem', keyFile: '/etc/ssl/key.pem' },
      origin: null,
    });
    const origin = 'origin = "https://Desk.Example.org:443"';
    expect(admin(`listen = "0.0.0.0:8026"\n${files}\n${origin}`)).toMatchObject({ origin: 'https://desk.example.org' });
  });

  test('can be behind proxies with an HTTPS origin', () => {
    const env = {
      TICKETMAILD_ADMIN_PROXIES: '10.0.0.7, fd00::7',
      TICKETMAILD_ADMIN_ORIGIN: 'https://desk.example.org:8443',
    };
    expect(admin('listen = "10.0.0.5:8026"', { env })).toMatchObject({
      proxies: ['10.0.0.7', 'fd00::7'],
      origin: 'https://desk.example.org:8443',
    });
  });

  test('can be at a unix socket for a proxy, whose origin is required', () => {
    const socket = 'listen = "unix:/run/ticketmaild/page.sock"\norigin = "https://desk.example.org"';
    expect(admin(`${socket}\nlisten_group = "www-data"`)).toMatchObject({
      ...{ path: '/run/ticketmaild/page.sock', group: 'www-data', origin: 'https://desk.example.org' },
    });
    expect(admin(socket)).toMatchObject({ group: null });
    const without =
      'admin.origin must be https://HOST or https://HOST:PORT, without a path, the one of the proxy, when';
    expect(failure('[admin]\nlisten = "unix:/run/s"').message).toBe(`${without} admin.listen is a unix socket`);
    for (const path of ['run/s', '', `/${'x'.repeat(90)}`])
      expect(failure(`[admin]\nlisten = "unix:${path}"`).message).toContain('must be HOST:PORT');
    expect(failure('[admin]\nlisten_group = "www-data"').message).toBe(
      'mail.toml:2: admin.listen_group needs admin.listen = "unix:PATH"',
    );
  });

  test.each(['http://localhost:8026', 'http://127.0.0.1', 'http://[::1]:9000', 'https://desk.example.org'])(
    'on this machine alone may have the origin %s',
    (origin) => {
      expect(admin(`origin = "${origin}"`)?.origin).toBe(origin);
    },
  );

  test.each([
    ...['http://desk.example.org', 'https://desk.example.org/', 'https://desk.example.org/admin', 'desk.example.org'],
    ...['https://a@desk.example.org', 'https://desk.example.org?x', 'https://', 'https://a b', 'ftp://localhost', '*'],
  ])('rejects the origin %s', (origin) => {
    const { message } = failure(`[admin]\norigin = "${origin}"`);
    // What stands before the @ may be a password.
    const shown = origin.includes('@') ? 'https://(not shown, as it may contain a password)' : origin;
    expect(message).toBe(
      `mail.toml:2: admin.origin must be https://HOST or https://HOST:PORT, without a path (http:// for localhost alone), not "${shown}"`,
    );
  });
});

describe('the database URL', () => {
  const url = (text: string): string => `[database]\nurl = "${text}"`;

  test('is parsed, the password into bytes', () => {
    const { database } = load(url('mysql://desk%40home:p%40ss%C3%A9@db.example:3307/tickets'));
    if (database.kind !== 'mysql') throw new Error('not MySQL');
    expect(database).toMatchObject({
      hosts: [{ host: 'db.example', port: 3307 }],
      user: 'desk@home',
      database: 'tickets',
    });
    expect(database.password?.use((bytes) => new TextDecoder().decode(bytes))).toBe('p@ssé');
    expect(JSON.stringify(database)).not.toMatch(/p@ss|p%40ss/);
  });

  test('can name several hosts, in the order of failover', () => {
    const { database } = load(url('mysql://u:a%2Cb@node1,node2:3307,[fd00::3],127.0.0.1:3308,127.0.0.1:3309/tickets'));
    if (database.kind !== 'mysql') throw new Error('not MySQL');
    expect(database).toMatchObject({
      hosts: [
        { host: 'node1', port: 3306 },
        { host: 'node2', port: 3307 },
        { host: 'fd00::3', port: 3306 },
        { host: '127.0.0.1', port: 3308 },
        { host: '127.0.0.1', port: 3309 },
      ],
      user: 'u',
      database: 'tickets',
    });
    expect(database.password?.use((bytes) => new TextDecoder().decode(bytes))).toBe('a,b');
  });

  test('requires TLS unless the database is on this machine', () => {
    const tls = (text: string, more = ''): unknown => {
      const { database } = load(`${url(text)}\n${more}`);
      return database.kind === 'mysql' && database.tls;
    };
    expect(tls('mariadb://u@127.0.0.1/t')).toBe('off');
    expect(tls('mysql://u@[::1]/t')).toBe('off');
    expect(tls('mysql://u@localhost/t?socket=/run/mysqld/mysqld.sock')).toBe('off');
    expect(tls('mysql://u@10.0.0.5/t')).toBe('verify');
    expect(tls('mysql://u@127.0.0.1,[::1]:3307,localhost/t')).toBe('off');
    expect(tls('mysql://u@127.0.0.1,node2/t')).toBe('verify');
    expect(tls('mysql://u@127.0.0.1/t', 'tls = "verify"')).toBe('verify');
    expect(tls('mysql://u@10.0.0.5/t', 'tls = "off"')).toBe('off');
  });

  test('places a SQLite file below data_dir', () => {
    expect(load(`data_dir = "/var/lib/t"\n${url('sqlite:a/b.db')}`).database).toEqual({
      kind: 'sqlite',
      path: '/var/lib/t/a/b.db',
    });
    expect(load(url('sqlite:/abs.db')).database).toEqual({ kind: 'sqlite', path: '/abs.db' });
    expect(load(url('sqlite:///abs.db')).database).toEqual({ kind: 'sqlite', path: '/abs.db' });
  });

  test.each([
    ['postgres://u:hunter2@h/t', 'must be sqlite:PATH'],
    ['mysql://u:hun/ter2@h/t', 'must be sqlite:PATH'],
    ['mysql://u:hun#ter2@h/t', 'must be sqlite:PATH'],
    ['mysql://u:hunter2%@h/t', 'must write special characters as %XX'],
    ['mysql://u:hunter2%ff@h/t', 'must write special characters as %XX'],
    ['mysql://h/t', 'must name the user'],
    ['mysql://u:hunter2@/t', 'must be sqlite:PATH'],
    ['mysql://u:hunter2@h', 'must end with the name of one database'],
    ['mysql://u:hunter2@h/t/x', 'must end with the name of one database'],
    ['mysql://u:hunter2@h/t?ssl=hunter2', 'may have no other parameter than "socket"'],
    ['mysql://u:hunter2@h/t?socket=mysqld.sock', 'must give the socket as an absolute path'],
    ['mysql://u@h/t#hunter2', 'must not contain "#"'],
    ['mysql://u:hunter2@h,/t', 'must be sqlite:PATH'],
    ['mysql://u:hunter2@h,,i/t', 'must be sqlite:PATH'],
    ['mysql://u:hunter2@h,i:x/t', 'must be sqlite:PATH'],
    ['mysql://u:hunter2@h,i:3307,h/t', 'must name each host once'],
    ['mysql://u:hunter2@h,i/t?socket=/x', 'must name one host alone when it gives a socket'],
    ['sqlite:', 'must name a file after "sqlite:"'],
    ['sqlite::memory:', 'must name a file after "sqlite:"'],
    ['sqlite://host/x', 'must be sqlite:PATH, without a host'],
  ])('is rejected without being quoted: %s', (text, why) => {
    const told = failure(url(text));
    expect(told.message).toContain(`mail.toml:2: database.url ${why}`);
    expect(told.message).toContain('(its value is not shown)');
    expect(JSON.stringify([told.message, told.hint, told.fields])).not.toMatch(/hun|ter2/);
  });

  test('is not quoted by an error of TOML or of its type either', () => {
    for (const toml of ['[database]\nurl = "mysql://u:hunter2@h/t', '[database]\nurl = ["hunter2"]'])
      expect(JSON.stringify([failure(toml).message, failure(toml).hint])).not.toContain('hunter2');
  });

  test('takes the password from a file, without the line end', () => {
    const given = { files: { '/srv/app/secret': 'hunter2\r\n' } };
    const { database } = load(`${url('mysql://u@h/t')}\npassword_file = "secret"`, given);
    if (database.kind !== 'mysql') throw new Error('not MySQL');
    expect(database.password?.use((bytes) => new TextDecoder().decode(bytes))).toBe('hunter2');
  });

  test('rejects a password file beside a password, an empty one, and a missing one', () => {
    const files = { '/srv/app/empty': '\n' };
    const told = (text: string, file: string): string =>
      failure(`${url(text)}\npassword_file = "${file}"`, { files }).message;
    expect(told('mysql://u:p@h/t', 'empty')).toContain(
      'mail.toml:3: database.password_file must be left out when database.url holds the password',
    );
    expect(told('mysql://u@h/t', 'empty')).toBe('mail.toml:3: database.password_file names an empty file');
    expect(told('mysql://u@h/t', 'none')).toBe(
      'mail.toml:3: database.password_file names a file that cannot be read (ENOENT)',
    );
  });

  test('refuses a password file that other users can read, or its group can change', async () => {
    await using folder = await temporaryFolder();
    const secret = join(folder.path, 'secret');
    const file = join(folder.path, 'mail.toml');
    writeFileSync(file, `${url('mysql://u@h/t')}\npassword_file = "${secret}"`);
    writeFileSync(secret, 'hunter2');
    const withMode = (mode: number, env = {}): (() => Config) => {
      chmodSync(secret, mode);
      return () => loadConfig({ file, env });
    };
    for (const mode of [0o644, 0o604, 0o660, 0o602]) {
      const refused = caught(withMode(mode));
      expect(refused.message).toMatch(/:3: database.password_file names a file that others .* its mode is 0\d{3}$/);
      expect(refused.hint).toContain(`chmod 600 ${secret}`);
      expect(JSON.stringify([refused.message, refused.hint])).not.toContain('hunter2');
    }
    for (const mode of [0o600, 0o400, 0o440]) expect(withMode(mode)).not.toThrow();
    // The credential that systemd provides, below its own folder.
    const credential = join(folder.path, 'ticketmaild-database-password');
    writeFileSync(file, url('mysql://u@h/t'));
    writeFileSync(credential, 'hunter2', { mode: 0o440 });
    const { database } = loadConfig({ file, env: { CREDENTIALS_DIRECTORY: folder.path } });
    expect(database.kind === 'mysql' && database.password?.length).toBe(7);
  });

  test('names the user who may not read a file', () => {
    const content = Buffer.from(`${url('mysql://u@h/t')}\npassword_file = "secret"`);
    const readFile = (path: string): Uint8Array => {
      if (path.endsWith('.toml')) return content;
      throw Object.assign(new Error('refused'), { code: 'EACCES' });
    };
    const told = caught(() => loadConfig({ file: 'mail.toml', env: {}, cwd: '/srv/app', readFile }));
    expect(told.message).toBe('mail.toml:3: database.password_file names a file that cannot be read (EACCES)');
    expect(told.hint).toMatch(new RegExp(`^The user ${userInfo().username} tried to read it: `));
  });

  test('reads an RSA public key from server_key_file, and rejects any other content', () => {
    const pem = (type: 'rsa' | 'ed25519', modulusLength = 2048): string => {
      const pair = type === 'rsa' ? generateKeyPairSync(type, { modulusLength }) : generateKeyPairSync(type);
      return pair.publicKey.export({ type: 'spki', format: 'pem' }).toString();
    };
    const rsa = pem('rsa');
    const withKey = (text: string) => ({ files: { '/srv/app/key.pem': text } });
    const document = `${url('mysql://u@h/t')}\nserver_key_file = "key.pem"`;
    const { database } = load(document, withKey(rsa));
    expect(database.kind === 'mysql' && database.serverKeyPem).toBe(rsa);
    const privatePem = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    for (const [text, why] of [
      ['hello', 'holds no public key (PEM)'],
      [`${rsa}${rsa}`, 'holds several keys'],
      [rsa.replaceAll(/[a-z]/g, 'x'), 'holds a damaged key'],
      [pem('rsa', 1024), 'holds a key of 1024 bits, fewer than 2048'],
      [pem('ed25519'), 'holds a key of another kind'],
      [privatePem.export({ type: 'pkcs8', format: 'pem' }).toString(), 'holds a private key'],
    ] as const)
      expect(failure(document, withKey(text)).message).toBe(
        `mail.toml:3: database.server_key_file must name a file of an RSA public key, but "key.pem" ${why}`,
      );
  });

  test('reads certificates from ca_file, and rejects a file without any', async () => {
    const pem = readFileSync(`${await certificatesTemplate()}/ca.pem`, 'utf8');
    const files = { '/srv/app/ca.pem': pem, '/srv/app/not.pem': 'hello' };
    const { database } = load(`${url('mysql://u@h/t')}\nca_file = "ca.pem"`, { files });
    expect(database.kind === 'mysql' && database.caPem).toBe(pem);
    expect(failure(`${url('mysql://u@h/t')}\nca_file = "not.pem"`, { files }).message).toBe(
      'mail.toml:3: database.ca_file must name a file of certificates, but "not.pem" holds no certificate (PEM)',
    );
  });
});

describe('where values come from', () => {
  test('every key has its own environment variable, which takes precedence over the file', () => {
    expect(new Set(allSettings.map(({ variable }) => variable)).size).toBe(allSettings.length);
    const env = {
      TICKETMAILD_DATA_DIR: '/data',
      TICKETMAILD_DATABASE_URL: 'sqlite:x.db',
      TICKETMAILD_DATABASE_MIGRATE: 'false',
      TICKETMAILD_HTTP_LISTEN: '[::1]:0',
      TICKETMAILD_POLL_INTERVAL_S: '5',
    };
    const config = load('data_dir = "/file"\n[poll]\ninterval_s = 7', { env });
    expect(config).toMatchObject({
      dataDir: '/data',
      database: { path: '/data/x.db' },
      migrateOnStart: false,
      http: { host: '::1', port: 0 },
      poll: { intervalMs: 5000 },
    });
  });

  test('the file is that of --config, else of TICKETMAILD_CONFIG, else in /etc, else that of the program', () => {
    const keepDays = (days: number): string => `data_dir = "/d"\n[raw]\nretention_days = ${days}`;
    const files: Record<string, string> = {
      '/srv/app/env.toml': keepDays(2),
      '/etc/ticketmaild/ticketmaild.toml': keepDays(3),
      '/opt/ticketmaild/config/ticketmaild.toml': keepDays(4),
    };
    const env = { TICKETMAILD_CONFIG: 'env.toml' };
    const read = (given: Given): number => load(keepDays(1), { ...given, files }).raw.retentionDays;
    expect(read({ env })).toBe(1);
    expect(read({ env, file: null })).toBe(2);
    expect(read({ file: null })).toBe(3);
    delete files['/etc/ticketmaild/ticketmaild.toml'];
    expect(read({ file: null })).toBe(4);
    delete files['/opt/ticketmaild/config/ticketmaild.toml'];
    expect(read({ file: null })).toBe(7);
  });

  test('relative paths are relative to the folder of the file, to the checkout for its own file, to the working directory for a variable', () => {
    expect(load('data_dir = "x"').dataDir).toBe('/srv/app/x');
    expect(load('', { file: null }).dataDir).toBe('/opt/ticketmaild/data');
    expect(load('data_dir = "x"', { env: { TICKETMAILD_DATA_DIR: 'y' } }).dataDir).toBe('/srv/app/y');
  });

  test('relative paths are rejected below /etc', () => {
    const files = { '/etc/ticketmaild/ticketmaild.toml': '\ndata_dir = "data"' };
    expect(failure('', { files, file: null }).message).toBe(
      '/etc/ticketmaild/ticketmaild.toml:2: data_dir must be an absolute path, such as "/var/lib/ticketmaild", not "data"',
    );
  });

  test('an installed program reads no file of its own, and asks for a folder for the data', () => {
    const files = { '/opt/ticketmaild/config/ticketmaild.toml': 'data_dir = "/lost"' };
    const installed = { files, file: null, ownFile: null };
    const { message, hint } = failure('', installed);
    expect(message).toBe('data_dir must be an absolute path, such as "/var/lib/ticketmaild", not "data"');
    expect(hint).toBe(
      'Set TICKETMAILD_DATA_DIR to the folder for the data, or data_dir in /etc/ticketmaild/ticketmaild.toml.',
    );
    expect(load('', { ...installed, env: { TICKETMAILD_DATA_DIR: 'mine' } }).dataDir).toBe('/srv/app/mine');
    const system = { ...files, '/etc/ticketmaild/ticketmaild.toml': 'data_dir = "/d"' };
    expect(load('', { ...installed, files: system }).dataDir).toBe('/d');
  });

  test('the result is frozen', () => {
    const config = load('');
    expect(Object.isFrozen(config) && Object.isFrozen(config.poll) && Object.isFrozen(config.database)).toBe(true);
  });

  test('health endpoints can be at a unix socket, and have further host names', () => {
    expect(load('[http]\nlisten = "unix:/run/s"\nhosts = ["Desk.example.org", "10.0.0.9", "fd00::9"]').http).toEqual({
      ...{ path: '/run/s', group: null, hosts: ['Desk.example.org', '10.0.0.9', 'fd00::9'] },
    });
    for (const host of ['a b', 'http://a', 'a:1', '-a', ''])
      expect(failure(`[http]\nhosts = ["${host}"]`).message).toMatch(
        /^mail\.toml:2: http\.hosts must be a list of at most 20/,
      );
  });

  test('health endpoints can be off, and are remote only with allow_remote', () => {
    expect(load('[http]\nlisten = "off"').http).toBeNull();
    expect(load('[http]\nlisten = "0.0.0.0:80"\nallow_remote = true').http).toEqual({
      ...{ host: '0.0.0.0', port: 80, hosts: [] },
    });
  });
});

describe('lines of keys', () => {
  test('are found after multi-line strings, with quotes, dots and comments', () => {
    const toml = 'data_dir = """\n[poll]\ninterval_s = 1\n"""\n[ "poll" ] # x\n"lease_s" = 60 # = 1\n  interval_s=0\n';
    expect(failure(toml).message).toContain('mail.toml:7: poll.interval_s must be');
  });
});

test('only regular files of at most 1 MiB are read, and a FIFO does not block', async () => {
  await using folder = await temporaryFolder('config');
  const [fifo, large] = ['fifo.toml', 'large.toml'].map((name) => join(folder.path, name)) as [string, string];
  execFileSync('mkfifo', [fifo]);
  writeFileSync(large, '#'.repeat(1024 * 1024 + 1));
  const source = { env: {}, cwd: folder.path };
  const told = (why: string) => expect.objectContaining({ code: 'config_invalid', message: why });
  expect(() => loadConfig({ ...source, file: fifo })).toThrow(
    told('fifo.toml: the configuration file is not a regular file'),
  );
  expect(() => loadConfig({ ...source, file: large })).toThrow(
    told('large.toml: the configuration file is larger than 1 MiB'),
  );
  writeFileSync(large, '#'.repeat(1024 * 1024));
  expect(loadConfig({ ...source, file: large }).raw.retentionDays).toBe(7);
});
