/**
 * The configuration: file and environment into one frozen value. The only reader of process.env.
 *
 * Strict: an unknown key or variable, a wrong type, an impossible value or combination is refused with
 * `config_invalid`, in one line that names file, line (or variable), key and what is allowed, never a secret.
 */
import { readFileSync } from 'node:fs';
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
      readonly host: string;
      readonly port: number;
      /** Path of a unix socket instead of host and port, or null. */
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

export type Config = {
  readonly dataDir: string;
  readonly database: DatabaseConfig;
  readonly migrateOnStart: boolean;
  /** Where the passphrase of a protected key file is; read when it is needed. null: nowhere. */
  readonly encryption: { readonly passphraseFile: string | null };
  /** null: no health endpoints. */
  readonly http: { readonly host: string; readonly port: number } | null;
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
  };
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
  readonly raw: { readonly keepDays: number };
  readonly stop: { readonly drainMs: number };
};

/** Where a configuration comes from; all but the file has the process as its default. */
export type ConfigSource = {
  /** The file that the command line names, or null. */
  readonly file: string | null;
  readonly env?: Environment;
  readonly cwd?: string;
  /** Throws an error with the code ENOENT when there is no such file. */
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

/**
 * Reads and checks the configuration. The file is the one of the command line, else TICKETMAILD_CONFIG, else
 * /etc/ticketmaild/ticketmaild.toml if it exists, else config/ticketmaild.toml of the program.
 * Throws `config_invalid`.
 */
export function loadConfig(source: ConfigSource): Config {
  const from = { ...{ env: process.env, cwd: process.cwd(), readFile: readFileSync, systemFile, ownFile }, ...source };
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

function readIfThere(path: string, shown: string, readFile: (path: string) => Uint8Array): Uint8Array | null {
  try {
    return readFile(path);
  } catch (error) {
    const code = causeCode(error);
    if (code === 'ENOENT') return null;
    throw new Failure('config_invalid', `${shown}: the configuration file cannot be read (${code})`, {
      cause: error,
      hint: 'Check that it is a file and that this user may read it.',
    });
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

/** Relative for a file below the current folder, as people name it. */
function shownPath(path: string, cwd: string): string {
  const short = relative(cwd, path);
  return short.startsWith('..') ? path : short;
}

function frozen<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) frozen(part);
  }
  return Object.freeze(value);
}
