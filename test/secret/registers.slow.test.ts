/**
 * Vector registers in a core dump: the thread that opened a password does not retain it, unlike an idle pool thread,
 * and V8 did not save it to memory while it deoptimized code.
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

async function hitsAfter(how: 'pool' | 'daemon' | 'deoptimized'): Promise<number> {
  const canary = newCanary(16);
  await using folder = await temporaryFolder('registers');
  const child = spawn(process.execPath, [...smallCore, holder, how, Buffer.from(canary).toString('hex')]);
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

test('after opening a password no register contains it, unlike in a thread pool', async () => {
  expect(await hitsAfter('daemon')).toBe(0);
  // The search would see it: known of processors with vector AES.
  const flags = await readFile('/proc/cpuinfo', 'utf8');
  if (/\bvaes\b/.test(flags)) expect(await hitsAfter('pool')).toBeGreaterThan(0);
}, 60_000);

test('V8 saves no register with a password when it deoptimizes code that handled it', async () => {
  expect(await hitsAfter('deoptimized')).toBe(0);
}, 60_000);
