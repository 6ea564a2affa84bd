/**
 * Fetches that stood still, or never came back, in what others used: here each of them ends automatically, and said so
 * meanwhile.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, test, vi } from 'vitest';
import type { Mailbox } from '../../src/ingest/model.ts';
import { type FaultProxy, startFaultProxy } from '../support/faults/proxy.ts';
import { checkOf, type Instance, metrics, opened, openInstance } from '../support/instance.ts';
import { outcomesOf, rowsOf } from '../support/outcomes.ts';
import type { Daemon } from '../support/processes/daemon.ts';
import { named } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { boxWith, inClear, mail, newMessages, poll, sceneOfFile, ticketsOf } from './scene.ts';
import { startScriptedMailbox } from './scripted-mailbox.ts';

const at = sceneOfFile();

// Most of them wait most of the time.
vi.setConfig({ maxConcurrency: 10 });

/** One daemon for most of the cases, each with a way to the mail server of its own. */
let instance: Instance;
let daemon: Daemon;

beforeAll(async () => {
  instance = await openInstance({
    env: {
      TICKETMAILD_POLL_COMMAND_TIMEOUT_S: '1',
      TICKETMAILD_POLL_CONCURRENCY_MAX: '30',
      TICKETMAILD_POLL_CONCURRENCY_PER_HOST_MAX: '30',
      TICKETMAILD_LOG_LEVEL: 'debug',
    },
  });
  daemon = instance.start();
  return () => instance[Symbol.asyncDispose]();
});

type Far = { readonly proxy: FaultProxy; readonly user: string; readonly mailbox: Mailbox } & AsyncDisposable;

/** A mailbox of a daemon behind a network of its own, polled once. */
async function farMailbox({ on = instance, worker = daemon } = {}): Promise<Far> {
  const proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', [mail()]);
  const mailbox = await on.add(at.dovecot, user, inClear(proxy.port, user));
  await until('the first mail', () => opened(worker, mailbox.name) === 1);
  return { proxy, user, mailbox, [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose]() };
}

const linesOf = (mailbox: Mailbox, event: string) =>
  daemon.lines.filter((line) => named(event)(line) && line['mailbox'] === mailbox.name);

async function failsWith(mailbox: Mailbox, code: string, times = 1): Promise<void> {
  await until(`${code} of ${mailbox.name}`, async () => {
    const check = await checkOf(daemon, mailbox.name);
    return (check?.reason ?? '').startsWith(`${code}: `) && (check?.failures ?? 0) >= times;
  });
}

const large = (count: number) => newMessages(count, { body: 'x'.repeat(70).concat('\n').repeat(1500) });

test.concurrent('case 32 (FS#2823): the claim of a fetch that was killed is no hindrance to the next one', async () => {
  await using own = await openInstance();
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', large(3));
  const mailbox = await own.add(at.dovecot, user, inClear(proxy.port, user));
  proxy.fault = { kind: 'stall_after', bytes: 50_000 };
  const first = own.start();
  await until('it is in the middle', () => proxy.bytesFromServer >= 50_000);
  first.signal('SIGKILL');
  await first.exit;
  proxy.fault = { kind: 'none' };
  const second = own.start();
  await second.waitFor(named('daemon.starting'));
  const startedAt = performance.now();
  await until('all of them', () => opened(second) === 3);
  // A claim that had to run out would take a minute.
  expect(performance.now() - startedAt).toBeLessThan(15_000);
  expect(await ticketsOf({ on: own }, mailbox)).toHaveLength(3);
});

test.concurrent('case 33 (FS#3844): a fetch that hangs is cut at its deadline, and the mailbox is polled again', async () => {
  await using far = await farMailbox();
  far.proxy.fault = { kind: 'stall_after', bytes: 100_000 };
  await at.dovecot.append(far.user, 'INBOX', large(5));
  await failsWith(far.mailbox, 'server_timeout');
  // Again and again, as long as it lasts.
  await failsWith(far.mailbox, 'server_timeout', 2);
  far.proxy.fault = { kind: 'none' };
  await until('all of them', () => opened(daemon, far.mailbox.name) === 6);
});

test.concurrent('case 34 (FS#2838): a fetch that takes longer than the interval is left in peace', async () => {
  await using own = await openInstance({ env: { TICKETMAILD_LOG_LEVEL: 'debug' } });
  const worker = own.start();
  await using far = await farMailbox({ on: own, worker });
  const before = far.proxy.bytesFromServer;
  far.proxy.fault = { kind: 'throttle', bytesPerS: 300_000 };
  await at.dovecot.append(far.user, 'INBOX', large(6));
  await until('it fetches', () => far.proxy.bytesFromServer > before + 100_000);
  far.proxy.fault = { kind: 'hold' };
  const polls = () => worker.lines.filter(named('poll.started')).length;
  const during = polls();
  // The next run of a timer, in another process; then those of the daemon, every second.
  await expect(poll({ on: own }, far.mailbox)).rejects.toMatchObject({ code: 'lease_taken' });
  await sleep(2500);
  expect(polls()).toBe(during);
  far.proxy.fault = { kind: 'none' };
  await until('all of them', () => opened(worker, far.mailbox.name) === 7);
  const [last] = worker.lines.filter(named('message.ticket_opened')).slice(-1);
  expect(worker.lines.slice(0, worker.lines.indexOf(last ?? {})).filter(named('poll.started'))).toHaveLength(during);
  expect(worker.lines.filter(named('poll.failed'))).toEqual([]);
});

test.concurrent('case 35 (FS#1696): a second fetch at the same time does not disturb the first', async () => {
  const { user, mailbox } = await boxWith(at, large(10));
  const [first, second] = await Promise.allSettled([poll(at, mailbox), poll(at, mailbox)]);
  const [failed] = [first, second].filter(({ status }) => status === 'rejected');
  expect(failed).toMatchObject({ reason: { code: 'lease_taken' } });
  expect(await ticketsOf(at, mailbox)).toHaveLength(10);
  const logins = (await at.dovecot.log()).split('\n').filter((line) => line.includes('Login: ') && line.includes(user));
  expect(logins).toHaveLength(1);
});

test.concurrent('case 36 (FS#5582): 30 mailboxes far away are polled side by side, and one that hangs keeps none waiting', async () => {
  await using own = await openInstance({
    env: {
      TICKETMAILD_POLL_INTERVAL_S: '3600',
      TICKETMAILD_POLL_CONCURRENCY_PER_HOST_MAX: '8',
      TICKETMAILD_POLL_COMMAND_TIMEOUT_S: '30',
    },
  });
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  await using silent = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  silent.fault = { kind: 'blackhole' };
  await own.add(at.dovecot, 'silent', inClear(silent.port, 'silent'));
  proxy.fault = { kind: 'latency', delayMs: 30 };
  for (let box = 0; box < 30; box += 1) {
    const user = at.dovecot.newUser();
    await at.dovecot.append(user, 'INBOX', [mail()]);
    await own.add(at.dovecot, user, inClear(proxy.port, user));
  }
  const worker = own.start();
  await worker.waitFor(named('poll.finished'));
  const startedAt = performance.now();
  await until('mail of all', () => opened(worker) === 30);
  const tookS = (performance.now() - startedAt) / 1000;
  const [, total = '0'] = /^ticketmaild_poll_duration_seconds_sum (\S+)$/m.exec(await metrics(worker)) ?? [];
  expect(Number(total)).toBeGreaterThan(5);
  expect(tookS).toBeLessThan(Number(total) / 2);
});

test.concurrent('case 37 (EE#52): who wants a mailbox that is being fetched is reported at once, and a fetch that broke lets go of it', async () => {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', large(6));
  const mailbox = await at.on.addMailbox(at.dovecot, user, inClear(proxy.port, user));
  proxy.fault = { kind: 'stall_after', bytes: 200_000 };
  const stuck = poll(at, mailbox).catch((error: unknown) => error);
  await until('it hangs', () => proxy.bytesFromServer >= 200_000);
  let quickestMs = Number.POSITIVE_INFINITY;
  // The quickest of three counts: other processes can only add to it.
  for (let round = 0; round < 3 && quickestMs >= 2000; round += 1) {
    const askedAt = performance.now();
    const others = await Promise.allSettled(Array.from({ length: 10 }, () => poll(at, mailbox)));
    quickestMs = Math.min(quickestMs, performance.now() - askedAt);
    expect(others).toEqual(
      others.map(() => ({ status: 'rejected', reason: expect.objectContaining({ code: 'lease_taken' }) })),
    );
  }
  expect(quickestMs).toBeLessThan(2000);
  proxy.kill();
  proxy.fault = { kind: 'none' };
  expect(await stuck).toMatchObject({ code: 'connection_lost' });
  await poll(at, mailbox);
  expect(await ticketsOf(at, mailbox)).toHaveLength(6);
});

test.concurrent('case 38 (ZA#1861): a mail server that could not be reached once is tried again automatically', async () => {
  await using far = await farMailbox();
  far.proxy.fault = { kind: 'refuse' };
  await until('it fails', () => linesOf(far.mailbox, 'poll.failed').length > 0);
  await at.dovecot.append(far.user, 'INBOX', [mail()]);
  far.proxy.fault = { kind: 'none' };
  await until('the mail', () => opened(daemon, far.mailbox.name) === 2);
  await until('it is said', () => linesOf(far.mailbox, 'poll.recovered').length === 1);
});

test.concurrent('case 39 (ZA#2321): a fetch that hangs is reported in the log, on /readyz and in the metrics', async () => {
  await using far = await farMailbox();
  far.proxy.fault = { kind: 'stall_after', bytes: 100_000 };
  await at.dovecot.append(far.user, 'INBOX', large(5));
  const line = await daemon.waitFor((each) => named('poll.failed')(each) && each['mailbox'] === far.mailbox.name);
  expect(line['error']).toMatchObject({ code: 'server_timeout', hint: expect.stringMatching(/./) });
  await failsWith(far.mailbox, 'server_timeout');
  expect(await checkOf(daemon, far.mailbox.name)).toMatchObject({
    status: 'failing',
    hint: expect.stringMatching(/./),
  });
  const trouble = (await metrics(daemon))
    .split('\n')
    .find((each) => each.startsWith('ticketmaild_mailbox_trouble') && each.includes(far.mailbox.name));
  expect(trouble).toMatch(/code="server_timeout".* 1$/);
  far.proxy.fault = { kind: 'none' };
  await until('it is well', async () => (await checkOf(daemon, far.mailbox.name))?.status === 'ok');
});

test.concurrent('case 40 (CW#4532): time-outs, however many, turn no mailbox off', async () => {
  await using far = await farMailbox();
  far.proxy.fault = { kind: 'stall_after', bytes: 1000 };
  await failsWith(far.mailbox, 'server_timeout', 3);
  await at.dovecot.append(far.user, 'INBOX', [mail()]);
  far.proxy.fault = { kind: 'none' };
  await until('the mail', () => opened(daemon, far.mailbox.name) === 2);
  expect(await instance.app.store.mailboxByName(far.mailbox.name)).toMatchObject({ state: 'active' });
});

test.concurrent('case 41 (jonhoo/rust-imap#263): a message that arrives between FETCH and IDLE is fetched at once', async () => {
  let seen = 0;
  let isAnnounced = false;
  await using server = await startScriptedMailbox({
    sources: [mail()],
    capabilities: 'IMAP4rev1 AUTH=PLAIN IDLE',
    script: (command, rest, tag, { say, next }) => {
      // It arrives while the first is fetched, is reported then, and never again.
      if (command === 'UID FETCH' && rest.includes('BODY.PEEK[]') && !isAnnounced) {
        isAnnounced = true;
        server.arrive(mail());
        say('* 2 EXISTS');
      }
      if (command !== 'IDLE') return false;
      seen += 1;
      say('+ idling');
      next(() => say(`${tag} OK done`));
      return true;
    },
  });
  await using own = await openInstance({
    env: { TICKETMAILD_IDLE_CONNECTIONS_MAX: '5', TICKETMAILD_POLL_INTERVAL_S: '3600' },
  });
  const mailbox = await own.add(at.dovecot, 'between', inClear(server.port, 'between'));
  const worker = own.start();
  await until('both', () => opened(worker) === 2);
  expect(await outcomesOf(own, mailbox)).toEqual(['1 ticket_opened', '2 ticket_opened']);
  await until('it rests', () => seen > 0);
  await sleep(200);
  expect(await rowsOf(own, mailbox)).toHaveLength(2);
});
