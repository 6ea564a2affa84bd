/**
 * Names and words: one word per thing, no drawers for everything, nothing left to do, and each power in one place.
 */
import { posix } from 'node:path';
import { matches, type Problem, type Rule, type Source } from './source.ts';

const drawers = new Set(['utils', 'util', 'helpers', 'helper', 'common', 'lib', 'tools', 'misc']);

export const fileName: Rule = ({ path }) => {
  const drawer = path.split('/').find((part) => drawers.has(part.replace(/\..*$/, '')));
  const isKebab = /^[a-z0-9.-]+$/.test(posix.basename(path));
  return [
    ...(drawer === undefined ? [] : [{ path, line: 1, what: `${drawer} says nothing about what is in it` }]),
    ...(isKebab ? [] : [{ path, line: 1, what: 'file names are small letters with dashes' }]),
  ];
};

/**
 * Second names for things that have one, and dialect where the field has a term: pattern and replacement. The terms of
 * the field themselves (circuit breaker, heartbeat, dead letter, watermark, re-encrypt …) are welcome.
 */
const replacements: readonly (readonly [RegExp, string])[] = [
  [/\b(e-?mail|mail) accounts?\b/gi, 'mailbox'],
  [/\bmail boxe?s?\b/gi, 'mailbox'],
  [/\bblack-?lists?(ed)?\b/gi, 'blocklist'],
  [/\bwhite-?lists?(ed)?\b/gi, 'allowlist'],
  [/\b(master|slave)s?\b/gi, 'primary, replica'],
  [/\bmaster-?keys?\b/gi, 'key'],
  // Names of things in the code, and the folder of the adapter, are written together.
  [/(?<![\w/`])[Kk]eyfiles?\b(?![/`])/g, 'key file'],
  [/\bencrypted passwords?\b/gi, 'sealed password'],
  [/\bsanity[- ]checks?\b/gi, 'check'],
  [/\butili[sz]e(s|d)?\b/gi, 'use'],
  [/\bdummy\b/gi, 'example'],
  [/\banew\b/gi, 'again'],
  [/\bof ours\b/gi, 'our own'],
  [/\bby (itself|themselves)\b/gi, 'automatically, alone'],
  [/\b(some|no|every|any)body\b/gi, 'the subject by its name: a caller, a worker, an operator, no process'],
  [/\bwhoever\b/gi, 'the subject by its name'],
  [/\b(is|are|was|were|be|been|gets?|not) told\b/gi, 'is reported, is logged, is passed'],
  [/\btells? (that|what|how|whether|of|which|when|the)\b/gi, 'reports, logs, says'],
  [/\b(go|goes|went) on\b/gi, 'continues'],
  [/\bstands? readable\b/gi, 'is stored in plain text'],
  [/\blook(s|ed|ing)? whether\b/gi, 'checks whether'],
  [/\bvisit(s|ed|ing)?\b/gi, 'poll'],
  [/\bmails\b/gi, 'messages'],
  [/\btold sizes?\b/gi, 'announced size'],
  [/\b(numbered again|renumber(s|ed|ing|ings)?)\b/gi, 'a new UIDVALIDITY'],
  [/\bunder way\b/gi, 'in progress'],
  [/\bleft alone\b/gi, 'circuit open, suspended, not polled'],
  [/\bfares?\b/gi, 'state, health'],
  [/\bdesks?\b/gi, 'service, rules'],
];

/** `path` may be any file with prose in it: sources and the README. */
export const glossary: Rule = (source) =>
  replacements.flatMap(([pattern, better]) =>
    matches(source, source.text, pattern, (word) => `"${word}": write "${better}"`),
  );

/** The same for a test, whose data may be what strangers write. */
export const glossaryOfTests: Rule = (source) => glossary({ ...source, text: source.prose });

export const nothingLeftToDo: Rule = (source) =>
  matches(source, source.text, /\b(TODO|FIXME|XXX|HACK)\b/g, (word) => `${word}: do it, or write down why not`);

export const noAny: Rule = (source) =>
  matches(source, source.code, /(?:[:<|&,]\s*|\bas )any\b(?!\s*[(:=])/g, () => 'any: use unknown');

export const noConsole: Rule = (source) =>
  matches(source, source.code, /\bconsole\s*\./g, () => 'console: log through the logger, print through the terminal');

/** A power of the process, and the one file that has it. */
const powers: readonly (readonly [RegExp, string])[] = [
  [/\bprocess\s*\.\s*env\b/g, 'src/config/load.ts'],
  [/\bprocess\s*\.\s*(exit|exitCode|abort|reallyExit)\b/g, 'src/main.ts'],
  [/\bprocess\s*\.\s*(on|once|addListener|prependListener)\b/g, 'src/main.ts'],
  [/import\s*\{[^}]*\b(env|exit|exitCode)\b[^}]*\}\s*from\s*'node:process'/g, 'src/main.ts'],
];

export const powersOfTheProcess: Rule = (source) =>
  powers
    .filter(([, home]) => source.path !== home)
    .flatMap(([pattern, home]) =>
      matches(source, searched(source, pattern), pattern, (what) => `${what}: ${home} alone`),
    );

/** Imports are found by the name of a module, which is a text. */
function searched(source: Source, pattern: RegExp): string {
  return pattern.source.includes("'") ? source.withoutComments : source.code;
}

const passedIn = [
  /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bperformance\.now\(|\bcrypto\.(?:random|getRandom)\w+\(/g,
  /import\s*\{[^}]*\brandom\w+[^}]*\}\s*from\s*'node:crypto'/g,
];

/** In the rules of mail and in the workflows, time and chance are parameters. */
export const noClockNoChance: Rule = (source) =>
  /^src\/(mail|ingest|encryption)\//.test(source.path)
    ? passedIn.flatMap((pattern) =>
        matches(source, searched(source, pattern), pattern, (what) => `${what}: time and chance are passed in`),
      )
    : [];

const headerRiddle = /^(?:#!.*\n)?\/\*\*(?: |\n \* )(What|Who|Whom|Whose|Whether|Which|How|Where|When)\b/;

/** The first sentence of a file names its pattern or protocol; it is no question. */
export const namesItsPattern: Rule = ({ path, text }) => {
  const [, word] = headerRiddle.exec(text) ?? [];
  return word === undefined
    ? []
    : [{ path, line: 1, what: `the header begins with "${word}": name the pattern first` }];
};

const commentColumnsMax = 120;

export const commentWidth: Rule = ({ path, text }) =>
  text.split('\n').flatMap((line, index) => {
    const isTooWide = line.length > commentColumnsMax && /^\s*(\*|\/\/|\/\*)/.test(line);
    return isTooWide ? [{ path, line: index + 1, what: `${line.length} columns, at most ${commentColumnsMax}` }] : [];
  });

const shortFileLines = 80;

/** A short file may say it in one line. */
export const opensWithComment: Rule = ({ path, text }): Problem[] => {
  const opened = /^(?:#!.*\n)?\/\*\* ?(\S.{19,}) \*\/\n|^(?:#!.*\n)?\/\*\*\n(?: \*.*\n)+? \*\/\n/.exec(text);
  if (opened === null) return [{ path, line: 1, what: 'open with a comment: /** what it is */' }];
  const isShort = text.split('\n').length <= shortFileLines;
  return opened[1] === undefined || isShort ? [] : [{ path, line: 1, what: 'one line says too little of a long file' }];
};

export const namedExports: Rule = (source) =>
  matches(source, source.code, /^export (default|\*)/gm, (what) => `${what}: export by name`);

/** Put together here, so that this file does not name them itself. */
const machinePaths = [
  ['', 'work', ''],
  ['', 'tmp', 'bash_jobs'],
  ['', 'tmp', 'brief'],
].map((parts) => parts.join('/'));
const registryHost = /https?:\/\/[\w.-]*(registry|npmjs|artifactory|verdaccio|nexus|debian\.org)[\w.-]*/g;

/** For every file of the checkout. */
export function machineTraces(source: Source): Problem[] {
  const found = machinePaths.flatMap((path) => {
    const pattern = new RegExp(`(?<![\\w.])${path}`, 'g');
    return matches(source, source.text, pattern, (what) => `${what}: a path of one machine`);
  });
  return [...found, ...matches(source, source.text, registryHost, (what) => `${what}: a registry's address`)];
}
