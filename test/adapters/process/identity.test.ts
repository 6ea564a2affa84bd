import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { userInfo } from 'node:os';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { currentActor, outdatedNode, thisWorker } from '../../../src/adapters/process/identity.ts';
import { createUuidV7Generator } from '../../../src/adapters/process/uuid-v7.ts';

describe('ids', () => {
  test('are UUIDs of version 7 that hold the time', () => {
    const id = createUuidV7Generator(() => 0x0123456789ab)();
    expect(id).toMatch(/^01234567-89ab-7000-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  test('sort in the order of their generation, also after a step of the clock', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { minLength: 1, maxLength: 50 }), (clock) => {
        let reading = 0;
        const next = createUuidV7Generator(() => 1_800_000_000_000 + (clock[reading++ % clock.length] ?? 0));
        const ids = Array.from({ length: 10_000 }, next);
        expect(ids.toSorted()).toEqual(ids);
        expect(new Set(ids).size).toBe(ids.length);
      }),
      { numRuns: 20 },
    );
  });
});

describe('workers', () => {
  test('a running worker is not dead, and one whose process has ended is', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    const workers = thisWorker();
    const [place] = /^.*(?=\/\d+\/\d+$)/.exec(workers.name) ?? [''];
    await once(child, 'spawn');
    const theirs = `${place}/${child.pid}`;
    expect(workers.isDead(workers.name)).toBe(false);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(workers.isDead(`${theirs}/1`)).toBe(true);
  });

  test('a reused PID is another worker', () => {
    const workers = thisWorker();
    expect(workers.isDead(workers.name.replace(/\d+$/, '1'))).toBe(true);
  });

  test('a worker on another host or boot is not known to be dead', () => {
    const workers = thisWorker();
    expect(workers.isDead('elsewhere/00000000/1/1/1')).toBe(false);
    expect(workers.isOfEarlierBoot('elsewhere/00000000/1/1/1')).toBe(false);
  });

  test('a worker of this host and another boot is recognized by its name alone', () => {
    const workers = thisWorker();
    const [host, boot, ...rest] = workers.name.split('/');
    const named = (...parts: readonly (string | undefined)[]) => workers.isOfEarlierBoot(parts.join('/'));
    expect(named(host, '00000000', '1', '1', '1')).toBe(true);
    expect(named(host, boot, '1', '1', '1')).toBe(false);
    expect(named(host, boot, ...rest)).toBe(false);
    expect(named(`${host}.example`, '00000000', '1', '1', '1')).toBe(false);
    // Foreign text, and the name of a worker on a system without /proc.
    for (const parts of [[host], [host, '00000000'], [host, '', '1', '1', '1'], [host, 'boot', '0', '1', '0'], ['']])
      expect(named(...parts)).toBe(false);
  });
});

test.each([
  ['ada', /^ada@/],
  ['ada@corp.example', /^ada@corp\.example@/],
  [undefined, new RegExp(`^${userInfo().username}@`)],
  ['', new RegExp(`^${userInfo().username}@`)],
  ['two words\n', new RegExp(`^${userInfo().username}@`)],
])('the caller of sudo is the audit actor (%j)', (caller, who) => {
  expect(currentActor({ SUDO_USER: caller }).who).toMatch(who);
});

test.each([
  ['26.12.1', null],
  ['26.12.10', null],
  ['27.0.0', null],
  ['26.12.0', 'Node 26.12.0 lacks security fixes of 26.12.1'],
  ['26.9.3', 'Node 26.9.3 lacks security fixes of 26.12.1'],
])('Node %s, where 26.12.1 is required', (running, warning) => {
  expect(outdatedNode(running, '26.12.1')).toBe(warning);
});

test('the Node of this checkout is not outdated, and one that comes with its package is not compared', () => {
  expect(outdatedNode()).toBeNull();
  expect(outdatedNode('26.0.0')).toMatch(/^Node 26\.0\.0 lacks/);
  expect(outdatedNode('26.0.0', null)).toBeNull();
});
