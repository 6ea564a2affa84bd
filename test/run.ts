/**
 * Test runner behind `npm test`: types, lint, unused code, then vitest; one status line per step.
 *
 * All steps run even if an earlier one failed; the output of a failed step follows its line. The last line is
 * `N passed, N failed` (tests and steps together), and the exit code is 1 when anything failed. Selections: `--quick`
 * runs `*.test.ts` without servers that are slow to start, the default adds `*.slow.test.ts`, `--long` also the tests
 * with the tag `long`: long forms of proofs that the others have in short. Other arguments choose files (vitest).
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { preflight } from './preflight.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const programs = join(root, 'node_modules', '.bin');

type Step = { readonly name: string; readonly command: readonly [string, ...string[]] };
type Counts = { readonly passed: number; readonly failed: number; readonly skipped: number };
type StepResult = { readonly passed: boolean; readonly text: string };

type Selection = 'quick' | 'normal' | 'long';

const selectionArgs: Readonly<Record<Selection, readonly string[]>> = {
  quick: ['--project', 'quick', '--tags-filter', '!long'],
  normal: ['--tags-filter', '!long'],
  long: [],
};

const types: Step = { name: 'types', command: ['tsc', '--noEmit'] };
const lint: Step = { name: 'lint', command: ['biome', 'check', '--error-on-warnings', '.'] };
const unused: Step = { name: 'unused', command: ['knip', '--no-progress'] };

async function main(args: readonly string[]): Promise<number> {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 26) {
    print(`Node ${process.versions.node} is too old: run npm test, which uses the Node 26 that npm ci installed.`);
    return 1;
  }
  const selection = args.includes('--quick') ? 'quick' : args.includes('--long') ? 'long' : 'normal';
  const ready = await timed('preflight', async () => {
    const found = await preflight();
    return { passed: found.kind === 'ready', text: found.text };
  });
  const checks = selection === 'quick' ? [types, lint] : [types, lint, unused];
  const results = await Promise.all(checks.map((step) => timed(step.name, () => run(step))));
  const steps = [ready, ...results];
  // Without the servers nearly every test would fail for the same reason.
  const filters = args.filter((argument) => argument !== '--quick' && argument !== '--long');
  const tests = ready.passed ? await runTests(selection, filters) : { passed: 0, failed: 0, skipped: 0 };
  const passed = tests.passed + steps.filter((step) => step.passed).length;
  const failed = tests.failed + steps.filter((step) => !step.passed).length;
  print(`${passed} passed, ${failed} failed${tests.skipped > 0 ? `, ${tests.skipped} skipped` : ''}`);
  return failed === 0 ? 0 : 1;
}

async function timed(name: string, work: () => Promise<StepResult>): Promise<StepResult> {
  const start = performance.now();
  const result = await work();
  const seconds = ((performance.now() - start) / 1_000).toFixed(2);
  const remark = result.passed && result.text !== '' && !result.text.includes('\n') ? `  (${result.text})` : '';
  print(`${result.passed ? 'ok  ' : 'FAIL'}  ${name}, ${seconds} s${remark}`);
  if (!result.passed) print(result.text);
  return result;
}

/** Runs a step quietly; what it printed matters only when it fails. */
function run({ command: [program, ...args] }: Step): Promise<StepResult> {
  const child = spawn(join(programs, program), args, {
    cwd: root,
    env: environment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
  }
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ passed: false, text: error.message }));
    child.once('close', (code) => resolve({ passed: code === 0, text: code === 0 ? '' : text.trimEnd() }));
  });
}

/** Runs vitest with its own reporters: one for people, and one in JSON for the counts. */
async function runTests(selection: Selection, filters: readonly string[]): Promise<Counts> {
  const folder = mkdtempSync(join(tmpdir(), 'ticketmaild-results-'));
  const resultsFile = join(folder, 'results.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${resultsFile}`];
  const args = ['run', '--config', 'test/vitest.config.ts', ...reporters, ...selectionArgs[selection], ...filters];
  const child = spawn(join(programs, 'vitest'), args, {
    cwd: root,
    env: environment(),
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  const counts = readCounts(resultsFile, selection);
  rmSync(folder, { recursive: true });
  // Vitest itself can fail without a failed test: a file or hook that throws, no test found, a crash.
  return code === 0 || counts.failed > 0 ? counts : { ...counts, failed: 1 };
}

type Results = {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly assertionResults: readonly TestResult[];
  }[];
};
type TestResult = { readonly status: string; readonly fullName: string; readonly tags: readonly string[] };

/**
 * Counts of the JSON reporter; prints the title of each skipped test of the selection, so that none is left out unseen.
 */
function readCounts(path: string, selection: Selection): Counts {
  if (!existsSync(path)) return { passed: 0, failed: 0, skipped: 0 };
  const results: Results = JSON.parse(readFileSync(path, 'utf8'));
  const skipped = results.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status, tags }) => status === 'skipped' && (selection === 'long' || !tags.includes('long')))
      .map(({ fullName }) => `skipped  ${relative(root, name)} > ${fullName}`),
  );
  for (const line of skipped) print(line);
  return { passed: results.numPassedTests, failed: results.numFailedTests, skipped: skipped.length };
}

/** The tools start with `env node`: they must find the Node of the project first. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${programs}${delimiter}${process.env.PATH ?? ''}`, NO_COLOR: '1' };
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main(process.argv.slice(2));
