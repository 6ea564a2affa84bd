import { expect, test } from 'vitest';
import { createPlaces } from '../../src/async/semaphore.ts';

/** `pass` lets the time of a slow round go by; `served` are the hosts that got a place, with the way to give it back. */
function scene(max: number, perHostMax: number) {
  let over: (() => void)[] = [];
  const clock = { sleep: () => new Promise<void>((resolve) => over.push(resolve)) };
  const places = createPlaces(clock, () => ({ max, perHostMax }));
  const served: { readonly host: string; readonly done: () => void }[] = [];
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return {
    served,
    hosts: () => served.map(({ host }) => host),
    take: async (...hosts: readonly string[]) => {
      for (const host of hosts) void places.take(host).then((done) => served.push({ host, done }));
      await settle();
    },
    pass: async () => {
      for (const resolve of over) resolve();
      over = [];
      await settle();
    },
    settle,
  };
}

test('places are bounded in all and for each host, and go on in the order of asking', async () => {
  const { take, hosts, served, settle } = scene(3, 2);
  await take('a', 'a', 'a', 'b', 'c');
  expect(hosts()).toEqual(['a', 'a', 'b']);
  served[0]?.done();
  served[0]?.done();
  await settle();
  expect(hosts()).toEqual(['a', 'a', 'b', 'a']);
  served[2]?.done();
  await settle();
  expect(hosts()).toEqual(['a', 'a', 'b', 'a', 'c']);
});

test('rounds with servers that are slow keep nobody else waiting, up to a bound', async () => {
  const { take, hosts, pass } = scene(1, 1);
  await take('a', 'b', 'a', 'c', 'd', 'e');
  expect(hosts()).toEqual(['a']);
  for (let turn = 0; turn < 6; turn += 1) await pass();
  expect(hosts()).toEqual(['a', 'b', 'c', 'd']);
});
