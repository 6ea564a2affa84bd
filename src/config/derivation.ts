/** Input of the derivation, and the resolution of paths and files that keys name. */

import { isAbsolute, resolve } from 'node:path';
import { causeCode, isFailure } from '../errors.ts';
import type { Document } from './document.ts';
import { unreadableHint } from './machine.ts';
import { type ConfigProblem, notValue, quoted } from './problems.ts';
import type { Settings } from './schema.ts';

/**
 * Folders to which relative paths are relative: in the file, and in an environment variable. null: they are refused.
 */
type BaseFolders = { readonly file: string | null; readonly variable: string };

/** Reads a file; a secret only if no other user can read or change it (`config_invalid`). */
export type ReadConfigFile = (path: string, content?: 'public' | 'secret') => Uint8Array;

export type Derivation = {
  readonly settings: Settings;
  readonly document: Document;
  readonly bases: BaseFolders;
  /** Folder of the systemd credentials (systemd.exec(5)), or null. */
  readonly credentials: string | null;
  readonly readFile: ReadConfigFile;
};

const withoutFile =
  'Set TICKETMAILD_DATA_DIR to the folder for the data, or data_dir in /etc/ticketmaild/ticketmaild.toml.';

/** The absolute path that `value` of the key `path` names; an error where a relative path has no base folder. */
export function absolute(from: Derivation, path: string, value: string, problems: ConfigProblem[]): string {
  const { document, bases } = from;
  if (value === '') problems.push({ path, rule: 'must not be empty' });
  if (isAbsolute(value)) return resolve(value);
  const base = document.origin(path).kind === 'variable' ? bases.variable : bases.file;
  if (base !== null) return resolve(base, value);
  problems.push({
    path,
    rule: `must be an absolute path, such as "/var/lib/ticketmaild"${notValue(document, path) || `, not ${quoted(value)}`}`,
    hint: document.file === null ? withoutFile : null,
  });
  return value;
}

/** The content of the file that a key names; null, and an error, where it cannot be read. */
export function readNamed(
  from: Derivation,
  path: string,
  file: string,
  problems: ConfigProblem[],
  content: 'public' | 'secret' = 'public',
): Uint8Array | null {
  try {
    return from.readFile(absolute(from, path, file, problems), content);
  } catch (error) {
    if (isFailure(error, 'config_invalid', 'refused')) {
      const rule = error.code === 'refused' ? `names a file that is refused: ${error.message}` : error.message;
      problems.push({ path, rule, hint: error.hint });
      return null;
    }
    const rule = `names a file that cannot be read (${causeCode(error)})`;
    problems.push({ path, rule, hint: unreadableHint(error) });
    return null;
  }
}
