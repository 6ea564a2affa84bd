import { describe, expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import type { Log } from '../../../src/events.ts';
import type { HttpServer } from '../../../src/ingest/ports.ts';
import { keepListening } from '../../../src/ingest/scheduler/daemon.ts';

const missing = () => new Failure('address_missing', 'cannot listen on 192.0.2.1:8025 (EADDRNOTAVAIL)');

/** A clock on which somebody else ends the sleep. */
function handSleep() {
  let wake = (): void => undefined;
  const sleep = (_ms: number, signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      wake = resolve;
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  return { clock: { nowMs: () => 0, monotonicMs: () => 0, sleep }, wake: () => wake() };
}

function scene(tries: readonly (Failure | 'ok')[]) {
  const told: string[] = [];
  const write = (_: unknown, event: string) => void told.push(event);
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const { clock, wake } = handSleep();
  let count = 0;
  let closed = 0;
  const server: HttpServer = {
    address: 'http://192.0.2.1:8025',
    [Symbol.asyncDispose]: async () => {
      closed += 1;
    },
  };
  const listen = async () => {
    const next = tries[count];
    count += 1;
    if (next instanceof Failure) throw next;
    return server;
  };
  return { told, wake, keep: () => keepListening(listen, { clock, log }), tries: () => count, closed: () => closed };
}

describe('the health endpoints', () => {
  test('listen at once, and are closed in the end', async () => {
    const { keep, told, closed } = scene(['ok']);
    await (await keep())[Symbol.asyncDispose]();
    expect([told, closed()]).toEqual([['http.listening'], 1]);
  });

  test('wait for an address that comes later, which is told once', async () => {
    const other = new Failure('address_in_use', 'cannot listen on 192.0.2.1:8025 (EADDRINUSE)');
    const { keep, told, wake, tries, closed } = scene([missing(), missing(), other, missing(), 'ok']);
    const kept = await keep();
    for (let count = 1; count < 5; count += 1) {
      await expect.poll(tries).toBe(count);
      await Promise.resolve();
      wake();
    }
    await expect.poll(() => told.at(-1)).toBe('http.listening');
    expect(told).toEqual(['http.listen_failed', 'http.listen_failed', 'http.listen_failed', 'http.listening']);
    await kept[Symbol.asyncDispose]();
    expect(closed()).toBe(1);
  });

  test('end while they wait', async () => {
    const { keep, tries, closed } = scene([missing()]);
    await (await keep())[Symbol.asyncDispose]();
    expect([tries(), closed()]).toEqual([1, 0]);
  });

  test('do not begin at all for another reason', async () => {
    const { keep } = scene([new Failure('config_invalid', 'no')]);
    await expect(keep()).rejects.toMatchObject({ code: 'config_invalid' });
  });
});
