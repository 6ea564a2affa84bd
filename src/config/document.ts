/**
 * The configuration as written: the TOML file with the environment variables laid over it, not yet checked.
 *
 * It remembers where each value was written, so that an error can name the file and the line, or the variable.
 * Refuses a file that is not UTF-8 or not TOML, and variables that begin with TICKETMAILD_ but are not known.
 */

import { parse, TomlError } from 'smol-toml';
import type { core } from 'zod/mini';
import { Failure } from '../errors.ts';
import { allSettings, neverShown, type Setting, tableNames } from './schema.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where a value was written. `default`: nowhere. */
type Origin =
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

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/**
 * Finds the line of a key in a TOML file that has been parsed without error.
 *
 * The parser tells no places of values, so the lines are read once more, only as far as table heads and keys go.
 * A key inside an inline table has the line of the table.
 */

/** Line (from 1) by key path, as `poll.interval_s`; tables have the line of their head. */
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
    if (head !== undefined || key !== undefined) remember(lines, path, index + 1);
    open = opened(line);
  }
  return lines;
}

function remember(lines: Map<string, number>, path: readonly string[], line: number): void {
  for (let depth = 1; depth <= path.length; depth++) {
    const name = path.slice(0, depth).join('.');
    if (!lines.has(name)) lines.set(name, line);
  }
}

function keyParts(key: string): readonly string[] {
  return [...key.matchAll(/[\w-]+|"([^"]*)"|'([^']*)'/g)].map(([bare, double, single]) => double ?? single ?? bare);
}

/** The mark that ends a multi-line text which begins on `line`, or null. */
function opened(line: string): string | null {
  for (const mark of ['"""', "'''"]) {
    if (line.split(mark).length % 2 === 0) return mark;
  }
  return null;
}

/**
 * The word that was probably meant: for keys and environment variables that do not exist.
 */

/** The nearest of `words`, or null when none is near enough to be worth a guess. */
function nearest(word: string, words: readonly string[]): string | null {
  const ranked = words.map((candidate) => ({ candidate, steps: distance(word, candidate) }));
  const best = ranked.reduce((a, b) => (b.steps < a.steps ? b : a), { candidate: '', steps: Number.POSITIVE_INFINITY });
  return best.steps <= Math.max(2, Math.floor(word.length / 4)) ? best.candidate : null;
}

/** Inserted, deleted, replaced and swapped letters between two words. */
function distance(a: string, b: string): number {
  let before: readonly number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = at(above, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const steps = Math.min(at(above, j) + 1, at(row, j - 1) + 1, replaced);
      row.push(swapped ? Math.min(steps, at(before, j - 2) + 1) : steps);
    }
    before = above;
    above = row;
  }
  return at(above, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}

/**
 * Sentences about wrong settings: place, key, what is allowed, and the value that is there.
 *
 * Values that are or may be secrets are never quoted, long ones are cut, and control characters are escaped.
 */

/** What is wrong with one key. `rule` goes on after the key: "must be …", "is not a known key". */
export type Problem = {
  readonly path: string;
  readonly rule: string;
  /** What helps, where that is not to correct the value. */
  readonly hint?: string | null;
};

const shownCharactersMax = 60;

/** The problems of a document that the schema found, one a key. */
export function schemaProblems(document: Document, issues: readonly core.$ZodIssue[]): readonly Problem[] {
  const problems = issues.flatMap((issue): readonly Problem[] => {
    const path = issue.path.join('.');
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(document, issue.path, key));
    return [{ path, rule: `must be ${issue.message}${butIs(document, path)}` }];
  });
  return problems.filter((problem, index) => problems.findIndex(({ path }) => path === problem.path) === index);
}

/** `, not VALUE` for the value at `path`, or nothing where it must not be shown. */
export function butIs(document: Document, path: string): string {
  const value = document.value(path);
  return value === undefined || neverShown.has(path) ? '' : `, not ${shown(value)}`;
}

function unknownKey(document: Document, above: readonly PropertyKey[], key: string): Problem {
  const path = [...above, key].join('.');
  if (isTable(document.value(path))) {
    const meant = nearest(path, tableNames);
    return { path, rule: `is not a known table${meant === null ? '' : `; did you mean [${meant}]?`}` };
  }
  const meant = meantKey(above.join('.'), key);
  return { path, rule: `is not a known key${meant === null ? '' : `; did you mean ${meant}?`}` };
}

/** The key of the same table that is spelt nearly so, else the same key of another table. */
function meantKey(table: string, key: string): string | null {
  const known = allSettings.map((setting) => setting.path);
  const beside = known.filter((path) => path.slice(0, -1).join('.') === table).map((path) => path.at(-1) ?? '');
  const near = nearest(key, beside);
  if (near !== null) return table === '' ? near : `${table}.${near}`;
  return known.find((path) => path.at(-1) === key)?.join('.') ?? null;
}

function shown(value: unknown): string {
  if (value instanceof Date) return 'a date';
  if (isTable(value)) return 'a table';
  const text = JSON.stringify(value);
  return text.length > shownCharactersMax ? `${text.slice(0, shownCharactersMax)}…` : text;
}

/** One failure of all `problems`, those further up in the file first: one line, with the number of the others. */
export function failureOf(document: Document, problems: readonly Problem[]): Failure {
  const sorted = problems.toSorted((a, b) => lineOf(document, a.path) - lineOf(document, b.path));
  const [first, ...others] = sorted.map((problem) => sentence(document, problem));
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`;
  const hints = [
    ...new Set(problems.map(({ hint }) => hint ?? '').filter((hint) => hint !== '')),
    ...(others.length === 0 ? [] : [`Correct these as well: ${others.join('; ')}`]),
  ];
  return new Failure('config_invalid', `${first}${more}`, hints.length === 0 ? {} : { hint: hints.join(' ') });
}

function lineOf(document: Document, path: string): number {
  const origin = document.origin(path);
  return origin.kind === 'file' ? (origin.line ?? 0) : 0;
}

function sentence(document: Document, { path, rule }: Problem): string {
  const origin = document.origin(path);
  if (origin.kind === 'variable') return `${origin.name} ${rule}`;
  if (origin.kind === 'default') return `${path} ${rule}`;
  return `${document.file}${origin.line === null ? '' : `:${origin.line}`}: ${path} ${rule}`;
}
