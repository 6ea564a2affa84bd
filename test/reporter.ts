/**
 * How test results are shown: one line for each file, every failure in full below its file, and at the end the titles
 * of the tests that were skipped. The counts go into the file that the variable below names, for test/run.ts.
 *
 * Whatever fails outside of a test (a file that cannot be loaded, a hook, an error nobody caught) counts as a failure.
 */
import { writeFileSync } from 'node:fs';
import type { Reporter, TestCase, TestModule, TestSuite, Vitest } from 'vitest/node';

export const countsVariable = 'TICKETMAILD_TEST_COUNTS';

export type Counts = { readonly passed: number; readonly failed: number; readonly skipped: number };

type Problem = { readonly title: string; readonly errors: readonly unknown[] };

/** Vitest makes one for each run. */
export class FileReporter implements Reporter {
  #vitest: Vitest | null = null;
  #failedOutside = 0;

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
  }

  onTestModuleEnd(module: TestModule): void {
    const tests = [...module.children.allTests()];
    const problems = problemsOf(module, tests);
    this.#failedOutside += problems.length - tests.filter((test) => test.result().state === 'failed').length;
    this.#print(fileLine(module, tests, problems.length));
    for (const { title, errors } of problems) {
      this.#print(`\nFAIL  ${module.relativeModuleId} > ${title}`);
      this.#printErrors(errors, module.project);
    }
  }

  onUserConsoleLog(log: { readonly content: string }): void {
    this.#print(log.content.trimEnd());
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    if (unhandledErrors.length > 0) this.#print('\nFAIL  errors that nobody caught');
    this.#printErrors(unhandledErrors);
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const skipped = tests.filter((test) => test.result().state === 'skipped');
    for (const test of skipped) this.#print(skippedLine(test));
    const counts: Counts = {
      passed: tests.filter((test) => test.result().state === 'passed').length,
      failed:
        tests.filter((test) => test.result().state === 'failed').length + this.#failedOutside + unhandledErrors.length,
      skipped: skipped.length,
    };
    const path = process.env[countsVariable];
    if (path === undefined) this.#print(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
    else writeFileSync(path, JSON.stringify(counts));
  }

  /** On standard output like the rest, so that an error stays below its title. */
  #printErrors(errors: readonly unknown[], project?: TestModule['project']): void {
    const options = project === undefined ? {} : { project };
    for (const error of errors) this.#print(this.#vitest?.logger.formatError(error, options).output ?? '');
  }

  #print(line: string): void {
    this.#vitest?.logger.log(line);
  }
}

function problemsOf(module: TestModule, tests: readonly TestCase[]): Problem[] {
  const inTests = tests
    .filter((test) => test.result().state === 'failed')
    .map((test) => ({ title: test.fullName, errors: test.result().errors ?? [] }));
  const suites: readonly TestSuite[] = [...module.children.allSuites()];
  const inHooks = suites
    .filter((suite) => suite.errors().length > 0)
    .map((suite) => ({ title: `${suite.fullName} (outside of its tests)`, errors: suite.errors() }));
  const inFile = module.errors().length > 0 ? [{ title: '(outside of its tests)', errors: module.errors() }] : [];
  return [...inTests, ...inHooks, ...inFile];
}

function fileLine(module: TestModule, tests: readonly TestCase[], problems: number): string {
  const seconds = (module.diagnostic().duration / 1_000).toFixed(2);
  const failed = problems === 0 ? '' : `, ${problems} failed`;
  return `${problems === 0 ? 'ok  ' : 'FAIL'}  ${module.relativeModuleId}  ${tests.length} tests${failed}, ${seconds} s`;
}

function skippedLine(test: TestCase): string {
  const result = test.result();
  const note = result.state === 'skipped' && result.note !== undefined ? ` (${result.note})` : '';
  return `skipped  ${test.module.relativeModuleId} > ${test.fullName}${note}`;
}
