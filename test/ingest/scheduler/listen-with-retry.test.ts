import { describe, expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import type { Log } from '../../../src/events.ts';
import type { HttpServer } from '../../../src/ingest/ports.ts';
import { listenWithRetry } from '../../../src/ingest/scheduler/listen-with-retry.ts';

const missing = () => new Failure('address_unavailable', 'cannot listen on 192.0.2.1:8025 (EADDRNOTAVAIL)');

/** A clock whose sleep the test ends. */
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
  const logged: string[] = [];
  const write = (_: unknown, event: string) => void logged.push(event);
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
  return {
    logged,
    wake,
    listenUntilDisposed: () => listenWithRetry(listen, { clock, log }),
    tries: () => count,
    closed: () => closed,
  };
}

describe('the health endpoints', () => {
  test('listen at once, and are closed on disposal', async () => {
    const { listenUntilDisposed, logged, closed } = scene(['ok']);
    await (await listenUntilDisposed())[Symbol.asyncDispose]();
    expect([logged, closed()]).toEqual([['http.listening'], 1]);
  });

  test('wait for an address that arrives later, and log each failure once', async () => {
    const other = new Failure('address_in_use', 'cannot listen on 192.0.2.1:8025 (EADDRINUSE)');
    const { listenUntilDisposed, logged, wake, tries, closed } = scene([missing(), missing(), other, missing(), 'ok']);
    const listening = await listenUntilDisposed();
    for (let count = 1; count < 5; count += 1) {
      await expect.poll(tries).toBe(count);
      await Promise.resolve();
      wake();
    }
    await expect.poll(() => logged.at(-1)).toBe('http.listening');
    expect(logged).toEqual(['http.listen_failed', 'http.listen_failed', 'http.listen_failed', 'http.listening']);
    await listening[Symbol.asyncDispose]();
    expect(closed()).toBe(1);
  });

  test('stop retrying on disposal', async () => {
    const { listenUntilDisposed, tries, closed } = scene([missing()]);
    await (await listenUntilDisposed())[Symbol.asyncDispose]();
    expect([tries(), closed()]).toEqual([1, 0]);
  });

  test('do not retry any other failure', async () => {
    const { listenUntilDisposed } = scene([new Failure('config_invalid', 'no')]);
    await expect(listenUntilDisposed()).rejects.toMatchObject({ code: 'config_invalid' });
  });

  test('start without a unix socket whose folder others can write, and try again', async () => {
    const refused = new Failure('refused', 'cannot listen in /run/open: other users can write there');
    const { listenUntilDisposed, logged, wake, tries } = scene([refused, 'ok']);
    const listening = await listenUntilDisposed();
    wake();
    await expect.poll(tries).toBe(2);
    await listening[Symbol.asyncDispose]();
    expect(logged).toEqual(['http.listen_failed', 'http.listening']);
  });
});
