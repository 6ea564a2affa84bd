/**
 * Database of command line options: the target of a copy, under the same rules as the table `[database]`.
 *
 * Errors name the option. A password in the URL is refused, because every user of the machine sees the arguments of a
 * process. Relative paths are relative to the current folder.
 */
import { Failure, isFailure } from '../errors.ts';
import type { DatabaseConfig } from './config.ts';
import { readDatabaseUrl } from './database-url.ts';
import type { ReadConfigFile } from './derivation.ts';
import { derive } from './derive.ts';
import type { Document } from './document.ts';
import { failureOf, schemaProblems } from './problems.ts';
import { parseSettings } from './schema.ts';

/** Keys of `[database]`, as far as options give them. */
export type TargetSettings = {
  readonly url: string;
  readonly password_file?: string;
  readonly tls?: string;
  readonly ca_file?: string;
  readonly fingerprint?: string;
  readonly server_key_file?: string;
};

/** Throws `usage`. */
export function readTargetDatabase(target: TargetSettings, readFile: ReadConfigFile, cwd: string): DatabaseConfig {
  const url = readDatabaseUrl(target.url);
  if (url.kind === 'mysql' && url.password !== null) {
    url.password.fill(0);
    const hint = 'Write it into a file of mode 0600 and name that with --to-password-file, or enter it at the prompt.';
    throw new Failure('usage', '--to must not contain the password: other users see the arguments of a process', {
      hint,
    });
  }
  try {
    return databaseOf(target, readFile, cwd);
  } catch (error) {
    if (!isFailure(error, 'config_invalid')) throw error;
    throw new Failure('usage', error.message);
  }
}

function databaseOf(target: TargetSettings, readFile: ReadConfigFile, cwd: string): DatabaseConfig {
  const root = { data_dir: cwd, database: { ...target } };
  const document = documentOf(root);
  const parsed = parseSettings(root);
  if (!parsed.ok) throw failureOf(document, schemaProblems(document, parsed.issues));
  const bases = { file: cwd, variable: cwd };
  const { config, problems } = derive({ settings: parsed.settings, document, bases, credentials: null, readFile });
  if (problems.length > 0) throw failureOf(document, problems);
  return config.database;
}

function documentOf(root: { readonly database: Readonly<Record<string, unknown>> }): Document {
  const keyOf = (path: string) => path.replace('database.', '');
  return {
    file: null,
    root,
    value: (path) => root.database[keyOf(path)],
    origin: (path) => ({ kind: 'variable', name: optionOf(keyOf(path)) }),
  };
}

/** `--to-password-file` for `password_file`. */
function optionOf(key: string): string {
  return key === 'url' ? '--to' : `--to-${key.replaceAll('_', '-')}`;
}
