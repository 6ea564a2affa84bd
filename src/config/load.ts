/**
 * Finds and reads the configuration: the file, the environment, and the defaults; answers with the frozen configuration or one line per problem.
 */

import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { dirname, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { causeCode, Failure } from '../errors.ts';
import type { Config } from './config.ts';
import { derive } from './derive.ts';
import { type Environment, failureOf, readDocument, schemaProblems } from './document.ts';
import { parseSettings } from './schema.ts';

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
const ownFile = fileURLToPath(new URL('../../config/ticketmaild.toml', import.meta.url));

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
