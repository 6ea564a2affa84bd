/**
 * A process that ends without a shutdown: a crash loop after ready is shown at every look, one kill is not; and in a
 * container, where the next process sees neither the former one nor its host name, its mailboxes are polled at once.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Instance, mail, metrics, opened, openInstance, readiness } from '../support/instance.ts';
import { type Daemon, named, startDaemon } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../support/servers/mariadb.ts';
import { startNotifyListener } from '../support/systemd/listener.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;
const stack = new AsyncDisposableStack();

beforeAll(async () => {
  [dovecot, mariadb] = await Promise.all([startDovecot(), startMariadb()]);
  stack.use(dovecot);
  stack.use(mariadb);
});
afterAll(() => stack.disposeAsync());

async function startedAndKilled(instance: Instance): Promise<void> {
  const daemon = instance.start();
  await daemon.waitFor(named('daemon.ready'));
  daemon.signal('SIGKILL');
  await daemon.exit;
}

test('a crash loop after ready: /readyz, status, the status line of systemd and the metrics show it, until a shutdown counts no more', async () => {
  await using instance = await openInstance();
  await startedAndKilled(instance);

  const second = instance.start();
  const line = await second.waitFor(named('daemon.crashed'));
  expect(line).toMatchObject({ level: 'warn', crashes: 1 });
  await second.waitFor(named('daemon.ready'));
  expect(await readiness(second)).toMatchObject({
    status: 200,
    body: { ready: true, checks: { crashes: { status: 'warning', count: 1 } } },
  });
  second.signal('SIGTERM');
  await second.exit;

  for (let count = 0; count < 2; count += 1) await startedAndKilled(instance);
  const address = join(instance.folder, 'notify');
  await using listener = await startNotifyListener(address);
  const looping = instance.start({ NOTIFY_SOCKET: address });
  await looping.waitFor(named('daemon.ready'));
  const { status, body } = await readiness(looping);
  expect(status).toBe(503);
  expect(body).toMatchObject({ ready: false, checks: { crashes: { status: 'failing', count: 3 } } });
  const said = 'crash_loop: the process ended without a shutdown, 3 times within 10 minutes';
  const first = [await listener.next(), await listener.next()].find((text) => text.startsWith('STATUS='));
  expect(first).toContain(`STATUS=Not ready: ${said}`);
  const shown = await instance.command('status');
  expect(shown.code).toBe(1);
  expect(shown.stdout).toContain(said);
  expect(shown.stdout).toContain("journalctl -u 'ticketmaild*' --since -15min");
  const figures = await metrics(looping);
  expect(figures).toContain('ticketmaild_ready 0');
  expect(figures).toContain('ticketmaild_check_status{check="crashes",status="failing"} 1');
  expect(figures).toContain('ticketmaild_check_reason{check="crashes",code="crash_loop"} 1');
});

/** A PID namespace and a host name of its own, as after `docker run` with the same volume. */
const container = (host: string) => [
  ...['unshare', '--pid', '--uts', '--fork', '--mount-proc', '--kill-child=SIGKILL', '--', 'sh', '-c'],
  ...[`hostname ${host} && exec "$@"`, 'sh'],
];

describe.skipIf(process.getuid?.() !== 0)('in containers', () => {
  async function scene() {
    const database = await mariadb.createDatabase();
    const env = { TICKETMAILD_POLL_INTERVAL_S: '3600', TICKETMAILD_IDLE_CONNECTIONS_MAX: '10' };
    const instance = await openInstance({ database, env: { ...env, TICKETMAILD_LOG_LEVEL: 'debug' } });
    const user = dovecot.newUser();
    await dovecot.createFolder(user, 'INBOX');
    await instance.add(dovecot, user);
    const daemons: Daemon[] = [];
    const start = (host: string, more: Readonly<Record<string, string>> = {}): Daemon => {
      const daemon = startDaemon(['run'], { env: { ...instance.env, ...more }, inside: container(host) });
      daemons.push(daemon);
      return daemon;
    };
    const first = start('container-1');
    await first.waitFor(named('idle.started'));
    return {
      ...{ instance, user, first, start },
      [Symbol.asyncDispose]: async () => {
        for (const daemon of daemons) await daemon[Symbol.asyncDispose]();
        await instance[Symbol.asyncDispose]();
      },
    };
  }

  /** From ready to the ticket of a message that came meanwhile. */
  async function takeoverMs(daemon: Daemon): Promise<number> {
    const { time: ready } = await daemon.waitFor(named('daemon.ready'));
    const { time: ticket } = await daemon.waitFor(named('message.ticket_opened'));
    return Date.parse(String(ticket)) - Date.parse(String(ready));
  }

  test('the next container on the data folder polls the mailboxes of a killed one at once', async () => {
    await using at = await scene();
    at.first.signal('SIGKILL');
    await at.first.exit;
    await dovecot.append(at.user, 'INBOX', [mail('after')]);
    const second = at.start('container-2');
    expect(await takeoverMs(second)).toBeLessThan(3000);
    expect(second.lines.find(named('lease.reclaimed'))).toMatchObject({
      worker: expect.stringMatching(/^container-1\//),
    });
  });

  test('one that starts beside a live one on the same data folder reclaims nothing', async () => {
    await using at = await scene();
    const beside = at.start('container-2');
    await beside.waitFor(named('daemon.ready'));
    await dovecot.append(at.user, 'INBOX', [mail('while')]);
    await until('one of them has it', () => opened(at.first) + opened(beside) === 1);
    await sleep(3000);
    expect(beside.lines.filter(named('lease.reclaimed'))).toEqual([]);
    expect(opened(at.first) + opened(beside)).toBe(1);
  });

  test('one with another data folder waits until the heartbeats of the killed one have stopped', async () => {
    await using at = await scene();
    at.first.signal('SIGKILL');
    await at.first.exit;
    const killedAtMs = Date.now();
    await dovecot.append(at.user, 'INBOX', [mail('after')]);
    const apart = at.start('container-2', { TICKETMAILD_DATA_DIR: join(at.instance.folder, 'apart') });
    await until('it has the message', () => opened(apart) === 1);
    expect(Date.now() - killedAtMs).toBeGreaterThan(6000);
  });
});
