/**
 * The daemon as a process of its own, with real servers that fail: what it survives, what it says, how it ends.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startFaultProxy } from '../support/faults/proxy.ts';
import { type Env, mail, readiness } from '../support/instance.ts';

import { named, runCommand, startDaemon } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { startMariadb } from '../support/servers/mariadb.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts';

let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = await startDovecot();
});

afterAll(() => dovecot?.[Symbol.asyncDispose]());

function environment(folder: TemporaryFolder, more: Env = {}): Env {
  return {
    TICKETMAILD_DATA_DIR: join(folder.path, 'data'),
    TICKETMAILD_HTTP_LISTEN: '127.0.0.1:0',
    TICKETMAILD_POLL_INTERVAL_S: '1',
    TICKETMAILD_POLL_BACKOFF_MAX_S: '1',
    ...more,
  };
}

async function addMailbox(env: Env, user: string, more: readonly string[] = [], password = 'pw'): Promise<void> {
  const server = ['--host', 'localhost', '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile];
  const args = [
    'mailbox',
    'add',
    '--name',
    user,
    '--user',
    user,
    '--since',
    'all',
    '--password-stdin',
    ...server,
    ...more,
  ];
  const ended = await runCommand(args, { env, input: `${password}\n` });
  if (ended.code !== 0) throw new Error(`mailbox add: ${ended.stdout}${ended.stderr}`);
}

test('mail that arrives becomes a ticket, health answers, and SIGTERM ends it with exit code 0', async () => {
  await using folder = await temporaryFolder('daemon');
  const env = environment(folder);
  const user = dovecot.newUser();
  await addMailbox(env, user);
  await using daemon = startDaemon(['run'], { env });
  await daemon.waitFor(named('daemon.ready'));
  await dovecot.append(user, 'INBOX', [mail('first')]);
  const opened = await daemon.waitFor(named('message.ticket_opened'));
  expect(opened).toMatchObject({ mailbox: user, uid: 1, ticket: expect.stringMatching(/^\d{6}-[0-9A-Z]{6}$/) });
  const { address } = await daemon.waitFor(named('http.listening'));
  expect((await fetch(`${address}/livez`)).status).toBe(200);
  expect(await readiness(daemon)).toMatchObject({
    status: 200,
    body: { ready: true, checks: { mailboxes: { ok: 1, failing: 0 } } },
  });
  daemon.signal('SIGTERM');
  const ended = await daemon.exit;
  expect([ended.code, ended.stderr]).toEqual([0, '']);
  expect(daemon.lines.at(-1)).toMatchObject({ event: 'daemon.stopped', drained: true });
});

test('it starts while the database is down, says so, and works as soon as the database is there', async () => {
  await using folder = await temporaryFolder('daemon');
  await using mariadb = await startMariadb();
  const { url } = await mariadb.createDatabase();
  const env = environment(folder, { TICKETMAILD_DATABASE_URL: url });
  const user = dovecot.newUser();
  await addMailbox(env, user);
  await dovecot.append(user, 'INBOX', [mail('waiting')]);
  await mariadb.kill();
  await using daemon = startDaemon(['run'], { env });
  await daemon.waitFor(named('database.unavailable'));
  expect(await readiness(daemon)).toMatchObject({
    status: 503,
    body: { checks: { database: { status: 'failing', hint: expect.any(String) } } },
  });
  await mariadb.restart();
  await daemon.waitFor(named('database.recovered'));
  await daemon.waitFor(named('message.ticket_opened'));
  // In the middle: killed again while it runs.
  await mariadb.kill();
  await dovecot.append(user, 'INBOX', [mail('meanwhile')]);
  await sleep(1500);
  await mariadb.restart();
  await daemon.waitFor((line) => line['event'] === 'message.ticket_opened' && line['uid'] === 2);
  expect(await until('ready again', async () => ((await readiness(daemon)).status === 200 ? true : null))).toBe(true);
});

test('a mail server that goes and comes back costs nothing but time (38, 40)', async () => {
  await using folder = await temporaryFolder('daemon');
  await using server = await startDovecot();
  const env = environment(folder);
  const user = server.newUser();
  const args = ['--host', 'localhost', '--port', `${server.tlsPort}`, '--ca-file', server.caFile, '--since', 'all'];
  await runCommand(['mailbox', 'add', '--name', 'box', '--user', user, '--password-stdin', ...args], {
    env,
    input: 'pw',
  });
  await using daemon = startDaemon(['run'], { env });
  await daemon.waitFor(named('folder.initialized'));
  await server.stop();
  const failed = await daemon.waitFor(named('poll.failed'));
  expect(failed['error']).toMatchObject({
    code: expect.stringMatching(/^connect(_refused|ion_lost)$/),
    hint: expect.any(String),
  });
  await server.restart();
  await server.append(user, 'INBOX', [mail('after')]);
  await daemon.waitFor(named('poll.recovered'));
  await daemon.waitFor(named('message.ticket_opened'));
});

test('a wrong password is shown with its hint, keeps no other mailbox waiting, and its correction is picked up without a restart', async () => {
  await using folder = await temporaryFolder('daemon');
  const env = environment(folder);
  const [wrong, right] = [dovecot.newUser(), dovecot.newUser()];
  await addMailbox(env, wrong, ['--no-probe'], 'not the password');
  await addMailbox(env, right);
  await dovecot.append(right, 'INBOX', [mail('unharmed')]);
  await dovecot.append(wrong, 'INBOX', [mail('late')]);
  await using daemon = startDaemon(['run'], { env });
  const failed = await daemon.waitFor(named('poll.failed'));
  expect(failed).toMatchObject({ mailbox: wrong, error: { code: 'login_refused' } });
  await daemon.waitFor((line) => line['event'] === 'message.ticket_opened' && line['mailbox'] === right);
  expect(daemon.stdout() + daemon.stderr()).not.toContain('not the password');
  await runCommand(['mailbox', 'set-password', '--no-probe', wrong, '--password-stdin'], { env, input: 'pw\n' });
  await daemon.waitFor((line) => line['event'] === 'message.ticket_opened' && line['mailbox'] === wrong);
});

test('a connection that is reset at any moment of a fetch loses nothing and doubles nothing (5, 13)', async () => {
  await using folder = await temporaryFolder('daemon');
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: dovecot.tlsPort });
  const env = environment(folder, { TICKETMAILD_MESSAGE_BATCH_MESSAGES_MAX: '10' });
  const user = dovecot.newUser();
  const count = 120;
  const padding = 'x'.repeat(70).concat('\r\n').repeat(200);
  await dovecot.append(
    user,
    'INBOX',
    Array.from({ length: count }, (_, index) => Buffer.concat([mail(`m${index}`), Buffer.from(padding)])),
  );
  await addMailbox(env, user, ['--port', `${proxy.port}`]);
  for (let bytes = 2000; bytes < 600_000; bytes = Math.ceil(bytes * 1.9)) {
    proxy.fault = { kind: 'cut_after', bytes };
    await runCommand(['poll', user], { env });
  }
  proxy.fault = { kind: 'none' };
  const last = await runCommand(['poll', user, '--json'], { env });
  expect(last.code).toBe(0);
  const rows = (await runCommand(['message', 'list', '--mailbox', user, '--json'], { env })).stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(rows.map(({ uid }) => uid)).toEqual(Array.from({ length: count }, (_, index) => index + 1));
  expect(new Set(rows.map(({ ticket }) => ticket)).size).toBe(count);
  const seen = [...(await dovecot.listFlags(user, 'INBOX')).values()].filter((flags) => flags.has('\\Seen'));
  expect(seen).toHaveLength(count);
});

test('the second signal ends it at once, even while a server does not answer', async () => {
  await using folder = await temporaryFolder('daemon');
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: dovecot.tlsPort });
  const env = environment(folder);
  const user = dovecot.newUser();
  await addMailbox(env, user, ['--port', `${proxy.port}`]);
  await dovecot.append(
    user,
    'INBOX',
    Array.from({ length: 20 }, (_, index) => Buffer.concat([mail(`m${index}`), Buffer.alloc(100_000, 'x')])),
  );
  proxy.fault = { kind: 'stall_after', bytes: 60_000 };
  await using daemon = startDaemon(['run'], { env });
  await daemon.waitFor(named('folder.initialized'));
  await sleep(500);
  daemon.signal('SIGTERM');
  await daemon.waitFor(named('daemon.stopping'));
  await sleep(500);
  const beforeMs = Date.now();
  daemon.signal('SIGTERM');
  expect((await daemon.exit).code).not.toBe(0);
  expect(Date.now() - beforeMs).toBeLessThan(2000);
});
