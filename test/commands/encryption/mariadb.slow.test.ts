import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAdministrator, printedSteps, runPrinted } from '../../support/leaks/printed-steps.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import { type CommandLine, openCommandLine } from '../command-line.ts';

let mariadb: Mariadb;
let cli: CommandLine;

beforeAll(async () => {
  mariadb = await startMariadb({
    args: ['--log-bin=log', '--server-id=1', '--innodb-immediate-scrub-data-uncompressed=OFF'],
  });
  const { url } = await mariadb.createDatabase();
  cli = await openCommandLine({ TICKETMAILD_DATABASE_URL: url });
});

afterAll(async () => {
  await cli[Symbol.asyncDispose]();
  await mariadb[Symbol.asyncDispose]();
});

const secret = 'Zucker-und-Salz-91';

test('the whole life of a key on MariaDB, and each statement that is recommended there can be run', async () => {
  const server = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin'];
  for (const name of ['one', 'two']) await cli.run(['mailbox', 'add', '--name', name, ...server], secret);

  const untyped = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared'];
  const refused = await cli.run(untyped);
  expect([refused.code, refused.err]).toEqual([3, expect.stringContaining('readable in freed undo pages of MariaDB')]);
  const [before = ''] = /SET GLOBAL .+?;/.exec(refused.err) ?? [];
  expect((await cli.run(['encryption', 'status', '--json'])).json).toMatchObject([{ state: 'off', plaintext: 2 }]);

  const enabled = await cli.typed(
    ['encryption', 'enable'],
    [
      ['Do you accept that? [y/N]', 'y\n'],
      ['apart from the backups of the database? [y/N]', 'y\n'],
      ['Enable encryption before that is set? [y/N]', 'y\n'],
    ],
  );
  expect(enabled.code).toBe(0);
  expect(enabled.out).toMatch(/^encryption is on\nsealed {4}2 passwords\n/);
  await mariadb.query(before);
  const { steps, rights } = printedSteps(enabled.out);
  expect(steps).toHaveLength(3);
  await createAdministrator(mariadb, rights);
  for (const step of steps) await runPrinted(mariadb, step);

  for (const args of [['rotate'], ['reseal'], ['status'], ['log'], ['disable', '--yes']]) {
    const ran = await cli.run(['encryption', ...args, '--json']);
    expect({ args, code: ran.code, err: ran.err.includes('hint') }).toEqual({ args, code: 0, err: false });
  }
  const [status] = (await cli.run(['encryption', 'status', '--json'])).json;
  expect(status).toMatchObject({ state: 'off', sealed: 0, plaintext: 2 });
  // The setting is on by now.
  expect(await cli.run(untyped)).toMatchObject({ code: 0, err: expect.not.stringContaining('MariaDB') });
  cli.expectNothingLeaked([secret]);
});
