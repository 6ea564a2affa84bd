/**
 * `logs` on a real journal: the daemon as a unit of a systemd of its own. Left out, and said so, where that cannot be
 * booted.
 */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bootSystemd, type Machine, whyNoSystemd } from '../support/systemd/systemd.ts';
import { plainLines } from './command-line.ts';

const why = await whyNoSystemd();
const title = `the journal of a unit${why === null ? '' : ` (left out: ${why})`}`;
const checkout = fileURLToPath(new URL('../..', import.meta.url));
/** The checkout as it is seen inside, wherever it lies. */
const inside = '/srv/checkout';
const program = `${inside}/node_modules/.bin/node ${inside}/src/ticketmaild.js`;

describe.skipIf(why !== null)(title, { timeout: 60_000 }, () => {
  let machine: Machine;

  beforeAll(async () => {
    machine = await bootSystemd({ [checkout]: inside });
    await machine.get('mkdir -m 700 /run/data');
    const env = '-E TICKETMAILD_DATA_DIR=/run/data -E TICKETMAILD_HTTP_LISTEN=off';
    const add = 'mailbox add --name one --host 127.0.0.1 --port 9 --user x --no-probe --password-stdin';
    await machine.get(`printf pw | TICKETMAILD_DATA_DIR=/run/data ${program} ${add}`);
    await machine.get(`systemd-run --unit=ticketmaild ${env} ${program} run`);
    await machine.until('journalctl -u ticketmaild -o cat | grep -q poll.failed', 20_000);
    await machine.get('systemctl stop ticketmaild');
  });

  afterAll(() => machine?.[Symbol.asyncDispose]());

  test('is shown for people, with what systemd says, and the priority of a line is not', async () => {
    const shown = plainLines(await machine.get(`${program} logs --unit ticketmaild`));
    expect(shown.find((line) => line.includes('poll.failed'))).toMatch(
      /^[\d-]{10} [\d:]{8} WARN {2}poll\.failed {12}one {2}connect_refused: /,
    );
    expect(shown.some((line) => /^(Started|Stopped|Stopping) .*ticketmaild/.test(line))).toBe(true);
    expect(shown.filter((line) => /^<\d>|^\{/.test(line))).toEqual([]);
  });

  test('is what journalctl itself sorts by priority', async () => {
    const warnings = await machine.get('journalctl -u ticketmaild -p warning -o cat');
    const events = warnings.split('\n').map((line) => JSON.parse(line).event);
    expect(new Set(events)).toEqual(new Set(['poll.failed']));
  });

  test('is filtered, and without a unit of that name says nothing', async () => {
    const warnings = await machine.get(`${program} logs --unit ticketmaild --event poll. --since 1h --lines 1`);
    expect(warnings).toMatch(/^\S+ \S+ WARN {2}poll\.failed [^\n]+\n +hint: [^\n]+$/);
    expect(await machine.run(`${program} logs --unit none --event poll.`)).toMatchObject({ code: 0, stdout: '' });
  });

  test('at a terminal is read without being told where', async () => {
    const shown = await machine.get(`script -qec "${program} logs --event daemon.ready" /dev/null`);
    expect(plainLines(shown)).toEqual([expect.stringMatching(/ INFO {2}daemon\.ready\r?$/)]);
  });

  test('at a terminal has the workers of the template too, and says which a line is from', async () => {
    const env = '-E TICKETMAILD_DATA_DIR=/run/data -E TICKETMAILD_HTTP_LISTEN=off -E TICKETMAILD_WORKER_NAME=1';
    await machine.get(`systemd-run --unit=ticketmaild@1 ${env} ${program} run`);
    await machine.until('journalctl -u ticketmaild@1 -o cat | grep -q daemon.ready', 20_000);
    await machine.get('systemctl stop ticketmaild@1');
    const shown = await machine.get(`script -qec "${program} logs --event daemon.ready" /dev/null`);
    expect(plainLines(shown)).toEqual([
      expect.stringMatching(/^\d{4}-\S+ \S+ INFO {2}daemon\.ready/),
      expect.stringMatching(/^@1 \d{4}-\S+ \S+ INFO {2}daemon\.ready/),
    ]);
  });

  test('is followed until Ctrl-C', async () => {
    const { code, stdout } = await machine.run(`timeout -s INT 3 ${program} logs --unit ticketmaild --follow`);
    // What timeout says when it had to end something.
    expect(code).toBe(124);
    expect(stdout).toMatch(/daemon\.stopped/);
  });
});
