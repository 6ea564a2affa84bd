/**
 * Configuration document: the TOML file overlaid with environment variables, before validation.
 *
 * Records the origin of each value, so that an error names the file and the line, or the variable. Rejects a file that
 * is not UTF-8 or not TOML, and unknown variables that begin with TICKETMAILD_.
 */

import { parse, TomlError } from 'smol-toml';
import { Failure } from '../errors.ts';
import { nearestWord } from '../text/spelling.ts';
import { allSettings, type Setting } from './schema.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where a value comes from. */
type ValueOrigin =
  | { readonly kind: 'file'; readonly line: number | null }
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'default' };

export type Document = {
  /** Path of the file as errors show it; null when there is none. */
  readonly file: string | null;
  readonly root: Readonly<Record<string, unknown>>;
  /** Origin of a key, as `poll.interval_s`. */
  origin(path: string): ValueOrigin;
  /** Value of a key; undefined where there is none. */
  value(path: string): unknown;
};

const prefix = 'TICKETMAILD_';
/** Variables that are no settings: the first names the file, the others are for tests. */
const otherVariables: readonly string[] = ['TICKETMAILD_CONFIG', 'TICKETMAILD_CORPUS', 'TICKETMAILD_TEST_FOLDER'];

/** Parses `bytes` (null: no file) and overlays `env`. Throws `config_invalid`. */
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
    const meant = nearestWord(name, known);
    const guess = meant === null ? '' : `; did you mean ${meant}?`;
    throw new Failure('config_invalid', `${name} is not a known environment variable${guess}`, {
      fields: { variable: name },
    });
  }
}

/** Writes the variables into the document, converted to the type of their key; returns those that were set. */
function overlay(root: Record<string, unknown>, env: Environment): readonly Setting[] {
  return allSettings.filter((setting) => {
    const text = env[setting.variable];
    if (text === undefined) return false;
    const key = setting.path.at(-1) ?? '';
    const table = tableFor(root, setting.path.slice(0, -1));
    // A value in place of the table is reported by the validation of the file.
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

/**
 * Line (from 1) by key path, as `poll.interval_s`; a table has the line of its head, a key in an inline table that of
 * the table. The parser gives no positions, so the heads and keys of the valid file are scanned again.
 */
function keyLines(toml: string): ReadonlyMap<string, number> {
  const lines = new Map<string, number>();
  let table: readonly string[] = [];
  let open: string | null = null;
  for (const [index, line] of toml.split('\n').entries()) {
    if (open !== null) {
      if (line.includes(open)) open = null;
      continue;
    }
    const head = /^\s*\[\[?([^\]]+)\]/.exec(line)?.[1];
    const key = /^\s*((?:[\w-]+|"[^"]*"|'[^']*'|\s*\.\s*)+?)\s*=/.exec(line)?.[1];
    if (head !== undefined) table = keyParts(head);
    const path = key === undefined ? table : [...table, ...keyParts(key)];
    if (head !== undefined || key !== undefined) addLines(lines, path, index + 1);
    open = openDelimiter(line);
  }
  return lines;
}

function addLines(lines: Map<string, number>, path: readonly string[], line: number): void {
  for (let depth = 1; depth <= path.length; depth++) {
    const name = path.slice(0, depth).join('.');
    if (!lines.has(name)) lines.set(name, line);
  }
}

function keyParts(key: string): readonly string[] {
  return [...key.matchAll(/[\w-]+|"([^"]*)"|'([^']*)'/g)].map(([bare, double, single]) => double ?? single ?? bare);
}

/** The delimiter that ends a multi-line string which begins on `line`, or null. */
function openDelimiter(line: string): string | null {
  for (const mark of ['"""', "'''"]) {
    if (line.split(mark).length % 2 === 0) return mark;
  }
  return null;
}
