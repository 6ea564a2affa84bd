/**
 * A reload (SIGHUP) of a running daemon: what can change while it runs does, what cannot is named, and a configuration
 * that is not valid is refused, said, and changes nothing.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { count, mail, opened, openInstance, readiness } from '../../support/instance.ts';

import { type Daemon, named, startDaemon } from '../../support/processes/daemon.ts';
import { until } from '../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { startMariadb } from '../../support/servers/mariadb.ts';

const stack = new AsyncDisposableStack();
let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = stack.use(await startDovecot());
});

afterAll(() => stack.disposeAsync());

/** A daemon with a configuration file: `lines` are written into it below what every one has. */
async function scene(lines: string, mailboxes = 1, env: Readonly<Record<string, undefined>> = {}) {
  await using building = new AsyncDisposableStack();
  const instance = building.use(await openInstance());
  const file = join(instance.folder, 'ticketmaild.toml');
  const write = (more: string, listen = '127.0.0.1:0') =>
    writeFile(file, `data_dir = "${instance.dataDir}"\nhttp.listen = "${listen}"\n${more}\n`);
  await write(lines);
  const users = Array.from({ length: mailboxes }, () => dovecot.newUser());
  for (const user of users) await instance.add(dovecot, user);
  const daemon = building.use(startDaemon(['run', '--config', file], { env }));
  await daemon.waitFor(named('daemon.ready'));
  await until('all are polled', () => count(daemon, 'folder.initialized') === mailboxes);
  const undo = building.move();
  return { users, daemon, write, file, [Symbol.asyncDispose]: () => undo.disposeAsync() };
}

/** Sends SIGHUP and gives the line that answers it. */
async function reload(daemon: Daemon) {
  const isAnswer = (line: Daemon['lines'][number]) =>
    named('config.reloaded')(line) || named('config.reload_failed')(line);
  const before = daemon.lines.filter(isAnswer).length;
  daemon.signal('SIGHUP');
  return until('an answer to SIGHUP', () => daemon.lines.filter(isAnswer)[before]);
}

const hourly = 'poll.interval_s = 3600\nidle.connections_max = 0';

test.concurrent('a shorter interval and another log level hold at once', async () => {
  await using at = await scene(hourly);
  const { daemon, users } = at;
  await dovecot.append(users[0] ?? '', 'INBOX', [mail('news')]);
  await sleep(2500);
  expect(opened(daemon)).toBe(0);
  await at.write('poll.interval_s = 1\nidle.connections_max = 0\nlog.level = "debug"');
  expect(await reload(daemon)).toMatchObject({ event: 'config.reloaded', needs_restart: [] });
  await until('the mail', () => opened(daemon) === 1);
  await daemon.waitFor(named('poll.empty'));
  expect((await readiness(daemon)).body.worker.log_level).toBe('debug');
});

test.concurrent('limits of senders and tickets hold for a connection that rests, too', async () => {
  const env = { TICKETMAILD_LIMITS_SENDER_LIMIT_PER_HOUR: undefined };
  await using at = await scene('poll.interval_s = 3600\nlimits.sender_limit_per_hour = 0', 1, env);
  const { daemon, users } = at;
  const same = (id: string) =>
    Buffer.from(
      mail(id)
        .toString()
        .replace(/^From: .*/, 'From: robot@example.test'),
    );
  const later = () => ({ receivedAt: new Date(Date.now() + 2000) });
  await until('it rests', async () => (await readiness(daemon)).body.checks.push.open === 1);
  await dovecot.append(users[0] ?? '', 'INBOX', [same('one'), same('two')], later());
  await until('both', () => opened(daemon) === 2);
  await at.write('poll.interval_s = 3600\nlimits.sender_limit_per_hour = 2');
  await reload(daemon);
  await dovecot.append(users[0] ?? '', 'INBOX', [same('three')], later());
  expect(await daemon.waitFor(named('message.quarantined'))).toMatchObject({ reason: 'sender_flood' });
  expect(opened(daemon)).toBe(2);
});

test.concurrent('IDLE is enabled, bounded again and disabled again', async () => {
  await using at = await scene(hourly, 3);
  const { daemon } = at;
  const open = async () => (await readiness(daemon)).body.checks.push;
  expect(await open()).toMatchObject({ open: 0, max: 0 });
  for (const [max, interval] of [
    [3, 1],
    [1, 3600],
    [0, 3600],
  ]) {
    await at.write(`poll.interval_s = ${interval}\nidle.connections_max = ${max}`);
    await reload(daemon);
    await until(`${max} stay`, async () => (await open()).open === max);
    expect((await open()).max).toBe(max);
  }
  expect(count(daemon, 'poll.failed')).toBe(0);
});

test.concurrent('another password of the database holds after a reload, though the former is refused by then', async () => {
  await using mariadb = await startMariadb();
  const { url, name, config } = await mariadb.createDatabase();
  const user = `rotated@'127.0.0.1'`;
  await mariadb.query(`create user ${user} identified by 'first'; grant all on ${name}.* to ${user}`);
  await using at = await openInstance({ database: { url, config } });
  const passwordFile = join(at.folder, 'password');
  await writeFile(passwordFile, 'first', { mode: 0o600 });
  const daemon = at.start({
    TICKETMAILD_DATABASE_URL: url.replace('app:app@', 'rotated@'),
    TICKETMAILD_DATABASE_PASSWORD_FILE: passwordFile,
  });
  await daemon.waitFor(named('daemon.ready'));
  await mariadb.query(`alter user ${user} identified by 'second'`);
  await writeFile(passwordFile, 'second', { mode: 0o600 });
  await mariadb.restart();
  expect(await daemon.waitFor(named('database.unavailable'))).toMatchObject({ level: 'error' });
  await until('refused', async () => JSON.stringify((await readiness(daemon)).body.checks).includes('database_denied'));
  expect(await reload(daemon)).toMatchObject({ event: 'config.reloaded', needs_restart: [] });
  await until('it is back', async () => (await readiness(daemon)).body.checks.database.status === 'ok');
});

test.concurrent('what needs a new start is named and stays as it is', async () => {
  await using at = await scene(hourly);
  const { address } = await at.daemon.waitFor(named('http.listening'));
  await at.write('raw.retention_days = 9\nmessage.parse_threads = 2\ndatabase.url = "sqlite:other.db"', 'off');
  const answer = await reload(at.daemon);
  expect(answer).toMatchObject({ event: 'config.reloaded' });
  expect([...(answer['needs_restart'] as string[])].sort()).toEqual(['database', 'http', 'message']);
  expect((await fetch(`${address}/readyz`)).status).toBe(200);
});

test.concurrent.each([
  ['an unknown key', 'poll.intervall_s = 1', /poll\.intervall_s/],
  ['a value out of its bounds', 'poll.interval_s = 0', /poll\.interval_s/],
  ['what is no TOML', 'poll.interval_s = = 1', /ticketmaild\.toml/],
])(
  '%s is refused and said, nothing changes, and the mended file is taken',
  async (_, lines, place) => {
    await using at = await scene('poll.interval_s = 1\nidle.connections_max = 0');
    const { daemon, users } = at;
    await at.write(`${lines}\nlog.level = "error"`);
    const answer = await reload(daemon);
    expect(answer).toMatchObject({ event: 'config.reload_failed', level: 'error', error: { code: 'config_invalid' } });
    const { message, hint } = answer['error'] as { message: string; hint: string };
    expect(message).toMatch(place);
    expect(message).toContain('ticketmaild.toml:3');
    expect(hint).not.toBe('');
    await dovecot.append(users[0] ?? '', 'INBOX', [mail('still')]);
    await until('polling continues', () => opened(daemon) === 1);
    const { body, status } = await readiness(daemon);
    expect([status, body.worker.log_level]).toEqual([200, 'info']);
    await at.write('poll.interval_s = 2\nidle.connections_max = 0\nlog.level = "debug"');
    expect(await reload(daemon)).toMatchObject({ event: 'config.reloaded', needs_restart: [] });
  },
  60_000,
);
