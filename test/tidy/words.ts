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

/** Words that would be a second name for a thing that has one, and what to write instead. */
const replacements: readonly (readonly [RegExp, string])[] = [
  [/\b(e-?mail|mail) accounts?\b/gi, 'mailbox'],
  [/\bmail boxe?s?\b/gi, 'mailbox'],
  [/\bblack-?lists?(ed)?\b/gi, 'blocklist'],
  [/\bwhite-?lists?(ed)?\b/gi, 'allowlist'],
  [/\b(master|slave)s?\b/gi, 'primary, replica'],
  [/\bmaster-?keys?\b/gi, 'key'],
  // Names of things in the code, and the folder of the adapter, are written together.
  [/(?<![\w/])[Kk]eyfiles?\b(?!\/)/g, 'key file'],
  [/\bencrypted passwords?\b/gi, 'sealed password'],
  [/\bre-?encrypt(s|ed|ing)?\b/gi, 'reseal'],
  [/\bdead[- ]letters?\b/gi, 'quarantine'],
  [/\b(watermark|bookmark)s?\b/gi, 'cursor'],
  [/\bsanity[- ]checks?\b/gi, 'check'],
  [/\butili[sz]e(s|d)?\b/gi, 'use'],
  [/\bdummy\b/gi, 'example'],
];

/** `path` may be any file with prose in it: sources and the README. */
export const glossary: Rule = (source) =>
  replacements.flatMap(([pattern, better]) =>
    matches(source, source.text, pattern, (word) => `"${word}": write "${better}"`),
  );

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
const registryHost = /https?:\/\/[\w.-]*(registry|npmjs|artifactory|verdaccio|nexus)[\w.-]*/g;

/** For every file of the checkout. */
export function machineTraces(source: Source): Problem[] {
  const found = machinePaths.flatMap((path) => {
    const pattern = new RegExp(`(?<![\\w.])${path}`, 'g');
    return matches(source, source.text, pattern, (what) => `${what}: a path of one machine`);
  });
  return [...found, ...matches(source, source.text, registryHost, (what) => `${what}: a registry's address`)];
}
