import { expect, test } from 'vitest';
import { startHttp } from '../../../src/adapters/http/server.ts';
import type { Readiness } from '../../../src/ingest/health.ts';

const readiness = (ready: boolean) => (): Promise<Readiness> => Promise.resolve({ ready, checks: {} } as Readiness);

test('/readyz answers 200 or 503 with the readiness, /livez answers always, and nothing is kept by caches', async () => {
  await using up = await startHttp({ host: '127.0.0.1', port: 0 }, readiness(true));
  await using down = await startHttp({ host: '127.0.0.1', port: 0 }, readiness(false));
  const answers = await Promise.all(
    [`${up.address}/readyz`, `${down.address}/readyz`, `${down.address}/livez`].map((url) => fetch(url)),
  );
  expect(answers.map(({ status }) => status)).toEqual([200, 503, 200]);
  expect(answers[1]?.headers.get('cache-control')).toBe('no-store');
  expect(await answers[1]?.json()).toMatchObject({ ready: false });
});

test('an address that is taken, and one that is not ours, are told apart', async () => {
  await using first = await startHttp({ host: '127.0.0.1', port: 0 }, readiness(true));
  const port = Number(new URL(first.address).port);
  await expect(startHttp({ host: '127.0.0.1', port }, readiness(true))).rejects.toMatchObject({
    code: 'address_in_use',
    exitCode: 1,
  });
  await expect(startHttp({ host: '192.0.2.1', port: 0 }, readiness(true))).rejects.toMatchObject({
    code: 'config_invalid',
    exitCode: 2,
  });
});
