/**
 * The configuration: file and environment into one frozen value. The only reader of process.env.
 *
 * Strict: an unknown key or variable, a wrong type, an impossible value or combination is refused with
 * `config_invalid`, in one line that names file, line (or variable), key and what is allowed, never a secret.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { dirname, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { derive } from './config/derive.ts';
import { type Environment, readDocument } from './config/document.ts';
import { failureOf, schemaProblems } from './config/problems.ts';
import { parseSettings } from './config/settings.ts';
import { causeCode, Failure } from './errors.ts';
import type { SecretBytes } from './secret/secret-bytes.ts';

/** Where the tables are. The password of a MySQL URL is taken out of it into bytes as it is read. */
export type DatabaseConfig =
  | { readonly kind: 'sqlite'; readonly path: string }
  | {
      readonly kind: 'mysql';
      /** At least one, in the order in which they are tried. */
      readonly hosts: readonly { readonly host: string; readonly port: number }[];
      /** Path of a unix socket instead of the host, or null. */
      readonly socketPath: string | null;
      readonly user: string;
      readonly password: SecretBytes | null;
      readonly database: string;
      /** `verify`: TLS with the certificate and its host name checked. `off`: in clear (the default to loopback and sockets). */
      readonly tls: 'verify' | 'off';
      /** Authorities (PEM) to trust instead of the system's, or null. */
      readonly caPem: string | null;
      readonly connectionsMax: number;
    };

/** How the admin page is reached. */
export type AdminConfig = {
  readonly host: string;
  readonly port: number;
  /** Files (PEM) of the certificate chain and its key, read when they are needed and again when they change; null: HTTP. */
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | null;
  /** Addresses of proxies: only they may connect, and X-Forwarded-For is believed from them. Empty: there is none. */
  readonly proxies: readonly string[];
  /** The origin under which browsers reach it, as `https://desk.example.org`; null: by the name of the listening address. */
  readonly origin: string | null;
  /** A session ends when nothing is asked for so long. */
  readonly idleMs: number;
};

export type Config = {
  readonly dataDir: string;
  readonly database: DatabaseConfig;
  readonly migrateOnStart: boolean;
  /** Where the passphrase of a protected key file is; read when it is needed. null: nowhere. */
  readonly encryption: { readonly passphraseFile: string | null };
  /** null: no health endpoints. */
  readonly http: { readonly host: string; readonly port: number } | null;
  /** Where the admin page is served; null: nowhere. */
  readonly admin: AdminConfig | null;
  readonly log: { readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' };
  readonly poll: {
    readonly intervalMs: number;
    /** Polls at the same time, in all and per mail host. */
    readonly concurrencyMax: number;
    readonly concurrencyPerHostMax: number;
    readonly leaseMs: number;
    readonly connectTimeoutMs: number;
    readonly commandTimeoutMs: number;
    /** Longest wait after failures in a row. */
    readonly backOffMsMax: number;
    /** Refused logins in a row after which a mailbox is left alone for `loginPauseMs`, or until its row changes. */
    readonly loginRefusalsMax: number;
    readonly loginPauseMs: number;
  };
  /** Connections that stay open to hear of new mail at once (IDLE), in all and per mail host; 0: none. */
  readonly push: { readonly connectionsMax: number; readonly connectionsPerHostMax: number };
  readonly message: {
    /** A larger mail is not downloaded: it goes to quarantine with its headers. */
    readonly bytesMax: number;
    /** Bounds of one window, and so of one transaction. */
    readonly batchMessagesMax: number;
    readonly batchBytesMax: number;
    readonly parseTimeoutMs: number;
    readonly parseMemoryMb: number;
    readonly parseThreads: number;
  };
  /** Mails of one sender in one mailbox within an hour; more are quarantined. null: any number. */
  readonly limits: {
    readonly senderPerHourMax: number | null;
    /** From addresses, lower-case, that it does not hold for. */
    readonly senderExempt: readonly string[];
  };
  /** An answer that comes so long after its ticket was closed opens a new one. null: never. */
  readonly tickets: { readonly reopenMs: number | null };
  readonly raw: { readonly keepDays: number };
  readonly stop: { readonly drainMs: number };
  /** Tells workers that share a data folder apart; '' for the only one. */
  readonly worker: { readonly name: string };
};

/** Where a configuration comes from; all but the file has the process as its default. */
export type ConfigSource = {
  /** The file that the command line names, or null. */
  readonly file: string | null;
  readonly env?: Environment;
  readonly cwd?: string;
  /** Throws an error with the code ENOENT when there is no such file. By default regular files up to 1 MiB alone. */
  readonly readFile?: (path: string) => Uint8Array;
  /** The file of the machine, and the one that comes with the program. */
  readonly systemFile?: string;
  readonly ownFile?: string;
};

const systemFile = '/etc/ticketmaild/ticketmaild.toml';
const ownFile = fileURLToPath(new URL('../config/ticketmaild.toml', import.meta.url));

/** The environment of this process. */
export function processEnvironment(): Environment {
  return process.env;
}

/** How systemd started this process `pid` (sd_notify(3), sd_watchdog_enabled(3)); nulls where it did not. */
export function servicePlace(
  pid: number,
  env: Environment = process.env,
): { readonly notifySocket: string | null; readonly watchdogMs: number | null } {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: micros, WATCHDOG_PID: watched } = env;
  const isWatched =
    /^[1-9]\d*$/.test(micros ?? '') && (watched === undefined || watched === '' || watched === `${pid}`);
  return { notifySocket: socket || null, watchdogMs: isWatched ? Number(micros) / 1000 : null };
}

/**
 * Reads and checks the configuration. The file is the one of the command line, else TICKETMAILD_CONFIG, else
 * /etc/ticketmaild/ticketmaild.toml if it exists, else config/ticketmaild.toml of the program.
 * Throws `config_invalid`.
 */
export function loadConfig(source: ConfigSource): Config {
  const from = { ...{ env: process.env, cwd: process.cwd(), readFile: readRegular, systemFile, ownFile }, ...source };
  const found = findFile(from);
  const shown = found === null ? null : shownPath(found.path, from.cwd);
  const document = readDocument(shown, found?.bytes ?? null, from.env);
  const parsed = parseSettings(document.root);
  if (!parsed.ok) throw failureOf(document, schemaProblems(document, parsed.issues));
  const bases = { file: baseOf(found?.path ?? from.ownFile, from.ownFile), variable: from.cwd };
  const credentials = from.env.CREDENTIALS_DIRECTORY || null;
  const { config, problems } = derive({
    ...{ settings: parsed.settings, document, bases, credentials },
    readFile: from.readFile,
  });
  if (problems.length > 0) throw failureOf(document, problems);
  return frozen(config);
}

type Found = { readonly path: string; readonly bytes: Uint8Array };

function findFile({ file, env, cwd, readFile, systemFile, ownFile }: Required<ConfigSource>): Found | null {
  const named = file ?? (env.TICKETMAILD_CONFIG || null);
  const candidates = named === null ? [systemFile, ownFile] : [resolve(cwd, named)];
  for (const path of candidates) {
    const bytes = readIfThere(path, shownPath(path, cwd), readFile);
    if (bytes !== null) return { path, bytes };
  }
  if (named === null) return null;
  throw new Failure('config_invalid', `${named}: there is no such configuration file`, {
    hint: 'Check the path that --config or TICKETMAILD_CONFIG names.',
  });
}

const fileBytesMax = 1024 * 1024;

/** Nothing that could keep the reader waiting, such as a FIFO. Throws EINVAL for it, EFBIG for what is over 1 MiB. */
function readRegular(path: string): Uint8Array {
  // Opening a FIFO would wait for a writer.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(file);
    // A folder says by itself what it is.
    if (!stat.isFile() && !stat.isDirectory()) throw Object.assign(new Error('not a regular file'), { code: 'EINVAL' });
    if (stat.size > fileBytesMax) throw Object.assign(new Error('over 1 MiB'), { code: 'EFBIG' });
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

const whys: Readonly<Record<string, string>> = {
  EINVAL: 'is not a regular file',
  EFBIG: 'is larger than 1 MiB',
};

function readIfThere(path: string, shown: string, readFile: (path: string) => Uint8Array): Uint8Array | null {
  try {
    return readFile(path);
  } catch (error) {
    const code = causeCode(error);
    if (code === 'ENOENT') return null;
    throw new Failure(
      'config_invalid',
      `${shown}: the configuration file ${whys[code] ?? `cannot be read (${code})`}`,
      {
        cause: error,
        hint:
          code === 'EACCES'
            ? 'This user may not read it. That of the service: sudo ticketmaild …'
            : 'It must be a regular file of at most 1 MiB that this user may read.',
      },
    );
  }
}

/**
 * What relative paths in a file count from: its own folder, or for the file that comes with the program the checkout.
 * null, so refused, for an installed program and below /etc: data belongs neither there nor to the program's folder.
 */
function baseOf(path: string, ownFile: string): string | null {
  if (path.startsWith('/etc/') || (path === ownFile && path.includes(`${sep}node_modules${sep}`))) return null;
  return path === ownFile ? dirname(dirname(path)) : dirname(path);
}

/** Relative for a file below the current folder, as people name it; below `/` are all. */
function shownPath(path: string, cwd: string): string {
  const short = relative(cwd, path);
  return cwd === sep || short === '' || short.startsWith('..') ? path : short;
}

function frozen<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) frozen(part);
  }
  return Object.freeze(value);
}
