/**
 * IDLE (RFC 2177) with the real daemon and a real Dovecot: messages are fetched as they are announced, and a connection
 * that idles ends when its mailbox changes.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Env, mail, metrics, opened, openInstance, readiness } from '../support/instance.ts';
import { named } from '../support/processes/daemon.ts';

import { until } from '../support/promises.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';

let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = await startDovecot();
});

afterAll(() => dovecot?.[Symbol.asyncDispose]());

/** A daemon that polls once an hour, so that whatever is fetched sooner was announced. */
async function scene(more: Env = {}) {
  const hourly = { TICKETMAILD_POLL_INTERVAL_S: '3600', TICKETMAILD_IDLE_CONNECTIONS_MAX: '100' };
  const instance = await openInstance({ env: { ...hourly, TICKETMAILD_LOG_LEVEL: 'debug', ...more } });
  const user = dovecot.newUser();
  const { name } = await instance.add(dovecot, user);
  return { ...instance, user, name, daemon: instance.start() };
}

test.concurrent('messages are fetched as they are announced, on one login, and a stop ends the IDLE at once', async () => {
  await using at = await scene();
  await at.daemon.waitFor(named('idle.started'));
  for (let count = 1; count <= 5; count += 1) {
    await dovecot.append(at.user, 'INBOX', [mail(`news-${count}`)]);
    await until(`mail ${count}`, () => opened(at.daemon) === count);
  }
  expect(at.daemon.lines.filter(named('idle.started'))).toHaveLength(1);
  // A delivery is counted when its round has ended.
  const delivered = /^ticketmaild_idle_latency_seconds_count 5$/m;
  await until('five deliveries', async () => delivered.test(await metrics(at.daemon)));
  const startedAt = Date.now();
  at.daemon.signal('SIGTERM');
  expect((await at.daemon.exit).code).toBe(0);
  expect(Date.now() - startedAt).toBeLessThan(3000);
});

test.concurrent('a message that arrives while others are fetched is not missed (rust-imap#263)', async () => {
  await using at = await scene();
  await at.daemon.waitFor(named('idle.started'));
  const bursts = 40;
  for (let count = 1; count <= bursts; count += 1) {
    await dovecot.append(at.user, 'INBOX', [mail(`burst-${count}`)]);
    await sleep(Math.floor(Math.random() * 60));
  }
  await until('all of them', () => opened(at.daemon) === bursts);
});

test.concurrent('the connection of a mailbox that is paused or changed ends within seconds', async () => {
  await using at = await scene();
  await at.daemon.waitFor(named('idle.started'));
  expect(await at.command('mailbox', 'pause', at.name)).toMatchObject({ code: 0 });
  await sleep(4000);
  await dovecot.append(at.user, 'INBOX', [mail('while-paused')]);
  await sleep(1500);
  expect(opened(at.daemon)).toBe(0);
  expect(await at.command('mailbox', 'resume', at.name)).toMatchObject({ code: 0 });
  await until('the mail', () => opened(at.daemon) === 1);
});

test.concurrent('a mailbox that idled in a killed worker is polled at once by the next worker', async () => {
  await using at = await scene();
  await at.daemon.waitFor(named('idle.started'));
  const isDueLater = async () => {
    const [box] = (await readiness(at.daemon)).body.checks.mailboxes.list;
    return Date.parse(box?.next_poll ?? '') > Date.now() + 1_800_000;
  };
  await until('the next poll is far away', isDueLater);
  at.daemon.signal('SIGKILL');
  await at.daemon.exit;
  await dovecot.append(at.user, 'INBOX', [mail('meanwhile')]);
  const next = at.start();
  await until('the mail', () => opened(next) === 1);
});

test.concurrent('a mailbox that could not be reached is shown as ok once it idles again', async () => {
  await using server = await startDovecot();
  await using instance = await openInstance({
    env: { TICKETMAILD_IDLE_CONNECTIONS_MAX: '2', TICKETMAILD_POLL_INTERVAL_S: '3600', TICKETMAILD_LOG_LEVEL: 'debug' },
  });
  await instance.add(server, server.newUser());
  const daemon = instance.start();
  await daemon.waitFor(named('idle.started'));
  await server.stop();
  await daemon.waitFor(named('poll.failed'));
  await server.restart();
  await daemon.waitFor(named('poll.recovered'));
  await until('it is well', async () => (await readiness(daemon)).body.checks.mailboxes.status === 'ok', 5000);
});

test.concurrent('a connection that is cut while it idles is replaced, and is no failure of the mailbox', async () => {
  await using at = await scene();
  await at.daemon.waitFor(named('idle.started'));
  await dovecot.kick(at.user);
  await at.daemon.waitFor(named('idle.ended'));
  await until('another IDLE', () => at.daemon.lines.filter(named('idle.started')).length === 2);
  await dovecot.append(at.user, 'INBOX', [mail('after')]);
  await until('the mail', () => opened(at.daemon) === 1);
  expect(at.daemon.lines.filter(named('poll.failed'))).toEqual([]);
});

test.concurrent('another folder of the account restarts the poll of the first, which is no failure of it', async () => {
  await using at = await scene({ TICKETMAILD_POLL_LEASE_S: '10', TICKETMAILD_POLL_COMMAND_TIMEOUT_S: '10' });
  await at.daemon.waitFor(named('idle.started'));
  await dovecot.createFolder(at.user, 'Archive');
  const { host, tlsPort: port, caPem } = dovecot;
  const fixed = { tls: 'implicit', fingerprint: null, allowPlaintext: false } as const;
  const connection = { ...fixed, host, port, caPem, user: at.user, folder: 'Archive' };
  await at.add(dovecot, at.user, { name: 'archive', connection });
  await at.daemon.waitFor(named('poll.restarted'));
  expect(at.daemon.lines.find(named('poll.restarted'))).toMatchObject({ level: 'info', mailbox: at.name });
  await until('both idle', () => at.daemon.lines.filter(named('idle.started')).length === 3);
  expect((await readiness(at.daemon)).body.checks.mailboxes.status).toBe('ok');
  expect(at.daemon.lines.filter(named('poll.failed'))).toEqual([]);
  await dovecot.append(at.user, 'INBOX', [mail('once')]);
  await dovecot.append(at.user, 'Archive', [mail('once')]);
  await until('its copy', () => at.daemon.lines.some(named('message.duplicate')));
  expect(opened(at.daemon)).toBe(1);
});

test.concurrent('without connections allowed to idle, mailboxes are only polled', async () => {
  await using at = await scene({ TICKETMAILD_IDLE_CONNECTIONS_MAX: '0', TICKETMAILD_POLL_INTERVAL_S: '1' });
  await at.daemon.waitFor(named('daemon.ready'));
  await dovecot.append(at.user, 'INBOX', [mail('polled')]);
  await until('the mail', () => opened(at.daemon) === 1);
  expect(at.daemon.lines.filter(named('idle.started'))).toEqual([]);
});

test.concurrent('an IDLE is renewed at every interval, on the same login', async () => {
  await using at = await scene({ TICKETMAILD_POLL_INTERVAL_S: '2' });
  await at.daemon.waitFor(named('idle.started'));
  await until('three renewals', () => at.daemon.lines.filter(named('poll.empty')).length >= 4);
  // An announcement may meet a renewal, which then finds the message: three of them hardly do.
  for (let count = 1; count <= 3; count += 1) {
    await dovecot.append(at.user, 'INBOX', [mail(`renewed-${count}`)]);
    await until(`mail ${count}`, () => opened(at.daemon) === count);
  }
  expect(await metrics(at.daemon)).toMatch(/^ticketmaild_idle_latency_seconds_count [123]$/m);
  const logins = (await dovecot.log()).split('\n').filter((line) => line.includes('Login: ') && line.includes(at.user));
  expect(logins).toHaveLength(1);
  expect(at.daemon.lines.filter(named('idle.started'))).toHaveLength(1);
});

test.concurrent('no more connections idle than allowed, and a mailbox without an idle slot is polled', async () => {
  await using instance = await openInstance({
    env: { TICKETMAILD_IDLE_CONNECTIONS_MAX: '2', TICKETMAILD_LOG_LEVEL: 'debug' },
  });
  const users = Array.from({ length: 5 }, () => dovecot.newUser());
  // Two hosts, so that the bound for all of them counts.
  for (const [index, user] of users.entries()) {
    const host = index % 2 === 0 ? 'localhost' : '127.0.0.1';
    const { tlsPort: port, caPem } = dovecot;
    const connection = { host, port, caPem, user, tls: 'implicit', fingerprint: null, allowPlaintext: false } as const;
    await instance.add(dovecot, user, { connection: { ...connection, folder: 'INBOX' } });
  }
  // All have messages before they idle: a mailbox without any is displaced by one that has some.
  for (const user of users) await dovecot.append(user, 'INBOX', [mail(`round-1-${user}`)]);
  const daemon = instance.start();
  await until('both places are taken', async () => (await readiness(daemon)).body.checks.push.open === 2);
  for (let round = 1; round <= 3; round += 1) {
    for (const user of round === 1 ? [] : users) await dovecot.append(user, 'INBOX', [mail(`round-${round}-${user}`)]);
    await until('mail of all', () => opened(daemon) === round * users.length);
    const { push, mailboxes } = (await readiness(daemon)).body.checks;
    expect(push).toMatchObject({ status: 'ok', open: 2, max: 2 });
    expect(mailboxes.list.filter((one) => one.push.state === 'idling')).toHaveLength(2);
  }
  expect(daemon.lines.filter(named('idle.started'))).toHaveLength(2);
});

test.concurrent('a server without IDLE is polled, and that is no failure', async () => {
  await using plain = await startDovecot({ settings: 'imap_capability = IMAP4rev1 UIDPLUS MOVE LITERAL+' });
  await using instance = await openInstance({
    env: { TICKETMAILD_IDLE_CONNECTIONS_MAX: '10', TICKETMAILD_LOG_LEVEL: 'debug' },
  });
  const user = plain.newUser();
  await instance.add(plain, user);
  const daemon = instance.start();
  for (let count = 1; count <= 2; count += 1) {
    await plain.append(user, 'INBOX', [mail(`no-idle-${count}`)]);
    await until(`mail ${count}`, () => opened(daemon) === count);
  }
  expect(daemon.lines.filter((line) => named('idle.started')(line) || named('poll.failed')(line))).toEqual([]);
  const { push, mailboxes } = (await readiness(daemon)).body.checks;
  expect(push).toMatchObject({ status: 'ok', open: 0 });
  expect(mailboxes.list).toMatchObject([{ push: { state: 'polled', code: 'idle_unsupported' } }]);
});
