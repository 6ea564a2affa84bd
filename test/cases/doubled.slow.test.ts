/**
 * Mail that became two tickets, or was announced twice, in what others used: here each of those messages is one ticket.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { startFaultProxy } from '../support/faults/proxy.ts';
import { opened, openInstance } from '../support/instance.ts';

import { outcomesOf, rowsOf } from '../support/outcomes.ts';
import { named, startDaemon } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { boxWith, flagged, healthy, inClear, mail, newMessages, poll, sceneOfFile, sql, ticketsOf } from './scene.ts';
import { startScriptedMailbox } from './scripted-mailbox.ts';

const at = sceneOfFile({ TICKETMAILD_MESSAGE_BATCH_MESSAGES_MAX: '10' });

test('case 18 (OT#494): one message is one ticket, however often it is looked for', async () => {
  // Neither a read flag nor a folder shows that it was fetched.
  const { mailbox } = await boxWith(at, [mail()], { postAction: { kind: 'leave' } });
  for (let run = 0; run < 4; run += 1) await poll(at, mailbox);
  expect(await outcomesOf(at.on, mailbox)).toEqual(['1 ticket_opened']);
  expect(await ticketsOf(at, mailbox)).toHaveLength(1);
});

test('case 19 (OT#1976): runs that overlap give one ticket for each message', async () => {
  await using instance = await openInstance({ env: { TICKETMAILD_MESSAGE_BATCH_MESSAGES_MAX: '5' } });
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', newMessages(60));
  const mailbox = await instance.add(at.dovecot, user);
  const runs = await Promise.all([1, 2].map(() => instance.command('poll', mailbox.name)));
  expect(runs.map(({ code }) => code)).toContain(0);
  for (const { code, stderr } of runs)
    if (code !== 0) expect(stderr).toMatch(/another worker is polling|a running daemon polls mailbox /);
  expect(await ticketsOf({ on: instance }, mailbox)).toHaveLength(60);
  expect((await rowsOf(instance, mailbox)).every(({ outcome }) => outcome === 'ticket_opened')).toBe(true);
});

test('case 21 (OT#1908): a message that was delivered twice, and again to a copy address, is one ticket', async () => {
  const source = mail().toString();
  const traced = (trace: string) =>
    Buffer.from(
      `Return-Path: <${trace}@example.test>\r\nReceived: from ${trace} by mx; Tue, 24 Nov 2026 10:00:00 +0000\r\n${source}`,
    );
  const { mailbox } = await boxWith(at, [traced('a'), traced('b')]);
  await poll(at, mailbox);
  await at.dovecot.append(mailbox.connection.user, 'INBOX', [traced('c')]);
  await poll(at, mailbox);
  expect(await outcomesOf(at.on, mailbox)).toEqual([
    '1 ticket_opened',
    '2 duplicate (seen_before)',
    '3 duplicate (seen_before)',
  ]);
  expect(await ticketsOf(at, mailbox)).toMatchObject([{ messageCount: 1 }]);
});

test('case 22 (ZA#78): a fetch that is interrupted again and again imports nothing twice', async () => {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  await using instance = await openInstance({ env: { TICKETMAILD_MESSAGE_BATCH_MESSAGES_MAX: '5' } });
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', newMessages(60, { body: 'x'.repeat(70).concat('\n').repeat(200) }));
  const mailbox = await instance.add(at.dovecot, user, inClear(proxy.port, user));
  // Killed where it is slow, twice, and then let continue.
  for (const bytes of [100_000, 400_000]) {
    proxy.fault = { kind: 'stall_after', bytes };
    await using daemon = startDaemon(['run'], { env: instance.env });
    const before = proxy.bytesFromServer;
    await until('it is in the middle', () => proxy.bytesFromServer - before >= bytes);
    await sleep(50);
    daemon.signal('SIGKILL');
    await daemon.exit;
  }
  proxy.fault = { kind: 'none' };
  expect(await instance.command('poll', mailbox.name)).toMatchObject({ code: 0 });
  expect((await rowsOf(instance, mailbox)).map(({ outcome }) => outcome)).toEqual(Array(60).fill('ticket_opened'));
  expect(await ticketsOf({ on: instance }, mailbox)).toHaveLength(60);
  expect(await flagged(at, user)).toHaveLength(60);
});

test('case 23 (ZA#1662): a mark that the server refuses, or a connection that ends with it, makes no second ticket', async () => {
  const refusals = ['NO The requested messages no longer exist.', 'BYE'];
  await using server = await startScriptedMailbox({
    sources: [mail()],
    script: (command, _rest, tag, { say, socket }) => {
      if (command !== 'UID STORE' || refusals.length === 0) return false;
      const refusal = refusals.shift();
      if (refusal === 'BYE') socket.destroy();
      else say(`${tag} ${refusal}`);
      return true;
    },
  });
  const mailbox = await at.on.addMailbox(at.dovecot, 'stored', inClear(server.port, 'stored'));
  await expect(poll(at, mailbox)).rejects.toMatchObject({ code: 'server_refused' });
  await expect(poll(at, mailbox)).rejects.toMatchObject({ code: 'connection_lost' });
  await poll(at, mailbox);
  expect(server.lines.filter((line) => line.includes('UID STORE'))).toHaveLength(3);
  expect(await outcomesOf(at.on, mailbox)).toEqual(['1 ticket_opened']);
  expect(await ticketsOf(at, mailbox)).toHaveLength(1);
});

test('case 24 (ZA#1578): the same Message-ID in two mailboxes is one ticket in each', async () => {
  const source = mail();
  const boxes = [await boxWith(at, [source]), await boxWith(at, [source])];
  for (const { mailbox } of boxes) {
    await poll(at, mailbox);
    expect(await outcomesOf(at.on, mailbox)).toEqual(['1 ticket_opened']);
    expect(await ticketsOf(at, mailbox)).toHaveLength(1);
  }
});

test('case 25 (FS#5638): a message from a mailbox to itself is not two tickets', async () => {
  // Whether it is known as an address of our own, or not.
  for (const isKnown of [true, false]) {
    const user = at.dovecot.newUser();
    const source = mail({ from: `Support <${user}>`, to: user });
    // As the server delivers it: the copy of what was sent, and what arrived.
    await at.dovecot.append(user, 'INBOX', [source, source]);
    const mailbox = await at.on.addMailbox(at.dovecot, user, { addresses: isKnown ? [user] : [] });
    await poll(at, mailbox);
    await poll(at, mailbox);
    const kept = '1 quarantined (own_address), 2 duplicate (seen_before)';
    const opened = '1 ticket_opened, 2 duplicate (seen_before)';
    expect((await outcomesOf(at.on, mailbox)).join(', ')).toBe(isKnown ? kept : opened);
    expect(await ticketsOf(at, mailbox)).toHaveLength(isKnown ? 0 : 1);
  }
});

test('case 27 (CW#12054): a deleted ticket is not imported again', async () => {
  const sources = newMessages(2);
  const { user, mailbox } = await boxWith(at, sources);
  await poll(at, mailbox);
  const mine = `mailbox_id = '${mailbox.id}'`;
  // One with its messages, one without: helpdesks do either.
  await sql(
    at,
    `DELETE FROM message WHERE ${mine} AND message_id LIKE '%' ORDER BY received_at LIMIT 1; DELETE FROM ticket WHERE ${mine}`,
  );
  await at.dovecot.changeUidValidity(user, 'INBOX');
  await at.dovecot.append(user, 'INBOX', [...sources, mail()]);
  await poll(at, mailbox);
  const later = (await rowsOf(at.on, mailbox)).slice(2);
  expect(later.map(({ outcome }) => outcome)).toEqual([...Array(4).fill('duplicate'), 'ticket_opened']);
  expect(await ticketsOf(at, mailbox)).toHaveLength(1);
});

test('case 28 (EE#104): old messages are not news when the cursor was lost or a client uploaded them again', async () => {
  const sources = newMessages(4);
  const { user, mailbox } = await boxWith(at, sources);
  await poll(at, mailbox);
  await sql(at, `DELETE FROM mailbox_state WHERE mailbox_id = '${mailbox.id}'`);
  await at.on.app.store.scheduleNewMailboxes();
  expect((await poll(at, mailbox)).outcomes).toMatchObject({ ticket_opened: 0 });
  // A client that uploads them again writes its own status into the header.
  const uploaded = sources.map((source) => Buffer.from(`X-Status: RO\r\n${source.toString()}`));
  await at.dovecot.append(user, 'INBOX', [...uploaded, mail()], { receivedAt: new Date('2026-11-20T10:00:00Z') });
  expect((await poll(at, mailbox)).outcomes).toMatchObject({ ticket_opened: 1, duplicate: 4 });
  expect(await ticketsOf(at, mailbox)).toHaveLength(5);
});

test('case 29 (znuny/Znuny PR#384): the same message to several of our addresses is a ticket at each of them', async () => {
  const source = mail({ to: 'sales@example.test, support@example.test', headers: ['Cc: office@example.test'] });
  const boxes = [];
  for (const _ of ['sales', 'support', 'office']) boxes.push((await boxWith(at, [source])).mailbox);
  await Promise.all(boxes.map((box) => poll(at, box)));
  const tickets = await Promise.all(boxes.map((box) => ticketsOf(at, box)));
  expect(tickets.map((found) => found.length)).toEqual([1, 1, 1]);
  expect(new Set(tickets.flat().map(({ ref }) => ref)).size).toBe(3);
});

test('case 31 (oroinc/platform#411): two workers that fetch the same mailbox while mail arrives double nothing', async () => {
  await using instance = await openInstance({
    database: await at.mariadb.createDatabase(),
    env: { TICKETMAILD_MESSAGE_BATCH_MESSAGES_MAX: '5' },
  });
  const user = at.dovecot.newUser();
  const mailbox = await instance.add(at.dovecot, user);
  const workers = ['one', 'two'].map((name) => instance.start({ TICKETMAILD_DATA_DIR: join(instance.folder, name) }));
  for (const worker of workers) await worker.waitFor(named('daemon.ready'));
  for (let burst = 0; burst < 8; burst += 1) {
    await at.dovecot.append(user, 'INBOX', newMessages(10));
    // The one that is there is killed in the middle.
    if (burst === 4) workers[0]?.signal('SIGKILL');
    await sleep(150);
  }
  await until('all of them', async () => (await rowsOf(instance, mailbox)).length === 80);
  expect(await ticketsOf({ on: instance }, mailbox)).toHaveLength(80);
  expect(workers.reduce((sum, worker) => sum + opened(worker), 0)).toBeLessThanOrEqual(80);
  expect(await instance.app.store.reconcile()).toMatchObject({ outcomes: 80, messages: 80, ...healthy });
});
