/**
 * Mail servers that trickle without ever failing: more such mailboxes than slots, and mail of an honest server becomes
 * a ticket within two poll intervals all the same.
 */
import { expect, test } from 'vitest';
import type { Mailbox } from '../../../src/ingest/model.ts';
import type { Script } from '../../adapters/imap/scripted-server.ts';
import { startScriptedServer } from '../../adapters/imap/scripted-server.ts';
import { startScriptedMailbox } from '../../cases/scripted-mailbox.ts';
import { mail, opened, openInstance, readiness } from '../../support/instance.ts';
import { named } from '../../support/processes/daemon.ts';
import { until } from '../../support/promises.ts';

const intervalS = 10;
const messages = 100_000;

const handled = (line: Parameters<ReturnType<typeof named>>[0]) => `${line['event']}`.startsWith('message.');

/** The UIDs of a set such as `1:3,5`. */
function uidsOf(set: string): readonly number[] {
  return set.split(',').flatMap((range) => {
    const [from = 0, to = from] = range.split(':').map(Number);
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  });
}

/** Lists messages of `bytes` without end, and sends each fetch through `send`. */
function trickling(bytes: number, send: (uids: readonly number[], talk: Parameters<Script>[3], tag: string) => void) {
  const script: Script = (command, rest, tag, talk) => {
    if (command === 'UID SEARCH') talk.say(`* SEARCH ${uidsOf(`1:${messages}`).join(' ')}`, `${tag} OK`);
    else if (command !== 'UID FETCH') return false;
    else if (/BODY/.test(rest)) send(uidsOf(rest.split(' ')[0] ?? ''), talk, tag);
    else {
      const place = `RFC822.SIZE ${bytes} INTERNALDATE "24-Nov-2026 10:00:00 +0000"`;
      talk.say(...uidsOf(rest.split(' ')[0] ?? '').map((uid) => `* ${uid} FETCH (UID ${uid} ${place})`), `${tag} OK`);
    }
    return true;
  };
  return startScriptedServer({ exists: messages, script });
}

/** A byte every 50 ms: no message ever arrives, and 20 MB give it more than 20 minutes. */
const dripping = () =>
  trickling(20_000_000, ([uid], { say, socket }) => {
    say(`* ${uid} FETCH (UID ${uid} BODY[] {20000000}`);
    const timer = setInterval(() => (socket.destroyed ? clearInterval(timer) : socket.write('x')), 50);
  });

/** A small message every 300 ms, which it claims to be large: each is committed, and there is no last one. */
const endless = () =>
  trickling(20_000_000, ([uid = 0], { say }, tag) => {
    const source = mail(`endless-${uid}`).toString('latin1');
    setTimeout(() => say(`* ${uid} FETCH (UID ${uid} BODY[] {${source.length}}`, `${source})`, `${tag} OK`), 300);
  });

test('20 slow mailboxes, 8 slots: an honest mailbox is polled within two intervals', async () => {
  await using drips = await dripping();
  await using ends = await endless();
  await using honest = await startScriptedMailbox({ sources: [mail('first')] });
  await using instance = await openInstance({
    env: { TICKETMAILD_POLL_INTERVAL_S: `${intervalS}`, TICKETMAILD_POLL_CONCURRENCY_PER_HOST_MAX: '8' },
  });
  const add = (host: string, port: number, user: string) => {
    const connection = { host, port, tls: 'none', folder: 'INBOX', user, caPem: null, fingerprint: null } as const;
    const place = { host: 'localhost', tlsPort: port, caPem: '' } as const;
    return instance.add(place, user, {
      ...{ connection: { ...connection, allowPlaintext: true }, postAction: { kind: 'leave' } },
    });
  };
  const endless10: Mailbox[] = [];
  for (let index = 0; index < 10; index += 1) {
    await add('127.0.0.1', drips.port, `drip-${index}`);
    endless10.push(await add('127.0.0.1', ends.port, `endless-${index}`));
  }
  const daemon = instance.start();
  await until('every slot is taken', async () => (await readiness(daemon)).body.checks.scheduler.polls >= 8 || null);
  const mailbox = await add('localhost', honest.port, 'honest');
  const begunMs = Date.now();
  await until('the honest mail', () => opened(daemon, mailbox.name) === 1 || null, 60_000);
  expect(Date.now() - begunMs).toBeLessThan(2 * intervalS * 1000);
  // And again, while the slow ones continue.
  honest.arrive(mail('second'));
  const againMs = Date.now();
  await until('the second mail', () => opened(daemon, mailbox.name) === 2 || null, 60_000);
  expect(Date.now() - againMs).toBeLessThan(2 * intervalS * 1000);
  await daemon.waitFor(named('poll.preempted'));
  const { scheduler, mailboxes } = (await readiness(daemon)).body.checks;
  expect(scheduler.polls_long).toBeGreaterThan(0);
  // What makes progress fails at nothing and passes over nothing; what makes none rests.
  const failing = mailboxes.list.filter(({ status }) => status !== 'ok').map(({ reason }) => reason ?? '');
  expect(failing.filter((reason) => !reason.startsWith('server_timeout: The server is too slow'))).toEqual([]);
  expect(failing.length).toBeGreaterThan(0);
  for (const { name } of endless10) {
    const uids = daemon.lines.filter((line) => line['mailbox'] === name && handled(line)).map((line) => line['uid']);
    expect(uids).toEqual(uids.map((_, index) => index + 1));
  }
});
