/**
 * Messages that a server lists and does not deliver, on a real Dovecot and on servers that say what a test wants: those
 * before and after come in, that one is quarantined, and a server that is ill altogether costs no message its ticket.
 */

import { chmod, readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Mailbox } from '../../../src/ingest/model.ts';
import { retryUnfetched } from '../../../src/ingest/quarantine/retry.ts';
import { inClear, newMessages } from '../../cases/scene.ts';
import { type ScriptedMailboxOptions, startScriptedMailbox } from '../../cases/scripted-mailbox.ts';
import { type TestApp, testApp } from '../../support/app.ts';
import { openInstance } from '../../support/instance.ts';
import { named } from '../../support/processes/daemon.ts';

import { until } from '../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { runFolder } from '../../support/temporary.ts';

const never = new AbortController().signal;
/** The server that a mailbox names is given in its connection. */
const nowhere = { host: 'localhost', tlsPort: 1, caPem: '' } as const;
let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = await startDovecot();
});

afterAll(() => dovecot?.[Symbol.asyncDispose]());

async function outcomesOf({ app }: Pick<TestApp, 'app'>, mailbox: Mailbox): Promise<string[]> {
  const rows = await Array.fromAsync(app.store.outcomes(mailbox.id, false));
  return rows.map(({ uid, outcome, reason }) => `${uid} ${reason ?? outcome}`);
}

/** How each of some polls ended: `ok`, or the code of its failure. */
async function pollTimes(on: TestApp, mailbox: Mailbox, count: number): Promise<string[]> {
  const ends: string[] = [];
  for (let poll = 0; poll < count; poll += 1)
    ends.push(
      await on.pollOnce(mailbox, never).then(
        () => 'ok',
        (failure) => failure.code,
      ),
    );
  return ends;
}

async function scripted(on: TestApp, options: ScriptedMailboxOptions, given: Partial<Mailbox> = {}) {
  const server = await startScriptedMailbox(options);
  const mailbox = await on.addMailbox(nowhere, `user-${server.port}`, { ...inClear(server.port, 'ada'), ...given });
  return { server, mailbox, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

/** Files of the messages of a user, in the order of their UIDs. */
async function filesOf(user: string): Promise<string[]> {
  const all = await readdir(runFolder(), { recursive: true });
  const found = all.filter((path) => path.includes(`/${user}/`) && basename(path).includes('S='));
  return found.sort((a, b) => basename(a).localeCompare(basename(b))).map((path) => join(runFolder(), path));
}

const tickets = (uids: readonly number[]) => uids.map((uid) => `${uid} ticket_opened`);
const isBody = (asked: string) => asked.includes('BODY.PEEK[]');
const bodies = ({ lines }: { readonly lines: readonly string[] }) =>
  lines.flatMap((line) => / UID FETCH (\S+) .*BODY\.PEEK\[\]/.exec(line)?.[1] ?? []);

describe('on a real Dovecot', () => {
  test('a message whose file cannot be read is quarantined, and taken in once it can be read', async () => {
    await using on = await testApp(null);
    const user = dovecot.newUser();
    await dovecot.append(user, 'INBOX', newMessages(5));
    const mailbox = await on.addMailbox(dovecot, user);
    const [, , third = ''] = await filesOf(user);
    await chmod(third, 0o000);
    expect(await pollTimes(on, mailbox, 2)).toEqual(['connection_lost', 'connection_lost']);
    expect(await outcomesOf(on, mailbox)).toEqual(tickets([1, 2]));
    expect(await pollTimes(on, mailbox, 2)).toEqual(['connection_lost', 'ok']);
    const healthOf = async () => (await on.app.store.listMailboxes())[0]?.health;
    // The rest is not to wait for the interval.
    expect((await healthOf())?.nextPollAtMs).toBeLessThan(Date.now() + 1000);
    expect(await pollTimes(on, mailbox, 1)).toEqual(['ok']);
    expect(await outcomesOf(on, mailbox)).toEqual([...tickets([1, 2]), '3 fetch_failed', ...tickets([4, 5])]);
    expect(await healthOf()).toMatchObject({ failures: 0, cursor: { uid: 5 }, lastError: null });
    const [held] = await Array.fromAsync(on.app.store.quarantinedMessages({ mailboxId: mailbox.id, reason: null }));
    if (held === undefined) throw new Error('nothing is in quarantine');
    await expect(on.app.resolve(held, 'requeue')).rejects.toMatchObject({ code: 'connection_lost' });
    const [, , moved = ''] = await filesOf(user);
    await chmod(moved, 0o600);
    expect(await on.app.resolve(held, 'requeue')).toMatchObject({ what: 'stored', outcome: 'ticket_opened' });
    expect(await outcomesOf(on, mailbox)).toEqual(tickets([1, 2, 3, 4, 5]));
  });

  test('a message whose file is gone while it is listed does not stop the others', async () => {
    await using on = await testApp(null);
    const user = dovecot.newUser();
    await dovecot.append(user, 'INBOX', newMessages(5));
    const mailbox = await on.addMailbox(dovecot, user);
    await dovecot.listFlags(user, 'INBOX');
    const [, , third = ''] = await filesOf(user);
    await rm(third);
    await pollTimes(on, mailbox, 2);
    const outcomes = await outcomesOf(on, mailbox);
    expect(outcomes.filter((line) => !line.startsWith('3 '))).toEqual(tickets([1, 2, 4, 5]));
    expect(outcomes.filter((line) => line.startsWith('3 ') && line !== '3 vanished')).toEqual([]);
  });

  test('a daemon continues without an operator', async () => {
    await using instance = await openInstance();
    const user = dovecot.newUser();
    await dovecot.append(user, 'INBOX', newMessages(6));
    const [, second = '', , fourth = ''] = await filesOf(user);
    await Promise.all([second, fourth].map((path) => chmod(path, 0o000)));
    const mailbox = await instance.add(dovecot, user);
    const daemon = instance.start();
    await until('the last one', async () => (await outcomesOf(instance, mailbox)).length === 6, 100_000);
    expect(await outcomesOf(instance, mailbox)).toEqual([
      ...['1 ticket_opened', '2 fetch_failed', '3 ticket_opened', '4 fetch_failed'],
      ...tickets([5, 6]),
    ]);
    await daemon.waitFor(named('poll.recovered'));
    expect(daemon.lines.filter(named('message.quarantined'))).toHaveLength(2);
    // Eight polls, a second apart at least.
  }, 120_000);
});

describe('a message at which the server', () => {
  const fails = {
    'refuses the fetch': { endsAt: (uid, asked) => (uid === 3 && isBody(asked) ? 'refused' : null) },
    'drops the connection': { endsAt: (uid, asked) => (uid === 3 && isBody(asked) ? 'dropped' : null) },
    'fails to report the size': { endsAt: (uid) => (uid === 3 ? 'dropped' : null) },
    'announces more than is ever taken': {
      answerTo: (uid) => (uid === 3 ? '* 3 FETCH (UID 3 BODY[] {2900000}\r\nFrom: ada@example.test' : null),
    },
  } as const satisfies Record<string, Pick<ScriptedMailboxOptions, 'answerTo' | 'endsAt'>>;

  test.each(Object.entries(fails))('%s is quarantined', async (_title, how) => {
    await using on = await testApp(null, { TICKETMAILD_MESSAGE_MAX_SIZE_MB: '1' });
    await using at = await scripted(on, { sources: newMessages(5), ...how });
    const { server, mailbox } = at;
    expect((await pollTimes(on, mailbox, 5)).slice(3)).toEqual(['ok', 'ok']);
    expect(await outcomesOf(on, mailbox)).toEqual([...tickets([1, 2]), '3 fetch_failed', ...tickets([4, 5])]);
    // From now on it costs nothing more, and is not asked for.
    const before = server.lines.length;
    server.arrive(newMessages(1)[0] ?? Buffer.alloc(0));
    server.arrive(newMessages(1)[0] ?? Buffer.alloc(0));
    expect(await pollTimes(on, mailbox, 1)).toEqual(['ok']);
    const asked = server.lines.slice(before);
    expect(bodies({ lines: asked })).toEqual(['6:7']);
    expect(asked.filter((line) => /UID SEARCH/.test(line))).toHaveLength(1);
    expect(await outcomesOf(on, mailbox)).toHaveLength(7);
  });

  test('fails, the only one of its folder, is retried until another one arrives', async () => {
    await using on = await testApp(null);
    await using at = await scripted(on, { sources: newMessages(1), endsAt: fails['refuses the fetch'].endsAt });
    const { server, mailbox } = at;
    const one: ScriptedMailboxOptions = {
      sources: newMessages(1),
      endsAt: (_, asked) => (isBody(asked) ? 'refused' : null),
    };
    await using lone = await scripted(on, one);
    expect(await pollTimes(on, lone.mailbox, 7)).toEqual(Array.from({ length: 7 }, () => 'server_refused'));
    expect(await outcomesOf(on, lone.mailbox)).toEqual([]);
    expect(await pollTimes(on, mailbox, 1)).toEqual(['ok']);
    for (const source of newMessages(2)) server.arrive(source);
    expect(await pollTimes(on, mailbox, 4)).toEqual(['server_refused', 'server_refused', 'server_refused', 'ok']);
    expect(await outcomesOf(on, mailbox)).toEqual([...tickets([1, 2]), '3 fetch_failed']);
  });
});

describe('a server', () => {
  test.each(['refused', 'dropped'] as const)(
    'that fails at every message (%s) costs no message its ticket',
    async (how) => {
      await using on = await testApp(null);
      let isIll = true;
      await using at = await scripted(on, {
        sources: newMessages(4),
        endsAt: (_, asked) => (isIll && isBody(asked) ? how : null),
      });
      expect(await pollTimes(on, at.mailbox, 12)).not.toContain('ok');
      expect(await outcomesOf(on, at.mailbox)).toEqual([]);
      isIll = false;
      expect(await pollTimes(on, at.mailbox, 1)).toEqual(['ok']);
      expect(await outcomesOf(on, at.mailbox)).toEqual(tickets([1, 2, 3, 4]));
      expect(
        bodies(at.server)
          .slice(-4)
          .every((uids) => /^\d$/.test(uids)),
      ).toBe(true);
    },
  );

  test('that is busy at one message for ever is asked for the later ones, and for that one by the hourly retry', async () => {
    await using on = await testApp(null);
    let isBusy = true;
    await using at = await scripted(on, {
      sources: newMessages(5),
      endsAt: (uid, asked) => (uid === 3 && isBusy && isBody(asked) ? 'throttled' : null),
    });
    const { store, resolve } = on.app;
    const busy = Array.from({ length: 3 }, () => 'server_busy');
    expect(await pollTimes(on, at.mailbox, 5)).toEqual([...busy, 'ok', 'ok']);
    const without3 = [...tickets([1, 2]), '3 fetch_failed', ...tickets([4, 5])];
    expect(await outcomesOf(on, at.mailbox)).toEqual(without3);
    const log = { info: () => undefined, warn: () => undefined } as never;
    const retry = (nowMs: number) => retryUnfetched({ store, clock: { nowMs: () => nowMs }, log }, resolve, () => true);
    await retry(Date.now());
    expect(await outcomesOf(on, at.mailbox)).toEqual(without3);
    isBusy = false;
    await retry(Date.now() + 8 * 86_400_000);
    expect(await outcomesOf(on, at.mailbox)).toEqual(without3);
    await retry(Date.now() + 3_600_000);
    expect(await outcomesOf(on, at.mailbox)).toEqual(tickets([1, 2, 3, 4, 5]));
  });

  test('that is busy at a post-action of one message does not keep new messages out', async () => {
    await using on = await testApp(null);
    const script: ScriptedMailboxOptions['script'] = (command, _rest, tag, { say }) => {
      if (command !== 'UID STORE') return false;
      say(`${tag} NO [INUSE] Another session has it.`);
      return true;
    };
    await using at = await scripted(on, { sources: newMessages(2), script });
    for (const count of [2, 3, 4]) {
      expect(await pollTimes(on, at.mailbox, 1)).toEqual(['server_busy']);
      expect(await outcomesOf(on, at.mailbox)).toHaveLength(count);
      at.server.arrive(newMessages(1)[0] ?? Buffer.alloc(0));
    }
  });

  test('that is busy at every message, or unreachable, is waited for', async () => {
    await using on = await testApp(null);
    await using at = await scripted(on, {
      sources: newMessages(4),
      endsAt: (uid, asked) => (uid > 2 && isBody(asked) ? 'throttled' : null),
      script: (command, rest, tag, { say }) => {
        if (command !== 'UID FETCH' || at.server.lines.length < 30 || !isBody(rest)) return false;
        say(`${tag} NO [UNAVAILABLE] Not now.`);
        return true;
      },
    });
    expect(new Set(await pollTimes(on, at.mailbox, 8))).toEqual(new Set(['server_busy']));
    expect(await outcomesOf(on, at.mailbox)).toEqual(tickets([1, 2]));
    await at.server[Symbol.asyncDispose]();
    expect(new Set(await pollTimes(on, at.mailbox, 8))).toEqual(new Set(['connect_refused']));
    expect(await outcomesOf(on, at.mailbox)).toEqual(tickets([1, 2]));
  });

  test('that breaks the connection at a post-action does not keep new messages out', async () => {
    await using on = await testApp(null);
    const storesEnd: ScriptedMailboxOptions['script'] = (command, _rest, _tag, { socket }) => {
      if (command !== 'UID STORE') return false;
      socket.end();
      return true;
    };
    await using at = await scripted(on, { sources: newMessages(2), script: storesEnd });
    const { server, mailbox } = at;
    for (const count of [2, 3, 4, 5]) {
      expect(await pollTimes(on, mailbox, 1)).toEqual(['connection_lost']);
      expect(await outcomesOf(on, mailbox)).toHaveLength(count);
      server.arrive(newMessages(1)[0] ?? Buffer.alloc(0));
    }
  });
});

describe('the command poll', () => {
  test('gets past such messages in one run', async () => {
    await using instance = await openInstance();
    await using server = await startScriptedMailbox({
      sources: newMessages(7),
      endsAt: (uid, asked) => (uid % 3 === 0 && isBody(asked) ? 'dropped' : null),
    });
    const mailbox = await instance.add(nowhere, 'seven', inClear(server.port, 'ada'));
    const { code, stdout, stderr } = await instance.command('poll', mailbox.name);
    expect(code, stderr).toBe(0);
    expect(stdout).toContain('5 tickets opened, 2 quarantined');
    expect(await outcomesOf(instance, mailbox)).toHaveLength(7);
  });

  test('ends soon where the server fails, and logs in once where the password is refused', async () => {
    await using instance = await openInstance();
    await using ill = await startScriptedMailbox({
      sources: newMessages(3),
      endsAt: (_, asked) => (isBody(asked) ? 'refused' : null),
    });
    await using refusing = await startScriptedMailbox({
      sources: [],
      script: (command, _rest, tag, { say }) => {
        if (command === 'AUTHENTICATE') say(`${tag} NO [AUTHENTICATIONFAILED] no`);
        return command === 'AUTHENTICATE';
      },
    });
    const logins = ({ lines }: { readonly lines: readonly string[] }) =>
      lines.filter((line) => line.includes('AUTHENTICATE')).length;
    await instance.add(nowhere, 'ill', inClear(ill.port, 'ada'));
    await instance.add(nowhere, 'refused', inClear(refusing.port, 'ada'));
    expect((await instance.command('poll')).code).toBe(1);
    expect([logins(ill), logins(refusing)]).toEqual([4, 1]);
  });
});
