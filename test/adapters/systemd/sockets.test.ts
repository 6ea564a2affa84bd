import { closeSync, fstatSync, openSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createPassedSockets } from '../../../src/adapters/systemd/sockets.ts';
import type { ListenAddress } from '../../../src/config/config.ts';
import { serviceEnvironment } from '../../../src/config/load.ts';

const tcp = (host: string, port: number): ListenAddress => ({ host, port });
const none = { descriptor: null, twinDescriptor: null };
const unix = (path: string): ListenAddress => ({ path, group: null });

let descriptors: number[];
let unused: (readonly [name: string, reason: string])[];

beforeEach(() => {
  descriptors = ['a', 'b'].map(() => openSync('/dev/null', 'r'));
  unused = [];
});

afterEach(() => {
  for (const descriptor of descriptors.filter(isOpen)) closeSync(descriptor);
});

function isOpen(descriptor: number): boolean {
  try {
    fstatSync(descriptor);
    return true;
  } catch {
    return false;
  }
}

/** Sockets of these names, bound to these addresses. */
function passed(...sockets: readonly (readonly [name: string, bound: ListenAddress | null])[]) {
  const all = sockets.map(([name], index) => ({ name, descriptor: descriptors[index] ?? -1 }));
  const addressOf = (descriptor: number) => sockets[descriptors.indexOf(descriptor)]?.[1] ?? null;
  return createPassedSockets(all, (...told) => unused.push(told), addressOf);
}

describe('a passed socket', () => {
  test.each([
    [tcp('127.0.0.1', 8025), tcp('127.0.0.1', 8025)],
    [tcp('0:0:0:0:0:0:0:1', 8025), tcp('::1', 8025)],
    [tcp('127.0.0.1', 8025), tcp('localhost', 8025)],
    [tcp('0.0.0.0', 8025), tcp('0.0.0.0', 8025)],
    [unix('/run/ticketmaild/page.sock'), { path: '/run/ticketmaild/page.sock', group: 'www-data' }],
  ])('at the configured address is taken, once: %j', async (bound, configured) => {
    const sockets = passed(['page', bound]);
    expect(await sockets.take('health', tcp('127.0.0.1', 8025))).toEqual(none);
    expect(await sockets.take('page', configured)).toEqual({ ...none, descriptor: descriptors[0] });
    expect(await sockets.take('page', configured)).toEqual(none);
    sockets.rejectOthers();
    expect(unused).toEqual([]);
  });

  test.each([
    [tcp('0.0.0.0', 8025), tcp('127.0.0.1', 8025), 'it listens at 0.0.0.0:8025, not at 127.0.0.1:8025'],
    [tcp('127.0.0.1', 8025), tcp('127.0.0.1', 9000), 'it listens at 127.0.0.1:8025, not at 127.0.0.1:9000'],
    [tcp('127.0.0.1', 8025), unix('/run/s'), 'it listens at 127.0.0.1:8025, not at unix:/run/s'],
    [unix('/run/t'), unix('/run/s'), 'it listens at unix:/run/t, not at unix:/run/s'],
    [tcp('127.0.0.1', 8025), tcp('no.such.name.invalid', 8025), 'it listens at 127.0.0.1:8025, not at no.such'],
    [tcp('127.0.0.1', 8025), null, 'it listens at 127.0.0.1:8025, and listen is off'],
    [null, tcp('127.0.0.1', 8025), 'it listens at no address that can be read, not at'],
  ])('at another address is closed and reported: %j, configured %j', async (bound, configured, reason) => {
    const sockets = passed(['health', bound], ['page', unix('/run/p')]);
    expect(await sockets.take('health', configured)).toEqual(none);
    expect(unused).toEqual([['health', expect.stringContaining(reason)]]);
    expect(descriptors.map(isOpen)).toEqual([false, true]);
  });

  test.each([
    ['127.0.0.1', '::1'],
    ['::1', '127.0.0.1'],
  ])('at %s is taken together with the one of the same name at %s', async (host, other) => {
    const written = (address: string) => (address === '::1' ? '0:0:0:0:0:0:0:1' : address);
    const sockets = passed(['page', tcp(written(other), 8026)], ['page', tcp(written(host), 8026)]);
    expect(await sockets.take('page', tcp(host, 8026))).toEqual({
      descriptor: descriptors[1],
      twinDescriptor: descriptors[0],
    });
    expect(unused).toEqual([]);
  });

  test('at ::1 is not for an address of the network', async () => {
    const sockets = passed(['page', tcp('0:0:0:0:0:0:0:1', 8026)]);
    expect(await sockets.take('page', tcp('10.0.0.7', 8026))).toEqual(none);
    expect(unused).toEqual([['page', 'it listens at [0:0:0:0:0:0:0:1]:8026, not at 10.0.0.7:8026']]);
  });

  test('with an unknown name is closed and reported', () => {
    passed(['other', tcp('127.0.0.1', 8025)]).rejectOthers();
    expect(unused).toEqual([['other', 'its name is neither health nor page']]);
    expect(descriptors.map(isOpen)).toEqual([false, true]);
  });
});

describe('the variables of systemd', () => {
  const sockets = (env: Record<string, string>) => serviceEnvironment(7, env).sockets;

  test('name the descriptors from 3 on, for this process alone', () => {
    const env = { LISTEN_PID: '7', LISTEN_FDS: '2', LISTEN_FDNAMES: 'health:page' };
    expect(sockets(env)).toEqual([
      { name: 'health', descriptor: 3 },
      { name: 'page', descriptor: 4 },
    ]);
    expect(sockets({ ...env, LISTEN_PID: '8' })).toEqual([]);
    expect(sockets({ LISTEN_FDS: '1' })).toEqual([]);
  });

  test.each(['', '0', '-1', 'x', '1e3', '300'])('with the count %j are ignored', (count) => {
    expect(sockets({ LISTEN_PID: '7', LISTEN_FDS: count })).toEqual([]);
  });
});
