/**
 * Numberings that changed and connections that were too many, in what others used.
 */

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { startScriptedServer } from '../adapters/imap/scripted-server.ts';
import { type FaultProxy, startFaultProxy } from '../support/faults/proxy.ts';
import { checkOf, count, metrics, opened, openInstance } from '../support/instance.ts';
import { outcomesOf } from '../support/outcomes.ts';
import { named } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { boxWith, inClear, mail, newMessages, poll, sceneOfFile, ticketsOf } from './scene.ts';

const at = sceneOfFile();

/** Watches how many connections are open at the same time, as the kernel of the client counts them (proc_net_tcp). */
function peakOf(proxy: FaultProxy): { readonly peak: () => number } & Disposable {
  const established = new RegExp(` 0100007F:${proxy.port.toString(16).toUpperCase().padStart(4, '0')} 01 `, 'g');
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, readFileSync('/proc/net/tcp', 'latin1').match(established)?.length ?? 0);
  }, 5);
  return { peak: () => peak, [Symbol.dispose]: () => clearInterval(timer) };
}

test('case 83 (nextcloud/mail PR#2979): after a new UIDVALIDITY nothing is taken for what had its number before', async () => {
  const [first, second, third] = [mail({ subject: 'first' }), mail({ subject: 'second' }), mail({ subject: 'third' })];
  const { user, mailbox } = await boxWith(at, [first, second]);
  await poll(at, mailbox);
  // The numbers are given again, in another order, and one of them to a new message.
  await at.dovecot.expunge(user, 'INBOX', [1, 2]);
  await at.dovecot.changeUidValidity(user, 'INBOX');
  await at.dovecot.append(user, 'INBOX', [third, second, first]);
  const report = await poll(at, mailbox);
  expect(report.outcomes).toMatchObject({ ticket_opened: 1, duplicate: 2 });
  expect((await ticketsOf(at, mailbox)).map(({ subject }) => subject).sort()).toEqual(['first', 'second', 'third']);
  expect(
    at.on.lines.filter((line) => line['event'] === 'folder.reset' && line['mailbox'] === mailbox.name),
  ).toHaveLength(1);
  // And what comes next counts from there.
  await at.dovecot.append(user, 'INBOX', [mail()]);
  expect((await poll(at, mailbox)).outcomes).toMatchObject({ ticket_opened: 1, duplicate: 0 });
});

test.concurrent('case 85 (FS#2563): 22 mailboxes of one server never have more connections than they may', async () => {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  proxy.fault = { kind: 'latency', delayMs: 2 };
  using open = peakOf(proxy);
  await using instance = await openInstance({
    env: { TICKETMAILD_IDLE_CONNECTIONS_MAX: '3', TICKETMAILD_POLL_CONCURRENCY_MAX: '30' },
  });
  for (let box = 0; box < 22; box += 1) {
    const user = at.dovecot.newUser();
    await at.dovecot.append(user, 'INBOX', [mail()]);
    await instance.add(at.dovecot, user, inClear(proxy.port, user));
  }
  const daemon = instance.start();
  await until('mail of all', () => opened(daemon) === 22);
  await until('each was polled again', async () => {
    const [, polls = '0'] =
      /^ticketmaild_polls_total\{host="127\.0\.0\.1",result="ok"\} (\d+)$/m.exec(await metrics(daemon)) ?? [];
    return Number(polls) >= 44;
  });
  // Four polls, and three that idle.
  expect(open.peak()).toBeLessThanOrEqual(7);
  expect(open.peak()).toBeGreaterThan(3);
  expect(count(daemon, 'poll.failed')).toBe(0);
  daemon.signal('SIGTERM');
  await daemon.exit;
  await until('none is left', () => proxy.open === 0);
});

test.concurrent('case 86 (postalsys/imapflow#178): a limit of connections is waited for, and is no wrong password', async () => {
  let refusals = 1;
  await using server = await startScriptedServer({
    exists: 0,
    script: (command, _rest, tag, { say, next }) => {
      if (command !== 'AUTHENTICATE' || refusals === 0) return false;
      refusals -= 1;
      say('+ ');
      next(() => say(`${tag} NO [ALERT] Too many simultaneous connections. Try again in 2 seconds. (Failure)`));
      return true;
    },
  });
  await using instance = await openInstance({ env: { TICKETMAILD_POLL_LOGIN_FAILURES_MAX: '1' } });
  const mailbox = await instance.add(at.dovecot, 'many', inClear(server.port, 'many'));
  const user = at.dovecot.newUser();
  await instance.add(at.dovecot, user);
  const daemon = instance.start();
  await until('it is reported', async () => (await checkOf(daemon, mailbox.name))?.reason?.startsWith('server_busy: '));
  await at.dovecot.append(user, 'INBOX', [mail()]);
  await until('the others continue', () => opened(daemon) === 1);
  await daemon.waitFor((line) => named('poll.recovered')(line) && line['mailbox'] === mailbox.name);
  expect(await metrics(daemon)).not.toMatch(/^ticketmaild_login_failures_total\{host="127/m);
  // Several folders of one account are one connection each, and no more than one at a time for each.
  expect(server.lines.filter((line) => line.includes('AUTHENTICATE')).length).toBeGreaterThanOrEqual(2);
});

test.concurrent('case 87 (maathimself/mailflow#384): a mailbox gets its mail at once while others of its server are filled up', async () => {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  proxy.fault = { kind: 'latency', delayMs: 50 };
  await using instance = await openInstance({
    env: { TICKETMAILD_POLL_COMMAND_TIMEOUT_S: '5', TICKETMAILD_MESSAGE_BATCH_MESSAGES_MAX: '10' },
  });
  for (let box = 0; box < 3; box += 1) {
    const user = at.dovecot.newUser();
    await at.dovecot.append(user, 'INBOX', newMessages(250));
    await instance.add(at.dovecot, user, inClear(proxy.port, user));
  }
  const user = at.dovecot.newUser();
  const small = await instance.add(at.dovecot, user, inClear(at.dovecot.port, user));
  const daemon = instance.start();
  await daemon.waitFor(named('message.ticket_opened'));
  await at.dovecot.append(user, 'INBOX', [mail()]);
  await until('all of them', () => opened(daemon) === 751);
  const mailboxes = daemon.lines.filter(named('message.ticket_opened')).map((line) => line['mailbox']);
  expect(mailboxes.indexOf(small.name)).toBeLessThan(600);
  expect(count(daemon, 'poll.failed')).toBe(0);
  expect(await outcomesOf(instance, small)).toEqual(['1 ticket_opened']);
});
