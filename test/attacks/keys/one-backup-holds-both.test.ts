/**
 * A thief takes one backup of the data folder, which by default holds the SQLite database and the key file: both
 * together reveal every password. `enable` and `check` say so, with both remedies, until one of them is taken.
 */
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type CommandLine, openCommandLine } from '../../commands/command-line.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const enabling = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared'];

let cli: CommandLine;
afterEach(() => cli[Symbol.asyncDispose]());

test('by default enable and check warn, and name the folder and both remedies', async () => {
  cli = await openCommandLine();
  const enabled = await cli.run(enabling);
  expect(enabled.code).toBe(0);
  expect(enabled.err).toContain(
    `warning: Key file and SQLite database are both in ${cli.dataDir}: one backup of it holds both`,
  );
  expect(enabled.err).toContain('ticketmaild key protect');
  const checked = await cli.run(['check']);
  expect(checked.code).toBe(0);
  expect(checked.out).toContain(`warning backup: Key file and SQLite database are both in ${cli.dataDir}`);
  expect(checked.out).toMatch(/hint: .*key protect.*\[database\] url/);
});

test('behind a passphrase the backup reveals nothing: no warning', async () => {
  cli = await openCommandLine();
  await cli.run(enabling);
  expect(await cli.run(['key', 'protect', '--passphrase-stdin'], 'three blind mice and a cat')).toMatchObject({
    code: 0,
  });
  expect((await cli.run(['check'])).out).not.toContain('warning backup');
});

test('with the database in another folder: no warning', async () => {
  await using elsewhere = await temporaryFolder('elsewhere');
  cli = await openCommandLine({ TICKETMAILD_DATABASE_URL: `sqlite:${join(elsewhere.path, 'ticketmaild.db')}` });
  expect((await cli.run(enabling)).err).not.toContain('one backup');
});
