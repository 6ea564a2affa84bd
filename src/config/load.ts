/**
 * Loader of the configuration: finds the file, overlays the environment, validates, and returns the frozen `Config`.
 * The only reader of `process.env`.
 *
 * Strict: an unknown key or variable, a wrong type, an impossible value or combination is `config_invalid`, in one line
 * with file, line (or variable), key and what is allowed, never a secret.
 */

import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { causeCode, Failure, isFailure } from '../errors.ts';
import { shellArg } from '../text/shell.ts';
import type { Config } from './config.ts';
import type { ReadConfigFile } from './derivation.ts';
import { derive } from './derive.ts';
import { type Environment, readDocument } from './document.ts';
import { thisUser } from './machine.ts';
import { failureOf, schemaProblems } from './problems.ts';
import { parseSettings } from './schema.ts';

/** Sources of a configuration; the defaults are those of the process. */
export type ConfigSource = {
  /** The file of the command line, or null. */
  readonly file: string | null;
  readonly env?: Environment;
  readonly cwd?: string;
  /** Throws an error with the code ENOENT when there is no such file. Default: regular files of at most 1 MiB only. */
  readonly readFile?: ReadConfigFile;
  readonly systemFile?: string;
  /** The file of the checkout; null for an installed program, whose folder the next version replaces. */
  readonly ownFile?: string | null;
};

const systemFile = '/etc/ticketmaild/ticketmaild.toml';
// A build contains JavaScript alone, and Node strips no types below node_modules: TypeScript runs in a checkout.
const ownFile = import.meta.url.endsWith('.ts')
  ? fileURLToPath(new URL('../../config/ticketmaild.toml', import.meta.url))
  : null;

/** The environment of this process. */
export function processEnvironment(): Environment {
  return process.env;
}

/** Names the user as the caller, as sudo does, before root becomes another one. */
export function keepCaller(env: NodeJS.ProcessEnv = process.env): void {
  env.SUDO_USER ||= thisUser();
}

/**
 * Notify socket and watchdog timeout that systemd passed to process `pid` (sd_notify(3), sd_watchdog_enabled(3)), or
 * nulls, and the listening sockets (sd_listen_fds(3)) by name.
 */
export function serviceEnvironment(
  pid: number,
  env: Environment = process.env,
): {
  readonly notifySocket: string | null;
  readonly watchdogMs: number | null;
  readonly sockets: readonly { readonly name: string; readonly descriptor: number }[];
} {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: micros, WATCHDOG_PID: watched } = env;
  const isWatched =
    /^[1-9]\d*$/.test(micros ?? '') && (watched === undefined || watched === '' || watched === `${pid}`);
  return {
    notifySocket: socket || null,
    watchdogMs: isWatched ? Number(micros) / 1000 : null,
    sockets: passedSockets(pid, env),
  };
}

/** The first descriptor that systemd passes; names of the unit contain no colon. */
const firstDescriptor = 3;
const descriptorsMax = 16;

function passedSockets(
  pid: number,
  env: Environment,
): readonly { readonly name: string; readonly descriptor: number }[] {
  const { LISTEN_PID: receiver, LISTEN_FDS: count = '', LISTEN_FDNAMES: names = '' } = env;
  if (receiver !== `${pid}` || !/^[1-9]\d?$/.test(count)) return [];
  const length = Math.min(Number(count), descriptorsMax);
  const named = names.split(':');
  return Array.from({ length }, (_, index) => ({ name: named[index] ?? '', descriptor: firstDescriptor + index }));
}

/**
 * Loads and validates the configuration. The file is the one of the command line, else TICKETMAILD_CONFIG, else
 * /etc/ticketmaild/ticketmaild.toml if it exists, else config/ticketmaild.toml of the checkout.
 * Throws `config_invalid`.
 */
export function loadConfig(source: ConfigSource): Config {
  const { document, bases, from } = readSource(source);
  const parsed = parseSettings(document.root);
  if (!parsed.ok) throw failureOf(document, schemaProblems(document, parsed.issues));
  const credentials = from.env.CREDENTIALS_DIRECTORY || null;
  const { config, problems } = derive({
    ...{ settings: parsed.settings, document, bases, credentials },
    readFile: from.readFile,
  });
  if (problems.length > 0) throw failureOf(document, problems);
  return frozen(config);
}

/** The document, and what its paths are relative to. Throws `config_invalid`. */
export function readSource(source: ConfigSource) {
  const from = { ...{ env: process.env, cwd: workingFolder(), readFile: readRegular, systemFile, ownFile }, ...source };
  const file = findFile(from);
  const shown = file === null ? null : shownPath(file.path, from.cwd);
  const document = readDocument(shown, file?.bytes ?? null, from.env);
  return { from, document, bases: { file: baseOf(file?.path ?? from.ownFile, from.ownFile), variable: from.cwd } };
}

function workingFolder(): string {
  try {
    return process.cwd();
  } catch (cause) {
    if (causeCode(cause) !== 'ENOENT') throw cause;
    throw new Failure('usage', 'the working folder was removed', { cause, hint: 'Change to another one: cd /' });
  }
}

/** Of the service unit. */
const serviceDataDir = '/var/lib/ticketmaild';

/** The data folder that an invalid configuration names; where it cannot be read, the one of the service. */
export function findDataDir(source: ConfigSource): string {
  try {
    const { document, bases } = readSource(source);
    const value = document.value('data_dir') ?? 'data';
    const base = document.origin('data_dir').kind === 'variable' ? bases.variable : bases.file;
    if (typeof value !== 'string' || (base === null && !isAbsolute(value))) return serviceDataDir;
    return resolve(base ?? '/', value);
  } catch (error) {
    if (isFailure(error, 'config_invalid')) return serviceDataDir;
    throw error;
  }
}

type ConfigFile = { readonly path: string; readonly bytes: Uint8Array };

function findFile({ file, env, cwd, readFile, systemFile, ownFile }: Required<ConfigSource>): ConfigFile | null {
  const named = file ?? (env.TICKETMAILD_CONFIG || null);
  const candidates = named === null ? [systemFile, ...(ownFile === null ? [] : [ownFile])] : [resolve(cwd, named)];
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

/** Mode bits that a file with a secret must not have: others may not access it, its group may read it at most. */
const forbiddenForSecrets = 0o027;

/**
 * Throws EINVAL for anything that could block the reader, such as a FIFO, EFBIG for a file over 1 MiB, and
 * `config_invalid` for a secret that others can read or change.
 */
export function readRegular(path: string, content: 'public' | 'secret' = 'public'): Uint8Array {
  // Opening a FIFO would wait for a writer.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(file);
    // Reading a folder fails with EISDIR.
    if (!stat.isFile() && !stat.isDirectory()) throw Object.assign(new Error('not a regular file'), { code: 'EINVAL' });
    if (stat.size > fileBytesMax) throw Object.assign(new Error('over 1 MiB'), { code: 'EFBIG' });
    if (content === 'secret' && stat.isFile()) refuseOpenSecret(path, stat);
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

/** The rule of the passphrase file (adapters/keyfile/age.ts), and no other owner than this user and root. */
function refuseOpenSecret(path: string, { mode, uid }: Stats): void {
  const own = process.geteuid?.() ?? 0;
  const bits = mode & 0o7777;
  if ((bits & forbiddenForSecrets) !== 0) {
    const rule = `names a file that others can read or change: its mode is ${bits.toString(8).padStart(4, '0')}`;
    throw new Failure('config_invalid', rule, { hint: `Restrict it: chmod 600 ${shellArg(path)}` });
  }
  if (own === 0 || uid === own || uid === 0) return;
  const hint = `Change its owner: chown ${own} ${shellArg(path)}`;
  throw new Failure('config_invalid', `names a file that belongs to user ${uid}, who is neither this user nor root`, {
    hint,
  });
}

const reasons: Readonly<Record<string, string>> = {
  EINVAL: 'is not a regular file',
  EFBIG: 'is larger than 1 MiB',
};

function readIfThere(path: string, shown: string, readFile: (path: string) => Uint8Array): Uint8Array | null {
  try {
    return readFile(path);
  } catch (error) {
    const code = causeCode(error);
    if (code === 'ENOENT') return null;
    if (isFailure(error)) throw error;
    throw new Failure(
      'config_invalid',
      `${shown}: the configuration file ${reasons[code] ?? `cannot be read (${code})`}`,
      {
        cause: error,
        hint:
          code === 'EACCES'
            ? 'This user may not read it. As the user of the service: sudo ticketmaild …'
            : 'It must be a regular file of at most 1 MiB that this user may read.',
      },
    );
  }
}

/**
 * Base of relative paths in a file: its own folder, or the checkout for the file of the checkout. null (so relative
 * paths are refused) for an installed program without a file and below /etc, where no data belongs.
 */
function baseOf(path: string | null, ownFile: string | null): string | null {
  if (path === null || path.startsWith('/etc/')) return null;
  return path === ownFile ? dirname(dirname(path)) : dirname(path);
}

/** Relative for a file below the working directory, unless that is `/`. */
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
