/**
 * Validation errors of the configuration: origin, key, what is allowed, and the actual value, in one sentence each.
 *
 * Quoted: an unknown key, as it is mostly misspelt, and a wrong value, so that the line is found. Not quoted: values of
 * keys beside which a password belongs (`neverShown`), and of a URL with user information all after its scheme, also in
 * a key. A bare password in place of another key or value is quoted like a misspelt one: nothing tells them apart. Long
 * values are truncated, and control characters are escaped.
 */

import type { core } from 'zod/mini';
import { Failure } from '../errors.ts';
import { nearestWord } from '../text/spelling.ts';
import { withoutUserInformation } from '../text/url-mask.ts';
import { type Document, isTable } from './document.ts';
import { allSettings, neverShown, providerSettings, tableNames } from './schema.ts';

/** One error. `rule` continues the sentence after the key: "must be …", "is not a known key". */
export type ConfigProblem = {
  readonly path: string;
  readonly rule: string;
  /** Where correcting the value is not enough. */
  readonly hint?: string | null;
};

const shownCharactersMax = 60;

/** The errors that the schema reports, one per key. */
export function schemaProblems(document: Document, issues: readonly core.$ZodIssue[]): readonly ConfigProblem[] {
  const problems = issues.flatMap((issue): readonly ConfigProblem[] => {
    const path = issue.path.join('.');
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(document, issue.path, key));
    if (issue.code === 'invalid_key') return [{ path, rule: `must be ${issue.issues[0]?.message ?? issue.message}` }];
    return [{ path, rule: `must be ${issue.message}${notValue(document, path)}` }];
  });
  return problems.filter((problem, index) => problems.findIndex(({ path }) => path === problem.path) === index);
}

/** `, not VALUE` for the value at `path`; empty where it must not be shown. */
export function notValue(document: Document, path: string): string {
  const value = document.value(path);
  const isHidden = neverShown.has(path) && typeof value !== 'boolean';
  return value === undefined || isHidden ? '' : `, not ${shown(value)}`;
}

function unknownKey(document: Document, above: readonly PropertyKey[], key: string): ConfigProblem {
  const path = [...above, key].join('.');
  if (isTable(document.value(path))) {
    const meant = nearestWord(path, tableNames) ?? tableNames.find((name) => path.startsWith(name)) ?? null;
    return { path, rule: `is not a known table${meant === null ? '' : `; did you mean [${meant}]?`}` };
  }
  const meant = suggestedKey(above.join('.'), key);
  return { path, rule: `is not a known key${meant === null ? '' : `; did you mean ${meant}?`}` };
}

/** A similar key of the same table, else the same key of another table. */
function suggestedKey(table: string, key: string): string | null {
  const ofProvider = providerSettings.map((setting) => [...table.split('.'), ...setting.path]);
  const known = /^oauth\.[^.]+$/.test(table) ? ofProvider : allSettings.map((setting) => setting.path);
  const beside = known.filter((path) => path.slice(0, -1).join('.') === table).map((path) => path.at(-1) ?? '');
  const near = nearestWord(key, beside);
  if (near !== null) return table === '' ? near : `${table}.${near}`;
  return known.find((path) => path.at(-1) === key)?.join('.') ?? null;
}

function shown(value: unknown): string {
  if (value instanceof Date) return 'a date';
  if (isTable(value)) return 'a table';
  const text = quoted(value);
  return text.length > shownCharactersMax ? `${text.slice(0, shownCharactersMax)}…` : text;
}

/** A value as JSON, without what may be a password in a URL. */
export function quoted(value: unknown): string {
  return JSON.stringify(value, (_, one) => (typeof one === 'string' ? withoutUserInformation(one) : one));
}

/** A sentence and a hint for each, in the order of the file. */
export function problemSentences(
  document: Document,
  problems: readonly ConfigProblem[],
): readonly { readonly message: string; readonly hint: string | null }[] {
  return problems
    .toSorted((a, b) => lineOf(document, a.path) - lineOf(document, b.path))
    .map((problem) => ({ message: sentence(document, problem), hint: problem.hint ?? null }));
}

/** One failure for all `problems`: the first one in the file, and the number of the others, which the hint lists. */
export function failureOf(document: Document, problems: readonly ConfigProblem[]): Failure {
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

function sentence(document: Document, { path, rule }: ConfigProblem): string {
  const origin = document.origin(path);
  const key = withoutUserInformation(path);
  if (origin.kind === 'variable') return `${origin.name} ${rule}`;
  if (origin.kind === 'default') return `${key} ${rule}`;
  return `${document.file}${origin.line === null ? '' : `:${origin.line}`}: ${key} ${rule}`;
}
