/**
 * Messages in quarantine on the admin page: real ones of a real Dovecot, taken out one by one, twice at the same
 * moment, from a server that hangs, and while the database is away.
 */

import { createServer, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { Failure } from '../../../src/errors.ts';
import type { Mailbox } from '../../../src/ingest/model.ts';
import { shellArg } from '../../../src/text/shell.ts';
import { by, plain, sampleMailbox } from '../../adapters/database/samples.ts';
import { type TestApp, testApp } from '../../support/app.ts';
import { databaseKinds } from '../../support/database-kinds.ts';
import { serversOfFile } from '../../support/file-servers.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import { overviewOf } from './overview-scene.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

const never = new AbortController().signal;
const all = { page: 1, show: 'all', search: '' } as const;
const any = { page: 1, reason: null };
const ada = 'Ada';
const bob = 'Bob';
const small = { TICKETMAILD_MESSAGE_MAX_SIZE_MB: '1', TICKETMAILD_MESSAGE_BATCH_MAX_MB: '1' };
const hops = 'Received: from a by b; Tue, 24 Nov 2026 10:00:00 +0000\r\n'.repeat(60);
const subject = '<img src=x onerror=alert(1)> &amp; \'"`';

function mail(id: string, { headers = '', body = 'It does not print.' } = {}): Buffer {
  return Buffer.from(
    `From: "<b>Eve</b>" <eve@example.test>\r\nSubject: ${subject}\r\nMessage-ID: <${id}@example.test>\r\n${headers}\r\n${body}\r\n`,
  );
}

const large = (id: string) => mail(id, { body: 'x'.repeat(76).concat('\r\n').repeat(20_000) });
const looped = (id: string) => mail(id, { headers: hops });

async function polled(
  on: TestApp,
  messages: readonly Buffer[],
): Promise<{ readonly mailbox: Mailbox; readonly user: string }> {
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', messages);
  const mailbox = await on.addMailbox(dovecot, user);
  await on.pollOnce(mailbox, never);
  return { mailbox, user };
}

async function auditOf({ app }: TestApp): Promise<readonly string[]> {
  const rows = await app.store.readAudit(20, 'quarantine');
  return rows.toReversed().map(({ who, host, action, detail }) => {
    expect(host).toBe(app.actor.host);
    return `${who} ${action}: ${detail?.replaceAll(/box-[^/]*\/\d+\//gu, '')}`;
  });
}

for (const { kind, tags } of databaseKinds)
  describe(`in ${kind}`, { tags }, () => {
    const start = async (env = small) =>
      await testApp(kind === 'sqlite' ? null : (await mariadb.createDatabase()).config, env);

    test('each mail is retried, released or discarded as by the command, and the audit has a row of it', async () => {
      await using on = await start();
      const { mailbox } = await polled(on, [mail('a'), large('b'), looped('c'), large('d')]);
      const { service } = overviewOf(on);
      const { messages, reasons } = await service.quarantine(any);
      expect(reasons.map(({ reason, count }) => `${count} ${reason}`)).toEqual(['2 too_large', '1 mail_loop']);
      expect(messages.list).toHaveLength(3);
      for (const line of messages.list)
        expect(line).toMatchObject({ from: '"<b>Eve</b>" <eve@example.test>', subject });
      const [b = '', c = '', d = ''] = messages.list.map(({ id }) => id).sort();
      const retried = await service.resolveQuarantined(b, 'requeue', ada);
      expect(retried).toMatchObject({
        isDone: false,
        sentence: expect.stringMatching(
          /still in quarantine \(too_large\)\. too_large: ticketmaild quarantine release \S+\/\d+\/2 /,
        ),
      });
      expect(await service.resolveQuarantined(b, 'release', ada)).toEqual({
        isDone: true,
        sentence: expect.stringMatching(new RegExp(`^${b}: ticket_opened \\S+\\.$`)),
      });
      expect((await service.resolveQuarantined(c, 'release', bob)).sentence).toContain('ticket_opened');
      expect(await service.resolveQuarantined(d, 'discard', bob)).toEqual({
        isDone: true,
        sentence: `${d}: discarded.`,
      });
      expect((await service.quarantine(any)).messages).toMatchObject({ list: [], total: 0 });
      for (const [id, way] of [
        [b, 'release'],
        [d, 'release'],
        [d, 'discard'],
        ['nobody/7/1', 'requeue'],
        ['<script>', 'requeue'],
      ] as const)
        expect(await service.resolveQuarantined(id, way, ada)).toEqual({
          isDone: false,
          sentence: 'This message is not in quarantine: it was resolved meanwhile, or never existed.',
        });
      expect(await auditOf(on)).toEqual([
        `${ada} (admin page) quarantine.requeued: 1 too_large: 1 still in quarantine (too_large): 2`,
        `${ada} (admin page) quarantine.released: 1 too_large: 1 ticket_opened: 2`,
        `${bob} (admin page) quarantine.released: 1 mail_loop: 1 ticket_opened: 3`,
        `${bob} (admin page) quarantine.discarded: 1 too_large: 1 discarded: 4`,
      ]);
      const rows = await Array.fromAsync(on.app.store.outcomes(mailbox.id, false));
      expect(rows.map(({ outcome }) => outcome)).toEqual([
        'ticket_opened',
        'ticket_opened',
        'ticket_opened',
        'quarantined',
      ]);
      expect(await on.app.store.reconcile()).toMatchObject({ outcomesWithoutMessage: 0, messagesWithoutOutcome: 0 });
    });

    test('of two admins at the same moment one resolves it, and the other sees that', async () => {
      await using on = await start();
      await polled(on, [looped('a'), looped('b')]);
      const [one, two] = [overviewOf(on).service, overviewOf(on).service];
      const [a = '', b = ''] = (await one.quarantine(any)).messages.list.map(({ id }) => id).sort();
      // On one worker, and on two.
      for (const [id, other] of [
        [a, one],
        [b, two],
      ] as const) {
        const results = await Promise.all([
          one.resolveQuarantined(id, 'release', ada),
          other.resolveQuarantined(id, 'release', bob),
        ]);
        const sentences = results.map(({ sentence }) => sentence.replace(/ticket_opened \S+\./u, 'ticket')).sort();
        expect(sentences).toEqual([`${id}: it was already resolved elsewhere.`, `${id}: ticket`]);
        expect(results.map(({ isDone }) => isDone)).toEqual([true, true]);
      }
      expect(await on.app.store.listTickets(10)).toHaveLength(2);
    });

    test('a failure on the mail server shows with a hint, and the message stays in quarantine', async () => {
      await using on = await start();
      const { user } = await polled(on, [large('a')]);
      const { service } = overviewOf(on);
      const [line] = (await service.quarantine(any)).messages.list;
      const id = line?.id ?? '';
      await dovecot.expunge(user, 'INBOX', [1]);
      expect(await service.resolveQuarantined(id, 'requeue', ada)).toEqual({
        isDone: false,
        sentence: expect.stringContaining('its source is not stored, and not on the server under its UID'),
      });
      expect((await service.resolveQuarantined(id, 'release', ada)).sentence).toContain('from its header');
    });
  });

test('the page does not wait for a server that hangs: the action continues in the background, and the audit has its end', async () => {
  const sockets = new Set<Socket>();
  await using silent = createServer((socket) => void sockets.add(socket));
  await new Promise<void>((listening) => silent.listen(0, '127.0.0.1', listening));
  const address = silent.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await using on = await testApp(null, small);
  const mailbox = await on.addMailbox({ ...dovecot, tlsPort: port }, 'nobody');
  for (const uid of [1, 2])
    await on.app.store.quarantineMissed(mailbox.id, 7, { uid, sizeBytes: 100, receivedAtMs: null });
  let isPatient = false;
  const sleep = (ms: number, signal: AbortSignal) => systemClock.sleep(isPatient ? ms : Math.min(ms, 200), signal);
  const clock = { ...systemClock, sleep };
  const { service } = overviewOf(on, { clock });
  const id = `${mailbox.name}/7/1`;
  expect(await service.resolveQuarantined(id, 'requeue', ada)).toMatchObject({
    isDone: false,
    sentence: expect.stringContaining('continues in the background'),
  });
  isPatient = true;
  expect(await auditOf(on)).toEqual([]);
  await expect.poll(() => sockets.size, { timeout: 10_000 }).toBeGreaterThan(0);
  // It does not block others.
  expect((await service.resolveQuarantined(`${mailbox.name}/7/2`, 'discard', bob)).isDone).toBe(true);
  const ended = service[Symbol.asyncDispose]();
  for (const socket of sockets) socket.destroy();
  await ended;
  expect(await auditOf(on)).toEqual([
    `${bob} (admin page) quarantine.discarded: 1 missed: 1 discarded: 2`,
    expect.stringMatching(/^Ada \(admin page\) quarantine\.requeued: 1 missed: 1 failed \(\w+\): 1$/),
  ]);
  expect((await service.quarantine(any)).messages.list).toMatchObject([{ id }]);
});

test('a mail that is too large for the memory of the daemon is left to the command', async () => {
  await using on = await testApp(null, small);
  const mailbox = await on.addMailbox(dovecot, dovecot.newUser());
  await on.app.store.quarantineMissed(mailbox.id, 7, { uid: 1, sizeBytes: 300 * 1024 * 1024, receivedAtMs: null });
  const { service } = overviewOf(on);
  const { isDone, sentence } = await service.resolveQuarantined(`${mailbox.name}/7/1`, 'release', ada);
  expect(isDone).toBe(false);
  expect(sentence).toContain(`: ticketmaild quarantine release ${shellArg(`${mailbox.name}/7/1`)}`);
  expect((await service.resolveQuarantined(`${mailbox.name}/7/1`, 'discard', ada)).isDone).toBe(true);
});

test('while the database is unavailable the overview says so and shows older data, and quarantine fails', async () => {
  await using server = await startMariadb();
  await using on = await testApp((await server.createDatabase()).config);
  const { service, health } = overviewOf(on);
  const mailbox = sampleMailbox({ name: 'support' });
  await on.app.store.addMailbox(mailbox, plain('pw'), null, by);
  await on.app.store.quarantineMissed(mailbox.id, 7, { uid: 1, sizeBytes: 100, receivedAtMs: null });
  expect((await service.overview(all)).counts).toMatchObject({ unknown: 1 });
  await server.stop();
  health.recordDatabase(new Failure('database_unavailable', 'no response'));
  const away = await expect
    .poll(() => service.overview(all), { timeout: 5000 })
    .toMatchObject({
      isReady: false,
      counts: { unknown: 1 },
      mailboxes: { list: [{ name: 'support' }] },
      quarantine: { count: 1 },
    })
    .then(() => service.overview(all));
  expect(away.failingChecks.map(({ check, reason }) => `${check}: ${reason}`)).toEqual([
    'database: database_unavailable: no response',
    'passwords: the database does not answer',
    'clock: not compared yet',
    expect.stringMatching(/^quarantine: the database does not answer: the data are from 20\d\d-/),
    expect.stringMatching(/^mailboxes: the database does not answer: the data are from 20\d\d-/),
  ]);
  await expect(service.quarantine(any)).rejects.toMatchObject({ code: 'database_unavailable' });
  await expect(service.resolveQuarantined('support/7/1', 'discard', 'Ada')).rejects.toMatchObject({
    code: 'database_unavailable',
  });
  await server.restart();
  health.recordDatabase(null);
  await expect
    .poll(async () => (await service.overview(all)).failingChecks.map(({ check }) => check), { timeout: 10_000 })
    .toEqual(['passwords', 'clock', 'quarantine']);
  expect((await service.quarantine(any)).messages.total).toBe(1);
});
