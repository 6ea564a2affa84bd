import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isoTime, shortTime } from '../../src/text/time.ts';
import { type CommandLine, openCommandLine } from '../commands/command-line.ts';

let cli: CommandLine;

const enable = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared'];
const add = ['mailbox', 'add', '--name', 'one', '--host', 'h.example', '--user', 'u', '--no-probe', '--password-stdin'];

beforeEach(async () => {
  cli = await openCommandLine();
  expect(await cli.run(add, 'Zucker-und-Salz-91')).toMatchObject({ code: 0 });
  expect(await cli.run(enable)).toMatchObject({ code: 0 });
});

afterEach(() => cli[Symbol.asyncDispose]());

test('an invalid time is unknown for people and null for scripts', () => {
  for (const ms of [Number.NaN, Number.POSITIVE_INFINITY, 8.64e15 + 1])
    expect([shortTime(ms), isoTime(ms)]).toEqual(['unknown', null]);
  expect([shortTime(null), isoTime(null)]).toEqual(['never', null]);
  expect([shortTime(0), isoTime(0)]).toEqual(['1970-01-01 00:00:00', '1970-01-01T00:00:00.000Z']);
});

describe.each(['garbage', '', '2026-99-99 00:00:00.000'])('with %j in place of a time', (text) => {
  test('encryption status omits a worker with that heartbeat, and shows one with that start', async () => {
    await using app = await cli.open();
    const idle = { keyIds: [], vault: 'closed', revision: 0 };
    await app.store.reportWorker({ worker: 'w1', host: 'elsewhere', pid: 4711, ...idle });
    await app.store.reportWorker({ worker: 'w2', host: 'beyond', pid: 4712, ...idle });
    cli.sql(`update workers set started_at = '${text}'`);
    cli.sql(`update workers set heartbeat_at = '${text}' where worker = 'w1'`);
    const { code, json } = await cli.run(['encryption', 'status', '--json']);
    expect(code).toBe(0);
    // As text it lies before or after every time, more than a day away.
    const workers = [expect.objectContaining({ host: 'beyond', seen_at: expect.stringMatching(/^20.+Z$/) })];
    expect(json[0]?.workers).toEqual(workers);
    const people = await cli.run(['encryption', 'status']);
    expect(people.code).toBe(0);
    expect(people.out).not.toContain('elsewhere');
  });

  test('encryption log shows the entry', async () => {
    cli.sql(`update audit set at = '${text}'`);
    const { code, json } = await cli.run(['encryption', 'log', '--json']);
    expect(code).toBe(0);
    expect(json[0]).toMatchObject({ at: null, action: 'switch.on' });
    expect(await cli.run(['encryption', 'log'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^unknown .*switch\.on/m),
    });
  });

  test('a switch row is shown beside the one in force, which is restored', async () => {
    cli.sql(`update encryption_switch set changed_at = '${text}'`);
    const { code, json } = await cli.run(['encryption', 'status', '--json']);
    expect(code).toBe(0);
    expect(json[0]).toMatchObject({ state: 'on', problem: { code: 'switch_forged' }, stored_state: 'on' });
    expect((await cli.run(['encryption', 'status'])).code).toBe(0);
    const accepted = await cli.run(['encryption', 'trust-restored', '--yes']);
    expect(accepted).toMatchObject({ code: 0, out: expect.stringMatching(/^found +on .* unknown /m) });
    expect((await cli.run(['encryption', 'status', '--json'])).json).toMatchObject([{ state: 'on', problem: null }]);
  });

  test('a switch row is printed without its time for scripts', async () => {
    cli.sql(`update encryption_switch set changed_at = '${text}'`);
    const { code, json } = await cli.run(['encryption', 'trust-restored', '--yes', '--json']);
    expect(code).toBe(0);
    expect(json).toMatchObject([{ state: 'on', found: { state: 'on', changed_at: null } }]);
  });

  test('a switch row that cannot be verified ends both commands with a failure', async () => {
    await rm(join(cli.dataDir, 'encryption-key.bin'));
    await rm(join(cli.dataDir, 'switch-state'));
    cli.sql(`update encryption_switch set changed_at = '${text}'`);
    expect((await cli.run(['encryption', 'status'])).code).toBe(0);
    expect((await cli.run(['encryption', 'status', '--json'])).json).toHaveLength(1);
    expect(await cli.run(['encryption', 'trust-restored', '--yes'])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/which is not in the key file\nhint: /),
    });
  });
});
