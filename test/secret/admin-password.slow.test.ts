/**
 * Core dump after verifying an admin password: neither freed memory nor a register of a hashing thread contains it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { newCanary } from '../support/leaks/canary.ts';
import { gcore, searchCore, smallCore } from '../support/leaks/memory-search.ts';
import { temporaryFolder } from '../support/temporary.ts';

const holder = fileURLToPath(new URL('./admin-password-holder.ts', import.meta.url));

async function hitsAfter(...how: readonly string[]): Promise<number> {
  const canary = newCanary(16);
  await using folder = await temporaryFolder('admin-password');
  const child = spawn(process.execPath, [...smallCore, holder, Buffer.from(canary).toString('hex'), ...how]);
  try {
    const [told] = await once(child.stdout, 'data');
    expect(String(told)).toBe('true\n');
    const core = await gcore(child.pid ?? 0, folder.path);
    if (core === null) throw new Error('gcore is not installed');
    const { hits } = await searchCore(core, canary);
    return hits.filter(({ form }) => form === 'text').reduce((sum, { count }) => sum + count, 0);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

test('after hashing and verifying, no memory and no register contains the password', async () => {
  expect(await hitsAfter('kept')).toBeGreaterThan(0);
  expect(await hitsAfter()).toBe(0);
});
