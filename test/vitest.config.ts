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

/** Files of 40 s and more, which must not be the last ones. Vitest knows the times of a former run only. */
const longest = new RegExp(
  `/(${[
    ...['web/pages/pages-browser', 'oauth/token-copies', 'root/links-for-root', 'server/server-echoes-password'],
    ...['admin/page', 'admin/attacks', 'admin/broken', 'kills/effects', 'end-to-end/daemon', 'database-rights'],
    ...['oauth/workers', 'oauth/secrecy', 'sign-in/sign-in', 'operations/real-kills', 'commands/key-protect'],
    ...['systemd/debian', 'systemd/sockets', 'documents/encryption', 'faults/faults', 'cases/keys', 'memory-search'],
  ].join('|')})\\.slow`,
);

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
    // Patience for a busy machine: what is promised to take no longer has a limit of its own.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    teardownTimeout: 10_000,
    globalSetup: ['test/support/global-setup.ts'],
    tags: [{ name: 'long', description: 'Long form of a proof; runs by `npm run test:long` alone.' }],
    projects: [
      { extends: true, test: { name: 'quick', include: ['test/**/*.test.ts'], exclude: [slow] } },
      { extends: true, test: { name: 'slow', include: [slow], testTimeout: 120_000 } },
    ],
  },
});
