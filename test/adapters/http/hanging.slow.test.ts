/** A readiness lookup that hangs: probes are answered in time, and the server stops. */
import { expect, test } from 'vitest';
import { startHealthServer } from '../../../src/adapters/http/health-server.ts';

test('a probe is answered within five seconds while lookups hang, /livez at once, and stopping waits for none', async () => {
  const hanging = () => new Promise<never>(() => undefined);
  const server = await startHealthServer({ host: '127.0.0.1', port: 0 }, { readiness: hanging, metrics: hanging });
  const started = performance.now();
  const probes = Promise.all(['readyz', 'readyz', 'metrics'].map((path) => fetch(`${server.address}/${path}`)));
  expect((await fetch(`${server.address}/livez`)).status).toBe(200);
  expect(performance.now() - started).toBeLessThan(1_000);
  const got = await probes;
  expect(performance.now() - started).toBeLessThan(5_000);
  expect(got.map(({ status }) => status)).toEqual([503, 503, 503]);
  expect(await got[0]?.json()).toEqual({ ready: false, reason: 'did not answer in time' });
  const lastProbe = fetch(`${server.address}/readyz`).catch(() => null);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const stopping = performance.now();
  await server[Symbol.asyncDispose]();
  expect(performance.now() - stopping).toBeLessThan(1_000);
  expect(await lastProbe).toBeNull();
});
