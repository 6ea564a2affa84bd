/**
 * `npm test`: every check of the project, one after the other, one status line each.
 *
 * All steps run even if an earlier one failed; what a failed step printed follows its line. The last line is
 * `N passed, N failed` (tests and steps together), and the exit code is 1 when anything failed. `--quick` leaves out
 * the slow test files and the search for unused code. Other arguments go to vitest, to choose files.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { preflight } from './preflight.ts';
import { type Counts, countsVariable } from './reporter.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const programs = join(root, 'node_modules', '.bin');

type Step = { readonly name: string; readonly command: readonly [string, ...string[]] };
type StepResult = { readonly passed: boolean; readonly text: string };

const types: Step = { name: 'types', command: ['tsc', '--noEmit'] };
const lint: Step = { name: 'lint', command: ['biome', 'check', '--error-on-warnings', '.'] };
const unused: Step = { name: 'unused', command: ['knip', '--no-progress'] };

async function main(args: readonly string[]): Promise<number> {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 26) {
    print(`Node ${process.versions.node} is too old: run npm test, which uses the Node 26 that npm ci installed.`);
    return 1;
  }
  const quick = args.includes('--quick');
  const ready = await timed('preflight', async () => {
    const found = await preflight();
    return { passed: found.kind === 'ready', text: found.text };
  });
  const checks = quick ? [types, lint] : [types, lint, unused];
  const results = await Promise.all(checks.map((step) => timed(step.name, () => run(step))));
  const steps = [ready, ...results];
  // Without the servers nearly every test would fail for the one reason that was just given.
  const filters = args.filter((argument) => argument !== '--quick');
  const tests = ready.passed ? await runTests(quick, filters) : { passed: 0, failed: 0, skipped: 0 };
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

/** Runs vitest, which prints for itself, and reads the counts that the reporter leaves behind. */
async function runTests(quick: boolean, filters: readonly string[]): Promise<Counts> {
  const folder = mkdtempSync(join(tmpdir(), 'ticketmaild-counts-'));
  const countsFile = join(folder, 'counts.json');
  // Two processes for all quick files rather than one for each: a quarter less time.
  const exclude = quick ? ['--exclude', '**/*.slow.test.ts', '--no-isolate'] : [];
  const args = ['run', '--config', 'test/vitest.config.ts', ...exclude, ...filters];
  const child = spawn(join(programs, 'vitest'), args, {
    cwd: root,
    env: { ...environment(), [countsVariable]: countsFile },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  const counts = readCounts(countsFile);
  rmSync(folder, { recursive: true });
  // Vitest itself can fail without a failed test: no test found, a broken configuration, a crash.
  return code === 0 || counts.failed > 0 ? counts : { ...counts, failed: 1 };
}

function readCounts(path: string): Counts {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : { passed: 0, failed: 0, skipped: 0 };
}

/** The tools start with `env node`: they must find the Node of the project first. */
function environment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${programs}${delimiter}${process.env.PATH ?? ''}`, NO_COLOR: '1' };
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main(process.argv.slice(2));
