/** Loopback redirect listener: the one answer of a sign-in, requests of others, a port that is taken, and its end. */
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { listenForRedirect } from '../../../src/adapters/http/redirect-listener.ts';
import { failureOf } from '../../support/promises.ts';

const never = new AbortController().signal;

test('the request with path and state is the answer; others are refused and change nothing', async () => {
  await using listener = await listenForRedirect(0);
  const at = (path: string) => `http://127.0.0.1:${listener.port}${path}`;
  let hasAnswered = false;
  // Before the sign-in has begun nothing is its answer.
  expect((await fetch(at('/oauth/callback?code=c'))).status).toBe(404);
  const answer = listener.answer('mine', never).finally(() => {
    hasAnswered = true;
  });
  for (const path of ['/', '/favicon.ico', '/oauth/callback', '/oauth/callback?code=c&state=other'])
    expect((await fetch(at(path))).status).toBe(404);
  for (const path of ['/oauth/callback?state=mine&state=mine&code=c', '/elsewhere?state=mine&code=c'])
    expect((await fetch(at(path))).status).toBe(404);
  expect((await fetch(at('/oauth/callback?state=mine&code=c'), { method: 'POST' })).status).toBe(404);
  expect(hasAnswered).toBe(false);
  const page = await fetch(at('/oauth/callback?state=mine&code=c%2Fd'));
  expect(await page.text()).toContain('Back to the terminal');
  expect([...page.headers]).toEqual(
    expect.arrayContaining([
      ['cache-control', 'no-store'],
      ['content-security-policy', "default-src 'none'; frame-ancestors 'none'"],
      ['referrer-policy', 'no-referrer'],
    ]),
  );
  expect(await answer).toBe(at('/oauth/callback?state=mine&code=c%2Fd'));
});

test('its port is free again once it is disposed', async () => {
  const listener = await listenForRedirect(0);
  const { port } = listener;
  const refused = await failureOf(listenForRedirect(port));
  expect(refused.code).toBe('address_in_use');
  await listener[Symbol.asyncDispose]();
  await using other = await listenForRedirect(port);
  expect(other.port).toBe(port);
});

test.each(['127.0.0.1', '::1'])('a port that another program has at %s is no listener', async (host) => {
  const taken = createServer().listen(0, host);
  const isListening = await new Promise((resolve) => {
    taken.once('listening', () => resolve(true));
    taken.once('error', () => resolve(false));
  });
  // Without IPv6.
  if (!isListening) return;
  const address = taken.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  expect((await failureOf(listenForRedirect(port))).code).toBe('address_in_use');
  taken.close();
});

test('a wait that is stopped rejects with the reason', async () => {
  await using listener = await listenForRedirect(0);
  const stop = new AbortController();
  const answer = listener.answer('mine', stop.signal);
  stop.abort(new Error('stopped'));
  await expect(answer).rejects.toThrow('stopped');
});
