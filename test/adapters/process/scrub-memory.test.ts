import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { overwriteReadBuffer } from '../../../src/adapters/process/scrub-memory.ts';

const isLinux = process.platform === 'linux';
const module = new URL('../../../src/adapters/process/scrub-memory.ts', import.meta.url);

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

test.runIf(isLinux)('it reads through one descriptor at a time, and leaves none open', async () => {
  await overwriteReadBuffer();
  const before = descriptors();
  const runs = Array.from({ length: 50 }, () => overwriteReadBuffer());
  expect(descriptors()).toBe(before + 50);
  await Promise.all(runs);
  expect(descriptors()).toBe(before);
});

test.runIf(isLinux).each([
  [
    'without a free descriptor',
    'ulimit -n 4096; exec "$@"',
    [],
    'const { openSync } = await import("node:fs");' + 'try { for (;;) openSync("/dev/null"); } catch {}',
  ],
  ['without node:ffi', 'exec "$@"', ['--no-experimental-ffi'], ''],
])('%s it resolves', (_what, shell, options, before) => {
  const script = `import { overwriteReadBuffer } from ${JSON.stringify(module.href)};
    ${before}
    await overwriteReadBuffer();
    process.stdout.write('resolved');`;
  const node = [process.execPath, ...options, '--input-type=module', '-e', script];
  expect(`${spawnSync('sh', ['-c', shell, 'sh', ...node]).stdout}`).toBe('resolved');
});
