/** Probes for the page: each stage with its result, a deadline, and the next one only when the last has ended. */
import { expect, test } from 'vitest';
import { createProbeRunner } from '../../../src/admin/mailboxes/probe-runner.ts';
import type { Clock } from '../../../src/async/clock.ts';
import { Failure } from '../../../src/errors.ts';
import type { ProbeReport } from '../../../src/ingest/ports.ts';
import { hints } from '../../../src/text/hints.ts';

/** Every wait is over at once. */
const clock = { nowMs: () => 0, monotonicMs: () => 0, sleep: async () => undefined } as unknown as Clock;

test('a server that does not respond is given up, and holds up the next probe until it has ended', async () => {
  const { promise, reject } = Promise.withResolvers<ProbeReport>();
  const probes = createProbeRunner(clock);
  const { view, report } = await probes.run((step) => {
    for (const stage of ['name', 'connect']) step(stage);
    return promise;
  });
  expect(report).toBeNull();
  expect(view.failure?.message).toBe('no result within 24 s');
  expect(view.stages).toEqual([
    { stage: 'name', result: 'passed' },
    { stage: 'connect', result: 'failed' },
    { stage: 'login', result: 'not_reached' },
    { stage: 'folder', result: 'not_reached' },
  ]);
  await expect(probes.run(() => promise)).rejects.toThrow('another connection is being tested');
  reject(new Failure('server_timeout', 'late'));
  await expect(promise).rejects.toThrow('late');
  expect((await probes.run(() => promise)).report).toBeNull();
});

test('a failure of the database is thrown, since it says nothing about the server', async () => {
  const probes = createProbeRunner({ ...clock, sleep: () => new Promise(() => undefined) });
  const run = probes.run(async () => {
    throw new Failure('database_unavailable', 'no');
  });
  await expect(run).rejects.toThrow('no');
});

test('the hint of a response code is shown, and that of the page in place of a command', async () => {
  const probes = createProbeRunner({ ...clock, sleep: () => new Promise(() => undefined) });
  const hintFor = async (hint?: string) => {
    const failure = new Failure('login_refused', 'no', hint === undefined ? {} : { hint });
    return (await probes.run(() => Promise.reject(failure))).view.failure?.hint;
  };
  expect(await hintFor(hints.passwordExpired)).toBe(hints.passwordExpired);
  expect(await hintFor(hints.accountLocked)).toBe('Check user and password.');
  expect(await hintFor()).toBe('Check user and password.');
});
