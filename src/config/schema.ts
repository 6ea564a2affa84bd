/**
 * Configuration schema: every key with its type, limits, default and description, strict at every level (zod).
 *
 * The message of each zod issue states what is allowed there ("a whole number of seconds from 1 to 86400"). Names of
 * the environment variables, `config/ticketmaild.toml` and the table in `config/README.md` are derived from it (`npm
 * run reference`).
 */
import { isIP } from 'node:net';
import * as z from 'zod/mini';
import { fingerprintDigits, fingerprintForm } from './option-values.ts';

/** Documentation of a key; `allowed` completes "must be …". */
type SettingText = {
  readonly type: Setting['type'];
  readonly allowed: string;
  readonly meaning: string;
  /** Further sentences for `config/ticketmaild.toml`. */
  readonly more?: string;
};

const texts = z.registry<SettingText>();

type Meaning = Pick<SettingText, 'meaning' | 'more'> | string;

function documented<T extends z.ZodMiniType>(schema: T, type: Setting['type'], allowed: string, meaning: Meaning): T {
  texts.add(schema, { type, allowed, ...(typeof meaning === 'string' ? { meaning } : meaning) });
  return schema;
}

function wholeNumber(of: string, from: number, to: number, fallback: number, meaning: Meaning) {
  const error = `a whole number of ${of} from ${from} to ${to}`;
  const number = z.int({ error }).check(z.minimum(from, { error }), z.maximum(to, { error }));
  return documented(z._default(number, fallback), 'number', error, meaning);
}

function choice<const T extends readonly [string, string, ...string[]]>(
  values: T,
  fallback: T[number],
  meaning: Meaning,
) {
  const quoted = values.map((value) => `"${value}"`);
  const error = `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`;
  return documented(z._default(z.enum(values, { error }), fallback), 'text', error, meaning);
}

function text(fallback: string, meaning: Meaning) {
  const error = 'a text in quotes';
  return documented(z._default(z.string({ error }), fallback), 'text', error, meaning);
}

function yesOrNo(fallback: boolean, meaning: Meaning) {
  const error = 'true or false';
  return documented(z._default(z.boolean({ error }), fallback), 'boolean', error, meaning);
}

function list(countMax: number, of: string, example: string, isOne: (one: string) => boolean, meaning: Meaning) {
  const error = `a list of at most ${countMax} ${of}, as ["${example}"]`;
  const isList = (value: unknown): value is readonly string[] =>
    Array.isArray(value) && value.length <= countMax && value.every((one) => typeof one === 'string' && isOne(one));
  const schema = z.custom<readonly string[]>((value) => isList(value), { error });
  return documented(z._default(schema, []), 'list', error, meaning);
}

function word(allowed: string, form: RegExp, fallback: string, meaning: Meaning) {
  const schema = z.string({ error: allowed }).check(z.regex(form, { error: allowed }));
  return documented(z._default(schema, fallback), 'text', allowed, meaning);
}

function root<T extends z.core.$ZodLooseShape>(shape: T) {
  return z.strictObject(shape, { error: 'a table, written as [name] on a line of its own' });
}

/** A table may be absent: each key then has its default. */
function table<T extends z.core.$ZodLooseShape>(shape: T) {
  return z.prefault(root(shape), {} as never);
}

function isHost(text: string): boolean {
  return isIP(text) > 0 || /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i.test(text);
}

/** Empty: not pinned. */
function isFingerprint(text: string): boolean {
  return text === '' || fingerprintDigits(text) !== null;
}

/** `*@example.org`, or a user name. */
const userPattern = /^(\*@)?[^\s*,]{1,320}$/u;
const hostAndPort = /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$/i;
const providerName = /^[a-z0-9][a-z0-9_-]{0,31}$/;

const mailAddress = /^[^\s@,]{1,64}@[^\s@,]{1,255}$/u;
const oneLineEnd = 'One line end at its end is ignored.';

const emptyByKind = 'If empty, that of the kind.';

/** A table `[oauth.NAME]`; what depends on the kind is empty here, and derived in oauth.ts. */
const provider = root({
  kind: documented(
    z.enum(['microsoft', 'google', 'yahoo', 'oidc'], { error: '"microsoft", "google", "yahoo" or "oidc"' }),
    'text',
    '"microsoft", "google", "yahoo" or "oidc"',
    'Kind of provider, which gives the defaults of the other keys; oidc: any other OpenID provider (required).',
  ),
  flow: choice(['', 'application', 'service_account', 'person'], '', {
    meaning:
      'application (client credentials), service_account (domain-wide delegation) or person (an owner signs in).',
    more: 'If empty: application for microsoft, service_account for google, person for yahoo and oidc.',
  }),
  tenant: text('', 'Tenant of Microsoft: its id, or a domain such as contoso.onmicrosoft.com (required there).'),
  shared_tenant: yesOrNo(
    false,
    'Allows the tenants common, organizations and consumers, which every organization shares.',
  ),
  client_id: text('', 'Id of the application (client) at the provider; a service account file contains its own.'),
  client_secret_file: text('', {
    meaning: 'File that contains the client secret.',
    more: `${oneLineEnd} Secrets are read at each use. If no file is named, the systemd credential ticketmaild-oauth-NAME is read.`,
  }),
  private_key_file: text('', 'File of the private key of the application (PEM, PKCS #8, without a passphrase).'),
  certificate_file: text('', {
    meaning: 'File of its certificate (PEM), whose thumbprint names the key to Microsoft; its end is watched.',
    more: 'It may contain the private key too; private_key_file is left out then.',
  }),
  service_account_file: text('', 'File of the service account (JSON), as the provider issued it.'),
  client_secret_until: documented(
    z._default(z.custom<string | Date>(isDate, { error: 'a date, as 2027-05-01' }), ''),
    'text',
    'a date, as 2027-05-01',
    'Date on which the client secret ends: warned of from 30 days before. That of a certificate is read from it.',
  ),
  mailboxes: list(10_000, 'user names', 'support@example.org', (one) => userPattern.test(one), {
    meaning: 'User names that may be opened, or *@example.org for all of a domain.',
    more: 'Required unless a person signs in, whose own account needs no entry. A writer of the database can open no other mailbox.',
  }),
  imap_hosts: list(20, 'mail servers', 'imap.example.org:993', (one) => hostAndPort.test(one), {
    meaning: 'Mail servers that a token may go to, over TLS.',
    more: `${emptyByKind} Required for oidc.`,
  }),
  scopes: list(20, 'scopes', 'https://mail.example.org/imap', (one) => /^[\x21\x23-\x5b\x5d-\x7e]{1,500}$/.test(one), {
    meaning: 'Scopes to request.',
    more: `${emptyByKind} Required for oidc.`,
  }),
  issuer: text(
    '',
    'Address of the issuer (https://…), at which the endpoints that are not named are discovered; for oidc.',
  ),
  token_endpoint: text('', `Address of the token endpoint. ${emptyByKind}`),
  authorization_endpoint: text('', `Address of the authorization endpoint. ${emptyByKind}`),
  device_endpoint: text('', `Address of the device authorization endpoint. ${emptyByKind}`),
  revocation_endpoint: text('', `Address of the revocation endpoint. ${emptyByKind}`),
  prompt: choice(['', 'none', 'consent', 'login', 'select_account'], '', {
    meaning: 'Parameter prompt of the authorization request; "none" for no such parameter.',
    more: 'If empty: consent for google and oidc, where no refresh token comes without it.',
  }),
  session_ends_with_token: choice(['', 'yes', 'no'], '', {
    meaning: 'Whether the mail server ends a session when its token ends, so that a new one begins before.',
    more: 'If empty: yes for microsoft, google and yahoo.',
  }),
  ca_file: text('', 'Certificate authorities (PEM) of the endpoints and mail servers, instead of those of the system.'),
  proxy: text('', 'HTTP proxy (CONNECT) to the endpoints, as http://proxy.example.org:3128.'),
});

function isDate(value: unknown): boolean {
  if (value instanceof Date) return !Number.isNaN(value.getTime());
  return (
    typeof value === 'string' &&
    (value === '' || (/^\d{4}-\d{2}-\d{2}$/.test(value) && !Number.isNaN(Date.parse(value))))
  );
}

const providers = z.record(
  z.string().check(z.regex(providerName, { error: 'named by up to 32 small letters, digits, dashes and underscores' })),
  provider,
  { error: 'tables, written as [oauth.NAME]' },
);

export type ProviderSettings = z.output<typeof provider>;

const settings = root({
  data_dir: text('data', 'Folder of the raw sources, the attachments and the embedded database; on a local disk.'),
  database: table({
    url: text('sqlite:ticketmaild.db', {
      meaning:
        'Database: sqlite:PATH (relative to data_dir), mysql://USER@localhost/NAME?socket=/run/mysqld/mysqld.sock or mysql://USER:PASSWORD@HOST:3306/NAME.',
      more: 'SQLite needs no server. MySQL 8.4 and later, MariaDB 10.6 and later (mariadb:// means the same); on this machine over the unix socket. Write special characters of user and password as %XX; separate several hosts by commas (HOST:PORT,HOST:PORT).',
    }),
    password_file: text('', {
      meaning: 'File that contains the password, instead of writing it into the URL.',
      more: `${oneLineEnd} Without either, the systemd credential ticketmaild-database-password is read.`,
    }),
    tls: choice(
      ['auto', 'verify', 'off'],
      'auto',
      'verify: TLS, with the certificate and its host name checked. off: plain text. auto: off to this machine (loopback, socket), verify to any other.',
    ),
    ca_file: text('', 'Certificate authorities (PEM) to trust for the database, instead of those of the system.'),
    fingerprint: documented(
      z._default(z.string({ error: fingerprintForm }).check(z.refine(isFingerprint, { error: fingerprintForm })), ''),
      'text',
      fingerprintForm,
      {
        meaning:
          'SHA-256 of the certificate of the database, the only one to trust then, whatever its name, issuer or dates.',
        more: 'For the certificate that MySQL makes for itself. With it, auto is verify. Each of several hosts must show it. On the server, with the file in ssl_cert: openssl x509 -in /var/lib/mysql/server-cert.pem -noout -fingerprint -sha256',
      },
    ),
    server_key_file: text('', {
      meaning:
        'RSA public key of the server (PEM, public_key.pem in the data folder of MySQL), to encrypt the password to without TLS.',
      more: 'Without TLS, a unix socket or this key, a login that needs the whole password (caching_sha2_password) is refused.',
    }),
    connections_max: wholeNumber('connections', 1, 500, 10, 'Limit of open connections.'),
    migrate: yesOrNo(
      true,
      'Whether "run" upgrades the tables. If false, run "ticketmaild migrate" after each upgrade.',
    ),
  }),
  encryption: table({
    passphrase_file: text('', {
      meaning: 'File that contains the passphrase of the key file, if one protects it ("key protect").',
      more: `${oneLineEnd} If empty, the systemd credential ticketmaild-key-passphrase is read.`,
    }),
  }),
  oauth: z._default(providers, {}),
  http: table({
    listen: text(
      '127.0.0.1:8025',
      'Address of /livez, /readyz and /metrics, as HOST:PORT, [IPV6]:PORT or unix:PATH; port 0 for any free one, "off" for none.',
    ),
    listen_group: text(
      '',
      'Group that may connect to the unix socket (mode 0660); if empty, the user of the daemon (0600).',
    ),
    hosts: list(20, 'host names or addresses', 'tickets.example.org', isHost, {
      meaning: 'Further host names under which they are requested, as by Prometheus or a load balancer.',
      more: 'Always served: loopback names, and the address that a connection arrives at. Any other Host is refused (421), against DNS rebinding.',
    }),
    allow_remote: yesOrNo(false, 'Must be true for an address that other machines can reach: there is no login.'),
  }),
  admin: table({
    listen: text('127.0.0.1:8026', {
      meaning:
        'Address of the admin page, as HOST:PORT, [IPV6]:PORT or unix:PATH; port 0 for any free one, "off" for none.',
      more: 'An address that other machines can reach needs the two TLS files, or proxies. A unix socket is for a reverse proxy on this machine, and needs origin.',
    }),
    listen_group: text(
      '',
      'Group that may connect to the unix socket (mode 0660); if empty, the user of the daemon (0600).',
    ),
    tls_certificate_file: text(
      '',
      'Certificate with its chain (PEM), for HTTPS. It is read again when it changes: a renewal needs no restart.',
    ),
    tls_key_file: text('', 'Private key of the certificate (PEM, without a passphrase).'),
    proxies: list(
      20,
      'IP addresses',
      '10.0.0.7',
      (one) => isIP(one) > 0,
      'IP addresses of the reverse proxies. Only they may connect then, and X-Forwarded-For is trusted from them alone. For one on this machine use a unix socket: any user can connect from 127.0.0.1.',
    ),
    origin: text('', {
      meaning: 'Origin under which browsers reach the page, as https://tickets.example.org; required behind proxies.',
      more: 'Requests for any other host name are refused. If empty: the host name or address of listen, localhost and 127.0.0.1.',
    }),
    session_timeout_min: wholeNumber('minutes', 1, 1440, 30, 'Minutes of inactivity after which a session ends.'),
  }),
  log: table({
    level: choice(['trace', 'debug', 'info', 'warn', 'error'], 'info', 'Lowest level that is logged.'),
  }),
  poll: table({
    interval_s: wholeNumber('seconds', 1, 86_400, 60, {
      meaning: 'Seconds between two polls of a mailbox.',
      more: '"mailbox add --interval" sets another interval for one mailbox.',
    }),
    concurrency_max: wholeNumber('polls', 1, 256, 8, 'Limit of concurrent polls.'),
    concurrency_per_host_max: wholeNumber(
      'polls',
      1,
      256,
      4,
      'Limit of concurrent polls per mail host, which may limit logins.',
    ),
    lease_s: wholeNumber(
      'seconds',
      5,
      3600,
      60,
      'Seconds after which another worker may take over the mailbox of a dead worker; at least command_timeout_s.',
    ),
    connect_timeout_s: wholeNumber('seconds', 1, 600, 20, 'Timeout of a connection to a mail server, TLS included.'),
    command_timeout_s: wholeNumber('seconds', 1, 3600, 60, 'Timeout of one IMAP command.'),
    backoff_max_s: wholeNumber('seconds', 1, 86_400, 900, 'Longest wait between two polls of a mailbox that fails.'),
    login_failures_max: wholeNumber('refused logins', 1, 100, 3, {
      meaning: 'Consecutive refused logins after which a mailbox is suspended, so that its account is not locked.',
      more: 'The suspension ends when its row in the database changes (mailbox set-password).',
    }),
    login_suspend_h: wholeNumber('hours', 1, 720, 6, 'Hours after which a suspended mailbox tries one more login.'),
  }),
  idle: table({
    connections_max: wholeNumber('connections', 0, 10_000, 200, {
      meaning: 'Limit of connections that stay open after a poll (IDLE), so that new messages are fetched on arrival.',
      more: '0 for none. The mailboxes beyond the limit are polled only.',
    }),
    connections_per_host_max: wholeNumber('connections', 0, 10_000, 100, 'Limit of such connections per mail host.'),
  }),
  message: table({
    max_size_mb: wholeNumber('megabytes', 1, 1024, 50, {
      meaning: 'Megabytes of one message.',
      more: 'A larger one is not downloaded: its headers are quarantined.',
    }),
    batch_messages_max: wholeNumber(
      'messages',
      1,
      1000,
      100,
      'Limit of messages in one batch, which is one transaction.',
    ),
    batch_max_mb: wholeNumber(
      'megabytes',
      1,
      256,
      8,
      'Megabytes of messages in one batch (one message may be larger).',
    ),
    parse_timeout_s: wholeNumber(
      'seconds',
      1,
      3600,
      15,
      'Seconds after which parsing stops and the message is quarantined.',
    ),
    parse_memory_mb: wholeNumber('megabytes', 64, 16_384, 512, {
      meaning: 'Memory limit of parsing one message, in megabytes; at least 4 times max_size_mb.',
      more: 'A message that needs more is quarantined.',
    }),
    parse_threads: wholeNumber('threads', 1, 64, 1, 'Threads that parse.'),
  }),
  limits: table({
    sender_limit_per_hour: wholeNumber('messages', 0, 1_000_000, 100, {
      meaning: 'Messages of one sender that one mailbox accepts within an hour; 0 for any number.',
      more: 'Further ones are quarantined with their source: a loop, or a defective machine. Replies that a token or a Message-ID ties to a ticket count for the ticket.',
    }),
    sender_limit_exempt: list(
      1000,
      'mail addresses',
      'monitor@example.org',
      (one) => mailAddress.test(one),
      'From addresses that are exempt from this limit, such as that of a monitoring system.',
    ),
  }),
  tickets: table({
    reopen_days: wholeNumber('days', 0, 3650, 0, {
      meaning: 'Days after which a reply to a closed ticket opens a new, linked ticket instead of reopening it.',
      more: '0: it always reopens the old one.',
    }),
  }),
  raw: table({
    retention_days: wholeNumber('days', 0, 3650, 7, {
      meaning: 'Days for which the raw source of a message is stored, so that it can be reprocessed.',
      more: '0: deleted within the hour.',
    }),
  }),
  shutdown: table({
    timeout_s: wholeNumber('seconds', 0, 3600, 20, {
      meaning: 'Seconds that a shutdown (SIGTERM, SIGINT) waits for polls in progress.',
      more: 'A poll that is cut off then is repeated after the next start.',
    }),
  }),
  worker: table({
    name: word(
      'up to 16 small letters, digits and dashes in quotes',
      /^[a-z0-9-]{0,16}$/,
      '',
      'Distinguishes workers that share one data_dir (the template unit sets it); empty for a single one.',
    ),
  }),
});

export type Settings = z.output<typeof settings>;

/** One key: its path in the file, its environment variable, and its documentation. */
export type Setting = {
  readonly path: readonly string[];
  readonly variable: string;
  /** How the text of the variable is read. `list`: separated by commas. */
  readonly type: 'number' | 'boolean' | 'text' | 'list';
  readonly allowed: string;
  readonly default: unknown;
  /** At most 200 characters. */
  readonly meaning: string;
  readonly more: string;
};

/** Values of these keys are or may be secrets, or were written in place of one: no error quotes them. */
export const neverShown: ReadonlySet<string> = new Set([
  'database.url',
  'database.password_file',
  'database.tls',
  'database.ca_file',
  'database.fingerprint',
  'database.server_key_file',
  'encryption.passphrase_file',
]);

/** Parses a document; the message of each issue is what is allowed at its path. */
export function parseSettings(
  document: unknown,
):
  | { readonly ok: true; readonly settings: Settings }
  | { readonly ok: false; readonly issues: readonly z.core.$ZodIssue[] } {
  const result = settings.safeParse(document);
  return result.success ? { ok: true, settings: result.data } : { ok: false, issues: result.error.issues };
}

/** The tables that a file may have, by name. */
export const tableNames: readonly string[] = Object.entries(settings.shape)
  .filter(([, schema]) => schema instanceof z.ZodMiniPrefault)
  .map(([name]) => name);

/** Every key of a table `[oauth.NAME]`; they have no environment variable. */
export const providerSettings: readonly Omit<Setting, 'variable'>[] = settingsIn(
  provider.shape,
  provider.parse({ kind: 'oidc' }),
  [],
).map(({ variable: _, ...setting }) => setting);

/** Every key of the configuration, in the order of the file; but for the providers. */
export const allSettings: readonly Setting[] = settingsIn(settings.shape, settings.parse({}), []);

function settingsIn(shape: object, defaults: object, above: readonly string[]): readonly Setting[] {
  return Object.entries(shape).flatMap(([key, schema]: [string, z.ZodMiniType]) => {
    const path = [...above, key];
    if (schema === settings.shape.oauth) return [];
    const value: unknown = defaults[key as keyof typeof defaults];
    const about = texts.get(schema);
    if (about !== undefined)
      return [{ more: '', ...about, path, variable: `TICKETMAILD_${path.join('_').toUpperCase()}`, default: value }];
    const tableShape = (schema as z.ZodMiniPrefault<z.ZodMiniObject>)._zod.def.innerType.shape;
    return settingsIn(tableShape, value as object, path);
  });
}
