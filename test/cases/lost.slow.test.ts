/**
 * Mail that was lost without a trace, in what others used: here each of those messages becomes a ticket, or is kept
 * where people see it.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { migrations } from '../../src/adapters/database/schema/migrations.ts';
import { testApp } from '../support/app.ts';
import { clockVariables, findFaketime, setClock } from '../support/faults/faked-clock.ts';
import { startFaultProxy } from '../support/faults/proxy.ts';
import { opened, openInstance } from '../support/instance.ts';

import { messagesOf, outcomesOf, rowsOf } from '../support/outcomes.ts';
import { named, runCommand } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { temporaryFolder } from '../support/temporary.ts';
import {
  boxWith,
  flagged,
  healthy,
  inClear,
  mail,
  newMessages,
  poll,
  sceneOfFile,
  ticketsOf,
  whileNothingIsStored,
} from './scene.ts';
import { startScriptedMailbox } from './scripted-mailbox.ts';

const at = sceneOfFile({
  TICKETMAILD_MESSAGE_MAX_SIZE_MB: '1',
  TICKETMAILD_MESSAGE_BATCH_MAX_MB: '1',
  TICKETMAILD_MESSAGE_BATCH_MESSAGES_MAX: '10',
});

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

test('case 1 (FS#4888): messages of a label folder that were turned read while a fetch broke off all become tickets', async () => {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  const user = at.dovecot.newUser();
  // A person, or a fetch that died, has marked four fifths of them.
  await at.dovecot.append(user, 'Labels/Support', newMessages(16), { flags: ['\\Seen'] });
  await at.dovecot.append(user, 'Labels/Support', newMessages(4));
  const { connection } = inClear(proxy.port, user);
  const mailbox = await at.on.addMailbox(at.dovecot, user, { connection: { ...connection, folder: 'Labels/Support' } });
  proxy.fault = { kind: 'cut_after', bytes: 6000 };
  await expect(poll(at, mailbox)).rejects.toMatchObject({ code: 'connection_lost' });
  proxy.fault = { kind: 'none' };
  await poll(at, mailbox);
  expect(await outcomesOf(at.on, mailbox)).toEqual(numbers(20).map((uid) => `${uid} ticket_opened`));
  expect(await ticketsOf(at, mailbox)).toHaveLength(20);
});

test('case 3 (FS#3406): a message that another client has read already is fetched', async () => {
  const { mailbox } = await boxWith(at, [mail()], {}, { flags: ['\\Seen'] });
  await poll(at, mailbox);
  expect(await outcomesOf(at.on, mailbox)).toEqual(['1 ticket_opened']);
});

test('case 5 (FS#4109): of every message, whatever it is, a row and a log line say what became of it', async () => {
  const twin = mail();
  const { mailbox } = await boxWith(at, [
    mail({ from: 'ada@five.test', id: 'first@five.test' }),
    mail({ from: 'ada@five.test', headers: ['In-Reply-To: <first@five.test>'] }),
    mail({ body: 'x'.repeat(76).concat('\n').repeat(20_000) }),
    twin,
    twin,
    mail({ from: null, id: null, subject: '' }),
    mail({ headers: ['Auto-Submitted: auto-replied'] }),
    mail({ headers: ['Content-Type: multipart/mixed; boundary=nowhere'], body: '--elsewhere\nbroken' }),
    Buffer.from('\r\n'),
  ]);
  await poll(at, mailbox);
  const rows = await rowsOf(at.on, mailbox);
  expect(rows.map(({ uid }) => uid)).toEqual(numbers(9));
  expect(rows.map(({ outcome, reason }) => reason ?? outcome)).toEqual([
    'ticket_opened',
    'reply_added',
    'too_large',
    'ticket_opened',
    'seen_before',
    'ticket_opened',
    'auto_reply',
    'ticket_opened',
    expect.any(String),
  ]);
  const logged = at.on.lines.filter(
    (line) => line['mailbox'] === mailbox.name && `${line['event']}`.startsWith('message.'),
  );
  expect(logged.map((line) => [line['uid'], line['event']])).toEqual(
    rows.map(({ uid, outcome }) => [uid, `message.${outcome}`]),
  );
  expect(await at.on.app.store.reconcile()).toMatchObject(healthy);
});

test('case 6 (FS#4646): a mail is fetched when it is there, in every time zone, just before and just after midnight', async () => {
  await using instance = await openInstance();
  const library = findFaketime();
  const now = Date.now();
  const toMidnightS = Math.round((86_400_000 - (now % 86_400_000)) / 1000);
  // In one of these zones it is another day than on the mail server, whatever the time is.
  const zones = [
    ['Etc/GMT-14', toMidnightS - 3],
    ['Etc/GMT+12', toMidnightS + 3],
  ] as const;
  const polls = zones.map(async ([zone, offsetS]) => {
    const user = at.dovecot.newUser();
    const mailbox = await instance.add(at.dovecot, user, {
      ...inClear(at.dovecot.port, user),
      start: { from: 'time', atMs: now - 5000 },
    });
    await at.dovecot.append(user, 'INBOX', [mail()], { receivedAt: new Date(now - 86_400_000) });
    await at.dovecot.append(user, 'INBOX', newMessages(2));
    const clockFile = join(instance.folder, `clock-${offsetS}`);
    await setClock(clockFile, offsetS);
    const clock = library === null ? {} : clockVariables(library, clockFile);
    const { code, stderr } = await runCommand(['poll', mailbox.name], { env: { ...instance.env, ...clock, TZ: zone } });
    expect(code, stderr).toBe(0);
    return await outcomesOf(instance, mailbox);
  });
  for (const polled of polls) expect(await polled).toEqual(['2 ticket_opened', '3 ticket_opened']);
});

test('case 7 (CW#9069): a message without a Message-ID is read like any other', async () => {
  const { user, mailbox } = await boxWith(at, [mail({ id: null, subject: 'No id' })]);
  await poll(at, mailbox);
  await poll(at, mailbox);
  expect(await outcomesOf(at.on, mailbox)).toEqual(['1 ticket_opened']);
  const [message] = await messagesOf(at.on, mailbox);
  expect(message).toMatchObject({
    subject: 'No id',
    messageId: expect.stringMatching(/^[0-9a-f]{64}@missing\.invalid$/),
  });
  expect(await flagged(at, user)).toEqual([1]);
});

test('case 8 (FS#311): messages with an empty Message-ID are not the same message', async () => {
  const empty = (line: string, body: string) => mail({ id: null, headers: [line], body });
  const { mailbox } = await boxWith(at, [
    empty('Message-ID: ', 'one'),
    empty('Message-ID: ', 'two'),
    empty('Message-ID: <>', 'three'),
    empty('Message-ID: <>', 'four'),
  ]);
  await poll(at, mailbox);
  expect(await outcomesOf(at.on, mailbox)).toEqual(numbers(4).map((uid) => `${uid} ticket_opened`));
});

test('case 10 (OTRS PR#694): a message that the server lists and answers without a body is asked for again, and never deleted', async () => {
  const asked: number[] = [];
  const empty = (uid: number) => `* ${uid} FETCH (UID ${uid} BODY[] "")`;
  await using server = await startScriptedMailbox({
    sources: newMessages(2),
    answerTo: (uid) => {
      const isWhole = uid === 1 && asked.includes(1);
      asked.push(uid);
      return isWhole ? null : empty(uid);
    },
  });
  const mailbox = await at.on.addMailbox(at.dovecot, 'empty', {
    ...inClear(server.port, 'empty'),
    postAction: { kind: 'delete' },
  });
  await poll(at, mailbox);
  expect(await outcomesOf(at.on, mailbox)).toEqual(['1 ticket_opened', '2 quarantined (source_empty)']);
  expect(asked.filter((uid) => uid === 2).length).toBeGreaterThan(1);
  // Deleted is the one whose ticket is stored, and nothing else.
  expect(server.lines.filter((line) => /STORE/.test(line)).map((line) => / STORE (\S+)/.exec(line)?.[1])).toEqual([
    '1',
  ]);
  expect(server.lines.filter((line) => / EXPUNGE/.test(line) && !/UID EXPUNGE 1$/.test(line))).toEqual([]);
});

test('case 11 (OT#2998): a message whose ticket could not be stored is not deleted', async () => {
  const { user, mailbox } = await boxWith(at, newMessages(3), { postAction: { kind: 'delete' } });
  await whileNothingIsStored(at, () => expect(poll(at, mailbox)).rejects.toMatchObject({ code: 'database_failed' }));
  expect((await at.dovecot.listFlags(user, 'INBOX')).size).toBe(3);
  expect(await ticketsOf(at, mailbox)).toEqual([]);
  await poll(at, mailbox);
  expect(await ticketsOf(at, mailbox)).toHaveLength(3);
  expect((await at.dovecot.listFlags(user, 'INBOX')).size).toBe(0);
});

test('case 13 (ZA#5192): counted from end to end, every message is there once, however often the connection breaks', async () => {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  const user = at.dovecot.newUser();
  const mailbox = await at.on.addMailbox(at.dovecot, user, inClear(proxy.port, user));
  const subjects = numbers(120).map((number) => `count-${number}`);
  let sent = 0;
  let broken = 0;
  while ((await rowsOf(at.on, mailbox)).length < subjects.length) {
    const batch = subjects.slice(sent, sent + 20);
    sent += batch.length;
    await at.dovecot.append(
      user,
      'INBOX',
      batch.map((subject) => mail({ subject })),
    );
    proxy.fault = sent < subjects.length ? { kind: 'cut_after', bytes: 3000 + Math.random() * 6000 } : { kind: 'none' };
    await poll(at, mailbox).catch((error: unknown) => {
      expect(error).toMatchObject({ code: expect.stringMatching(/^(connection_lost|server_protocol_error)$/) });
      broken += 1;
    });
  }
  expect(broken).toBeGreaterThan(0);
  expect((await messagesOf(at.on, mailbox)).map(({ subject }) => subject)).toEqual(subjects);
  expect((await ticketsOf(at, mailbox)).map(({ subject }) => subject).sort()).toEqual(subjects.toSorted());
  expect(await flagged(at, user)).toEqual(numbers(120));
});

test('case 14 (CW#6604): after an outage all that came meanwhile is fetched, not just the last messages', async () => {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  await using instance = await openInstance();
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', [mail()]);
  await instance.add(at.dovecot, user, inClear(proxy.port, user));
  const daemon = instance.start();
  await daemon.waitFor(named('message.ticket_opened'));
  proxy.fault = { kind: 'refuse' };
  proxy.kill();
  await daemon.waitFor(named('poll.failed'));
  await at.dovecot.append(user, 'INBOX', newMessages(130));
  await sleep(1500);
  proxy.fault = { kind: 'none' };
  await until('all of them', () => opened(daemon) === 131);
});

test('case 15 (CW#8829): after an update new messages are detected, and none comes twice', async () => {
  await using folder = await temporaryFolder('versions');
  const [newer, older] = [join(folder.path, 'newer.db'), join(folder.path, 'older.db')];
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', newMessages(5));
  await using first = await testApp({ kind: 'sqlite', path: newer });
  const mailbox = await first.addMailbox(at.dovecot, user);
  await poll({ on: first }, mailbox);
  writeOlder(older, newer);
  await using updated = await testApp({ kind: 'sqlite', path: older });
  await at.dovecot.append(user, 'INBOX', newMessages(7));
  expect((await poll({ on: updated }, mailbox)).outcomes).toMatchObject({ ticket_opened: 7, duplicate: 0 });
  expect(await outcomesOf(updated, mailbox)).toHaveLength(12);
  // What the version before has stored is also known again after the server has numbered its messages again.
  await at.dovecot.changeUidValidity(user, 'INBOX');
  expect((await poll({ on: updated }, mailbox)).outcomes).toMatchObject({ ticket_opened: 0, duplicate: 12 });
});

/** The rows of `newer` in the tables of the version before marks, links and quarantine. */
function writeOlder(older: string, newer: string): void {
  using database = new DatabaseSync(older);
  database.exec('create table schema_migration (number int not null primary key, name text, applied_at text)');
  for (const { number, name, sqlite } of migrations.filter((migration) => migration.number <= 32)) {
    database.exec(sqlite ?? '');
    database.exec(`insert into schema_migration values (${number}, '${name}', '2026-01-01 00:00:00.000')`);
  }
  database.exec(`attach '${newer}' as newer`);
  const tables = ['mailboxes', 'mailbox_state', 'ticket', 'message', 'attachment', 'outcome'];
  for (const table of tables) {
    const columns = database
      .prepare(`select name from pragma_table_info('${table}')`)
      .all()
      .map(({ name }) => `"${name}"`);
    database.exec(`insert into ${table} (${columns.join()}) select ${columns.join()} from newer.${table}`);
  }
}

test('case 16 (OT#6407): a message that was stored and not moved is moved by the next poll, and one that staff moves back is no second ticket', async () => {
  const source = mail();
  const { user, mailbox } = await boxWith(at, [source], { postAction: { kind: 'move', folder: 'a//b' } });
  await expect(poll(at, mailbox)).rejects.toMatchObject({
    code: expect.stringMatching(/^(server_refused|folder_missing)$/),
  });
  expect(await outcomesOf(at.on, mailbox)).toEqual(['1 ticket_opened']);
  const moving = { ...mailbox, postAction: { kind: 'move', folder: 'Labels/Done' } } as const;
  await poll(at, moving);
  expect((await at.dovecot.listFlags(user, 'Labels/Done')).size).toBe(1);
  await at.dovecot.append(user, 'INBOX', [source]);
  await poll(at, moving);
  expect(await outcomesOf(at.on, mailbox)).toEqual(['1 ticket_opened', '2 duplicate (seen_before)']);
  expect((await at.dovecot.listFlags(user, 'INBOX')).size).toBe(0);
  expect(await ticketsOf(at, mailbox)).toHaveLength(1);
});

test('case 17 (FS, source names #4624 and #4047): bad messages, gaps and marks shift no window: the newest messages are fetched too', async () => {
  const large = mail({ body: 'x'.repeat(76).concat('\n').repeat(20_000) });
  const { user, mailbox } = await boxWith(at, [
    ...newMessages(9),
    large,
    ...newMessages(15),
    Buffer.from('\0\0\r\n'),
    ...newMessages(9),
  ]);
  await at.dovecot.expunge(user, 'INBOX', [3, 4, 11, 12, 20]);
  const polling = poll(at, mailbox);
  // Marks change while the windows of ten are fetched.
  for (const moment of numbers(4)) {
    await sleep(moment);
    await at.dovecot.listFlags(user, 'INBOX');
  }
  await polling;
  const rows = await rowsOf(at.on, mailbox);
  const expected = numbers(35).filter((uid) => ![3, 4, 11, 12, 20].includes(uid));
  expect(rows.map(({ uid }) => uid)).toEqual(expected);
  expect(rows.filter(({ outcome }) => outcome === 'ticket_opened').length).toBeGreaterThanOrEqual(expected.length - 2);
  expect(rows.at(-1)).toMatchObject({ uid: 35, outcome: 'ticket_opened' });
});
