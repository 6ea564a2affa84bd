/**
 * A writer of the database copies the settings seal of a command that the database refused (a trigger), to put it in
 * later: the failed command says that the settings may act, and a rotation ends them.
 */
import { beforeEach, expect, test } from 'vitest';
import { createConfirmations, warningOfSeal } from '../../../src/encryption/confirmations.ts';
import { rotate } from '../../../src/encryption/operations/rotate.ts';
import { Failure } from '../../../src/errors.ts';
import { allSettings } from '../../../src/secret/settings-seal.ts';
import { openCommandLine } from '../../commands/command-line.ts';
import { mailboxOf, startProcess, type World } from '../../encryption/memory-ports.ts';
import { randomKey, storedOf, worldAt } from '../../encryption/stored-passwords.ts';

let world: World;

beforeEach(async () => {
  world = await worldAt('on', [randomKey()], ['one']);
  storedOf(world, 'one').seal = null;
});

const refused = () => new Failure('database_failed', 'The database reported an error: ER_SIGNAL_EXCEPTION.');

/** A `mailbox confirm` that the database refuses; the seal that the writer has then. */
async function refusedSeal(): Promise<string> {
  const { vault } = startProcess(world);
  await vault.refresh();
  const store = { readSettingsSeal: async () => null };
  let copied = '';
  const confirming = createConfirmations({ store, vault }).confirm(
    mailboxOf(storedOf(world, 'one')),
    allSettings,
    async ({ settingsSeal }) => {
      copied = settingsSeal ?? '';
      throw refused();
    },
  );
  await expect(confirming).rejects.toMatchObject({
    code: 'database_failed',
    hint: expect.stringContaining('until you run ticketmaild encryption rotate'),
  });
  return copied;
}

test('the failed command says that the settings may act, and a rotation ends them', async () => {
  const copied = await refusedSeal();
  const done = await rotate(startProcess(world), { force: false, waitMs: 0, signal: new AbortController().signal });
  expect(done.settings).toEqual({ removing: [], unrenewed: [] });
  storedOf(world, 'one').seal = copied;
  const { vault } = startProcess(world);
  await vault.refresh();
  const { isUnconfirmed } = createConfirmations({ store: { readSettingsSeal: async () => null }, vault });
  expect(isUnconfirmed(mailboxOf(storedOf(world, 'one')), copied)).toBe(true);
});

test('by the command line, at a trigger that refuses the write', async () => {
  await using cli = await openCommandLine();
  const ok = async (...args: readonly string[]) => expect(await cli.run(args, 'pw')).toMatchObject({ code: 0 });
  await ok('encryption', 'enable', '--accept-key-loss', '--backup-prepared');
  const server = ['--host', 'imap.example.org', '--user', 'desk@example.org', '--since', 'all'];
  await ok('mailbox', 'add', '--name', 'one', ...server, '--on-success', 'leave', '--no-probe', '--password-stdin');
  cli.sql(`create trigger refuses before update on mailboxes begin select raise(abort, 'no'); end`);
  for (const args of [
    ['mailbox', 'set', '--no-probe', 'one', '--on-success', 'delete'],
    ['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin', '--accept-connection'],
  ])
    expect(await cli.run(args, 'pw')).toMatchObject({
      code: 1,
      err: expect.stringContaining('a writer of it may make them act all the same'),
    });
});

test('honest use: a failure without a seal, or before the database, has no such hint', async () => {
  const hintOf = async (seal: string | null, failure: Failure) =>
    await warningOfSeal(seal, () => Promise.reject(failure)).catch(({ hint }: Failure) => hint);
  expect(await hintOf(null, refused())).not.toContain('rotate');
  expect(await hintOf('seal', new Failure('not_found', 'there is no mailbox one'))).not.toContain('rotate');
});
