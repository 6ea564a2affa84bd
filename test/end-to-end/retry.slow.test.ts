/**
 * `mailbox retry` after a cure: what waits for a server, or after refused logins, is polled within seconds.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { count, mail, opened, openInstance, readiness, untilWell } from '../support/instance.ts';
import { until } from '../support/promises.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';

const stack = new AsyncDisposableStack();
let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = stack.use(await startDovecot());
});

afterAll(() => stack.disposeAsync());

/** A command, and how long it took. */
async function timed<T>(work: Promise<T>): Promise<readonly [T, number]> {
  const startedAtMs = performance.now();
  return [await work, performance.now() - startedAtMs];
}

test.concurrent('a server that is back is probed at once, and all its mailboxes with it', async () => {
  await using server = await startDovecot();
  await using instance = await openInstance({ env: { TICKETMAILD_LOG_LEVEL: 'debug' } });
  const users = Array.from({ length: 5 }, () => server.newUser());
  const boxes = [];
  for (const user of users) boxes.push(await instance.add(server, user));
  const [first = ''] = boxes.map(({ name }) => name);
  const daemon = instance.start();
  await until('all are polled', () => count(daemon, 'folder.initialized') === 5 || null);
  await server.stop();
  await until('a long wait before the next probe', async () => {
    const [check] = (await readiness(daemon)).body.checks.servers.list;
    return check !== undefined && Date.parse(check.next_attempt ?? '') - Date.now() > 10_000 ? check : null;
  });
  // Still away: one probe, one line that says why.
  const before = count(daemon, 'poll.failed');
  const [away] = await timed(instance.command('mailbox', 'retry', '--host', 'localhost'));
  expect(away).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^localhost: 0 of 5 ok, 1 failing, 4 not tried/m),
  });
  expect(away.stdout).toContain('fails: ');
  expect(count(daemon, 'poll.failed') - before).toBe(1);
  for (const user of users) await server.append(user, 'INBOX', [mail(`back-${user}`)]);
  await server.restart();
  const [named, namedMs] = await timed(instance.command('mailbox', 'retry', first));
  expect(named).toMatchObject({ code: 0, stdout: `${first}: works, and was polled\n` });
  expect(namedMs).toBeLessThan(8000);
  await until('mail of all', () => opened(daemon) === 5 || null, 5000);
  await untilWell(daemon);
  expect(await instance.command('mailbox', 'retry', '--host', 'LOCALHOST')).toMatchObject({
    ...{ code: 0, stdout: 'LOCALHOST: 5 of 5 ok, 0 failing\n' },
  });
});

test.concurrent('suspended logins: one login by the name of the mailbox, none by its host', async () => {
  await using instance = await openInstance();
  const user = dovecot.newUser();
  const box = await instance.add(dovecot, user);
  await instance.setPassword(box, 'not the password');
  const daemon = instance.start();
  const refusals = async () =>
    (await dovecot.log()).split('\n').filter((line) => line.includes('auth failed') && line.includes(`user=<${user}>`))
      .length;
  await until('logins are suspended', () => count(daemon, 'login.suspended') === 1 || null);
  expect(await refusals()).toBe(3);
  const ofHost = await instance.command('mailbox', 'retry', '--host', 'localhost');
  expect([ofHost.stderr, await refusals()]).toEqual([expect.stringContaining(`mailbox retry ${box.name}`), 3]);
  const again = await instance.command('mailbox', 'retry', box.name);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('a refusal suspends them again') });
  expect(again.stdout).toContain(`${box.name}: fails: `);
  expect(again.stderr).toContain(`mailbox set-password ${box.name}`);
  expect(await refusals()).toBe(4);
  const [listed] = await instance.app.store.listMailboxes();
  expect((listed?.health.nextPollAtMs ?? 0) - Date.now()).toBeGreaterThan(3_600_000);
});

test.concurrent('without a daemon, for a paused mailbox and an unknown one the command says so', async () => {
  await using instance = await openInstance();
  const { name } = await instance.add(dovecot, dovecot.newUser());
  const alone = await instance.command('mailbox', 'retry', name);
  expect(alone).toMatchObject({ code: 1, stderr: expect.stringContaining('No daemon runs on this database') });
  expect(await instance.command('mailbox', 'pause', name)).toMatchObject({ code: 0 });
  const paused = await instance.command('mailbox', 'retry', name);
  expect(paused).toMatchObject({ code: 3, stderr: expect.stringContaining(`mailbox resume ${name}`) });
  expect(await instance.command('mailbox', 'retry', 'nobody')).toMatchObject({ code: 4 });
  expect(await instance.command('mailbox', 'retry', '--host', 'elsewhere.example')).toMatchObject({ code: 4 });
  expect(await instance.command('mailbox', 'retry')).toMatchObject({ code: 2 });
});
