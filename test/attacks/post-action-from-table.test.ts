/**
 * A writer of the database, encryption on, points a mailbox at the folder Sent with `delete`: the messages are fetched,
 * and stay on the server until a command confirms exactly these settings.
 */
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { mail } from '../support/instance.ts';
import { mailboxScene } from './mailbox-scene.ts';

const at = mailboxScene();

beforeEach(async () => {
  await at.dovecot.append(at.user, 'INBOX', [mail('question')]);
  await at.dovecot.append(at.user, 'Sent', [mail('answer'), mail('secret')]);
});

const ok = { code: 0 };
const confirm = ['mailbox', 'confirm', 'one', '--yes'];

async function add(...more: readonly string[]): Promise<void> {
  const args = ['mailbox', 'add', '--name', 'one', ...at.server, '--password-stdin', '--since', 'all', ...more];
  expect(await at.cli.run(args, 'pw')).toMatchObject(ok);
}

const enable = () => at.cli.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
const left = async (folder: string) => (await at.dovecot.listFlags(at.user, folder)).size;

async function polled(): Promise<unknown> {
  const { code, json } = await at.cli.run(['poll', 'one', '--json']);
  expect(code).toBe(0);
  return json[0]?.['outcomes'];
}

/** The whole attack. */
const aimAtSent = `update mailboxes set folder = 'Sent', on_success = 'delete', since_kind = 'all'`;

async function state(): Promise<unknown> {
  const { out } = await at.cli.run(['mailbox', 'list']);
  return /^one +(\S+)/m.exec(out)?.[1];
}

describe('a writer of the database has the folder Sent read and deleted', () => {
  test('the messages become tickets and stay on the server, with a state of its own, until they are confirmed', async () => {
    await add('--on-success', 'leave');
    expect(await enable()).toMatchObject(ok);
    expect(await polled()).toMatchObject({ ticket_opened: 1 });
    at.cli.sql(aimAtSent);
    expect(await polled()).toMatchObject({ ticket_opened: 2 });
    expect(await polled()).toMatchObject({ ticket_opened: 0 });
    expect(await left('Sent')).toBe(2);
    expect(await state()).toBe('unconfirmed');
    const { out } = await at.cli.run(['mailbox', 'show', 'one']);
    expect(out).toContain('delete waits; ticketmaild mailbox confirm one');
    // Another one than was shown is not confirmed with it.
    const asked = await at.cli.typed(confirm.slice(0, -1), [['Are these settings yours? [y/N]', 'n\n']]);
    expect(asked).toMatchObject({ code: 1, out: '' });
    for (const line of ['folder    Sent', 'messages  all', 'then      delete: each', 'waiting   2 stored messages'])
      expect(asked.err).toContain(line);
    expect(await polled()).toBeDefined();
    expect(await left('Sent')).toBe(2);
    // The operator says that it is right: what waited is done.
    expect(await at.cli.run(confirm)).toMatchObject(ok);
    expect(await polled()).toBeDefined();
    expect(await left('Sent')).toBe(0);
    expect(await state()).toBe('ok');
  });

  test.each([
    ['a confirmed delete is pointed at another folder', `folder = 'Sent'`],
    ['move has another folder', `on_success = 'move', on_success_folder = 'Hidden', folder = 'Sent'`],
    ['the start is moved', `since_kind = 'all'`],
  ])('%s: nothing is removed', async (_title, change) => {
    await add('--on-success', 'delete', '--since', '2020-01-01');
    expect(await enable()).toMatchObject(ok);
    expect(await at.cli.run(confirm)).toMatchObject(ok);
    at.cli.sql(`update mailboxes set ${change}`);
    await polled();
    expect([await left('INBOX'), await left('Sent')]).toEqual([1, 2]);
    expect(await state()).toBe('unconfirmed');
  });

  test('the seal of another row, a made-up one or one of another key does not help', async () => {
    await add('--on-success', 'delete');
    expect(await enable()).toMatchObject(ok);
    const seal = `(select settings_seal from mailboxes where name = 'one')`;
    for (const forged of [seal, `'${'0'.repeat(16)}::${'A'.repeat(43)}'`, `replace(${seal}, ':', 'x')`, `''`, 'null']) {
      at.cli.sql(`update mailboxes set folder = 'Sent', settings_seal = ${forged}`);
      await polled();
      expect(await left('Sent')).toBe(2);
    }
  });

  test('seen and leave act at once, and with encryption off everything does', async () => {
    await add('--on-success', 'leave');
    expect(await enable()).toMatchObject(ok);
    at.cli.sql(`update mailboxes set on_success = 'seen', folder = 'Sent'`);
    await polled();
    expect([...(await at.dovecot.listFlags(at.user, 'Sent')).values()].every((flags) => flags.has('\\Seen'))).toBe(
      true,
    );
    expect(await at.cli.run(['encryption', 'disable', '--yes'])).toMatchObject(ok);
    at.cli.sql(`update mailboxes set on_success = 'delete', folder = 'INBOX'`);
    await polled();
    expect(await left('INBOX')).toBe(0);
  });
});

describe('honest use', () => {
  test('delete of a mailbox from before encryption acts after enable, which names it, a rotation and a change', async () => {
    await add('--on-success', 'delete');
    const { out } = await enable();
    expect(out).toMatch(/^confirmed {2}one: delete in INBOX, /m);
    await polled();
    expect(await left('INBOX')).toBe(0);
    expect(await at.cli.run(['encryption', 'rotate'])).toMatchObject(ok);
    await at.dovecot.append(at.user, 'INBOX', [mail('second')]);
    await polled();
    expect(await left('INBOX')).toBe(0);
    expect(
      await at.cli.run(['mailbox', 'set', 'one', '--name', 'two', '--folder', 'Sent', '--since', 'all']),
    ).toMatchObject({ ...ok, err: expect.not.stringContaining('waits until') });
    expect(await at.cli.run(['poll', 'two'])).toMatchObject(ok);
    expect(await left('Sent')).toBe(0);
  });

  test('a mailbox that a command adds while encryption is on acts at once; after a lost key it is asked for again', async () => {
    await add('--on-success', 'leave');
    expect(await enable()).toMatchObject(ok);
    expect(await at.cli.run(['mailbox', 'remove', 'one', '--yes'])).toMatchObject(ok);
    await add('--on-success', 'move:Done');
    await polled();
    expect([await left('INBOX'), await left('Done')]).toEqual([0, 1]);
    await unlink(join(at.cli.dataDir, 'encryption-key.bin'));
    const replaced = await at.cli.run(['encryption', 'replace-lost-key', '--accept-password-loss']);
    expect(replaced).toMatchObject({ ...ok, out: expect.stringContaining('ticketmaild mailbox confirm NAME') });
    expect(
      await at.cli.run(
        ['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin', '--accept-connection'],
        'pw',
      ),
    ).toMatchObject(ok);
    await at.dovecot.append(at.user, 'INBOX', [mail('third')]);
    await polled();
    expect(await left('INBOX')).toBe(1);
    expect(await at.cli.run(confirm)).toMatchObject(ok);
    await polled();
    expect(await left('INBOX')).toBe(0);
  });

  test('confirm is refused while encryption is off, and for a mailbox that is not there', async () => {
    await add('--on-success', 'delete');
    expect(await at.cli.run(confirm)).toMatchObject({ code: 3, err: expect.stringContaining('encryption is off') });
    expect(await at.cli.run(['mailbox', 'confirm', 'none', '--yes'])).toMatchObject({ code: 4 });
  });
});
