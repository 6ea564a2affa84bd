/**
 * Derivation of `Config` from validated settings: milliseconds, bytes, absolute paths, the parsed database URL, file
 * contents.
 *
 * Rejects combinations of keys that cannot work or are not safe.
 */

import { join, resolve } from 'node:path';
import { causeCode } from '../errors.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';
import { readCertificates, readRsaPublicKey } from './certificates.ts';
import type { Config, DatabaseConfig } from './config.ts';
import { type DatabaseUrl, readDatabaseUrl } from './database-url.ts';
import { absolute, type Derivation, readNamed } from './derivation.ts';
import { admin, http } from './listen.ts';
import { isLoopback } from './machine.ts';
import { oauthProviders } from './oauth.ts';
import { fingerprintDigits } from './option-values.ts';
import { type ConfigProblem, notValue, quoted } from './problems.ts';

const megabyte = 1024 * 1024;
const dayMs = 86_400_000;

/** The configuration, and every error in the settings. */
export function derive(from: Derivation): { config: Config; problems: readonly ConfigProblem[] } {
  const { settings } = from;
  const { poll, message } = settings;
  const problems: ConfigProblem[] = [...combinations(from)];
  const dataDir = absolute(from, 'data_dir', settings.data_dir, problems);
  const config: Config = {
    dataDir,
    database: database(from, dataDir, problems),
    migrateOnStart: settings.database.migrate,
    encryption: { passphraseFile: passphraseFile(from, problems) },
    oauth: oauthProviders(from, problems),
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

/** Keys that are valid alone but not together. The error names the one that was set. */
function combinations({ settings, document }: Derivation): readonly ConfigProblem[] {
  const { poll, message } = settings;
  const isSet = (path: string): boolean => document.origin(path).kind !== 'default';
  const problems: ConfigProblem[] = [];
  if (poll.lease_s < poll.command_timeout_s) {
    const path = isSet('poll.lease_s') ? 'poll.lease_s' : 'poll.command_timeout_s';
    const rule = path === 'poll.lease_s' ? 'must be poll.command_timeout_s' : 'must be poll.lease_s';
    const [limit, side] = path === 'poll.lease_s' ? [poll.command_timeout_s, 'or more'] : [poll.lease_s, 'or less'];
    problems.push({ path, rule: `${rule} (${limit}) ${side}${notValue(document, path)}` });
  }
  if (poll.concurrency_per_host_max > poll.concurrency_max && isSet('poll.concurrency_per_host_max')) {
    const path = 'poll.concurrency_per_host_max';
    const rule = `must be poll.concurrency_max (${poll.concurrency_max}) or less${notValue(document, path)}`;
    problems.push({ path, rule });
  }
  // Parsing holds the source, its decoded text and its attachments at the same time.
  const memory = message.max_size_mb * 4;
  if (message.parse_memory_mb < memory) {
    const path = isSet('message.parse_memory_mb') ? 'message.parse_memory_mb' : 'message.max_size_mb';
    const rule =
      path === 'message.max_size_mb'
        ? `must be a quarter of message.parse_memory_mb (${message.parse_memory_mb}) or less${notValue(document, path)}`
        : `must be 4 times message.max_size_mb (${memory}) or more${notValue(document, path)}`;
    problems.push({ path, rule });
  }
  return problems;
}

/** The file need not exist: it is read only for a protected key file. */
function passphraseFile(from: Derivation, problems: ConfigProblem[]): string | null {
  const path = 'encryption.passphrase_file';
  const file = from.settings.encryption.passphrase_file;
  if (file !== '') return absolute(from, path, file, problems);
  return from.credentials === null ? null : join(from.credentials, 'ticketmaild-key-passphrase');
}

function database(from: Derivation, dataDir: string, problems: ConfigProblem[]): DatabaseConfig {
  const url = readDatabaseUrl(from.settings.database.url);
  if (url.kind === 'mysql') return mysql(from, url, problems);
  for (const key of ['password_file', 'ca_file', 'fingerprint', 'server_key_file'] as const) {
    const rule = 'must be left out with a database that is not MySQL or MariaDB';
    if (from.settings.database[key] !== '') problems.push({ path: `database.${key}`, rule });
  }
  if (url.kind === 'sqlite') return { kind: 'sqlite', path: resolve(dataDir, url.path) };
  problems.push({ path: 'database.url', rule: `${url.why} (its value is not shown)` });
  return { kind: 'sqlite', path: join(dataDir, 'ticketmaild.db') };
}

function mysql(from: Derivation, url: DatabaseUrl & { kind: 'mysql' }, problems: ConfigProblem[]): DatabaseConfig {
  const { tls, connections_max: connectionsMax } = from.settings.database;
  const isLocal = url.socketPath !== null || url.hosts.every(({ host }) => isLoopback(host));
  const { kind, hosts, socketPath, user, database: name } = url;
  const fingerprint = pinnedCertificate(from, url, problems);
  return {
    ...{ kind, hosts, socketPath, user },
    password: password(from, url.password, problems),
    database: name,
    tls: tls === 'auto' ? (isLocal && fingerprint === null ? 'off' : 'verify') : tls,
    caPem: authorities(from, problems),
    fingerprint,
    serverKeyPem: serverKey(from, problems),
    connectionsMax,
  };
}

function password(from: Derivation, inUrl: Uint8Array | null, problems: ConfigProblem[]): SecretBytes | null {
  const path = 'database.password_file';
  const file = from.settings.database.password_file;
  if (file === '' && inUrl !== null) return SecretBytes.take(inUrl);
  if (inUrl !== null) problems.push({ path, rule: 'must be left out when database.url holds the password' });
  const bytes = file === '' ? passwordCredential(from) : readNamed(from, path, file, problems, 'secret');
  if (bytes === null) return null;
  const end = bytes.at(-1) === 10 ? (bytes.at(-2) === 13 ? -2 : -1) : bytes.length;
  const secret = SecretBytes.take(bytes.subarray(0, end));
  if (secret.length === 0) problems.push({ path, rule: 'names an empty file' });
  return secret;
}

/** The systemd credential of the database password, or null. */
function passwordCredential({ credentials, readFile }: Derivation): Uint8Array | null {
  if (credentials === null) return null;
  try {
    return readFile(join(credentials, 'ticketmaild-database-password'));
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    throw error;
  }
}

function authorities(from: Derivation, problems: ConfigProblem[]): string | null {
  const path = 'database.ca_file';
  const file = from.settings.database.ca_file;
  const bytes = file === '' ? null : readNamed(from, path, file, problems);
  if (bytes === null) return null;
  const certificates = readCertificates(new TextDecoder().decode(bytes));
  if (certificates.kind === 'certificates') return certificates.pem;
  problems.push({ path, rule: `must name a file of certificates, but ${quoted(file)} ${certificates.why}` });
  return null;
}

/** A pin that would have no effect is a mistake, and so is a second trust beside it. */
function pinnedCertificate(
  { settings }: Derivation,
  { socketPath }: DatabaseUrl & { kind: 'mysql' },
  problems: ConfigProblem[],
): string | null {
  const { fingerprint, tls, ca_file: caFile } = settings.database;
  if (fingerprint === '') return null;
  const path = 'database.fingerprint';
  if (socketPath !== null) problems.push({ path, rule: 'must be left out with a unix socket, which has no TLS' });
  else if (tls === 'off') problems.push({ path, rule: 'must be left out with database.tls "off"' });
  else if (caFile !== '')
    problems.push({
      path,
      rule: 'must be left out with database.ca_file: a pinned certificate is the only trusted one',
    });
  return fingerprintDigits(fingerprint);
}

function serverKey(from: Derivation, problems: ConfigProblem[]): string | null {
  const path = 'database.server_key_file';
  const file = from.settings.database.server_key_file;
  const bytes = file === '' ? null : readNamed(from, path, file, problems);
  if (bytes === null) return null;
  const key = readRsaPublicKey(new TextDecoder().decode(bytes));
  if (key.kind === 'key') return key.pem;
  problems.push({ path, rule: `must name a file of an RSA public key, but ${quoted(file)} ${key.why}` });
  return null;
}
