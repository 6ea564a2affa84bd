/**
 * Sessions that end with their access token, as those of Gmail and Exchange do: push continues with a new token, a
 * fetch that is cut continues at its cursor. Neither is a failure, and no message is lost or doubled.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { startFaultProxy } from '../support/faults/proxy.ts';
import { checkOf, count, mail, metrics, opened } from '../support/instance.ts';
import {
  openTokenServers,
  openTokenSetting,
  type TokenServers,
  type TokenSetting,
} from '../support/oauth/token-setting.ts';
import { type Daemon, named } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { noFindings, verifyStored } from '../support/verification.ts';

/** A daemon that polls once an hour: whatever is fetched sooner was announced. */
async function openScene(
  servers: TokenServers,
  more: readonly string[] = [],
): Promise<{ readonly setting: TokenSetting; start(): Promise<Daemon> }> {
  const env = { TICKETMAILD_POLL_INTERVAL_S: '3600', TICKETMAILD_IDLE_CONNECTIONS_MAX: '10' };
  const lines = ['session_ends_with_token = "yes"', ...more];
  const tables = [{ name: 'app', as: 'key', lines } as const, { name: 'lasting', as: 'key', lines } as const];
  const setting = await openTokenSetting(servers, tables, { env });
  return { setting, start: () => setting.start({ TICKETMAILD_LOG_LEVEL: 'debug' }) };
}

const failures = (daemon: Daemon): readonly unknown[] =>
  daemon.lines.filter((line) => line['level'] === 'warn' || line['level'] === 'error');

async function verifyAll({ instance, databaseFile }: TokenSetting, ids: readonly string[]): Promise<void> {
  const sent = ids.map((id) => ({ messageId: `<${id}@x>`, replyTo: null, attachmentSha256: null }));
  const stored = await verifyStored({ sent, databaseUrl: `sqlite:${databaseFile}`, dataDir: instance.dataDir });
  expect(stored).toMatchObject({ messages: ids.length, findings: noFindings });
}

/** Push over the end of a session: the quickest of three ends counts, since other processes can only add to it. */
const pushMsMax = 2000;

test.concurrent('push continues with a new token before the former one ends, and within 2 s where the server ends the session', {
  timeout: 120_000,
}, async () => {
  await using servers = await openTokenServers({ accessTtlS: 3600 });
  const { provider, dovecot } = servers;
  const { setting, start } = await openScene(servers);
  await using _setting = setting;
  const kicked = ['kicked-1', 'kicked-2', 'kicked-3'];
  for (const name of kicked) await setting.add(`${name}@example.test`, 'lasting');
  const daemon = await start();
  const sessions = (name: string) =>
    daemon.lines.filter((line) => named('idle.started')(line) && line['mailbox'] === name).length;
  await until('all idle', () => kicked.every((name) => sessions(name) === 1));
  const ids: string[] = [];
  const push = async (name: string, sinceMs = performance.now()): Promise<number> => {
    const id = `${name}-${ids.length}`;
    ids.push(id);
    const before = opened(daemon, name);
    await dovecot.append(`${name}@example.test`, 'INBOX', [mail(id)]);
    await until(`push of ${id}`, () => opened(daemon, name) > before);
    return performance.now() - sinceMs;
  };
  const kickedMs: number[] = [];
  for (const name of kicked) {
    // The daemon looks every second what is due: an end just after it waits longest where nothing else wakes it.
    await sleep(1020 - (Date.now() % 1000));
    const endedMs = performance.now();
    await dovecot.kick(`${name}@example.test`);
    kickedMs.push(await push(name, endedMs));
    await until(`${name} idles again`, () => sessions(name) === 2);
  }
  expect(Math.min(...kickedMs)).toBeLessThan(pushMsMax);

  // A session ends at 80 % of what is left of its token.
  await provider.set({ accessTtlS: 8 });
  await setting.add('push@example.test', 'app');
  await until('it idles', () => sessions('push') === 1);
  const slowestMs = [0, 0, 0];
  for (let ends = 0; ends < 3; ends = sessions('push') - 1) {
    slowestMs[ends] = Math.max(slowestMs[ends] ?? 0, await push('push'));
    await sleep(200);
  }
  expect(Math.min(...slowestMs)).toBeLessThan(pushMsMax);
  expect(count(daemon, 'poll.failed')).toBe(0);
  expect(failures(daemon)).toEqual([]);
  expect(await checkOf(daemon, 'push')).toMatchObject({ status: 'ok', failures: 0 });
  expect(await metrics(daemon)).not.toMatch(/ticketmaild_mailbox_trouble\{.*\} 1/);
  await verifyAll(setting, ids);
});

test.concurrent('a fetch of 200 messages continues where the end of its token cut it: no failure, none is lost or doubled', {
  timeout: 120_000,
}, async () => {
  const user = 'cut@example.test';
  await using servers = await openTokenServers({ accessTtlS: 8 });
  const { dovecot } = servers;
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: dovecot.tlsPort });
  const { host, port } = proxy;
  proxy.fault = { kind: 'throttle', bytesPerS: 250_000 };
  const { setting, start } = await openScene(servers, [`imap_hosts = ["${host}:${port}"]`]);
  await using _setting = setting;
  await setting.add(user, 'app', { connection: { host, port } });
  const ids = Array.from({ length: 200 }, (_, at) => `cut-${at}`);
  await dovecot.append(
    user,
    'INBOX',
    ids.map((id) => mail(id, 'x'.repeat(20_000))),
  );
  const daemon = await start();
  await until('the fetch', () => opened(daemon) > 0);
  // The server ends it behind 80 % of the life of the token, when the client expects it.
  await sleep(7000);
  const before = opened(daemon);
  proxy.kill('close');
  proxy.fault = { kind: 'none' };
  await until('all tickets', () => opened(daemon) === 200);
  expect(before).toBeLessThan(200);
  expect(failures(daemon)).toEqual([]);
  expect(await checkOf(daemon, 'cut')).toMatchObject({ status: 'ok', failures: 0 });
  await verifyAll(setting, ids);
});
