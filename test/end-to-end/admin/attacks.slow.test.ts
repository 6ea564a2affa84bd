/**
 * Attacks on the admin page by clients that send any bytes over HTTP, by senders of messages, and by writers of the
 * database.
 *
 * Each attempt is refused, each refusal that concerns an admin is in the audit, no answer is an error of the server,
 * and the daemon fetches mail all the while.
 */
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { browser, csrfIn } from '../../adapters/web/page-client.ts';
import {
  type AdminScene,
  adminName,
  adminPassword,
  attempt,
  bothBoxes,
  encryptionPath,
  type MailStream,
  mustRun,
  oneTicketEach,
  openAdminScene,
  type SignedIn,
  signIn,
  streamMail,
  untilSwitch,
} from '../../admin/admin-scene.ts';
import { type Attacker, changingForms, cookieOf, createAttacker } from '../../admin/attacker.ts';
import { lockMailbox } from '../../admin/locked-row.ts';
import { count } from '../../support/instance.ts';
import type { Daemon } from '../../support/processes/daemon.ts';
import { until } from '../../support/promises.ts';
import { freePort } from '../../support/servers/programs.ts';

let scene: AdminScene;
let daemon: Daemon;
/** Another worker of the same database and data folder, with a page of its own. */
let other: Daemon;
let otherAddress: string;
let ada: SignedIn;
let mallory: Attacker;
let stream: MailStream;

beforeAll(async () => {
  scene = await openAdminScene({ mailboxes: 2 });
  otherAddress = `http://127.0.0.1:${await freePort()}`;
  daemon = await scene.start();
  other = await scene.start({
    TICKETMAILD_WORKER_NAME: 'two',
    TICKETMAILD_ADMIN_LISTEN: new URL(otherAddress).host,
  });
  ada = await signIn(scene);
  mallory = createAttacker(scene.address);
  stream = streamMail(scene, 100);
}, 120_000);

afterAll(async () => {
  await stream?.stop();
  await scene?.[Symbol.asyncDispose]();
});

/** State of the switch and its next key, as the database has them. */
async function state(): Promise<unknown> {
  const [row = ''] = await scene.rows('select state, next_key_id from encryption_switch');
  const [name, nextKeyId] = row.split('\t');
  return [name, nextKeyId === 'NULL' ? null : nextKeyId];
}

async function post(path: string, fields: Readonly<Record<string, string>>, headers = {}): Promise<number> {
  return (await mallory.post(`/admin/${path}`, fields, headers)).status;
}

/** Its name contains the port. */
const sessionCookie = () => `ticketmaild-${new URL(scene.address).port}`;

const signedInAs = (who: SignedIn) => ({ cookie: cookieOf(who) });

test('nothing is shown or done for who is not signed in', async () => {
  const cookies = [
    null,
    `${sessionCookie()}=`,
    `${sessionCookie()}=${'A'.repeat(43)}`,
    `${sessionCookie()}=${randomBytes(32).toString('base64url')}`,
  ];
  for (const cookie of cookies) {
    for (const [path, fields] of changingForms) {
      const got = await mallory.post(`/admin/${path}`, { csrf: ada.csrf, ...fields }, { cookie });
      expect([path, got.status, got.headers.location]).toEqual([path, 303, '/admin/sign-in']);
    }
    for (const path of ['/admin', '/admin/overview', '/admin/quarantine', encryptionPath]) {
      const got = await mallory.ask(path, { headers: cookie === null ? {} : { cookie } });
      expect([path, got.status, got.headers.location, got.text]).toEqual([path, 303, '/admin/sign-in', '']);
    }
  }
  expect(await state()).toEqual(['off', null]);
});

test('a form without the token of this admin session does nothing', async () => {
  const eve = await signIn(scene);
  const visitor = csrfIn((await browser(scene).get('/admin/sign-in')).text);
  for (const csrf of [null, '', 'A'.repeat(43), eve.csrf, visitor, `${ada.csrf}A`]) {
    for (const [path, fields] of changingForms)
      expect([path, await post(path, { ...fields, ...(csrf === null ? {} : { csrf }) }, signedInAs(ada))]).toEqual([
        path,
        403,
      ]);
  }
  // In the address it is no field of the form.
  expect(await post(`server/encryption/enable?csrf=${ada.csrf}`, bothBoxes, signedInAs(ada))).toBe(403);
  expect(await state()).toEqual(['off', null]);
  expect((await ada.get('/admin/overview')).status).toBe(200);
});

test('encryption is not switched on with one box or none', async () => {
  for (const fields of [
    {},
    { accept_key_loss: 'yes' },
    { backup_prepared: 'yes' },
    { accept_key_loss: 'yes', backup_prepared: 'no' },
    { accept_key_loss: 'on', backup_prepared: 'on' },
    { accept_key_loss: '', backup_prepared: '' },
  ])
    expect((await ada.form('server/encryption/enable', fields)).status).toBe(422);
  expect((await ada.form('server/encryption/continue', { kind: 'enable' })).status).toBe(303);
  expect((await ada.form('server/encryption/continue', { kind: 'all' })).status).toBe(422);
  expect(await state()).toEqual(['off', null]);
});

test('a change is made by POST alone', async () => {
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND']) {
    for (const [path, fields] of changingForms) {
      const query = new URLSearchParams({ csrf: ada.csrf, ...fields });
      const got = await mallory.ask(`/admin/${path}?${query}`, { method, headers: signedInAs(ada) });
      expect([method, path, got.status]).toEqual([method, path, 405]);
    }
  }
  for (const method of ['TRACE', 'CONNECT'])
    expect(await mallory.raw(`${method} /admin/sign-out HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)).not.toMatch(
      /^HTTP\/1\.1 [25]/,
    );
  const override = { ...signedInAs(ada), 'x-http-method-override': 'POST' };
  const got = await mallory.ask('/admin/sign-out', { headers: override });
  expect(got.status).toBe(405);
  expect(await state()).toEqual(['off', null]);
  expect((await ada.get('/admin/overview')).status).toBe(200);
});

test('a form from another origin, or under another name, is refused', async () => {
  const fields = { csrf: ada.csrf, ...bothBoxes };
  const enable = (headers: Record<string, string | null>) =>
    post('server/encryption/enable', fields, { ...signedInAs(ada), ...headers });
  for (const origin of [
    null,
    'null',
    'http://evil.example',
    'https://127.0.0.1',
    otherAddress,
    `${scene.address}.evil.example`,
  ])
    expect([origin, await enable({ origin })]).toEqual([origin, 403]);
  for (const site of ['cross-site', 'same-site', 'none']) expect(await enable({ 'sec-fetch-site': site })).toBe(403);
  for (const host of ['evil.example', '127.0.0.1.evil.example', '192.0.2.1', 'localhost.evil', 'evil.example:8026'])
    expect([host, await enable({ host, origin: `http://${host}` })]).toEqual([host, 421]);
  for (const host of ['127.0.0.1/x', 'a b', '127.0.0.1:99999', 'user@127.0.0.1'])
    expect([host, await enable({ host })]).toEqual([host, 421]);
  const page = (head: string) => mallory.raw(`${head}\r\nCookie: ${cookieOf(ada)}\r\nConnection: close\r\n\r\n`);
  const { host } = new URL(scene.address);
  expect(await page(`GET http://evil.example/admin/overview HTTP/1.1\r\nHost: ${host}`)).toMatch(/^HTTP\/1\.1 4/);
  expect(await page(`GET /admin/overview HTTP/1.1\r\nHost: ${host}\r\nHost: evil.example`)).toMatch(/^HTTP\/1\.1 4/);
  expect(await page('GET /admin/overview HTTP/1.1')).toMatch(/^HTTP\/1\.1 4/);
  expect(await page('GET /admin/overview HTTP/1.1\r\nHost: ')).toMatch(/^HTTP\/1\.1 4/);
  expect(await page('GET /admin/overview HTTP/1.0')).toMatch(/^HTTP\/1\.1 4/);
  // No client here is a trusted proxy.
  const forwarded = { ...signedInAs(ada), host: 'evil.example', 'x-forwarded-host': host, forwarded: `host=${host}` };
  expect((await mallory.ask('/admin/overview', { headers: forwarded })).status).toBe(421);
  expect(await state()).toEqual(['off', null]);
});

test('a path that is none of our own shows nothing', async () => {
  const paths = [
    '/admin/../../etc/passwd',
    '/admin/assets/../../../../../../etc/passwd',
    '/admin/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd',
    '/admin/assets/..%2f..%2fmain.ts',
    '/admin/assets/....//....//main.ts',
    '/admin/assets/..\\..\\main.ts',
    '/admin/assets/',
    '/admin/assets',
    '/admin/assets/admin.css/',
    '/admin/assets/admin.css%00.svg',
    '/admin//overview',
    '//admin/overview',
    '//evil.example/admin/overview',
    '/admin/overview/',
    '/admin/overview;x=1',
    '/admin/%6fverview',
    '/ADMIN/overview',
    '/admin/./overview',
    '/admin/server/encryption/../../overview',
    '/admin/overview%0d%0aset-cookie:x=1',
    '/admin/constructor',
    '/admin/__proto__',
    '/metrics',
    '/readyz',
    '/.git/config',
    '/%',
    '/\u0000',
    '*',
    `/admin/${'a'.repeat(6000)}`,
  ];
  for (const path of paths) {
    const got = await mallory.raw(
      `GET ${path} HTTP/1.1\r\nHost: ${new URL(scene.address).host}\r\nCookie: ${cookieOf(ada)}\r\n\r\n`,
    );
    expect(got, path).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(got, path).not.toMatch(/root:|Mailboxes|data_dir|set-cookie/i);
  }
});

test('a query says nothing that the page does not take', async () => {
  const queries = [
    'page=0',
    'page=-1',
    'page=99999999999999999999999',
    'page=1e9',
    'page=0x10',
    'page=999999',
    'page=NaN',
    'page[]=1',
    'page=1&page=2',
    'search=%00',
    'search=%ff%fe',
    'search=%',
    'search=%E2%80%AE%F0%9F%92%A9',
    `search=${'%25'.repeat(1500)}`,
    "search='%20or%201=1--",
    'search=%3Cscript%3Ealert(1)%3C/script%3E',
    'search=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E',
    'show=constructor',
    'show=__proto__',
    'reason=__proto__',
    'reason=toString',
    "reason='",
    'reason=%00',
    'refresh=1',
    '&&&==',
    '?',
  ];
  for (const query of queries) {
    for (const path of [
      '/admin/overview',
      '/admin/quarantine',
      encryptionPath,
      '/admin/sign-in',
      '/admin/assets/admin.css',
    ]) {
      const got = await mallory.ask(`${path}?${query}`, { headers: signedInAs(ada) });
      expect([path, query, got.status < 400]).toEqual([path, query, true]);
      expect(got.text).not.toMatch(/<script>alert|<img src=x/);
    }
  }
});

test('a body that is no form of our own is refused, whole or broken', async () => {
  const path = '/admin/server/encryption/enable';
  const form = `csrf=${ada.csrf}&accept_key_loss=yes&backup_prepared=yes`;
  const bodies = [
    `${form}&accept_key_loss=yes`,
    `${form}&csrf=${ada.csrf}`,
    `${form}&x=%`,
    `${form}&x=%zz`,
    `${form}&x=%ff`,
    `${form}&x=%00`,
    `${form}&x=a%0d%0aSet-Cookie:%20x=1`,
    `${form}&a[b]=1`,
    `${form}&${Array.from({ length: 60 }, (_, index) => `f${'x'.repeat(index % 40)}=1`).join('&')}`,
    `{"csrf":"${ada.csrf}","accept_key_loss":"yes","backup_prepared":"yes"}`,
    '\u0000\u0001\u0002',
  ];
  const type = 'application/x-www-form-urlencoded';
  const sendBody = async (body: string | Buffer, headers: Record<string, string> = {}): Promise<number> => {
    const all = { ...signedInAs(ada), origin: scene.address, 'content-type': type, ...headers };
    return (
      await mallory.ask(path, {
        method: 'POST',
        body,
        headers: { 'content-length': `${Buffer.byteLength(body)}`, ...all },
      })
    ).status;
  };
  for (const body of bodies) expect([body, await sendBody(body)]).toEqual([body, 400]);
  for (const other of ['application/json', 'multipart/form-data; boundary=x', 'text/plain', `${type}; charset=utf-16`])
    expect(await sendBody(form, { 'content-type': other })).toBe(415);
  expect(await sendBody(`${form}&x=${'y'.repeat(17 * 1024)}`)).toBe(413);
  expect(await sendBody('', {})).toBeLessThan(500);
  const head = `POST ${path} HTTP/1.1\r\nHost: ${new URL(scene.address).host}\r\nOrigin: ${scene.address}\r\nCookie: ${cookieOf(ada)}\r\nContent-Type: ${type}\r\n`;
  const chunked = `${form.length.toString(16)}\r\n${form}\r\n0\r\n\r\n`;
  for (const rest of [
    `\r\n${form}`,
    `Content-Length: -1\r\n\r\n${form}`,
    `Content-Length: 99999999999999999999\r\n\r\n${form}`,
    `Content-Length: 5\r\nContent-Length: ${form.length}\r\n\r\n${form}`,
    `Transfer-Encoding: chunked\r\n\r\n${chunked}`,
    `Content-Length: ${form.length}\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`,
    `Content-Length: ${form.length}\r\nTransfer-Encoding : chunked\r\n\r\n${chunked}`,
  ])
    expect(await mallory.raw(`${head}${rest}`)).toMatch(/^HTTP\/1\.1 4\d\d /);
  expect(await state()).toEqual(['off', null]);
});

test('bytes that are no request, and heads without end, end the connection', async () => {
  const { host } = new URL(scene.address);
  const many = Array.from({ length: 3000 }, (_, index) => `X-${index}: ${index}\r\n`).join('');
  for (const bytes of [
    'GARBAGE\r\n\r\n',
    '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    `GET /admin/overview HTTP/1.1\r\nHost: ${host}\r\nX: a\nb\r\n\r\n`,
    `GET /admin/overview HTTP/1.1\r\nHost: ${host}\r\nX: \u0000\r\n\r\n`,
    `GET /admin/overview HTTP/1.1\r\nHost: ${host}\r\nX: ${'y'.repeat(40_000)}\r\n\r\n`,
    `GET /admin/overview HTTP/1.1\r\nHost: ${host}\r\n${many}\r\n`,
    `GET /admin/overview HTTP/9.9\r\nHost: ${host}\r\n\r\n`,
  ])
    expect(await mallory.raw(bytes)).not.toMatch(/^HTTP\/1\.1 [235]/);
  // What follows a request in the same bytes is none.
  const sendOut = `POST /admin/sign-out HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const got = await mallory.raw(`GET /admin/sign-in HTTP/1.1\r\nHost: ${host}\r\n\r\n${sendOut.repeat(100)}`);
  expect(got.match(/HTTP\/1\.1 /g)).toHaveLength(1);
});

test('hundreds of silent or slow connections keep no other client out', async () => {
  const { port } = new URL(scene.address);
  const silent: Socket[] = [];
  for (let index = 0; index < 300; index += 1) {
    const socket = connect({ host: '127.0.0.1', port: Number(port) });
    socket.on('error', () => socket.destroy());
    if (index % 2 === 1) socket.write('GET /admin/overview HTTP/1.1\r\nX-Slow: ');
    silent.push(socket);
  }
  const drip = setInterval(() => {
    for (const socket of silent) if (!socket.destroyed) socket.write('y');
  }, 100);
  try {
    for (let tries = 0; tries < 20; tries += 1) {
      const started = performance.now();
      expect((await ada.get('/admin/overview')).status).toBe(200);
      expect(performance.now() - started).toBeLessThan(3_000);
    }
    await until('they are cut off', () => silent.every((socket) => socket.destroyed), 30_000);
  } finally {
    clearInterval(drip);
    for (const socket of silent) socket.destroy();
  }
});

/** A client at another address of this machine. */
function guesser(from: string) {
  let visitor = { cookie: '', csrf: '' };
  return {
    open: async () => {
      const got = await mallory.ask('/admin/sign-in', { localAddress: from });
      visitor = { cookie: got.set[0]?.split(';')[0] ?? '', csrf: csrfIn(got.text) };
    },
    guess: (name: string, password: string) => {
      const body = `${new URLSearchParams({ csrf: visitor.csrf, name, password })}`;
      const type = 'application/x-www-form-urlencoded';
      const headers = {
        cookie: visitor.cookie,
        origin: scene.address,
        'content-type': type,
        'content-length': `${body.length}`,
      };
      return mallory.ask('/admin/sign-in', { method: 'POST', headers, body, localAddress: from });
    },
  };
}

/** All addresses of this machine count as one: what others guessed before is forgotten, and the daemon has noticed. */
async function unlock(): Promise<void> {
  expect((await scene.command(['admin', 'unlock'])).code).toBe(0);
  const someone = guesser('127.0.0.78');
  await someone.open();
  const statusOf = async () => (await someone.guess(adminName, adminPassword)).status;
  await expect.poll(statusOf, { timeout: 20_000, interval: 500 }).toBe(303);
}

const withoutDate = ({ date: _date, ...headers }: Record<string, unknown>) => headers;

const withoutLength = (headers: Record<string, unknown>) => ({ ...withoutDate(headers), 'content-length': null });

/** The form shows the name as it was typed. */
const withoutName = (html: string) => html.replace(/(<input id="name"[^>]*) value="[^"]*"/, '$1');

test('guessing is reported nothing about names, and soon told to wait', async () => {
  await unlock();
  const eve = guesser('127.0.0.77');
  await eve.open();
  const names = [
    adminName,
    'bob',
    adminName.toUpperCase(),
    'x'.repeat(300),
    "ada' or 1=1 --",
    'ada\u200b',
    '\u{1f4a9}',
  ];
  const first = await eve.guess(adminName, 'wrong password 1');
  for (const name of names) {
    const got = await eve.guess(name, 'wrong password 1');
    expect([name, got.status, withoutLength(got.headers), withoutName(got.text)]).toEqual([
      name,
      first.status,
      withoutLength(first.headers),
      withoutName(first.text),
    ]);
  }
  expect(first.status).toBe(403);
  const answers = [];
  for (let tries = 0; tries < 20; tries += 1)
    answers.push(await eve.guess(tries % 2 === 0 ? adminName : 'bob', 'wrong password 2'));
  const limited = answers.filter(({ status }) => status === 429);
  expect(limited.length).toBe(20 - (20 - 1 - names.length));
  expect(Number(limited[0]?.headers['retry-after'])).toBeGreaterThan(60);
  expect(new Set(limited.map(({ text }) => withoutName(text))).size).toBe(1);
  // Not with the right password either, and under no other address of this machine, until an operator on the host
  // allows it.
  expect((await eve.guess(adminName, adminPassword)).status).toBe(429);
  const elsewhere = guesser('127.0.0.78');
  await elsewhere.open();
  expect((await elsewhere.guess(adminName, adminPassword)).status).toBe(429);
  await unlock();
});

// The default form measures the same without HTTP: `admin/sign-in/sign-in.slow.test.ts`.
test('a name that does not exist takes as long as one that does', { timeout: 60_000, tags: ['long'] }, async () => {
  const times: Record<string, number[]> = { [adminName]: [], unknown: [] };
  // Twice, as there are only so many tries; the quickest of each name is what others on the machine did not slow down.
  for (const from of ['127.0.0.79', '127.0.0.81']) {
    await unlock();
    const eve = guesser(from);
    await eve.open();
    for (let tries = 0; tries < 9; tries += 1) {
      for (const [name, list] of Object.entries(times)) {
        const started = performance.now();
        expect((await eve.guess(name, 'wrong password 3')).status).toBe(403);
        list.push(performance.now() - started);
      }
    }
  }
  const [known = 0, unknown = 0] = Object.values(times).map((list) => Math.min(...list));
  // One that is not hashed is answered within a few milliseconds.
  expect(Math.max(known, unknown) / Math.min(known, unknown)).toBeLessThan(1.5);
});

test('many guesses at once are no more guesses, and others get their pages', async () => {
  await unlock();
  const eve = guesser('127.0.0.80');
  await eve.open();
  const guesses = Array.from({ length: 60 }, () => eve.guess(adminName, 'wrong password 4'));
  const started = performance.now();
  expect((await ada.get('/admin/overview')).status).toBe(200);
  expect(performance.now() - started).toBeLessThan(3_000);
  const statuses = (await Promise.allSettled(guesses)).map((one) =>
    one.status === 'fulfilled' ? one.value.status : 0,
  );
  expect(statuses.filter((status) => status === 403).length).toBeLessThanOrEqual(20);
  expect(statuses.filter((status) => ![0, 403, 429, 503].includes(status))).toEqual([]);
  await unlock();
});

test('a planted cookie is worth nothing after the sign-in', async () => {
  const planted = randomBytes(32).toString('base64url');
  const victim = browser(scene);
  const [session, visitor] = [sessionCookie(), sessionCookie().replace('ticketmaild', 'ticketmaild-visitor')];
  victim.cookies.set(session, planted);
  victim.cookies.set(visitor, planted);
  expect((await attempt(victim, adminName, adminPassword)).status).toBe(303);
  expect(victim.cookies.get(session)).not.toBe(planted);
  for (const cookie of [`${session}=${planted}`, `${session}=${planted}; ${visitor}=${planted}`])
    expect((await mallory.ask('/admin/overview', { headers: { cookie } })).status).toBe(303);
  // An admin session of another account in the same browser ends there.
  const own = await signIn(scene);
  const trapped = browser(scene);
  trapped.cookies.set(session, own.cookies.get(session) ?? '');
  trapped.cookies.delete(visitor);
  const { text } = await browserWithout(trapped).get('/admin/sign-in');
  expect(text).not.toContain(own.csrf);
});

/** The same browser without its admin session. */
function browserWithout(client: ReturnType<typeof browser>) {
  client.cookies.delete(sessionCookie());
  return client;
}

test('an admin session is over after signing out, another password, and the removal of its admin', async () => {
  const password = 'another horse 10 battery';
  await mustRun(scene.command(['admin', 'add', 'eve', '--password-stdin'], password));
  const eve = () => signIn(scene, { name: 'eve', password });
  const stays = await signIn(scene);
  const isOver = async (cookie: string, csrf: string) => {
    expect((await mallory.ask(encryptionPath, { headers: { cookie } })).status).toBe(303);
    expect(await post('server/encryption/enable', { csrf, ...bothBoxes }, { cookie })).toBe(303);
  };
  const out = await eve();
  const cookie = cookieOf(out);
  expect((await out.form('sign-out')).headers.location).toBe('/admin/sign-in');
  await isOver(cookie, out.csrf);
  const changed = await eve();
  await mustRun(scene.command(['admin', 'set-password', 'eve', '--password-stdin'], `${password}!`));
  await isOver(cookieOf(changed), changed.csrf);
  const removed = await signIn(scene, { name: 'eve', password: `${password}!` });
  await mustRun(scene.command(['admin', 'remove', 'eve', '--yes']));
  await isOver(cookieOf(removed), removed.csrf);
  expect((await stays.get('/admin/overview')).status).toBe(200);
  expect(await state()).toEqual(['off', null]);
});

test('two admins at the same moment, on two workers, begin one operation', async () => {
  const there = await signIn({ address: otherAddress });
  const race = async (path: string, fields: Readonly<Record<string, string>> = {}) => {
    // It lasts at least as long as all four are asked.
    await using _held = await lockMailbox(scene, (await scene.rows('select max(id) from mailboxes'))[0] ?? '');
    const began = async () =>
      (await scene.rows(`select count(*) from audit where action = 'admin.operation_started'`))[0];
    const before = Number(await began());
    const all = await Promise.all([ada, there, ada, there].map((who) => who.form(path, fields)));
    expect(all.map(({ status }) => status)).toEqual([303, 303, 303, 303]);
    expect(Number(await began()) - before).toBe(1);
  };
  await race('server/encryption/enable', bothBoxes);
  await untilSwitch(scene, 'on');
  const keys = async () => (await scene.json(['key', 'show', '--json']))[0]?.['key_ids'];
  const before = await keys();
  await until(
    'the operation is over',
    async () => (await scene.rows('select state from admin_operation'))[0] === 'done',
  );
  await race('server/encryption/rotate');
  await until(
    'the operation is over',
    async () => (await scene.rows('select state from admin_operation'))[0] === 'done',
  );
  expect(await keys()).not.toEqual(before);
  expect(await keys()).toHaveLength(1);
}, 120_000);

test('a proof that is stale, foreign or no file does not switch off', async () => {
  const proof = join(scene.dataDir, 'can-disable-encryption.txt');
  const confirm = async (): Promise<string> => {
    const got = await ada.formThenPage('server/encryption/confirm-disable');
    expect(await state()).toEqual(['on', null]);
    return got.text;
  };
  expect(await confirm()).toContain('There is no pending request to disable encryption');
  for (const kind of ['enable', 'rotate', 'disable']) {
    expect((await ada.formThenPage('server/encryption/continue', { kind })).text).toContain('Nothing was changed');
    expect(await state()).toEqual(['on', null]);
  }
  await writeFile(proof, '');
  await ada.form('server/encryption/request-disable');
  expect(await confirm()).toContain('is older than this request');
  await rm(proof);
  expect(await confirm()).toContain('does not exist');
  await writeFile(proof, '');
  await chown(proof, 65_534, 65_534);
  expect(await confirm()).toContain('belongs to user 65534');
  await chown(proof, 0, 0);
  await chmod(proof, 0o666);
  expect(await confirm()).toContain('can be changed by others');
  await rm(proof);
  await symlink('/etc/hostname', proof);
  expect(await confirm()).toContain('is a link, not a file');
  await rm(proof);
  await mkdir(proof);
  expect(await confirm()).toContain('is a folder');
  await rm(proof, { recursive: true });
  // It was asked for here: another worker knows nothing of it.
  await writeFile(proof, '');
  const there = await signIn({ address: otherAddress });
  expect((await there.formThenPage('server/encryption/confirm-disable')).text).toContain(
    'There is no pending request to disable encryption',
  );
  expect(await state()).toEqual(['on', null]);
  await ada.form('server/encryption/cancel-disable');
  expect(await confirm()).toContain('There is no pending request to disable encryption');
}, 120_000);

test('no answer was an error of the server, and the daemon fetched mail all the while', async () => {
  await stream.stop();
  await oneTicketEach(scene, stream.sent);
  expect(mallory.statuses.length).toBeGreaterThan(450);
  expect(mallory.statuses.filter((status) => status >= 500 && status !== 503)).toEqual([]);
  for (const one of [daemon, other]) {
    expect(count(one, 'admin.request_failed')).toBe(0);
    expect(count(one, 'poll.failed')).toBe(0);
  }
});

/** Kinds of refusals with the form or page; of more than 16 forms in a minute the rest is `elsewhere`. */
const refusals = [
  'bad_request encryption continue',
  'bad_request encryption enable',
  'bad_request overview',
  'bad_request request',
  'csrf elsewhere',
  'csrf encryption cancel-disable',
  'csrf encryption confirm-disable',
  'csrf encryption continue',
  'csrf encryption enable',
  'csrf encryption request-disable',
  'csrf encryption rotate',
  'csrf encryption verify-backup',
  'csrf mailbox add',
  'csrf mailbox confirm',
  'csrf mailbox password',
  'csrf mailbox pause',
  'csrf mailbox resume',
  'csrf mailbox retry',
  'csrf mailbox set',
  'csrf mailbox test',
  'csrf quarantine resolve',
  'foreign_host encryption enable',
  'foreign_host overview',
  'foreign_origin encryption enable',
  'method elsewhere',
  'method encryption cancel-disable',
  'method encryption confirm-disable',
  'method encryption continue',
  'method encryption enable',
  'method encryption request-disable',
  'method encryption rotate',
  'method encryption verify-backup',
  'method mailbox add',
  'method mailbox confirm',
  'method mailbox password',
  'method mailbox pause',
  'method mailbox resume',
  'method mailbox retry',
  'method mailbox set',
  'method mailbox test',
  'method quarantine resolve',
  'not_acknowledged encryption enable',
  'not_found request',
  'not_possible_now encryption continue',
  'not_possible_now encryption enable',
  'not_possible_now encryption rotate',
  'not_signed_in elsewhere',
  'not_signed_in encryption cancel-disable',
  'not_signed_in encryption confirm-disable',
  'not_signed_in encryption continue',
  'not_signed_in encryption enable',
  'not_signed_in encryption request-disable',
  'not_signed_in encryption rotate',
  'not_signed_in encryption verify-backup',
  'not_signed_in mailbox add',
  'not_signed_in mailbox confirm',
  'not_signed_in mailbox password',
  'not_signed_in mailbox pause',
  'not_signed_in mailbox resume',
  'not_signed_in mailbox retry',
  'not_signed_in mailbox set',
  'not_signed_in mailbox test',
  'not_signed_in quarantine resolve',
  'proof_refused encryption confirm-disable',
  'too_large encryption enable',
];

test('every kind of refusal is in the audit, and nothing of what was sent', async () => {
  // The daemons tell on their way out what they counted.
  for (const one of [daemon, other]) {
    one.signal('SIGTERM');
    expect((await one.exit).code).toBe(0);
  }
  const rows = await scene.json(['admin', 'log', '--json']);
  const reasons = rows
    .filter(({ action }) => action === 'admin.refused')
    .map(({ detail }) => String(detail).split(', ').slice(0, 2).join(' '));
  expect([...new Set(reasons)].sort()).toEqual(refusals);
  const kinds = ['added', 'operation_started', 'password_changed', 'refused', 'removed'];
  const ofSignIn = ['sign_in_limited', 'sign_in_refused', 'signed_in', 'unlocked'];
  expect([...new Set(rows.map(({ action }) => action))].sort()).toEqual(
    [...kinds, ...ofSignIn].map((kind) => `admin.${kind}`),
  );
  const text = JSON.stringify(rows);
  for (const trace of ['evil', 'passwd', 'wrong password', 'bob', adminPassword, ada.csrf])
    expect(text).not.toContain(trace);
});
