/**
 * IDLE on a real server: while it idles, during a fetch, and over several rounds.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FaultProxy, startFaultProxy } from '../../support/faults/proxy.ts';
import { failureOf } from '../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { connectionTo, fetchAll, mail, never, openHastily, openSession, plainTo, tookMs } from './setting.ts';

let dovecot: Dovecot;
let proxy: FaultProxy;

beforeAll(async () => {
  dovecot = await startDovecot();
  proxy = await startFaultProxy({ host: '127.0.0.1', port: dovecot.tlsPort });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await dovecot[Symbol.asyncDispose]();
});

test.each(['implicit', 'starttls', 'none'] as const)(
  'with --tls %s mail that is delivered while waiting ends the wait, is listed and fetched; flags and expunges are not',
  async (tls) => {
    const user = dovecot.newUser();
    await dovecot.append(user, 'INBOX', [mail('a'), mail('b')]);
    await using session = await openSession(connectionTo(dovecot, user, { tls }));
    await session.listAbove(0);
    const waiting = session.idle(10_000, never);
    await sleep(50);
    await dovecot.append(user, 'INBOX', [mail('c')]);
    expect(await waiting).toBe('new_messages');
    expect(await session.listAbove(2)).toEqual([3]);
    expect((await fetchAll(session, [3])).length).toBe(1);
    const quiet = session.idle(700, never);
    await dovecot.expunge(user, 'INBOX', [1]);
    expect(await quiet).toBe('timed_out');
  },
);

test('mail delivered during a fetch ends the wait after it', async () => {
  const user = dovecot.newUser();
  await dovecot.append(
    user,
    'INBOX',
    [1, 2, 3].map(() => mail('a', 300_000)),
  );
  await using session = await openSession(connectionTo(dovecot, user));
  const uids = await session.listAbove(0);
  for await (const { uid } of session.fetch(uids)) {
    if (uid === 1) await dovecot.append(user, 'INBOX', [mail('late')]);
  }
  expect(await session.idle(10_000, never)).toBe('new_messages');
  expect(await session.listAbove(3)).toEqual([4]);
});

test('a folder whose messages are moved while it is read lists only the unread rest', async () => {
  const user = dovecot.newUser();
  await using session = await openSession(connectionTo(dovecot, user));
  let last = 0;
  for (let round = 1; round <= 3; round += 1) {
    await dovecot.append(user, 'INBOX', [mail(`${round}`)]);
    expect(await session.idle(10_000, never)).toBe('new_messages');
    const uids = await session.listAbove(last);
    expect(uids).toEqual([round]);
    last = round;
    await session.apply({ kind: 'move', folder: 'Done' }, uids);
  }
  expect(await session.idle(300, never)).toBe('timed_out');
});

test('a network that is cut without a word while waiting is found when the wait is over', async () => {
  const user = dovecot.newUser();
  proxy.fault = { kind: 'none' };
  await using session = await openHastily(connectionTo(dovecot, user, { port: proxy.port }), 400);
  const refused = failureOf(session.idle(200, never));
  await sleep(50);
  proxy.fault = { kind: 'blackhole' };
  expect(await tookMs(refused)).toBeLessThan(2000);
  expect((await refused).code).toBe('server_timeout');
});

test('a session knows when the certificate of the server ends, pinned or not, and null without TLS', async () => {
  const user = dovecot.newUser();
  const fingerprint = dovecot.fingerprint.replaceAll(':', '').toLowerCase();
  const ends: (number | null)[] = [];
  for (const more of [
    {},
    { tls: 'starttls' as const },
    { caPem: null, fingerprint },
    { tls: 'none' as const, host: '127.0.0.1' },
  ]) {
    await using session = await openSession(connectionTo(dovecot, user, more));
    ends.push(session.certificateEndsAtMs);
  }
  expect(ends[0]).toBeGreaterThan(Date.now());
  expect(ends).toEqual([ends[0], ends[0], ends[0], null]);
});

test('30 rounds in one session miss nothing', async () => {
  const user = dovecot.newUser();
  await using session = await openSession(plainTo(dovecot.port, { user }));
  let last = 0;
  for (let round = 1; round <= 30; round += 1) {
    // Now and then the mail is there before the wait, at its start, or in its middle.
    const delivering = sleep((round % 3) * 10).then(() => dovecot.append(user, 'INBOX', [mail(`${round}`)]));
    if (round % 5 === 0) await delivering;
    expect(await session.idle(10_000, never)).toBe('new_messages');
    await delivering;
    const uids = await session.listAbove(last);
    expect(uids).toEqual([round]);
    last = uids.at(-1) ?? last;
  }
});

test.each(['implicit', 'starttls'] as const)('with --tls %s a rest is bounded as well', async (tls) => {
  const user = dovecot.newUser();
  await dovecot.append(
    user,
    'INBOX',
    Array.from({ length: 12_000 }, () => mail('a')),
  );
  await using session = await openSession(connectionTo(dovecot, user, { tls }));
  await using other = await openSession(connectionTo(dovecot, user));
  const uids = await other.listAbove(0);
  const resting = failureOf(session.idle(20_000, never));
  await other.apply({ kind: 'seen' }, uids);
  expect((await resting).code).toBe('server_protocol_error');
  // The mailbox is none the worse for it: the next poll goes as ever.
  await using next = await openSession(connectionTo(dovecot, user, { tls }));
  expect((await next.listAbove(0)).length).toBe(12_000);
});

test('flag changes of 5,000 messages by another client, between and during commands, are no flood', async () => {
  const user = dovecot.newUser();
  await dovecot.append(
    user,
    'INBOX',
    Array.from({ length: 5000 }, () => mail('a')),
  );
  await using session = await openSession(connectionTo(dovecot, user));
  await using other = await openSession(connectionTo(dovecot, user));
  const uids = await other.listAbove(0);
  const resting = session.idle(3000, never);
  await other.apply({ kind: 'seen' }, uids);
  expect(await resting).toBe('timed_out');
  await other.apply({ kind: 'delete' }, uids.slice(0, 4000));
  expect((await other.listAbove(0)).length).toBe(1000);
  await session.listAbove(0);
  expect(await session.idle(2000, never)).toBe('timed_out');
  expect((await session.listAbove(0)).length).toBe(1000);
  expect((await session.sizes(uids)).length).toBe(1000);
});
