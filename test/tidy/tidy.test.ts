/**
 * Style as a test: the rules of test/tidy hold for every file of the project, and each rule can fail.
 */
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { cycles, importDirection, noInputOutput, orphans, packageHomes } from './imports.ts';
import { lockProblems } from './project.ts';
import { crowdedFolders, fileLength, functionLength, functionsOf, percentile } from './size.ts';
import { makeSource, type Problem, type Rule, type Source } from './source.ts';
import {
  commentWidth,
  fileName,
  glossary,
  glossaryOfTests,
  machineTraces,
  namedExports,
  namesItsPattern,
  noAny,
  noClockNoChance,
  noConsole,
  nothingLeftToDo,
  opensWithComment,
  powersOfTheProcess,
} from './words.ts';

const root = join(import.meta.dirname, '../..');
const notOurs = new Set(['node_modules', '.git', '.vitest', 'data', 'dist']);

/** Every text file of the checkout. Folders of others are not entered: tests build machines in node_modules/.cache. */
const files: readonly Source[] = globSync(['**/*', '**/.*', '**/.*/**/*'], {
  cwd: root,
  withFileTypes: true,
  exclude: ({ name }) => notOurs.has(name),
})
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
  .map((path) => ({ path, bytes: readFileSync(join(root, path)) }))
  .filter(({ bytes }) => !bytes.includes(0))
  .map(({ path, bytes }) => makeSource(path, bytes.toString()));

const sources = files.filter(({ path }) => path.startsWith('src/') && path.endsWith('.ts'));
const tests = files.filter(({ path }) => path.startsWith('test/') && path.endsWith('.ts'));
/** A file of tests is a list of cases, and may be long. */
const support = tests.filter(({ path }) => !path.endsWith('.test.ts'));
const run = promisify(execFile);

function said(problems: readonly Problem[]): string[] {
  return problems.map(({ path, line, what }) => `${path}:${line} ${what}`);
}

/** A rule, where it holds, and a file that breaks it. */
const rules: readonly (readonly [title: string, rule: Rule, holdsFor: readonly Source[], path: string, bad: string])[] =
  [
    [
      'imports follow the arrows',
      importDirection,
      sources,
      'src/mail/a.ts',
      "import { poll } from '../ingest/poll.ts';",
    ],
    ['adapters know no other adapter', importDirection, sources, 'src/adapters/http/a.ts', "import '../imap/tls.ts';"],
    ['each part of src is in the table', importDirection, sources, 'src/plugins/a.ts', ''],
    ['each package has one home', packageHomes, sources, 'src/ingest/a.ts', "import { sql } from 'kysely';"],
    ['no package comes in unseen', packageHomes, sources, 'src/log.ts', "import x from '@left/pad/deep.js';"],
    [
      'the rules do no input or output',
      noInputOutput,
      sources,
      'src/mail/a.ts',
      "const fs = await import('node:fs/promises');",
    ],
    ['files have at most 450 lines', fileLength, [...sources, ...support], 'src/a.ts', 'x;\n'.repeat(451)],
    [
      'functions have at most 70 lines',
      functionLength,
      [...sources, ...tests],
      'src/a.ts',
      `function a(): void {\n${'  x;\n'.repeat(70)}}\n`,
    ],
    ['files have telling names', fileName, [...sources, ...tests], 'src/mail/utils.ts', ''],
    ['there is one word for each thing', glossary, sources, 'src/a.ts', '// The email account is blacklisted.'],
    ['the dialect is replaced by terms of the field', glossary, sources, 'src/a.ts', '// Nobody is told of it anew.'],
    ['tests have one word for each thing', glossaryOfTests, tests, 'test/a.ts', "test('mails are stored', f);"],
    [
      'headers name the pattern',
      namesItsPattern,
      [...sources, ...tests],
      'src/a.ts',
      '/** What a poll does otherwise. */',
    ],
    ['comments fit 120 columns', commentWidth, [...sources, ...tests], 'src/a.ts', `// ${'x'.repeat(120)}`],
    ['nothing is left to do', nothingLeftToDo, sources, 'src/a.ts', '/* FIXME: later */'],
    ['any is not used', noAny, [...sources, ...tests], 'src/a.ts', 'function a(b: any): void {}'],
    ['no file writes to the console', noConsole, [...sources, ...tests], 'src/a.ts', "console.log('a');"],
    [
      'only config/load.ts reads the environment',
      powersOfTheProcess,
      sources,
      'src/log.ts',
      'const home = process.env.HOME;',
    ],
    ['only main.ts ends the process', powersOfTheProcess, sources, 'src/compose/compose.ts', 'process.exitCode = 1;'],
    [
      'only main.ts listens to signals',
      powersOfTheProcess,
      sources,
      'src/compose/compose.ts',
      "process.once('SIGTERM', stop);",
    ],
    ['powers are not imported either', powersOfTheProcess, sources, 'src/a.ts', "import { env } from 'node:process';"],
    ['time and chance are passed in', noClockNoChance, sources, 'src/mail/a.ts', 'const now = Date.now();'],
    [
      'chance is not imported',
      noClockNoChance,
      sources,
      'src/mail/a.ts',
      "import { createHash, randomUUID } from 'node:crypto';",
    ],
    [
      'long files say more',
      opensWithComment,
      sources,
      'src/a.ts',
      `/** What this file is, in one line. */\n${'x;\n'.repeat(90)}`,
    ],
    ['each file says what it is', opensWithComment, sources, 'src/a.ts', 'export const a = 1;\n'],
    ['exports have names', namedExports, sources, 'src/a.ts', 'export default 1;'],
    ['no trace of one machine', machineTraces, files, 'README.md', `see ${['', 'work', 'main'].join('/')}`],
    ['no address of a registry', machineTraces, files, '.npmrc', `registry=https://${'registry'}.example.test/`],
  ];

describe.each(rules)('%s', (_title, rule, holdsFor, path, bad) => {
  test('it holds', () => {
    expect(said(holdsFor.flatMap(rule))).toEqual([]);
  });

  test('it can fail', () => {
    expect(rule(makeSource(path, bad))).not.toEqual([]);
  });
});

describe('what looks like a breach and is none', () => {
  test.each([
    [noAny, 'src/a.ts', "// any\nconst a = 'x: any'; const any = 1; f(any);"],
    [noConsole, 'src/a.ts', 'const a = `console.log($'.concat('{b /* console.log */})`;')],
    [packageHomes, 'src/a.ts', "const a = Buffer.from('abc'); const b = ['from', 'x']; f('import', 'y');"],
    [functionLength, 'test/a.test.ts', `describe('a', () => {\n${'  x;\n'.repeat(80)}});\n`],
    [powersOfTheProcess, 'src/config/load.ts', 'const home = process.env.HOME;'],
    [packageHomes, 'src/adapters/database/a.ts', "import { sql } from 'kysely/deep'; import 'node:crypto';"],
    [
      importDirection,
      'src/compose/compose.ts',
      "import '../adapters/imap/tls.ts'; import type { A } from '../ingest/ports.ts';",
    ],
    [functionLength, 'src/a.ts', `class A {\n${'  x;\n'.repeat(80)}}\n`],
    [
      functionLength,
      'src/a.ts',
      `function a(): void {\n${'  // why\n'.repeat(20)}}\n\nconst b = [\n${'  1,\n'.repeat(80)}];\n`,
    ],
    [glossary, 'src/a.ts', '// Circuit breaker, heartbeat, dead letter, watermark: passwords are re-encrypted.'],
    [glossaryOfTests, 'test/a.test.ts', "test.each(a)('one %s', () => f('nobody', `mails`, ['desk']));"],
    [machineTraces, 'README.md', 'https://example.test/work/a and net/work/b'],
  ] as const)('%o %s %s', (rule, path, good) => {
    expect(rule(makeSource(path, good))).toEqual([]);
  });
});

describe('functions', () => {
  test('are small: half of them under 12 lines, nine of ten under 30', () => {
    const sizes = sources.flatMap(functionsOf).map(({ lines }) => lines);
    expect(percentile(sizes, 0.5)).toBeLessThan(12);
    expect(percentile(sizes, 0.9)).toBeLessThan(30);
  });

  test('are found in every form', () => {
    const text = [
      'export async function one(a: string): Promise<{ b: number }> {',
      '  if (a) {',
      '    b();',
      '  }',
      '}',
      'const two = (a: string): void => {',
      '  a;',
      '};',
      'class C {',
      '  async #three(',
      '    a: string,',
      '  ): Promise<void> {',
      '    for (const b of a) {',
      '      b;',
      '    }',
      '  }',
      '}',
    ].join('\n');
    expect(functionsOf(makeSource('a.ts', text))).toEqual([
      { line: 1, lines: 5 },
      { line: 6, lines: 3 },
      { line: 10, lines: 7 },
    ]);
  });
});

test('every file of src is imported by another', () => {
  expect(said(orphans(sources))).toEqual([]);
  const alone = [makeSource('src/main.ts', "import './a.ts';"), makeSource('src/a.ts', ''), makeSource('src/b.ts', '')];
  expect(orphans(alone).map(({ path }) => path)).toEqual(['src/b.ts']);
});

test('no file of src imports itself through others, types included', () => {
  expect(said(cycles(sources))).toEqual([]);
  const circle = [
    makeSource('src/a.ts', "import './b.ts';"),
    makeSource('src/b.ts', "import type { C } from './c.ts';"),
    makeSource('src/c.ts', "import './a.ts';"),
    makeSource('src/d.ts', "import './a.ts';"),
  ];
  expect(cycles(circle).map(({ path }) => path)).toEqual(['src/a.ts', 'src/b.ts', 'src/c.ts']);
});

test('a folder holds at most 16 files', () => {
  expect(said(crowdedFolders([...sources, ...tests]))).toEqual([]);
  const crowd = Array.from({ length: 17 }, (_, index) => makeSource(`src/a/f${index}.ts`, ''));
  expect(crowdedFolders(crowd).map(({ path }) => path)).toEqual(['src/a']);
});

describe('the lock file', () => {
  test('has every package by its content, from no one place, without scripts', () => {
    expect(lockProblems(JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')))).toEqual([]);
  });

  test('is found out', () => {
    const bad = { packages: { '': {}, a: { resolved: 'x' }, b: { integrity: 'sha512-x', hasInstallScript: true } } };
    expect(lockProblems(bad)).toHaveLength(3);
  });
});

test('the program starts under plain Node and prints its version', async () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  expect((await run(process.execPath, [join(root, 'src/ticketmaild.js'), '--version'])).stdout).toBe(`${version}\n`);
});

test('documents use one word for each thing', () => {
  const documents = files.filter(({ path }) => /(^|\/)(README|THREATS)\.md$/.test(path));
  expect(said(documents.flatMap(glossary))).toEqual([]);
});
