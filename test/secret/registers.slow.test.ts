/**
 * Vector registers in a core dump: the thread that opened a password or token does not retain it, unlike an idle pool
 * thread, and V8 did not save it to memory while it deoptimized code.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { newCanary } from '../support/leaks/canary.ts';
import { gcore, searchCore, smallCore } from '../support/leaks/memory-search.ts';
import { temporaryFolder } from '../support/temporary.ts';

const holder = fileURLToPath(new URL('./registers-holder.ts', import.meta.url));

const kinds = ['password', 'token'] as const;

async function hitsAfter(how: 'pool' | 'daemon' | 'deoptimized', kind: (typeof kinds)[number]): Promise<number> {
  const canary = newCanary(16);
  await using folder = await temporaryFolder('registers');
  const child = spawn(process.execPath, [...smallCore, holder, how, Buffer.from(canary).toString('hex'), kind]);
  try {
    await once(child.stdout, 'data');
    const core = await gcore(child.pid ?? 0, folder.path);
    if (core === null) throw new Error('gcore is not installed');
    const { hits } = await searchCore(core, canary);
    return hits.filter(({ form }) => form === 'text').reduce((sum, { count }) => sum + count, 0);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

test.each(kinds)('after opening a %s no register contains it', async (kind) => {
  expect(await hitsAfter('daemon', kind)).toBe(0);
});

test('an idle thread of a pool that opened a password contains it', async () => {
  // The search would see it: known of processors with vector AES.
  const flags = await readFile('/proc/cpuinfo', 'utf8');
  if (/\bvaes\b/.test(flags)) expect(await hitsAfter('pool', 'password')).toBeGreaterThan(0);
});

test.each(kinds)(
  'V8 saves no register with a %s when it deoptimizes code that handled it',
  {
    timeout: 120_000,
  },
  async (kind) => {
    expect(await hitsAfter('deoptimized', kind)).toBe(0);
  },
);
