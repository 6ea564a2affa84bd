/** What the configuration is derived from, and the one way to make a path of a text. */
import { isAbsolute, resolve } from 'node:path';
import type { Document } from './document.ts';
import { butIs, type Problem } from './problems.ts';
import type { Settings } from './settings.ts';

/** What relative paths count from: in the file, and in an environment variable. null: they are refused. */
export type Bases = { readonly file: string | null; readonly variable: string };

export type Derivation = {
  readonly settings: Settings;
  readonly document: Document;
  readonly bases: Bases;
  /** The folder in which systemd puts credentials (systemd.exec(5)), or null. */
  readonly credentials: string | null;
  readonly readFile: (path: string) => Uint8Array;
};

/** The path that `value`, written at the key `path`, names; a problem where nothing says what it counts from. */
export function absolute(from: Derivation, path: string, value: string, problems: Problem[]): string {
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
