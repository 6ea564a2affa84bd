/**
 * Inspection of the configuration without using it: every value in force with its origin, and every problem at once.
 *
 * Values that hold a secret are masked; keys that name files of secrets have their paths, never the contents.
 */

import { type Failure, isFailure } from '../errors.ts';
import { withoutUserInformation } from '../text/url-mask.ts';
import { derive } from './derive.ts';
import type { Document } from './document.ts';
import { type ConfigSource, processEnvironment, readSource } from './load.ts';
import { type ConfigProblem, problemSentences, schemaProblems } from './problems.ts';
import { allSettings, parseSettings, providerSettings, type Settings } from './schema.ts';

export type ValueInForce = {
  /** As `poll.interval_s`. */
  readonly key: string;
  readonly value: unknown;
  readonly from: 'file' | 'variable' | 'default';
  /** Line in the file. */
  readonly line: number | null;
  readonly variable: string | null;
  /** False for a value that is the default, also where a file repeats it. */
  readonly changed: boolean;
};

export type ConfigInspection = {
  /** As errors show it; null: there is none. */
  readonly file: string | null;
  /** Empty where the file cannot be parsed. */
  readonly values: readonly ValueInForce[];
  readonly problems: readonly { readonly message: string; readonly hint: string | null }[];
};

/** Never throws `config_invalid`. A file that is no TOML, or has wrong types, hides problems of combinations. */
export function inspectConfig(source: ConfigSource): ConfigInspection {
  const problems: { message: string; hint: string | null }[] = [];
  const read = readTolerantly(source, (failure) => problems.push({ message: failure.message, hint: failure.hint }));
  if (read === null) return { file: null, values: [], problems };
  const { document, bases, from } = read;
  const parsed = parseSettings(document.root);
  if (!parsed.ok) {
    problems.push(...problemSentences(document, schemaProblems(document, parsed.issues)));
    return { file: document.file, values: [], problems };
  }
  const { settings } = parsed;
  const credentials = from.env.CREDENTIALS_DIRECTORY || null;
  problems.push(...problemSentences(document, derivedProblems({ settings, document, bases, credentials, ...from })));
  return { file: document.file, values: valuesOf(document, settings), problems };
}

/** Reads the sources again without each variable that is unknown. */
function readTolerantly(
  source: ConfigSource,
  report: (failure: Failure) => void,
): ReturnType<typeof readSource> | null {
  const env = { ...(source.env ?? processEnvironment()) };
  for (;;) {
    try {
      return readSource({ ...source, env });
    } catch (error) {
      if (!isFailure(error, 'config_invalid')) throw error;
      report(error);
      const { variable } = error.fields;
      if (typeof variable !== 'string' || !Object.hasOwn(env, variable)) return null;
      delete env[variable];
    }
  }
}

function derivedProblems(from: Parameters<typeof derive>[0]): readonly ConfigProblem[] {
  const { config, problems } = derive(from);
  if (config.database.kind === 'mysql') config.database.password?.wipe();
  return problems;
}

function valuesOf(document: Document, settings: Settings): readonly ValueInForce[] {
  const providers = Object.keys(settings.oauth).flatMap((name) =>
    providerSettings.map((setting) => ({ path: ['oauth', name, ...setting.path], default: setting.default })),
  );
  return [...allSettings, ...providers].map(({ path, default: usual }) => {
    const key = path.join('.');
    const origin = document.origin(key);
    const value = valueAt(settings, path);
    return {
      key,
      value: masked(key, value),
      changed: JSON.stringify(value) !== JSON.stringify(usual),
      from: origin.kind,
      line: origin.kind === 'file' ? origin.line : null,
      variable: origin.kind === 'variable' ? origin.name : null,
    };
  });
}

function valueAt(settings: Settings, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Readonly<Record<string, unknown>>)[key], settings);
}

/**
 * A URL in which a password may be is shown by its scheme alone. The user of a database stays, where nothing else is
 * before the `@`: a password that stands there alone looks like a user name, and no rule tells them apart.
 */
function masked(key: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => masked(key, one));
  if (typeof value !== 'string') return value;
  const isPlain =
    key === 'database.url' && /^[a-z]+:\/\/[^:@/?#]*@[\w.,:[\]-]*(?:\/[\w.-]*)?(?:\?socket=[\w./-]*)?$/.test(value);
  return isPlain ? value : withoutUserInformation(value);
}
