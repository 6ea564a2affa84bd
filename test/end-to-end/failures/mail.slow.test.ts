/**
 * Failures of mail servers and of the network before them: each has its reason on `/readyz`, costs the other
 * mailboxes nothing, and ends without a restart.
 */

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startFaultProxy } from '../../support/faults/proxy.ts';
import { checkOf, count, mail, opened, openInstance, readiness, untilWell } from '../../support/instance.ts';
import { named } from '../../support/processes/daemon.ts';

import { until } from '../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { startMariadb } from '../../support/servers/mariadb.ts';

const stack = new AsyncDisposableStack();
let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = stack.use(await startDovecot());
});

afterAll(() => stack.disposeAsync());

/** How many logins of `user` the server has refused, by its own log. */
async function refusedLogins(user: string): Promise<number> {
  const lines = (await dovecot.log()).split('\n');
  return lines.filter((line) => line.includes('auth failed') && line.includes(`user=<${user}>`)).length;
}

test.concurrent('a wrong password is tried three times, then logins are suspended, also after a restart, until the row changes', async () => {
  await using mariadb = await startMariadb();
  const database = await mariadb.createDatabase();
  await using instance = await openInstance({ database });
  const [wrong, other, good] = [dovecot.newUser(), dovecot.newUser(), dovecot.newUser()];
  const boxes = [
    await instance.add(dovecot, wrong),
    await instance.add(dovecot, other),
    await instance.add(dovecot, good),
  ];
  for (const box of boxes.slice(0, 2)) await instance.setPassword(box, 'not the password');
  const [box, otherBox] = boxes.map(({ name }) => name) as [string, string, string];
  const first = instance.start();
  const check = await until('logins are suspended', async () => {
    const found = await checkOf(first, box);
    return (found?.reason ?? '').includes('Logins are suspended') ? found : null;
  });
  expect(check?.reason).toContain('login_refused: ');
  expect(check?.reason).toContain('after 3 refused logins');
  expect(check?.hint).toContain('mailbox set-password');
  expect(Date.parse(check?.next_poll ?? '') - Date.now()).toBeGreaterThan(5 * 3_600_000);
  await until('the other too', async () => ((await refusedLogins(other)) === 3 ? true : null));
  await dovecot.append(good, 'INBOX', [mail('goes-on')]);
  await first.waitFor(named('message.ticket_opened'));
  first.signal('SIGTERM');
  expect((await first.exit).code).toBe(0);
  const second = instance.start();
  await dovecot.append(good, 'INBOX', [mail('goes-on-too')]);
  await second.waitFor(named('message.ticket_opened'));
  await sleep(2500);
  expect([await refusedLogins(wrong), await refusedLogins(other)]).toEqual([3, 3]);
  // Told to continue with the same password it tries three times more.
  expect(await instance.command('mailbox', 'resume', box)).toMatchObject({ code: 0 });
  await until('three more', async () => (await refusedLogins(wrong)) === 6 || null);
  await dovecot.append(wrong, 'INBOX', [mail('set-password')]);
  await dovecot.append(other, 'INBOX', [mail('written-by-the-helpdesk')]);
  await sleep(2500);
  expect(await refusedLogins(wrong)).toBe(6);
  const passwordSetMs = performance.now();
  await instance.setPassword(boxes[0] as (typeof boxes)[0], 'pw');
  await until('mail of the first', () => opened(second, box) === 1 || null);
  const passwordWrittenMs = performance.now();
  await mariadb.query(`update ${database.name}.mailboxes set password = 'pw' where name = '${otherBox}'`);
  await until('mail of the second', () => opened(second, otherBox) === 1 || null);
  // The quicker of both counts: other processes can only add to it.
  expect(Math.min(passwordWrittenMs - passwordSetMs, performance.now() - passwordWrittenMs)).toBeLessThan(5000);
  await untilWell(second);
  expect((await readiness(second)).body.checks.mailboxes).toMatchObject({ ok: 3, failing: 0 });
});

test.concurrent('a login that is refused to the command poll counts as well', async () => {
  await using instance = await openInstance();
  const box = await instance.add(dovecot, dovecot.newUser());
  await instance.setPassword(box, 'not the password');
  for (const refusals of [1, 2]) {
    expect(await instance.command('poll', box.name)).toMatchObject({ code: 1 });
    const [listed] = await instance.app.store.listMailboxes();
    expect(listed?.health).toMatchObject({ loginFailures: refusals, failures: refusals });
  }
});

test.concurrent('of 20 mailboxes of a server that refuses connections one tries for all, and all are back together (ZA#1861)', async () => {
  await using server = await startDovecot();
  await using instance = await openInstance({ env: { TICKETMAILD_LOG_LEVEL: 'debug' } });
  const users = Array.from({ length: 20 }, () => server.newUser());
  for (const user of users) await instance.add(server, user);
  const daemon = instance.start();
  await until('all are polled', () => count(daemon, 'folder.initialized') === 20 || null);
  await server.stop();
  const check = await until('the server is reported', async () => {
    const { servers } = (await readiness(daemon)).body.checks;
    return servers.status === 'failing' ? servers : null;
  });
  expect(check.reason).toMatch(/^circuit open for localhost:\d+ with implicit TLS: connect_refused: /);
  expect(check.list[0]).toMatchObject({
    host: 'localhost',
    hint: expect.any(String),
    next_attempt: expect.any(String),
  });
  const atFirst = count(daemon, 'poll.failed');
  await sleep(6000);
  // Twenty mailboxes that come back each second would be a hundred and more.
  expect(count(daemon, 'poll.failed') - atFirst).toBeLessThanOrEqual(4);
  for (const user of users) await server.append(user, 'INBOX', [mail(`back-${user}`)]);
  await server.restart();
  await until('mail of all', () => opened(daemon) === 20 || null);
  await untilWell(daemon);
  expect(count(daemon, 'server.circuit_closed')).toBe(1);
});

test.concurrent('a mailbox with the wrong TLS mode keeps no other one of its host and port waiting', async () => {
  const env = { TICKETMAILD_POLL_CONNECT_TIMEOUT_S: '1', TICKETMAILD_LOG_LEVEL: 'debug' };
  await using instance = await openInstance({ env });
  const [wrong, good] = [dovecot.newUser(), dovecot.newUser()];
  const { connection, name } = await instance.add(dovecot, good, { state: 'paused' });
  const other = await instance.add(dovecot, wrong, { connection: { ...connection, user: wrong, tls: 'starttls' } });
  const daemon = instance.start();
  // By then the mailboxes of a server that is away would wait for eight seconds.
  await until('four failures', () => count(daemon, 'poll.failed') >= 4 || null, 60_000);
  expect((await readiness(daemon)).body.checks.servers.list).toMatchObject([{ tls: 'starttls', status: 'failing' }]);
  await dovecot.append(good, 'INBOX', [mail('not-late')]);
  expect(await instance.command('mailbox', 'resume', name)).toMatchObject({ code: 0 });
  const sinceMs = performance.now();
  await until('its mail', () => opened(daemon, name) === 1 || null);
  expect(performance.now() - sinceMs).toBeLessThan(4000);
  // Once the mode is right, the circuit of the wrong one is not reported any more.
  expect(await instance.command('mailbox', 'set', other.name, '--tls', 'implicit')).toMatchObject({ code: 0 });
  await untilWell(daemon);
});

test.concurrent('a server that accepts and never greets (a dead one behind a balancer) is asked by one mailbox at a time', async () => {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: dovecot.tlsPort });
  const env = { TICKETMAILD_POLL_CONNECT_TIMEOUT_S: '1', TICKETMAILD_LOG_LEVEL: 'debug' };
  await using instance = await openInstance({ env });
  const users = Array.from({ length: 12 }, () => dovecot.newUser());
  for (const user of users) await instance.add({ ...dovecot, tlsPort: proxy.port }, user);
  proxy.fault = { kind: 'blackhole' };
  const daemon = instance.start();
  await until('the server is reported', async () => (await readiness(daemon)).body.checks.servers.list[0] ?? null);
  const atFirst = proxy.accepted;
  expect(atFirst).toBeLessThanOrEqual(8);
  await sleep(5000);
  expect(proxy.accepted - atFirst).toBeLessThanOrEqual(4);
  for (const user of users) await dovecot.append(user, 'INBOX', [mail(`greets-${user}`)]);
  proxy.fault = { kind: 'none' };
  await until('mail of all', () => opened(daemon) === 12 || null);
  await untilWell(daemon);
});

test.concurrent('a connection that went silent while it rested is found, and its mail is fetched (ZA#2321)', async () => {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: dovecot.tlsPort });
  const env = {
    TICKETMAILD_IDLE_CONNECTIONS_MAX: '10',
    TICKETMAILD_POLL_INTERVAL_S: '2',
    TICKETMAILD_POLL_COMMAND_TIMEOUT_S: '2',
    TICKETMAILD_POLL_CONNECT_TIMEOUT_S: '2',
    TICKETMAILD_LOG_LEVEL: 'debug',
  };
  await using instance = await openInstance({ env });
  const [user, fetching] = [dovecot.newUser(), dovecot.newUser()];
  const box = await instance.add({ ...dovecot, tlsPort: proxy.port }, user);
  const daemon = instance.start();
  await daemon.waitFor(named('idle.started'));
  proxy.fault = { kind: 'blackhole' };
  await dovecot.append(user, 'INBOX', [mail('unheard')]);
  await until('the silence is noticed', async () => {
    const reason = (await checkOf(daemon, box.name))?.reason ?? '';
    return /^(server_timeout|connect_timeout|connection_lost): /.test(reason) || null;
  });
  expect(opened(daemon)).toBe(0);
  proxy.fault = { kind: 'none' };
  await until('the mail', () => opened(daemon) === 1 || null);
  // The same in the middle of a fetch.
  const large = Array.from({ length: 20 }, (_, at) => mail(`large-${at}`, 'x'.repeat(70).concat('\r\n').repeat(1500)));
  proxy.fault = { kind: 'stall_after', bytes: 800_000 };
  const other = await instance.add({ ...dovecot, tlsPort: proxy.port }, fetching);
  await dovecot.append(fetching, 'INBOX', large);
  await daemon.waitFor((line) => line['event'] === 'poll.failed' && line['mailbox'] === other.name);
  expect((await checkOf(daemon, other.name))?.reason).toMatch(/^server_timeout: /);
  proxy.fault = { kind: 'none' };
  await until('all of them', () => opened(daemon, other.name) === 20 || null);
  await untilWell(daemon);
  expect((await instance.command('reconcile')).code).toBe(0);
});

test.concurrent('two workers together try a wrong password no more than three times', async () => {
  await using mariadb = await startMariadb();
  await using instance = await openInstance({ database: await mariadb.createDatabase() });
  const users = Array.from({ length: 6 }, () => dovecot.newUser());
  const boxes = [];
  for (const user of users) boxes.push(await instance.add(dovecot, user));
  for (const box of boxes) await instance.setPassword(box, 'not the password');
  const workers = ['one', 'two'].map((name) => instance.start({ TICKETMAILD_DATA_DIR: join(instance.folder, name) }));
  const all = async () => Promise.all(users.map(refusedLogins));
  await until('all are suspended', async () => (await all()).every((count) => count === 3));
  await sleep(3000);
  expect(await all()).toEqual(users.map(() => 3));
  for (const worker of workers) {
    const { status, body } = await readiness(worker);
    expect([status, body.checks.workers.live]).toEqual([503, 2]);
    expect(body.checks.mailboxes.list.every(({ reason }) => reason?.includes('Logins are suspended'))).toBe(true);
  }
  for (const box of boxes) await instance.setPassword(box, 'pw');
  for (const worker of workers) await untilWell(worker);
});
