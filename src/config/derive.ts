/**
 * From checked settings to the frozen Config: milliseconds and bytes, absolute paths, the database URL taken apart,
 * secrets and certificates read from their files.
 *
 * Refuses what no single key shows: combinations that cannot work and ones that are not safe.
 */

import { isAbsolute, join, resolve } from 'node:path';
import { causeCode } from '../errors.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';
import type { AdminConfig, Config, DatabaseConfig } from './config.ts';
import { type DatabaseUrl, readDatabaseUrl } from './database-url.ts';
import { butIs, type Document, type Problem } from './document.ts';
import { isLoopback, readCertificates, unreadableHint } from './machine.ts';
import type { Settings } from './schema.ts';

const megabyte = 1024 * 1024;
const dayMs = 86_400_000;

/** The configuration, or everything that is wrong with the settings. */
export function derive(from: Derivation): { config: Config; problems: readonly Problem[] } {
  const { settings } = from;
  const { poll, message } = settings;
  const problems: Problem[] = [...combinations(from)];
  const dataDir = absolute(from, 'data_dir', settings.data_dir, problems);
  const config: Config = {
    dataDir,
    database: database(from, dataDir, problems),
    migrateOnStart: settings.database.migrate,
    encryption: { passphraseFile: passphraseFile(from, problems) },
    http: http(from, problems),
    admin: admin(from, problems),
    log: { level: settings.log.level },
    poll: {
      intervalMs: poll.interval_s * 1000,
      concurrencyMax: poll.concurrency_max,
      concurrencyPerHostMax: Math.min(poll.concurrency_per_host_max, poll.concurrency_max),
      leaseMs: poll.lease_s * 1000,
      connectTimeoutMs: poll.connect_timeout_s * 1000,
      commandTimeoutMs: poll.command_timeout_s * 1000,
      backoffMsMax: poll.backoff_max_s * 1000,
      loginFailuresMax: poll.login_failures_max,
      loginSuspendMs: poll.login_suspend_h * 3_600_000,
    },
    idle: {
      connectionsMax: settings.idle.connections_max,
      connectionsPerHostMax: Math.min(settings.idle.connections_per_host_max, settings.idle.connections_max),
    },
    message: {
      sizeBytesMax: message.max_size_mb * megabyte,
      batchMessagesMax: message.batch_messages_max,
      batchBytesMax: message.batch_max_mb * megabyte,
      parseTimeoutMs: message.parse_timeout_s * 1000,
      parseMemoryMb: message.parse_memory_mb,
      parseThreads: message.parse_threads,
    },
    limits: {
      senderPerHourMax: settings.limits.sender_limit_per_hour || null,
      senderExempt: settings.limits.sender_limit_exempt.map((address) => address.toLowerCase()),
    },
    tickets: { reopenMs: settings.tickets.reopen_days * dayMs || null },
    raw: { retentionDays: settings.raw.retention_days },
    shutdown: { timeoutMs: settings.shutdown.timeout_s * 1000 },
    worker: { name: settings.worker.name },
  };
  return { config, problems };
}

/** Keys that are each possible but not together. The one that was written is named. */
function combinations({ settings, document }: Derivation): readonly Problem[] {
  const { poll, message } = settings;
  const written = (path: string): boolean => document.origin(path).kind !== 'default';
  const problems: Problem[] = [];
  if (poll.lease_s < poll.command_timeout_s) {
    const path = written('poll.lease_s') ? 'poll.lease_s' : 'poll.command_timeout_s';
    const rule = path === 'poll.lease_s' ? 'must be poll.command_timeout_s' : 'must be poll.lease_s';
    const [limit, side] = path === 'poll.lease_s' ? [poll.command_timeout_s, 'or more'] : [poll.lease_s, 'or less'];
    problems.push({ path, rule: `${rule} (${limit}) ${side}${butIs(document, path)}` });
  }
  if (poll.concurrency_per_host_max > poll.concurrency_max && written('poll.concurrency_per_host_max')) {
    const path = 'poll.concurrency_per_host_max';
    const rule = `must be poll.concurrency_max (${poll.concurrency_max}) or less${butIs(document, path)}`;
    problems.push({ path, rule });
  }
  // A parse holds the source, its decoded text and its attachments at the same time.
  const memory = message.max_size_mb * 4;
  if (message.parse_memory_mb < memory) {
    const path = written('message.parse_memory_mb') ? 'message.parse_memory_mb' : 'message.max_size_mb';
    const rule =
      path === 'message.max_size_mb'
        ? `must be a quarter of message.parse_memory_mb (${message.parse_memory_mb}) or less${butIs(document, path)}`
        : `must be 4 times message.max_size_mb (${memory}) or more${butIs(document, path)}`;
    problems.push({ path, rule });
  }
  return problems;
}

/** The file need not exist: a key file without a passphrase asks for none. */
function passphraseFile(from: Derivation, problems: Problem[]): string | null {
  const path = 'encryption.passphrase_file';
  const file = from.settings.encryption.passphrase_file;
  if (file !== '') return absolute(from, path, file, problems);
  return from.credentials === null ? null : join(from.credentials, 'ticketmaild-key-passphrase');
}

function database(from: Derivation, dataDir: string, problems: Problem[]): DatabaseConfig {
  const url = readDatabaseUrl(from.settings.database.url);
  if (url.kind === 'mysql') return mysql(from, url, problems);
  for (const key of ['password_file', 'ca_file'] as const) {
    const rule = 'must be left out with a database that is not MySQL or MariaDB';
    if (from.settings.database[key] !== '') problems.push({ path: `database.${key}`, rule });
  }
  if (url.kind === 'sqlite') return { kind: 'sqlite', path: resolve(dataDir, url.path) };
  problems.push({ path: 'database.url', rule: `${url.why} (its value is not shown)` });
  return { kind: 'sqlite', path: join(dataDir, 'ticketmaild.db') };
}

function mysql(from: Derivation, url: DatabaseUrl & { kind: 'mysql' }, problems: Problem[]): DatabaseConfig {
  const { tls, connections_max: connectionsMax } = from.settings.database;
  const near = url.socketPath !== null || url.hosts.every(({ host }) => isLoopback(host));
  const { kind, hosts, socketPath, user, database: name } = url;
  return {
    ...{ kind, hosts, socketPath, user },
    password: password(from, url.password, problems),
    database: name,
    tls: tls === 'auto' ? (near ? 'off' : 'verify') : tls,
    caPem: authorities(from, problems),
    connectionsMax,
  };
}

function password(from: Derivation, inUrl: Uint8Array | null, problems: Problem[]): SecretBytes | null {
  const path = 'database.password_file';
  const file = from.settings.database.password_file;
  if (file === '' && inUrl !== null) return SecretBytes.take(inUrl);
  if (inUrl !== null) problems.push({ path, rule: 'must be left out when database.url holds the password' });
  const bytes = file === '' ? passwordCredential(from) : readNamed(from, path, file, problems);
  if (bytes === null) return null;
  const end = bytes.at(-1) === 10 ? (bytes.at(-2) === 13 ? -2 : -1) : bytes.length;
  const secret = SecretBytes.take(bytes.subarray(0, end));
  if (secret.length === 0) problems.push({ path, rule: 'names an empty file' });
  return secret;
}

/** systemd's credential of the database password; null where there is none. */
function passwordCredential({ credentials, readFile }: Derivation): Uint8Array | null {
  if (credentials === null) return null;
  try {
    return readFile(join(credentials, 'ticketmaild-database-password'));
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    throw error;
  }
}

function authorities(from: Derivation, problems: Problem[]): string | null {
  const path = 'database.ca_file';
  const file = from.settings.database.ca_file;
  const bytes = file === '' ? null : readNamed(from, path, file, problems);
  if (bytes === null) return null;
  const certificates = readCertificates(new TextDecoder().decode(bytes));
  if (certificates.kind === 'certificates') return certificates.pem;
  problems.push({ path, rule: `must name a file of certificates, but ${JSON.stringify(file)} ${certificates.why}` });
  return null;
}

/** The content of a file that a key names; null, and a problem, where it cannot be read. */
function readNamed(from: Derivation, path: string, file: string, problems: Problem[]): Uint8Array | null {
  try {
    return from.readFile(absolute(from, path, file, problems));
  } catch (error) {
    const rule = `names a file that cannot be read (${causeCode(error)})`;
    problems.push({ path, rule, hint: unreadableHint(error) });
    return null;
  }
}

/**
 * How the admin page is reached, from the keys of [admin].
 *
 * Refuses whatever would let a sign-in cross a network in clear, or believe a header that anybody may send: an address that
 * others can reach needs TLS or a named proxy, a proxy needs the https origin that browsers use.
 */

/** null: there is none. */
function admin(from: Derivation, problems: Problem[]): AdminConfig | null {
  const { settings, document } = from;
  const path = 'admin.listen';
  const value = settings.admin.listen;
  if (value === 'off') return null;
  const address = readAddress(value);
  if (address === null) {
    const rule = 'must be HOST:PORT, as "127.0.0.1:8026" or "[::1]:8026", or "off"';
    problems.push({ path, rule: `${rule}${butIs(document, path)}` });
    return null;
  }
  const tls = tlsFiles(from, problems);
  const { proxies } = settings.admin;
  const isInClear = tls === null && proxies.length === 0;
  if (isInClear && !isLoopback(address.host)) {
    const rule =
      'must be an address of this machine alone (127.0.0.1, [::1]) unless admin.tls_certificate_file and admin.tls_key_file are given, or admin.proxies';
    problems.push({ path, rule: `${rule}${butIs(document, path)}` });
  }
  const origin = originOf(from, { isInClear, isAnyAddress: everyAddress.has(address.host) && tls !== null }, problems);
  return { ...address, tls, proxies, origin, sessionTimeoutMs: settings.admin.session_timeout_min * 60_000 };
}

const everyAddress: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** The files are read when the page is served: one that is missing keeps no mail waiting. */
function tlsFiles(from: Derivation, problems: Problem[]): AdminConfig['tls'] {
  const { tls_certificate_file: certificate, tls_key_file: key } = from.settings.admin;
  if (certificate === '' && key === '') return null;
  const [given, missing] =
    certificate === '' ? ['tls_key_file', 'tls_certificate_file'] : ['tls_certificate_file', 'tls_key_file'];
  if (certificate === '' || key === '') {
    problems.push({ path: `admin.${given}`, rule: `needs admin.${missing} as well` });
    return null;
  }
  return {
    certificateFile: absolute(from, 'admin.tls_certificate_file', certificate, problems),
    keyFile: absolute(from, 'admin.tls_key_file', key, problems),
  };
}

type Reach = {
  /** Neither TLS nor a proxy. */
  readonly isInClear: boolean;
  /** It listens on every address, so that none is the name that browsers use. */
  readonly isAnyAddress: boolean;
};

/** As browsers write it (RFC 6454 section 6.2): small letters, without a port that goes without saying. */
function originOf(from: Derivation, { isInClear, isAnyAddress }: Reach, problems: Problem[]): string | null {
  const path = 'admin.origin';
  const value = from.settings.admin.origin;
  const isForProxies = from.settings.admin.proxies.length > 0;
  if (value === '') {
    if (isForProxies)
      problems.push({ path, rule: `must be ${allowed}, the one of the proxy, when admin.proxies is given` });
    else if (isAnyAddress) problems.push({ path, rule: `must be ${allowed} when admin.listen is every address` });
    return null;
  }
  const url = /^https?:\/\/[^/?#@\\\s]+$/i.test(value) ? URL.parse(value) : null;
  const isSecure = url?.protocol === 'https:';
  const isNear = url !== null && isInClear && isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1'));
  if (url !== null && (isSecure || isNear)) return url.origin;
  const near = isInClear ? ' (http:// for localhost alone)' : '';
  problems.push({ path, rule: `must be ${allowed}${near}${butIs(from.document, path)}` });
  return null;
}

const allowed = 'https://HOST or https://HOST:PORT, without a path';

/** Addresses to listen on, as HOST:PORT: of the health endpoints, and the form that all of them share. */

type ListenAddress = { readonly host: string; readonly port: number };

/** An IPv6 address stands in brackets, which the result lacks. null: `value` is none. */
function readAddress(value: string): ListenAddress | null {
  const [, ipv6, name, portText] = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+)):(\d{1,5})$/i.exec(value) ?? [];
  const host = ipv6 ?? name;
  const port = Number(portText);
  return host === undefined || port > 65_535 ? null : { host, port };
}

function http({ settings, document }: Derivation, problems: Problem[]): Config['http'] {
  const path = 'http.listen';
  const value = settings.http.listen;
  if (value === 'off') return null;
  const address = readAddress(value);
  if (address === null) {
    const rule = 'must be HOST:PORT, as "127.0.0.1:8025" or "[::1]:8025", or "off"';
    problems.push({ path, rule: `${rule}${butIs(document, path)}` });
    return null;
  }
  if (!isLoopback(address.host) && !settings.http.allow_remote) {
    const rule = 'must be an address of this machine alone (127.0.0.1, [::1]) unless http.allow_remote is true';
    problems.push({ path, rule: `${rule}${butIs(document, path)}` });
  }
  return address;
}

/** What the configuration is derived from, and the one way to make a path of a text. */

/** What relative paths count from: in the file, and in an environment variable. null: they are refused. */
type Bases = { readonly file: string | null; readonly variable: string };

type Derivation = {
  readonly settings: Settings;
  readonly document: Document;
  readonly bases: Bases;
  /** The folder in which systemd puts credentials (systemd.exec(5)), or null. */
  readonly credentials: string | null;
  readonly readFile: (path: string) => Uint8Array;
};

/** The path that `value`, written at the key `path`, names; a problem where nothing says what it counts from. */
function absolute(from: Derivation, path: string, value: string, problems: Problem[]): string {
  const { document, bases } = from;
  if (value === '') problems.push({ path, rule: 'must not be empty' });
  if (isAbsolute(value)) return resolve(value);
  const base = document.origin(path).kind === 'variable' ? bases.variable : bases.file;
  if (base !== null) return resolve(base, value);
  problems.push({
    path,
    rule: `must be an absolute path, such as "/var/lib/ticketmaild"${butIs(document, path) || `, not "${value}"`}`,
  });
  return value;
}
