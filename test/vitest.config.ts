/**
 * Vitest configuration: three worker processes for two cores, since slow tests wait as long as they compute.
 *
 * Project `quick` is `*.test.ts`, project `slow` is `*.slow.test.ts`; the files of a project share the processes. Node
 * loads and strips the modules itself, as in production, with one compile cache for all processes and runs. Tests with
 * the tag `long` are long forms of proofs that others have in short.
 */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const slow = 'test/**/*.slow.test.ts';

/** Files of half a minute and more, which must not be the last ones. Vitest knows the times of a former run only. */
const longest =
  /(pages-browser|admin\/page|faults|corpus\/corpus|end-to-end\/encryption|attacks|clock|kills\/switch)\.slow/;

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const { true: first = [], false: others = [] } = Object.groupBy(
      sorted,
      ({ moduleId }) => `${longest.test(moduleId)}`,
    );
    return [...first, ...others];
  }
}

process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('../node_modules/.cache/tests', import.meta.url));

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    pool: 'forks',
    isolate: false,
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    experimental: { viteModuleRunner: false, nodeLoader: false },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    globalSetup: ['test/support/global-setup.ts'],
    tags: [{ name: 'long', description: 'Long form of a proof; runs by `npm run test:long` alone.' }],
    projects: [
      { extends: true, test: { name: 'quick', include: ['test/**/*.test.ts'], exclude: [slow] } },
      { extends: true, test: { name: 'slow', include: [slow], testTimeout: 60_000 } },
    ],
  },
});
