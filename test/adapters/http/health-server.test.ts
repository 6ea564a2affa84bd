/** The health endpoints as seen by a probe, a scraper and a stranger. */
import { expect, test, vi } from 'vitest';
import { type HealthSources, startHealthServer } from '../../../src/adapters/http/health-server.ts';
import type { Readiness } from '../../../src/ingest/readiness.ts';
import { rawRequest } from '../../support/servers/raw-request.ts';

const somewhere = { host: '127.0.0.1', port: 0 };

/** The part of a readiness that the endpoints read. */
function readiness(ready: boolean, mailboxes: readonly string[] = []): Readiness {
  return { ready, checks: { mailboxes: { list: mailboxes.map((mailbox) => ({ mailbox })) } } } as unknown as Readiness;
}

function answers(more: Partial<HealthSources> = {}): HealthSources {
  return {
    readiness: async () => readiness(true),
    metrics: async () => ({ contentType: 'text/plain; version=0.0.4; charset=utf-8', text: 'a 1\n' }),
    ...more,
  };
}

type Listed = { readonly list: readonly unknown[]; readonly not_listed: number };

async function listed(address: string): Promise<Listed> {
  const body = (await (await fetch(`${address}/readyz`)).json()) as { checks: { mailboxes: Listed } };
  return body.checks.mailboxes;
}

test('/readyz answers 200 or 503 with the readiness, /livez answers always, and no cache stores a response', async () => {
  await using up = await startHealthServer(somewhere, answers());
  await using down = await startHealthServer(somewhere, answers({ readiness: async () => readiness(false) }));
  const got = await Promise.all(
    [`${up.address}/readyz?verbose`, `${down.address}/readyz`, `${down.address}/livez`].map((url) => fetch(url)),
  );
  expect(got.map(({ status }) => status)).toEqual([200, 503, 200]);
  expect(got.map(({ headers }) => headers.get('cache-control'))).toEqual(['no-store', 'no-store', 'no-store']);
  expect(got[1]?.headers.get('x-content-type-options')).toBe('nosniff');
  expect(await got[1]?.json()).toMatchObject({ ready: false });
});

test('/readyz lists the first 200 mailboxes and says how many it leaves out', async () => {
  const names = Array.from({ length: 203 }, (_, index) => `mailbox-${index}`);
  await using many = await startHealthServer(somewhere, answers({ readiness: async () => readiness(true, names) }));
  await using few = await startHealthServer(
    somewhere,
    answers({ readiness: async () => readiness(true, names.slice(0, 200)) }),
  );
  const cut = await listed(many.address);
  const whole = await listed(few.address);
  expect(cut).toMatchObject({ not_listed: 3 });
  expect(cut.list).toHaveLength(200);
  expect(cut.list[0]).toEqual({ mailbox: 'mailbox-0' });
  expect(whole).toMatchObject({ not_listed: 0 });
});

test('/metrics renders the readiness with its content type; without metrics it is not found', async () => {
  const metrics = vi.fn(async ({ ready }: Readiness) => ({
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    text: `ticketmaild_ready ${Number(ready)}\n`,
  }));
  await using server = await startHealthServer(somewhere, answers({ metrics }));
  const got = await fetch(`${server.address}/metrics`);
  expect(got.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(got.headers.get('cache-control')).toBe('no-store');
  expect(await got.text()).toBe('ticketmaild_ready 1\n');
  await using without = await startHealthServer(somewhere, answers({ metrics: null }));
  expect((await fetch(`${without.address}/metrics`)).status).toBe(404);
});

test('many probes and scrapers at once cost one lookup', async () => {
  const ask = vi.fn(async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return readiness(true);
  });
  await using server = await startHealthServer(somewhere, answers({ readiness: ask }));
  const paths = Array.from({ length: 30 }, (_, index) => (index % 2 === 0 ? 'readyz' : 'metrics'));
  const got = await Promise.all(paths.map((path) => fetch(`${server.address}/${path}`)));
  expect(got.every(({ status }) => status === 200)).toBe(true);
  expect(ask).toHaveBeenCalledTimes(1);
});

test('GET and HEAD only; what is not there and what is not allowed gets a fixed answer', async () => {
  await using server = await startHealthServer(somewhere, answers());
  const canary = 'canary-7f3a';
  for (const path of ['/livez', '/readyz', '/metrics']) {
    const head = await fetch(`${server.address}${path}`, { method: 'HEAD' });
    expect([head.status, await head.text(), head.headers.get('cache-control')]).toEqual([200, '', 'no-store']);
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      const body = method === 'OPTIONS' ? null : canary.repeat(1_000);
      const headers = { 'content-type': `text/${canary}` };
      const got = await fetch(`${server.address}${path}`, { method, body, headers });
      expect([got.status, got.headers.get('allow'), await got.json()]).toEqual([
        405,
        'GET, HEAD',
        { error: 'method not allowed' },
      ]);
    }
  }
  for (const [method, path] of [
    ['GET', `/${canary}`],
    ['POST', `/${canary}`],
    ['GET', '/livez/'],
    ['GET', '/LIVEZ'],
    ['GET', '//livez'],
  ] as const) {
    const got = await fetch(`${server.address}${path}`, { method, body: method === 'POST' ? canary : null });
    expect([got.status, await got.text()]).toEqual([404, '{"error":"not found"}']);
    expect(got.headers.get('cache-control')).toBe('no-store');
  }
});

test('broken requests get a fixed answer that repeats nothing of them', async () => {
  await using server = await startHealthServer(somewhere, answers());
  const canary = 'canary-7f3a';
  const close = 'Host: localhost\r\nConnection: close\r\n';
  const requests: readonly (readonly [status: number, request: string])[] = [
    [400, `GET /%zz${canary} HTTP/1.1\r\n${close}\r\n`],
    [404, `PROPFIND /${canary} HTTP/1.1\r\n${close}\r\n`],
    [405, `PROPFIND /readyz HTTP/1.1\r\n${close}\r\n`],
    [400, `${canary} /livez HTTP/1.1\r\n${close}\r\n`],
    [400, `GET /livez HTTP/9.9\r\nX: ${canary}\r\n\r\n`],
    [431, `GET /livez HTTP/1.1\r\n${close}X: ${canary.repeat(1_000)}\r\n\r\n`],
    [404, `GET /livez/../${canary} HTTP/1.1\r\n${close}\r\n`],
    [405, `POST /livez HTTP/1.1\r\n${close}Content-Type: ${canary}\r\nContent-Length: 11\r\n\r\n${canary}`],
  ];
  for (const [status, request] of requests) {
    const got = await rawRequest(server.address, request);
    expect(got).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(got).not.toContain(canary);
  }
  expect((await fetch(`${server.address}/livez`)).status).toBe(200);
});

test('what throws gives a 500 that says nothing of it, and the next request is answered', async () => {
  const canary = 'canary-7f3a';
  let isBroken = true;
  const broken = () => {
    if (!isBroken) return Promise.resolve(readiness(true));
    throw Object.assign(new Error(canary), { statusCode: 418, code: canary, headers: { 'x-canary': canary } });
  };
  await using server = await startHealthServer(somewhere, answers({ readiness: broken }));
  for (const path of ['readyz', 'metrics']) {
    const got = await fetch(`${server.address}/${path}`);
    expect([got.status, await got.text()]).toEqual([500, '{"error":"internal error"}']);
    expect(JSON.stringify([...got.headers])).not.toContain(canary);
    expect(got.headers.get('cache-control')).toBe('no-store');
  }
  isBroken = false;
  expect((await fetch(`${server.address}/readyz`)).status).toBe(200);
});

test('a taken, an unavailable and an invalid address are different failures', async () => {
  await using first = await startHealthServer(somewhere, answers());
  const port = Number(new URL(first.address).port);
  await expect(startHealthServer({ host: '127.0.0.1', port }, answers())).rejects.toMatchObject({
    code: 'address_in_use',
    exitCode: 1,
  });
  await expect(startHealthServer({ host: '192.0.2.1', port: 0 }, answers())).rejects.toMatchObject({
    code: 'address_unavailable',
    exitCode: 1,
  });
  await expect(startHealthServer({ host: 'no.such.name.invalid', port: 0 }, answers())).rejects.toMatchObject({
    code: 'config_invalid',
    exitCode: 2,
  });
});
