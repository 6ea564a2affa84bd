/**
 * Throttling mail providers, in their own words: the daemon waits as long as they say or
 * mean, shows it, and takes none of it for a wrong password.
 */
import { expect, test } from 'vitest';
import { type Script, startScriptedServer } from '../../adapters/imap/scripted-server.ts';
import { checkOf, count, mail, metrics, opened, openInstance, readiness } from '../../support/instance.ts';
import { until } from '../../support/promises.ts';
import { startDovecot } from '../../support/servers/dovecot.ts';

const second = 1000;
const minute = 60 * second;

/** Answers the login, or SELECT, with `line` as often as `times` says, and as usual after that. */
function refusing(command: 'AUTHENTICATE' | 'SELECT', line: string, times = Number.POSITIVE_INFINITY): Script {
  let left = times;
  return (asked, _rest, tag, { say, next }) => {
    if (asked !== command || left <= 0) return false;
    left -= 1;
    if (asked === 'SELECT') say(`${tag} ${line}`);
    else {
      say('+ ');
      next(() => say(`${tag} ${line}`));
    }
    return true;
  };
}

const throttled = (ms: number) => `Request is throttled. Suggested Backoff Time: ${ms} milliseconds`;
const unconnected = 'BAD User is authenticated but not connected.';
const providers = [
  {
    name: 'gmail-connections',
    script: refusing('AUTHENTICATE', 'NO [ALERT] Too many simultaneous connections. (Failure)'),
    waitMs: minute,
  },
  {
    name: 'gmail-bandwidth',
    script: refusing('AUTHENTICATE', 'NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)'),
    waitMs: 15 * minute,
  },
  {
    name: 'gmail-bandwidth-alert',
    script: refusing('SELECT', 'NO [ALERT] Account exceeded command or bandwidth limits. (Failure)'),
    waitMs: 15 * minute,
  },
  { name: 'microsoft-throttled', script: refusing('SELECT', `BAD ${throttled(40_000)}`), waitMs: 40 * second },
  { name: 'microsoft-unconnected', script: refusing('SELECT', unconnected), waitMs: 5 * minute },
] as const;

const connectionTo = (port: number, user: string) =>
  ({
    host: '127.0.0.1',
    port,
    tls: 'none',
    allowPlaintext: true,
    caPem: null,
    fingerprint: null,
    user,
    folder: 'INBOX',
  }) as const;

test('each provider gets the rest that it asks for, and the other mailboxes continue', async () => {
  await using stack = new AsyncDisposableStack();
  const dovecot = stack.use(await startDovecot());
  const instance = stack.use(await openInstance({ env: { TICKETMAILD_POLL_CONCURRENCY_PER_HOST_MAX: '8' } }));
  const servers = await Promise.all(providers.map(({ script }) => startScriptedServer({ script })));
  for (const [index, { name }] of providers.entries()) {
    const server = stack.use(servers[index] as (typeof servers)[number]);
    await instance.add(dovecot, name, { name, connection: connectionTo(server.port, name) });
  }
  const brief = stack.use(
    await startScriptedServer({ exists: 0, script: refusing('SELECT', `BAD ${throttled(4000)}`, 1) }),
  );
  await instance.add(dovecot, 'brief', { name: 'brief', connection: connectionTo(brief.port, 'brief') });
  const good = dovecot.newUser();
  await instance.add(dovecot, good);
  const daemon = instance.start();
  for (const { name, waitMs } of providers) {
    const check = await until(`${name} is reported`, async () => {
      const found = await checkOf(daemon, name);
      return found?.status === 'failing' ? found : null;
    });
    expect(check.reason, name).toMatch(/^server_busy: /);
    expect(check.reason, name).not.toMatch(/left alone|backoff|bandwidth|simultaneous|authenticated/i);
    const askedMs = Date.parse(check.next_poll ?? '') - Date.parse(check.since ?? '');
    expect(Math.abs(askedMs - waitMs), `${name}: ${askedMs} ms`).toBeLessThan(3000);
  }
  expect((await checkOf(daemon, 'microsoft-unconnected'))?.hint).toMatch(/check that IMAP is enabled/);
  const failedAt = daemon.lines.find((line) => line['mailbox'] === 'brief' && line['event'] === 'poll.failed')?.[
    'time'
  ];
  const recovered = await daemon.waitFor((line) => line['mailbox'] === 'brief' && line['event'] === 'poll.recovered');
  expect(Date.parse(`${recovered['time']}`) - Date.parse(`${failedAt}`)).toBeGreaterThanOrEqual(3900);
  await until('brief is ok', async () => (await checkOf(daemon, 'brief'))?.status === 'ok');
  await dovecot.append(good, 'INBOX', [mail('goes-on')]);
  await until('polling continues', () => opened(daemon) === 1);
  for (const server of servers) expect(server.lines.filter((line) => line.includes('AUTHENTICATE'))).toHaveLength(1);
  expect(count(daemon, 'poll.failed')).toBe(providers.length + 1);
  expect((await readiness(daemon)).status).toBe(200);
  expect(await metrics(daemon)).toMatch(
    /^ticketmaild_mailbox_trouble\{mailbox="gmail-bandwidth",.*code="server_busy"\} 1$/m,
  );
});
