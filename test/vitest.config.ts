/**
 * Vitest configuration: two worker processes, because each may run a mail server and a database of its own.
 *
 * Project `quick` (`*.test.ts`) runs all its files in the same two processes; in project `slow` (`*.slow.test.ts`) each
 * file has a process of its own. Tests with the tag `long` are long forms of proofs that others have in short.
 */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const slow = 'test/**/*.slow.test.ts';

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    globalSetup: ['test/support/global-setup.ts'],
    tags: [{ name: 'long', description: 'Long form of a proof; runs by `npm run test:long` alone.' }],
    projects: [
      { extends: true, test: { name: 'quick', include: ['test/**/*.test.ts'], exclude: [slow], isolate: false } },
      { extends: true, test: { name: 'slow', include: [slow] } },
    ],
  },
});
