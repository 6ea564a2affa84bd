/**
 * Import rules: the arrows between the parts of src, the one home of each package, and no I/O in the rules.
 *
 * A part that is not in the table may not exist, a package that is not in the table may not be imported: adding one
 * means saying here where it belongs.
 */
import { posix } from 'node:path';
import { lineAt, type Problem, type Rule, type Source } from './source.ts';

const base = ['errors', 'events', 'async', 'text'];
const rules = ['mail', 'secret', ...base];

/** `adapters` stands for every adapter; an adapter itself reaches its own folder, the HTTP server and the process. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  main: ['commands', 'compose', 'config', 'log', 'adapters/keyfile', 'adapters/process', 'adapters/terminal', ...base],
  commands: ['compose', 'config', 'admin', 'oauth', 'ingest', 'encryption', 'adapters/terminal', ...rules],
  compose: ['adapters', 'admin', 'oauth', 'ingest', 'encryption', 'config', 'log', ...rules],
  adapters: ['adapters/http', 'adapters/process', 'admin', 'oauth', 'ingest', 'encryption', 'config', ...rules],
  admin: ['oauth', 'encryption', 'ingest', 'config', ...rules],
  oauth: ['encryption', 'ingest', 'config', ...rules],
  encryption: ['ingest', ...rules],
  ingest: rules,
  mail: ['errors', 'async', 'text'],
  secret: ['errors'],
  config: ['secret', 'errors', 'text'],
  log: ['events', 'errors'],
  async: ['errors'],
  events: [],
  errors: [],
  text: [],
};

/** Each package, and each module of Node with one home, and the paths that may import it. */
const homes: Readonly<Record<string, readonly string[]>> = {
  'age-encryption': ['src/adapters/keyfile/'],
  chardet: ['src/mail/charset/'],
  commander: ['src/main.ts', 'src/commands/'],
  hono: ['src/adapters/http/', 'src/adapters/web/', 'src/adapters/control/'],
  'html-to-text': ['src/mail/mime/html.ts'],
  'ical.js': ['src/mail/formats/icalendar.ts'],
  imapflow: ['src/adapters/imap/'],
  kysely: ['src/adapters/database/'],
  'iconv-lite': ['src/mail/charset/'],
  libmime: ['src/mail/mime/attachments.ts'],
  mysql2: ['src/adapters/database/'],
  'node-cron': ['src/adapters/clock/'],
  oauth4webapi: ['src/adapters/oauth/'],
  nodemailer: ['src/mail/mime/structured-fields.ts'],
  pino: ['src/log.ts'],
  piscina: ['src/adapters/parser/'],
  'prom-client': ['src/adapters/metrics/'],
  'smol-toml': ['src/config/'],
  'string-width': ['src/adapters/terminal/'],
  zod: [
    'src/config/',
    'src/commands/status/',
    'src/adapters/keyfile/',
    'src/adapters/control/',
    'src/adapters/process/worker-lock.ts',
  ],
  'node:ffi': ['src/adapters/process/c-library.ts', 'src/adapters/systemd/'],
  'node:sqlite': ['src/adapters/database/'],
};

const inputOutput =
  /^node:(child_process|cluster|dgram|dns|ffi|fs|http|http2|https|inspector|net|os|process|readline|repl|sqlite|tls|tty|worker_threads)(\/|$)/;

type Import = { readonly specifier: string; readonly line: number };

const importPattern =
  /(?:\bfrom|\bimport(?:\s*\()?)\s*'([^'\s]+)'|\bnew URL\(\s*'(\.[^']+\.ts)'\s*,\s*import\.meta\.url/g;

/** Every module that a file names: imports, re-exports, dynamic imports, and files started by their URL. */
function importsOf(source: Source): Import[] {
  const found = [...source.withoutComments.matchAll(importPattern)];
  // A word inside a text is masked in the code: it imports nothing.
  const real = found.filter((match) => source.code.charAt(match.index) === match[0].charAt(0));
  return real.map((match) => ({
    specifier: match[1] ?? match[2] ?? '',
    line: lineAt(source.withoutComments, match.index),
  }));
}

/** The path that a relative import leads to, from the root. */
function target(source: Source, specifier: string): string {
  return posix.join(posix.dirname(source.path), specifier);
}

/** `src/mail/parse.ts` is in `mail`, `src/adapters/imap/tls.ts` in `adapters/imap`, `src/log.ts` in `log`. */
function partOf(path: string): string {
  const [, first = '', second = ''] = path.split('/');
  return first === 'adapters' ? `adapters/${second}` : first.replace(/\.ts$/, '');
}

function isAllowed(from: string, to: string): boolean {
  if (from === to) return true;
  const allowed = arrows[from.startsWith('adapters/') ? 'adapters' : from] ?? [];
  return allowed.includes(to) || (to.startsWith('adapters/') && allowed.includes('adapters'));
}

export const importDirection: Rule = (source) => {
  const from = partOf(source.path);
  if (!Object.hasOwn(arrows, from.replace(/\/.*/, '')))
    return [{ path: source.path, line: 1, what: `${from} is no part of src: see the table of arrows` }];
  return importsOf(source)
    .filter(({ specifier }) => specifier.startsWith('.'))
    .map(({ specifier, line }) => ({ line, path: target(source, specifier) }))
    .filter(({ path }) => !path.startsWith('src/') || !isAllowed(from, partOf(path)))
    .map(({ line, path }) => ({ path: source.path, line, what: `${from} must not import ${path}` }));
};

export const packageHomes: Rule = (source) =>
  importsOf(source)
    .map((one) => ({ ...one, packageName: packageOf(one.specifier) }))
    .filter(({ packageName }) => packageName !== null && !isAtHome(source.path, packageName))
    .map(({ line, packageName }) => ({ path: source.path, line, what: `${packageName} has another home, or none` }));

/** Null for our own files and for the modules of Node that have no one home. */
function packageOf(specifier: string): string | null {
  if (specifier.startsWith('.')) return null;
  if (specifier.startsWith('node:')) return Object.hasOwn(homes, specifier) ? specifier : null;
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function isAtHome(path: string, packageName: string): boolean {
  return (homes[packageName] ?? []).some((home) => (home.endsWith('/') ? path.startsWith(home) : path === home));
}

const pure = /^src\/(admin|mail|secret|oauth|encryption|ingest)\//;

export const noInputOutput: Rule = (source) =>
  !pure.test(source.path)
    ? []
    : importsOf(source)
        .filter(({ specifier }) => inputOutput.test(specifier))
        .map(({ specifier, line }) => ({ path: source.path, line, what: `no input or output here: ${specifier}` }));

/** Files of src that nothing imports, main.ts, declarations and the entry points of worker threads apart. */
export function orphans(sources: readonly Source[]): Problem[] {
  const reached = new Set(
    sources.flatMap((source) => importsOf(source).map(({ specifier }) => target(source, specifier))),
  );
  return sources
    .filter(({ path }) => path !== 'src/main.ts' && !/\.(worker|d)\.ts$/.test(path) && !reached.has(path))
    .map(({ path }) => ({ path, line: 1, what: 'no file imports this file' }));
}

/**
 * Files on an import cycle (of types too) or between two: peels off files without imports or importers until none is
 * left.
 */
export function cycles(sources: readonly Source[]): Problem[] {
  const graph = new Map(
    sources.map((source) => [source.path, importsOf(source).map(({ specifier }) => target(source, specifier))]),
  );
  for (;;) {
    const imported = new Set([...graph.values()].flat());
    const peeled = [...graph].filter(([path, imports]) => !imported.has(path) || !imports.some((to) => graph.has(to)));
    if (peeled.length === 0) break;
    for (const [path] of peeled) graph.delete(path);
  }
  return [...graph.keys()].map((path) => ({ path, line: 1, what: 'part of an import cycle' }));
}
