import { expect, test } from 'vitest';
import { createServerSilence } from '../../../src/ingest/scheduler/server-silence.ts';
import { handClock } from '../samples.ts';

const mail = { host: 'mail', port: 993, tls: 'implicit' } as const;

/** `pass` lets ticks go by, one a second. A connection made by `idling` answers a heartbeat unless `hangs` is set. */
function scene() {
  const clock = handClock();
  const seen = { changes: 0, servers: [] as string[], heartbeats: [] as string[] };
  const hangs = { all: false, one: '' };
  const silence = createServerSilence(clock, {
    changed: () => {
      seen.changes += 1;
    },
    serverChanged: ({ host }, failure) => void seen.servers.push(`${host} ${failure?.code ?? 'answers'}`),
  });
  const pass = (seconds: number): void => {
    for (let second = 0; second < seconds; second += 1) {
      clock.at.ms += 1000;
      silence.tick();
    }
  };
  const idling = (id: string, endpoint: typeof mail | { host: string; port: number; tls: 'implicit' } = mail) => {
    const watch = silence.watch(endpoint, id);
    watch.received();
    const idle = watch.idles(() => {
      seen.heartbeats.push(id);
      watch.awaited();
      if (hangs.all || hangs.one === id) return true;
      watch.received();
      watch.settled();
      return true;
    });
    return { ...watch, idle };
  };
  const take = () => seen.heartbeats.splice(0);
  return { clock, silence, seen, hangs, pass, idling, take };
}

test('one idling connection of a server, in turn, sends a heartbeat every three seconds', () => {
  const { silence, pass, idling, take } = scene();
  for (const id of ['a', 'b', 'c']) idling(id);
  pass(12);
  expect(take()).toEqual(['a', 'b', 'c', 'a']);
  expect(silence.silentServers()).toEqual([]);
});

test('a server on which anything is heard needs none', () => {
  const { silence, pass, idling, take } = scene();
  idling('a');
  const fetching = silence.watch(mail, 'b');
  fetching.awaited();
  for (let second = 0; second < 60; second += 1) {
    pass(1);
    fetching.received();
  }
  expect(take()).toEqual([]);
  expect(silence.silentSinceMs('b')).toBeNull();
});

test('a server that hangs is silent within nine seconds, and answers with the first byte', () => {
  const { silence, seen, hangs, pass, idling } = scene();
  const connections = Array.from({ length: 50 }, (_, index) => idling(`box${index}`));
  pass(30);
  hangs.all = true;
  pass(9);
  expect(silence.silentServers()).toMatchObject([{ ...mail, failure: { code: 'server_timeout' } }]);
  expect(seen.servers).toEqual(['mail server_timeout']);
  seen.heartbeats.splice(0);
  pass(600);
  // Two have asked; more of them would tell nothing.
  expect(seen.heartbeats).toEqual([]);
  connections[40]?.received();
  expect(silence.silentServers()).toEqual([]);
  expect(seen.servers).toEqual(['mail server_timeout', 'mail answers']);
});

test('a connection that hangs alone concerns its mailbox alone', () => {
  const { silence, hangs, pass, idling } = scene();
  for (const id of ['a', 'b', 'c']) idling(id);
  hangs.one = 'b';
  pass(60);
  expect(silence.silentServers()).toEqual([]);
  expect(['a', 'b', 'c'].map((id) => silence.silentSinceMs(id) !== null)).toEqual([false, true, false]);
});

test('a server that answers after two seconds is never silent', () => {
  const { silence, seen, pass } = scene();
  const watches = ['a', 'b'].map((id) => silence.watch(mail, id));
  for (let tries = 0; tries < 30; tries += 1) {
    for (const watch of watches) watch.awaited();
    pass(2);
    for (const watch of watches) {
      watch.received();
      watch.settled();
    }
  }
  expect(seen.changes).toBe(0);
});

test('a blocked event loop, or a suspended machine, is no silence', () => {
  const { clock, silence, pass } = scene();
  for (const id of ['a', 'b']) silence.watch(mail, id).awaited();
  pass(1);
  clock.at.ms += 3_600_000;
  pass(2);
  expect(silence.silentSinceMs('a')).toBeNull();
  // Nor are ticks that come too fast.
  for (let tick = 0; tick < 20; tick += 1) silence.tick();
  silence.watch(mail, 'c').awaited();
  for (let tick = 0; tick < 20; tick += 1) silence.tick();
  expect(silence.silentSinceMs('c')).toBeNull();
});

test('a connection that awaits nothing, or was awaiting between two commands, is not silent', () => {
  const { silence, pass } = scene();
  const watch = silence.watch(mail, 'a');
  for (let commands = 0; commands < 20; commands += 1) {
    watch.awaited();
    pass(3);
    watch.settled();
    pass(60);
  }
  expect(silence.silentSinceMs('a')).toBeNull();
});

test('a silent server stays so when its connections have timed out, until one is heard', () => {
  const { silence, hangs, pass, idling } = scene();
  const connections = ['a', 'b'].map((id) => idling(id));
  hangs.all = true;
  pass(10);
  for (const one of connections) one[Symbol.dispose]();
  expect(silence.silentSinceMs('a')).toBeNull();
  pass(60);
  expect(silence.isServerSilent(mail)).toBe(true);
  const next = silence.watch(mail, 'a');
  next.awaited();
  expect(silence.isServerSilent(mail)).toBe(true);
  next.received();
  expect(silence.isServerSilent(mail)).toBe(false);
});

test('when its circuit breaker opens, all idling connections of a server prove themselves, and no other', () => {
  const { silence, idling, take } = scene();
  for (const id of ['a', 'b']) idling(id);
  idling('c', { ...mail, host: 'other' });
  silence.verifyAll(mail);
  expect(take()).toEqual(['a', 'b']);
});

test('with many servers heartbeats stay at 25 a second, and every server has its turn', () => {
  const { pass, idling, take } = scene();
  for (let index = 0; index < 200; index += 1) idling(`box${index}`, { ...mail, host: `mail${index}` });
  pass(3);
  take();
  pass(8);
  const sent = take();
  expect(sent.length).toBeLessThanOrEqual(200);
  expect(new Set(sent).size).toBe(sent.length);
  expect(sent.length).toBeGreaterThan(150);
});
