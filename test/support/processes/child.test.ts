/** A measured child: what it printed, how long it took, how much it used; and its words when it fails. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { runMeasured, serviceEnv } from './child.ts';

const timeoutMs = 30_000;

test.runIf(process.platform === 'linux')(
  'CPU time and memory of all threads of the child are counted',
  async () => {
    const busyMs = 200;
    const work = `
    const { Worker } = require('node:worker_threads');
    const busy = 'const end = process.threadCpuUsage().user + ${busyMs} * 1000; while (process.threadCpuUsage().user < end);';
    const held = Buffer.alloc(150_000_000, 1);
    new Worker(busy, { eval: true }).on('exit', () => setTimeout(() => console.log(held.length), 100));
    eval(busy);`;
    const measured = await runMeasured(['-e', work]);
    expect(measured.stdout).toBe('150000000\n');
    expect(measured.cpuS).toBeGreaterThan((2 * busyMs * 0.9) / 1000);
    expect(measured.cpuS).toBeLessThan(4);
    expect(measured.wallS).toBeGreaterThan(busyMs / 1000);
    expect(measured.peakRssMb).toBeGreaterThan(150);
    expect(measured.peakRssMb).toBeLessThan(600);
    const { cpuSByThread } = measured;
    expect(cpuSByThread.get('main')).toBeGreaterThan((busyMs * 0.7) / 1000);
    const others = [...cpuSByThread].filter(([name]) => name !== 'main');
    expect(others.reduce((sum, [, cpuS]) => sum + cpuS, 0)).toBeGreaterThan((busyMs * 0.7) / 1000);
  },
  timeoutMs,
);

test('the child gets the given environment and input, and nothing else', async () => {
  const script = `process.stdin.pipe(process.stdout); console.log(process.env.ONE, process.env.PATH);`;
  const { stdout } = await runMeasured(['-e', script], { env: { ONE: '1' }, input: 'given' });
  expect(stdout).toBe('1 undefined\ngiven');
});

test('a child that fails throws with what it printed', async () => {
  const failing = runMeasured(['-e', `console.log('half'); console.error('broken'); process.exit(3)`]);
  await expect(failing).rejects.toThrow(/ended with 3:\nbroken\nhalf/);
});

test('what is measured runs with the environment that the service has', async () => {
  const unit = await readFile(new URL('../../../systemd/ticketmaild.service', import.meta.url), 'utf8');
  const lines = Object.entries(serviceEnv).map(([name, value]) => `Environment=${name}=${value}`);
  expect(unit.match(/^Environment=.*$/gm)).toEqual(lines);
});
