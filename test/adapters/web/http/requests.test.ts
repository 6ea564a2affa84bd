/** Requests that no page sends: each is refused and recorded, and none is an error of the server. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type MemoryService, memoryService } from '../memory-service.ts';
import { browser, type OpenPage, openPage, raw, send, signedIn } from '../page-client.ts';

let service: MemoryService;
let page: OpenPage;
let user: Awaited<ReturnType<typeof signedIn>>;

beforeAll(async () => {
  service = memoryService();
  page = await openPage(service);
  user = await signedIn(page);
});

beforeEach(() => {
  service.refusals.length = 0;
  service.done.length = 0;
});

afterAll(() => page[Symbol.asyncDispose]());

const forms = ['enable', 'rotate', 'continue', 'request-disable', 'confirm-disable', 'cancel-disable', 'verify-backup'];
const changing = [
  ...forms.map((form) => `/admin/server/encryption/${form}`),
  ...['/admin/quarantine/resolve', '/admin/mailbox/confirm'],
];
const changes = /^(start|resolve|request|confirm|cancel|verify|sign out)/;
const all = {
  ...{ accept_key_loss: 'yes', backup_prepared: 'yes', kind: 'enable', key_ids: '0123456789abcdef' },
  ...{ id: 'desk/1', action: 'discard', name: 'desk', digest: 'd'.repeat(43) },
};

function changed(): readonly string[] {
  return service.done.filter((line) => changes.test(line));
}

function told(): readonly string[] {
  return service.refusals.map(({ reason, about }) => `${reason}: ${about}`);
}

const guarded = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
  connection: 'close',
};

test.each([
  ['GET', '/admin/sign-in', 200],
  ['GET', '/admin/overview', 303],
  ['HEAD', '/admin/overview', 303],
  ['GET', '/admin', 303],
  ['GET', '/', 303],
  ['GET', '/nothing', 404],
  ['GET', '/%zz', 400],
  ['POST', '/admin/sign-in', 403],
  ['DELETE', '/admin/overview', 405],
])('%s %s answers %i with every header', async (method, path, status) => {
  const got = await send(`${page.address}${path}`, { method });
  expect(got.status).toBe(status);
  expect(got.headers).toMatchObject(guarded);
  expect(got.headers['permissions-policy']).toContain('camera=()');
  expect(got.headers).not.toHaveProperty('strict-transport-security');
});

test('what is not HTTP is answered with every header too, and recorded', async () => {
  const got = await raw(page.port, 'canary /admin HTTP/1.1\r\nHost: localhost\r\n\r\n');
  expect(got).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  for (const [name, value] of Object.entries(guarded)) expect(got).toContain(`${name}: ${value}\r\n`);
  expect(got).not.toContain('canary');
  expect(told()).toEqual(['bad_request: request']);
});

describe('style, script and icon', () => {
  test.each([
    ['admin.css', 'text/css; charset=utf-8'],
    ['admin.js', 'text/javascript; charset=utf-8'],
    ['icon.svg', 'image/svg+xml'],
  ])('%s is public, and cached for ever under its version', async (name, type) => {
    const { text } = await browser(page).get('/admin/sign-in');
    const [version] = /(?<=\?v=)[0-9a-f]+/.exec(text) ?? [];
    const path = `${page.address}/admin/assets/${name}`;
    const got = await send(`${path}?v=${version}`, {});
    expect(got.status).toBe(200);
    expect(got.headers).toMatchObject({
      ...guarded,
      'cache-control': 'private, max-age=31536000, immutable',
      'content-type': type,
    });
    const old = await send(`${path}?v=${'0'.repeat(16)}`, {});
    expect(old.headers['cache-control']).toBe('no-cache');
    const { etag = '' } = got.headers;
    const again = await send(path, { headers: { 'if-none-match': etag } });
    expect([again.status, again.text]).toEqual([304, '']);
    expect((await send(path, { method: 'POST' })).status).toBe(405);
  });

  test('come compressed where that is taken, pages never', async () => {
    const get = async (path: string, accepted: string) =>
      (await send(`${page.address}${path}`, { headers: { 'accept-encoding': accepted } })).headers;
    const css = '/admin/assets/admin.css';
    expect(await get(css, 'gzip, br')).toMatchObject({ 'content-encoding': 'gzip', vary: 'accept-encoding' });
    expect((await get(css, 'gzip;q=0'))['content-encoding']).toBeUndefined();
    expect((await get(css, 'br'))['content-encoding']).toBeUndefined();
    expect((await get('/admin/sign-in', 'gzip'))['content-encoding']).toBeUndefined();
  });
});

describe('a foreign host name', () => {
  test.each(['evil.example', 'localhost.evil.example:8026', '127.0.0.1.nip.io'])('%s is refused', async (host) => {
    const got = await send(`${page.address}/admin/sign-in`, { headers: { host } });
    expect(got.status).toBe(421);
    expect(got.text).not.toContain(host);
    expect(got.set).toEqual([]);
    expect(told()).toEqual(['foreign_host: sign-in']);
  });

  test.each(['localhost', 'localhost:1', '127.0.0.1:65535', '[::1]:8026'])(
    '%s is allowed on loopback',
    async (host) => {
      expect((await send(`${page.address}/admin/sign-in`, { headers: { host } })).status).toBe(200);
    },
  );

  test.each(['', 'Host: localhost\r\nHost: localhost\r\n', 'Host: localhost\r\nHost: evil.example\r\n', 'Host:\r\n'])(
    'no host, or several: %j',
    async (host) => {
      const got = await raw(page.port, `GET /admin/sign-in HTTP/1.1\r\n${host}\r\n`);
      expect(got).toMatch(/^HTTP\/1\.1 4(00|21) /);
      expect(service.refusals).toHaveLength(1);
    },
  );
});

describe('tricks with the path', () => {
  test.each([
    ...['//admin/overview', '/admin//overview', '/admin/../admin/overview', '/admin/..', '/..', '/./admin/..'],
    ...[
      '/admin/%2e%2e/',
      '/%2e%2e/%2e%2e/etc/passwd',
      '/admin/assets/..%2f..%2fserver.ts',
      '/admin%2foverview',
      '/admin/assets/%00',
    ],
    ...[
      '/admin/assets/admin.css%00.js',
      '/%',
      '/%zz',
      '/%c0%af',
      '/admin\\overview',
      '/admin;x',
      '/admin/overview;a=b',
    ],
    ...[
      'http://evil.example/admin/overview',
      'http://localhost/admin/overview',
      '*',
      'admin',
      '/\x01',
      '/admin/%6fverview',
    ],
    ...[
      '/admin/assets/',
      '/admin/assets/server.ts',
      '/admin/assets',
      '/ADMIN/overview',
      '/admin/overview/',
      '/src/main.ts',
    ],
    ...[
      '/admin/overview%3fpage=1',
      '/.git/config',
      '/admin/overview.',
      `/admin/${'a'.repeat(7000)}`,
      '/admin/__proto__',
    ],
    ...['/constructor', '/\xff', '/admin/overview#x', '/@admin'],
  ])('%j is nothing', async (path) => {
    const cookie = [...user.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const bytes = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nCookie: ${cookie}\r\n\r\n`;
    const got = await raw(page.port, Buffer.from(bytes, 'latin1'));
    expect(got).toMatch(/^HTTP\/1\.1 (400|404) /);
    expect(got).not.toMatch(/root:|@fastify|evil/);
    expect(service.refusals).toHaveLength(1);
    expect(service.refusals[0]?.about).toBe('request');
  });

  test.each([
    '?',
    '?%zz',
    '?page=%ff&page=2',
    '?__proto__=1',
    `?${'x'.repeat(7000)}`,
    '?page=-1&show=%00&search=%3Cscript%3E',
  ])('any query (%j) shows a page', async (query) => {
    const got = await user.get(`/admin/overview${query}`);
    expect(got.status).toBe(200);
    expect(got.text).not.toContain('<script>');
    expect(service.refusals).toEqual([]);
  });

  test('a head that is too long is refused', async () => {
    const got = await raw(page.port, `GET /admin HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(got).toMatch(/^HTTP\/1\.1 431 /);
    expect(told()).toEqual(['bad_request: request']);
  });
});

describe('methods', () => {
  test.each(changing)('GET %s is refused and changes nothing', async (path) => {
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND']) {
      const headers = { cookie: [...user.cookies].map(([name, value]) => `${name}=${value}`).join('; ') };
      const got = await send(`${page.address}${path}?${new URLSearchParams({ csrf: user.csrf, ...all })}`, {
        method,
        headers,
      });
      expect([method, got.status, got.headers.allow]).toEqual([method, 405, 'POST']);
    }
    expect(changed()).toEqual([]);
    expect(new Set(told())).toEqual(
      new Set([`method: ${path.replace(/^\/admin\/(server\/)?/, '').replace('/', ' ')}`]),
    );
  });

  test('POST to a page is refused', async () => {
    const got = await user.post('/admin/overview', { csrf: user.csrf });
    expect([got.status, got.headers.allow]).toEqual([405, 'GET, HEAD']);
  });

  test('HEAD answers like GET, without the page', async () => {
    const cookie = [...user.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const got = await send(`${page.address}/admin/overview`, { method: 'HEAD', headers: { cookie } });
    const shown = await user.get('/admin/overview');
    expect([got.status, got.text, got.headers['content-length']]).toEqual([200, '', shown.headers['content-length']]);
  });

  test('CONNECT leads nowhere', async () => {
    expect(await raw(page.port, 'CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n')).not.toMatch(/ 200 /);
  });
});

describe('a form', () => {
  test.each(changing)('%s without an admin session leads to the sign-in', async (path) => {
    const got = await browser(page).post(path, { csrf: user.csrf, ...all });
    expect([got.status, got.headers.location]).toEqual([303, '/admin/sign-in']);
    expect(service.refusals).toMatchObject([{ reason: 'not_signed_in', who: null, address: '127.0.0.1' }]);
    expect(changed()).toEqual([]);
  });

  test.each(changing)('%s without its token, or with a foreign one, changes nothing', async (path) => {
    for (const csrf of [{}, { csrf: '' }, { csrf: 'x'.repeat(43) }, { csrf: `${user.csrf}x` }]) {
      const got = await user.post(path, { ...csrf, ...all } as Record<string, string>);
      expect(got.status).toBe(403);
    }
    expect(changed()).toEqual([]);
    expect(service.refusals).toHaveLength(4);
    expect(service.refusals[0]).toMatchObject({ reason: 'csrf', who: 'ada' });
  });

  test.each([
    [{ origin: 'http://evil.example' }, 403, 'foreign_origin'],
    [{ origin: 'null' }, 403, 'foreign_origin'],
    [{ origin: '' }, 403, 'foreign_origin'],
    [{ origin: 'http://localhost:1' }, 403, 'foreign_origin'],
    [{ 'sec-fetch-site': 'cross-site' }, 403, 'foreign_origin'],
    [{ 'sec-fetch-site': 'same-site' }, 403, 'foreign_origin'],
    [{ 'sec-fetch-site': 'none' }, 403, 'foreign_origin'],
    [{ 'content-type': 'text/plain' }, 415, 'bad_request'],
    [{ 'content-type': 'application/json' }, 415, 'bad_request'],
    [{ 'content-type': 'multipart/form-data; boundary=x' }, 415, 'bad_request'],
    [{ 'content-type': 'application/x-www-form-urlencoded; charset=utf-7' }, 415, 'bad_request'],
    [{ 'x-forwarded-for': '10.0.0.1' }, 303, null],
    [{ 'sec-fetch-site': 'same-origin' }, 303, null],
    [{ 'content-type': 'application/x-www-form-urlencoded; charset=UTF-8' }, 303, null],
  ] as const)('with %j answers %i', async (headers, status, reason) => {
    const got = await user.post('/admin/server/encryption/rotate', { csrf: user.csrf }, headers);
    expect(got.status).toBe(status);
    expect(changed()).toEqual(reason === null ? ['start rotate ada'] : []);
    expect(service.refusals.map((refusal) => refusal.reason)).toEqual(reason === null ? [] : [reason]);
    if (reason === 'foreign_origin') expect(got.text).toContain('The form was sent from another site.');
  });

  test('without an origin is refused', async () => {
    const headers = { cookie: [...user.cookies].map(([name, value]) => `${name}=${value}`).join('; ') };
    const body = `csrf=${user.csrf}`;
    const more = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': `${body.length}` };
    const got = await send(`${page.address}/admin/sign-out`, {
      method: 'POST',
      body,
      headers: { ...headers, ...more },
    });
    expect([got.status, changed()]).toEqual([403, []]);
  });

  test.each([
    'a=%zz',
    'csrf=1&csrf=2',
    'name=%ff',
    Array.from({ length: 51 }, (_, i) => `f${'_'.repeat(i)}=`).join('&'),
  ])('that is invalid (%j) is refused', async (body) => {
    const headers = {
      origin: page.address,
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': `${body.length}`,
    };
    const got = await send(`${page.address}/admin/sign-in`, { method: 'POST', body, headers });
    expect([got.status, told()]).toEqual([400, ['bad_request: sign-in']]);
  });

  test('of more than 16 KiB is refused before it is read', async () => {
    const head = `POST /admin/sign-in HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n`;
    expect(await raw(page.port, `${head}Content-Length: 16385\r\n\r\n`)).toMatch(/^HTTP\/1\.1 413 /);
    const much = Buffer.concat([Buffer.from(`${head}Content-Length: 2000000\r\n\r\n`), Buffer.alloc(2_000_000, 'a')]);
    expect(await raw(page.port, much)).toMatch(/^HTTP\/1\.1 413 /);
    expect(told()).toEqual(['too_large: sign-in', 'too_large: sign-in']);
    const most = await user.post('/admin/sign-out', { csrf: 'x', pad: 'a'.repeat(16 * 1024 - 11) });
    expect(most.status).toBe(403);
  });

  test('in chunks, or without a length, is refused', async () => {
    const head = `POST /admin/sign-in HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n`;
    expect(await raw(page.port, `${head}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 411 /,
    );
    expect(await raw(page.port, `${head}\r\n`)).toMatch(/^HTTP\/1\.1 411 /);
    const both = await raw(page.port, `${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`);
    expect(both).toMatch(/^HTTP\/1\.1 4/);
    const twice = await raw(page.port, `${head}Content-Length: 5\r\nContent-Length: 6\r\n\r\na=1&b=`);
    expect(twice).toMatch(/^HTTP\/1\.1 400 /);
  });
});
