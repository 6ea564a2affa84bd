/**
 * The configuration as written: the TOML file with the environment variables laid over it, not yet checked.
 *
 * It remembers where each value was written, so that an error can name the file and the line, or the variable.
 * Refuses a file that is not UTF-8 or not TOML, and variables that begin with TICKETMAILD_ but are not known.
 */
import { parse, TomlError } from 'smol-toml';
import { Failure } from '../errors.ts';
import { allSettings, type Setting } from './settings.ts';
import { nearest } from './spelling.ts';
import { keyLines } from './toml-lines.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where a value was written. `default`: nowhere. */
export type Origin =
  | { readonly kind: 'file'; readonly line: number | null }
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'default' };

export type Document = {
  /** The file as it is to be named in errors; null when there is none. */
  readonly file: string | null;
  readonly root: Readonly<Record<string, unknown>>;
  /** Origin of a key, as `poll.interval_s`. */
  origin(path: string): Origin;
  /** Value at a key, undefined where there is none. */
  value(path: string): unknown;
};

const prefix = 'TICKETMAILD_';
/** Not settings: the first names the file, the others are for the tests alone. */
const otherVariables: readonly string[] = ['TICKETMAILD_CONFIG', 'TICKETMAILD_CORPUS', 'TICKETMAILD_TEST_FOLDER'];

/** Reads `bytes` (null: no file) and lays `env` over it. Throws `config_invalid`. */
export function readDocument(file: string | null, bytes: Uint8Array | null, env: Environment): Document {
  const toml = bytes === null ? '' : decode(file, bytes);
  const root = parseToml(file, toml);
  const lines = keyLines(toml);
  refuseUnknownVariables(env);
  const variables = new Map(overlay(root, env).map((setting) => [setting.path.join('.'), setting.variable]));
  return {
    file,
    root,
    value: (path) => valueAt(root, path.split('.')),
    origin(path) {
      const name = variables.get(path);
      if (name !== undefined) return { kind: 'variable', name };
      if (valueAt(root, path.split('.')) === undefined) return { kind: 'default' };
      return { kind: 'file', line: lines.get(path) ?? null };
    },
  };
}

function decode(file: string | null, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Failure('config_invalid', `${file} must be text in UTF-8`);
  }
}

function parseToml(file: string | null, toml: string): Record<string, unknown> {
  try {
    return parse(toml, { unsafeKeyBehaviour: 'throw', maxDepth: 16 });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // Only the first line of the parser's message: the rest quotes the file, which may hold a password.
    const why = error.message.split('\n')[0]?.replace(/^Invalid TOML document: /, '');
    throw new Failure('config_invalid', `${file}:${error.line}: this is not TOML: ${why}`);
  }
}

function refuseUnknownVariables(env: Environment): void {
  const known = [...allSettings.map((setting) => setting.variable), ...otherVariables];
  for (const name of Object.keys(env)) {
    if (!name.startsWith(prefix) || known.includes(name)) continue;
    const meant = nearest(name, known);
    const guess = meant === null ? '' : `; did you mean ${meant}?`;
    throw new Failure('config_invalid', `${name} is not a known environment variable${guess}`);
  }
}

/** Writes the variables into the document, each as the type that its key has; returns those that were set. */
function overlay(root: Record<string, unknown>, env: Environment): readonly Setting[] {
  return allSettings.filter((setting) => {
    const text = env[setting.variable];
    if (text === undefined) return false;
    const key = setting.path.at(-1) ?? '';
    const table = tableFor(root, setting.path.slice(0, -1));
    // Where the file has no table but something else, the check of the file reports that.
    if (table === null) return false;
    table[key] = typed(text, setting.type);
    return true;
  });
}

function tableFor(root: Record<string, unknown>, path: readonly string[]): Record<string, unknown> | null {
  const name = path[0];
  if (name === undefined) return root;
  root[name] ??= {};
  return isTable(root[name]) ? root[name] : null;
}

function typed(text: string, type: Setting['type']): unknown {
  if (type === 'number' && /^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  if (type === 'list')
    return text
      .split(',')
      .map((one) => one.trim())
      .filter((one) => one !== '');
  return text;
}

function valueAt(root: unknown, path: readonly string[]): unknown {
  return path.reduce((value, key) => (isTable(value) ? value[key] : undefined), root);
}

export function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
