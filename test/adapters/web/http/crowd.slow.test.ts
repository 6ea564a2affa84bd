/** Many slow connections from one shared address. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { memoryService } from '../memory-service.ts';
import { openPage, signedIn } from '../page-client.ts';

const crowd = fileURLToPath(new URL('./slow-crowd.ts', import.meta.url));

test('400 slow connections that reconnect whenever they are closed keep no other client out', async () => {
  await using page = await openPage(memoryService());
  const child = spawn(process.execPath, [crowd, `${page.port}`]);
  try {
    await once(child.stdout, 'data');
    const beganAtMs = performance.now();
    const user = await signedIn(page);
    const got: number[] = [];
    for (let count = 0; count < 25; count += 1) {
      got.push((await user.get('/admin/overview')).status);
      got.push((await user.post('/admin/server/encryption/rotate', { csrf: user.csrf })).status);
    }
    expect(got).toEqual(Array(25).fill([200, 303]).flat());
    expect((performance.now() - beganAtMs) / 50).toBeLessThan(1_000);
    child.stdin.write('?');
    const [told] = await once(child.stdout, 'data');
    expect(Number(told)).toBeGreaterThan(1_000);
  } finally {
    child.kill();
    await once(child, 'exit');
  }
}, 120_000);
