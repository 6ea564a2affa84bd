/**
 * IDLE: no announcement is missed, whenever it arrives, and the session remains usable.
 */
import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { failureOf } from '../../support/promises.ts';
import { type Script, type ScriptedServer, startScriptedServer, type Talk } from './scripted-server.ts';
import { fetchAll, never, openHastily, plainTo, tookMs } from './setting.ts';

const capabilities = 'IMAP4rev1 AUTH=PLAIN IDLE';
const longMs = 20_000;

/** Behaviour of a server in IDLE and around it. */
type Idling = {
  /** Lines in front of the `+`. */
  readonly before?: readonly string[];
  /** Lines in the same write as the `+`. */
  readonly withPlus?: readonly string[];
  /** Called when it idles. */
  readonly whenIdle?: (talk: Talk) => void;
  /** Ends it automatically after so long. */
  readonly endsAfterMs?: number;
  /** False: no answer to DONE. */
  readonly answers?: boolean;
  /** Answers another command than IDLE. */
  readonly script?: Script;
};

function startIdling(idling: Idling): Promise<ScriptedServer> {
  const { before = [], withPlus = [], whenIdle, endsAfterMs, answers = true, script } = idling;
  return startScriptedServer({
    capabilities,
    script: (command, rest, tag, talk) => {
      if (command !== 'IDLE') return script?.(command, rest, tag, talk) ?? false;
      talk.say(...before, '+ idling', ...withPlus);
      if (endsAfterMs !== undefined) setTimeout(() => talk.say(`${tag} OK enough`), endsAfterMs);
      else
        talk.next((line) => {
          if (line === 'DONE' && answers) talk.say(`${tag} OK done`);
        });
      whenIdle?.(talk);
      return true;
    },
  });
}

function count(server: ScriptedServer, end: string): number {
  return server.lines.filter((line) => line.endsWith(end)).length;
}

const soon = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test('mail announced while waiting ends it at once, and the session remains usable', async () => {
  await using server = await startIdling({
    whenIdle: ({ say }) => setTimeout(() => say('* 4 EXISTS', '* 1 RECENT'), 50),
  });
  await using session = await openHastily(plainTo(server.port));
  expect(session.supportsIdle).toBe(true);
  expect(await tookMs(session.idle(longMs, never))).toBeLessThan(400);
  expect(server.lines.at(-1)).toBe('DONE');
  await session.listAbove(0);
  await session.apply({ kind: 'seen' }, [1]);
});

test.each<[string, Idling]>([
  ['right after the +', { withPlus: ['* 4 EXISTS'] }],
  ['before the +', { before: ['* 4 EXISTS'] }],
  ['as RECENT alone', { withPlus: ['* 1 RECENT'] }],
  [
    'in two pieces',
    {
      whenIdle: ({ socket }) => {
        socket.write('* 4 EX');
        setTimeout(() => socket.write('ISTS\r\n'), 40);
      },
    },
  ],
  ['after an expunge, with the same count as before', { withPlus: ['* 2 EXPUNGE', '* 3 EXISTS'] }],
])('mail that is announced %s ends the wait', async (_when, idling) => {
  await using server = await startIdling(idling);
  await using session = await openHastily(plainTo(server.port));
  expect(await session.idle(longMs, never)).toBe('new_messages');
  expect(count(server, 'DONE')).toBe(1);
});

test.each<[string, readonly string[]]>([
  ['expunges', ['* 2 EXPUNGE', '* 1 EXPUNGE']],
  ['changed flags', ['* 1 FETCH (FLAGS (\\Seen))', '* 2 FETCH (UID 2 FLAGS ())']],
  ['counts that are known', ['* 3 EXISTS', '* 0 RECENT']],
  ['a greeting every now and then', ['* OK Still here', '* OK Still here']],
])('%s do not end the wait', async (_what, lines) => {
  await using server = await startIdling({ withPlus: lines });
  await using session = await openHastily(plainTo(server.port));
  expect(await session.idle(150, never)).toBe('timed_out');
});

test('a RECENT that stays as it was at SELECT does not end the wait', async () => {
  await using server = await startIdling({
    withPlus: ['* 2 RECENT'],
    script: (command, _rest, _tag, { say }) => {
      if (command === 'SELECT') say('* 2 RECENT');
      return false;
    },
  });
  await using session = await openHastily(plainTo(server.port));
  expect(await session.idle(100, never)).toBe('timed_out');
});

test.each([
  ['UID FETCH', ['* 1 FETCH (UID 1 BODY[] {3}', 'one)', '* 4 EXISTS', '* 2 FETCH (UID 2 BODY[] {3}', 'two)']],
  ['UID SEARCH', ['* 4 EXISTS', '* SEARCH 1 2 3']],
  ['UID SEARCH', ['* SEARCH 1 2 3', '* 4 EXISTS']],
  ['UID STORE', ['* 4 EXISTS']],
])('mail that is announced during %s ends the next wait, once', async (announcing, lines) => {
  let isOver = false;
  await using server = await startIdling({
    script: (command, _rest, tag, { say }) => {
      if (command === announcing && !isOver) say(...lines, `${tag} OK done`);
      return command === announcing && !isOver;
    },
  });
  await using session = await openHastily(plainTo(server.port));
  await session.listAbove(0);
  expect((await fetchAll(session, [1, 2])).length).toBe(announcing === 'UID FETCH' ? 2 : 0);
  await session.apply({ kind: 'seen' }, [1]);
  isOver = true;
  expect(await session.idle(longMs, never)).toBe('new_messages');
  expect(await session.idle(longMs, never)).toBe('new_messages');
  expect(count(server, 'IDLE')).toBe(0);
  await session.listAbove(3);
  expect(await session.idle(100, never)).toBe('timed_out');
});

test('mail that arrives between commands ends the next wait', async () => {
  let talk: Talk | null = null;
  await using server = await startIdling({
    script: (_command, _rest, _tag, current) => {
      talk = current;
      return false;
    },
  });
  await using session = await openHastily(plainTo(server.port));
  await session.listAbove(0);
  (talk as Talk | null)?.say('* 4 EXISTS');
  await soon(50);
  expect(await session.idle(longMs, never)).toBe('new_messages');
});

test('silence within the time ends as timed_out, after a check that the server is alive', async () => {
  await using server = await startIdling({});
  await using session = await openHastily(plainTo(server.port), 200);
  const took = await tookMs(session.idle(900, never));
  expect(took).toBeGreaterThan(850);
  expect(took).toBeLessThan(1500);
  expect(server.lines.slice(-2).map((line) => line.replace(/^\d+ /, ''))).toEqual(['DONE', 'SELECT INBOX']);
  expect(await session.idle(2 ** 40, AbortSignal.timeout(50))).toBe('stopped');
});

test('mail announced in the response to DONE ends the wait, also after the time limit', async () => {
  await using server = await startScriptedServer({
    capabilities,
    script: (command, _rest, tag, { say, next }) => {
      if (command !== 'IDLE') return false;
      say('+');
      next(() => say('* 4 EXISTS', `${tag} OK`));
      return true;
    },
  });
  await using session = await openHastily(plainTo(server.port));
  expect(await session.idle(50, never)).toBe('new_messages');
});

test('a server that does not answer the DONE is server_timeout by the deadline, and the connection is ended', async () => {
  await using server = await startIdling({ answers: false });
  await using session = await openHastily(plainTo(server.port), 200);
  const refused = failureOf(session.idle(50, never));
  expect(await tookMs(refused)).toBeLessThan(1500);
  expect((await refused).code).toBe('server_timeout');
  expect((await failureOf(session.listAbove(0))).code).toBe('server_timeout');
  expect((await failureOf(session.idle(50, never))).code).toBe('server_timeout');
});

test('a server that keeps sending and never responds to DONE is server_timeout after three deadlines', async () => {
  let timer: NodeJS.Timeout | undefined;
  await using server = await startIdling({
    answers: false,
    whenIdle: ({ say }) => {
      timer = setInterval(() => say('* OK still here'), 20);
    },
  });
  await using session = await openHastily(plainTo(server.port), 150);
  const refused = failureOf(session.idle(50, never));
  expect(await tookMs(refused)).toBeLessThan(2000);
  expect((await refused).code).toBe('server_timeout');
  clearInterval(timer);
});

test('a server that does not even begin to idle is server_timeout by the deadline', async () => {
  await using server = await startScriptedServer({ capabilities, script: (command) => command === 'IDLE' });
  await using session = await openHastily(plainTo(server.port), 200);
  expect((await failureOf(session.idle(longMs, never))).code).toBe('server_timeout');
});

test.each<[string, (talk: Talk) => void]>([
  ['says BYE', ({ say }) => say('* BYE Server shutting down')],
  ['ends the connection', ({ socket }) => socket.end()],
  ['resets the connection', ({ socket }) => socket.destroy()],
])('a server that %s while it idles is connection_lost at once', async (_what, act) => {
  await using server = await startIdling({ whenIdle: (talk) => setTimeout(act, 30, talk) });
  await using session = await openHastily(plainTo(server.port));
  const refused = failureOf(session.idle(longMs, never));
  expect(await tookMs(refused)).toBeLessThan(400);
  expect((await refused).code).toBe('connection_lost');
});

test.each(['NO [CANNOT] not here', 'BAD unknown command'])(
  'a server that answers IDLE with "%s" is server_refused: it is not to be asked again, and the session continues',
  async (answer) => {
    await using server = await startScriptedServer({
      capabilities,
      script: (command, _rest, tag, { say }) => {
        if (command === 'IDLE') say(`${tag} ${answer}`);
        return command === 'IDLE';
      },
    });
    await using session = await openHastily(plainTo(server.port));
    expect((await failureOf(session.idle(longMs, never))).code).toBe('server_refused');
    expect(session.supportsIdle).toBe(false);
    expect((await failureOf(session.idle(longMs, never))).code).toBe('unexpected');
    expect(await session.listAbove(0)).toEqual([1, 2, 3]);
  },
);

test('a server that ends IDLE at once is server_refused, which prevents a busy loop', async () => {
  await using server = await startIdling({ endsAfterMs: 0 });
  await using session = await openHastily(plainTo(server.port));
  expect((await failureOf(session.idle(longMs, never))).code).toBe('server_refused');
  expect(session.supportsIdle).toBe(false);
});

test('a server that ends IDLE after a while counts as timed_out', async () => {
  await using server = await startIdling({ endsAfterMs: 1100 });
  await using session = await openHastily(plainTo(server.port));
  expect(await session.idle(longMs, never)).toBe('timed_out');
  expect(session.supportsIdle).toBe(true);
});

test('a server without IDLE is not waited for', async () => {
  await using server = await startScriptedServer();
  await using session = await openHastily(plainTo(server.port));
  expect(session.supportsIdle).toBe(false);
  expect((await failureOf(session.idle(50, never))).code).toBe('unexpected');
  expect(count(server, 'IDLE')).toBe(0);
});

test('a stop ends the wait within a round trip, before, at the start, and in the middle; no listener stays', async () => {
  await using server = await startIdling({});
  await using session = await openHastily(plainTo(server.port));
  expect(await session.idle(longMs, AbortSignal.abort())).toBe('stopped');
  expect(count(server, 'IDLE')).toBe(0);
  for (const afterMs of [0, 1, 60]) {
    const stop = new AbortController();
    const waiting = session.idle(longMs, stop.signal);
    if (afterMs === 0) stop.abort();
    else setTimeout(() => stop.abort(), afterMs);
    expect(await tookMs(waiting)).toBeLessThan(afterMs + 100);
    expect(await waiting).toBe('stopped');
    expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  }
  expect(count(server, 'DONE')).toBe(3);
  await session.listAbove(0);
});

test('a stop while the server is slow to idle waits for the +, and sends DONE only then', async () => {
  await using server = await startScriptedServer({
    capabilities,
    script: (command, _rest, tag, { say, next }) => {
      if (command !== 'IDLE') return false;
      setTimeout(() => say('+'), 150);
      next(() => say(`${tag} OK`));
      return true;
    },
  });
  await using session = await openHastily(plainTo(server.port));
  const took = await tookMs(session.idle(longMs, AbortSignal.timeout(20)));
  expect(took).toBeGreaterThan(120);
  expect(took).toBeLessThan(400);
});

test('a session that is closed while it waits ends at once, also when the server is dead', async () => {
  await using server = await startIdling({ answers: false });
  const session = await openHastily(plainTo(server.port));
  const waiting = failureOf(session.idle(longMs, never));
  await soon(30);
  expect(await tookMs(session.close())).toBeLessThan(100);
  expect((await waiting).code).toBe('connection_lost');
});

test('a stop of the whole session ends the wait as interrupted', async () => {
  await using server = await startIdling({});
  const stop = new AbortController();
  await using session = await openHastily(plainTo(server.port), 500, stop.signal);
  setTimeout(() => stop.abort(), 30);
  expect((await failureOf(session.idle(longMs, never))).code).toBe('interrupted');
});

test('a stop of session and wait at the same moment, as when a lease is lost, ends both and throws nothing besides', async () => {
  await using server = await startIdling({});
  const stop = new AbortController();
  await using session = await openHastily(plainTo(server.port), 500, stop.signal);
  setTimeout(() => stop.abort(), 30);
  expect((await failureOf(session.idle(longMs, AbortSignal.any([stop.signal])))).code).toBe('interrupted');
});

test('the silence of an idling server is normal, and nothing ticks meanwhile', async () => {
  await using server = await startIdling({});
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const sessions = await Promise.all(Array.from({ length: 20 }, () => openHastily(plainTo(server.port), 200)));
  const waits = sessions.map((session) => session.idle(1000, never));
  await soon(300);
  const during = timers();
  expect(await Promise.all(waits)).toEqual(waits.map(() => 'timed_out'));
  await Promise.all(sessions.map((session) => session.close()));
  await soon(10);
  // Each has the one timer of its wait; the rest is leeway for the test runner's own.
  expect(during - timers()).toBeLessThan(30);
});

test('a second question while waiting is refused', async () => {
  await using server = await startIdling({});
  await using session = await openHastily(plainTo(server.port));
  const waiting = session.idle(200, never);
  expect((await failureOf(session.listAbove(0))).code).toBe('unexpected');
  expect((await failureOf(session.idle(10, never))).code).toBe('unexpected');
  expect(await waiting).toBe('timed_out');
});

test('from the announcement to the answer it takes about one round trip', async () => {
  let announcedAt = 0;
  await using server = await startIdling({
    whenIdle: ({ say }) =>
      setTimeout(() => {
        announcedAt = performance.now();
        say('* 4 EXISTS', '* 3 EXISTS');
      }, 20),
  });
  await using session = await openHastily(plainTo(server.port));
  const took: number[] = [];
  for (let round = 0; round < 20; round += 1) {
    expect(await session.idle(longMs, never)).toBe('new_messages');
    took.push(performance.now() - announcedAt);
    await session.listAbove(0);
  }
  const median = took.sort((a, b) => a - b)[10] ?? 0;
  expect(median).toBeLessThan(20);
});

test.each([
  ['another UIDVALIDITY', ['* 0 EXISTS', '* OK [UIDVALIDITY 8] y', '* OK [UIDNEXT 1] y'], 'connection_lost'],
  ['no such folder', null, 'folder_missing'],
])('a quiet IDLE ends with a look at the folder by its name, which shows %s', async (_what, now, code) => {
  let selects = 0;
  const script: Script = (command, _rest, tag, { say }) => {
    if (command !== 'SELECT' || ++selects === 1) return false;
    if (now === null) say(`${tag} NO [NONEXISTENT] gone`);
    else say(...now, `${tag} OK`);
    return true;
  };
  await using server = await startIdling({ script });
  await using session = await openHastily(plainTo(server.port, { folder: 'Support' }));
  expect((await failureOf(session.idle(50, never))).code).toBe(code);
});
