/**
 * Memory after logins with the whole password: no copy of it, nor of the digests that are enough for a login.
 */
import { spawn } from 'node:child_process';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { newCanary } from '../../../support/leaks/canary.ts';
import { searchMemory } from '../../../support/leaks/memory-search.ts';
import { type FakeMysql, startFakeMysql } from '../../../support/servers/fake-mysql.ts';
import { temporaryFolder } from '../../../support/temporary.ts';

const holder = fileURLToPath(new URL('./login-holder.ts', import.meta.url));
const plan = { switchTo: 'caching_sha2_password' };

/** Copies of the password, of its SHA-1 and of its SHA-256 in a process that logged in 20 times. */
async function copiesAfter(fake: FakeMysql, ...args: readonly string[]): Promise<readonly number[]> {
  const canary = newCanary();
  const child = spawn(process.execPath, [holder, Buffer.from(canary).toString('hex'), ...args]);
  try {
    expect(String(await once(child.stdout, 'data'))).toBe('done\n');
    expect(fake.learned(Buffer.from(canary).toString())).toBe(true);
    const copies: number[] = [];
    for (const searched of [canary, hash('sha1', canary, 'buffer'), hash('sha256', canary, 'buffer')]) {
      const { hits } = await searchMemory(child.pid ?? 0, searched);
      copies.push(hits.filter(({ form }) => form === 'text').reduce((sum, { count }) => sum + count, 0));
    }
    return copies;
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

test('over a unix socket, where it crosses in clear', async () => {
  await using folder = await temporaryFolder('login-memory');
  const path = `${folder.path}/mysqld.sock`;
  await using fake = await startFakeMysql(plan, { path });
  expect((await copiesAfter(fake, path, '-', 'kept'))[0]).toBeGreaterThan(0);
  expect(await copiesAfter(fake, path, '-')).toEqual([0, 0, 0]);
});

test('encrypted to a pinned key', async () => {
  await using fake = await startFakeMysql(plan);
  expect(await copiesAfter(fake, `${fake.port}`, fake.publicKeyPem)).toEqual([0, 0, 0]);
});
