/**
 * The hourly retry of messages that a server did not deliver: one that drips holds up no other mailbox, and no login is
 * tried beside what `pause` and the suspension of logins allow.
 */
import { setInterval } from 'node:timers';
import { expect, test } from 'vitest';
import type { Mailbox } from '../../../src/ingest/model.ts';
import { retryUnfetched } from '../../../src/ingest/quarantine/retry.ts';
import { inClear, newMessages } from '../../cases/scene.ts';
import { startScriptedMailbox } from '../../cases/scripted-mailbox.ts';
import { type TestApp, testApp } from '../../support/app.ts';
import { outcomesOf } from '../../support/outcomes.ts';

const never = new AbortController().signal;
/** The server that a mailbox names is given in its connection. */
const nowhere = { host: 'localhost', tlsPort: 1, caPem: '' } as const;
const actor = { who: 'test', host: 'test' };
const silent = { info: () => undefined, warn: () => undefined } as never;
const held = '3 quarantined (fetch_failed)';

async function poll(on: TestApp, mailbox: Mailbox, times: number): Promise<void> {
  for (let n = 0; n < times; n += 1) await on.pollOnce(mailbox, never).catch(() => null);
}

async function retry({ app: { store, resolve } }: TestApp): Promise<void> {
  await retryUnfetched({ store, clock: { nowMs: () => Date.now() }, log: silent }, resolve, () => true);
}

test('a server that drips at the retry of one message holds up no other mailbox', async () => {
  await using on = await testApp(null, { TICKETMAILD_POLL_COMMAND_TIMEOUT_S: '2' });
  const isThird = (uid: number, asked: string) => uid === 3 && asked.includes('BODY.PEEK[]');
  let [isReadOnly, isIll] = [false, true];
  const drips: NodeJS.Timeout[] = [];
  await using hostile = await startScriptedMailbox({
    sources: newMessages(5),
    script: (command, rest, _tag, { say, socket }) => {
      if (command === 'SELECT' || command === 'EXAMINE') isReadOnly = command === 'EXAMINE';
      if (command !== 'UID FETCH' || !isReadOnly || !rest.includes('BODY.PEEK[]')) return false;
      say('* 3 FETCH (UID 3 BODY[] {900000}');
      drips.push(setInterval(() => socket.write('x'), 500));
      return true;
    },
    endsAt: (uid, asked) => (isThird(uid, asked) && !isReadOnly ? 'refused' : null),
  });
  await using honest = await startScriptedMailbox({
    sources: newMessages(5),
    endsAt: (uid, asked) => (isThird(uid, asked) && isIll ? 'refused' : null),
  });
  const [bad, good] = await Promise.all(
    [hostile, honest].map((server) => on.addMailbox(nowhere, `user-${server.port}`, inClear(server.port, 'ada'))),
  );
  if (bad === undefined || good === undefined) throw new Error('no mailboxes');
  for (const mailbox of [bad, good]) {
    await poll(on, mailbox, 6);
    expect(await outcomesOf(on, mailbox)).toContain(held);
  }
  isIll = false;
  await retry(on);
  for (const drip of drips) clearInterval(drip);
  expect(drips).toHaveLength(1);
  expect(await outcomesOf(on, bad)).toContain(held);
  expect(await outcomesOf(on, good)).toContain('3 ticket_opened');
}, 60_000);

test.each(['paused', 'refused'] as const)('a mailbox that is %s gets no login from the retry', async (how) => {
  await using on = await testApp(null, { TICKETMAILD_POLL_LOGIN_FAILURES_MAX: '3' });
  let [isIll, refuses, logins] = [true, false, 0];
  await using server = await startScriptedMailbox({
    sources: newMessages(5),
    script: (command, _rest, tag, { say, next }) => {
      if (command !== 'AUTHENTICATE') return false;
      logins += 1;
      say('+ ');
      next(() => say(refuses ? `${tag} NO [AUTHENTICATIONFAILED] no` : `${tag} OK`));
      return true;
    },
    endsAt: (uid, asked) => (uid === 3 && asked.includes('BODY.PEEK[]') && isIll ? 'refused' : null),
  });
  const mailbox = await on.addMailbox(nowhere, 'ada', inClear(server.port, 'ada'));
  await poll(on, mailbox, 6);
  isIll = false;
  refuses = how === 'refused';
  if (refuses) await poll(on, mailbox, 4);
  else await on.app.store.setMailboxState(mailbox.id, 'paused', actor);
  logins = 0;
  await retry(on);
  expect(logins).toBe(0);
  expect(await outcomesOf(on, mailbox)).toContain(held);
});
