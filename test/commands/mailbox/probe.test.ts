/**
 * Hints of a failed probe: each names a command that keeps the cursor of the mailbox.
 */
import { expect, test } from 'vitest';
import { probeNotes } from '../../../src/admin/mailboxes/post-actions.ts';
import { probeMailbox } from '../../../src/commands/mailbox/probe.ts';
import { Failure, type FailureCode, hintOf } from '../../../src/errors.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import { hints } from '../../../src/text/hints.ts';
import { startScriptedServer } from '../../adapters/imap/scripted-server.ts';
import { mailbox } from '../../ingest/samples.ts';
import { failureOf } from '../../support/promises.ts';
import { openCommandLine } from '../command-line.ts';

const shown = 'ab'.repeat(32);

const otherPin = new Failure('tls_pin_mismatch', 'another certificate', { fields: { pinned: 'cd', shown } });

async function probeFailure(name: string | null, failure = otherPin, loginHint: string | null = null) {
  const app = { sessions: { probe: () => Promise.reject(failure) } } as unknown as Parameters<typeof probeMailbox>[0];
  const context = { terminal: { stage: () => undefined, note: () => undefined } } as unknown as Parameters<
    typeof probeMailbox
  >[3];
  const secret = SecretBytes.take(Buffer.from('pw'));
  return await failureOf(
    probeMailbox(app, mailbox('support').connection, { kind: 'password', secret }, context, { name, loginHint }),
  );
}

test('another certificate than the pinned one is accepted by mailbox set, which keeps the cursor', async () => {
  const { message, hint } = await probeFailure('support desk');
  expect(message).toContain(`It shows ${shown}.`);
  expect(hint).toContain(`ticketmaild mailbox set --fingerprint ${shown} 'support desk'`);
  expect(hint).not.toMatch(/remove/);
  expect(hintOf('tls_pin_mismatch')).toContain('ticketmaild mailbox set NAME --fingerprint');
  expect(hintOf('tls_pin_mismatch')).not.toMatch(/remove/);
});

test('for a mailbox that is not stored yet the hint names the option, not a command on a mailbox', async () => {
  const { hint } = await probeFailure(null);
  expect(hint).toContain(`--fingerprint ${shown}`);
  expect(hint).not.toMatch(/mailbox set|remove/);
});

test('the hint of a refused login is that of the response code, unless it has a command on a stored mailbox', async () => {
  const refused = (hint: string) => new Failure('login_refused', 'no', { hint });
  const own = 'Nothing was stored.';
  expect((await probeFailure(null, refused(hints.passwordExpired), own)).hint).toBe(hints.passwordExpired);
  expect((await probeFailure(null, refused(hints.accountLocked), own)).hint).toBe(own);
  expect((await probeFailure(null, new Failure('login_refused', 'no'), own)).hint).toBe(own);
});

test('for a mailbox that is not stored no poll follows, and no setting can be changed', async () => {
  const busy = (hint: string) => new Failure('server_busy', 'busy', { hint });
  for (const hint of [
    hints.mailboxInUse,
    hints.overQuota,
    hints.serverLimit,
    hints.serverPartDown,
    hints.rightMissing,
  ]) {
    const shownHint = (await probeFailure(null, busy(hint))).hint;
    expect(shownHint).toMatch(/Nothing was stored: try again later\.$/);
    expect(shownHint).not.toMatch(/retried|mailbox set/);
    expect((await probeFailure('support', busy(hint))).hint).toBe(hint);
  }
});

test('a server that accepts the login and names another host for the mail is noted', () => {
  const report = { folders: ['INBOX'], capabilities: ['UIDPLUS'], leftOut: 0 };
  expect(probeNotes({ kind: 'seen' }, { ...report, isReferred: false })).toEqual([]);
  expect(probeNotes({ kind: 'seen' }, { ...report, isReferred: true })).toEqual([
    'the server accepts the login and says that the mail of this user is on another host: ask its operator',
  ]);
});

test('a folder named after the password is printed by no command, as text or as JSON', async () => {
  const password = 'Zq7SecretPwX';
  await using server = await startScriptedServer({
    script: (command, rest, tag, { say }) => {
      if (command === 'EXAMINE' && rest.includes('Tickets')) say(`${tag} NO [NONEXISTENT] no`);
      else if (command === 'LIST' && rest !== '"" ""')
        say(`* LIST () "/" "Old Mail"`, `* LIST () "/" "a/${password}"`, '* LIST () "/" INBOX', `${tag} OK`);
      else return false;
      return true;
    },
  });
  await using cli = await openCommandLine();
  const at = ['--host', '127.0.0.1', '--port', `${server.port}`, '--tls', 'none', '--user', 'ada', '--password-stdin'];
  const add = ['mailbox', 'add', '--name', 'desk', ...at];
  const hint = 'Existing folders: "Old Mail", INBOX (not shown: 1 name with the password or token in it)';
  expect((await cli.run([...add, '--folder', 'Tickets'], password)).err).toContain(`hint: ${hint}`);
  const { json } = await cli.run([...add, '--folder', 'Tickets', '--json'], password);
  expect(json.at(-1)).toMatchObject({ error: { code: 'folder_missing', hint } });
  await cli.run(add, password);
  const tested = await cli.run(['mailbox', 'test', 'desk']);
  expect(tested.out).toMatch(/^folders +Old Mail, INBOX\nnot shown +1 name with/m);
  expect((await cli.run(['mailbox', 'test', 'desk', '--json'])).json).toMatchObject([{ left_out: 1 }]);
  cli.expectNothingLeaked([password]);
  // A name that is not shown may be that of the target folder.
  const moving = ['mailbox', 'add', '--name', 'moving', ...at, '--on-success', 'move:Archive'];
  expect((await cli.run(moving, password)).err).not.toContain('there is no folder');
});

test.each<[FailureCode, boolean]>([
  ['tls_untrusted', true],
  ['tls_name_mismatch', true],
  ['tls_expired', false],
  ['tls_failed', false],
])('%s: pinning the certificate is offered: %s', async (code, isOffered) => {
  const { hint } = await probeFailure(null, new Failure(code, 'refused', { fields: { fingerprint: shown } }));
  expect(hint.includes(`--fingerprint ${shown}`)).toBe(isOffered);
});

test.each([
  ['delete', 'IMAP4rev1 AUTH=PLAIN', true],
  ['move:Done', 'IMAP4rev1 AUTH=PLAIN', true],
  ['move:Done', 'IMAP4rev1 AUTH=PLAIN MOVE', false],
  ['delete', 'IMAP4rev1 AUTH=PLAIN UIDPLUS', false],
  ['seen', 'IMAP4rev1 AUTH=PLAIN', false],
])(
  'mailbox add with %s on a server with %s says whether messages stay, marked as deleted: %s',
  async (action, capabilities, isSaid) => {
    await using server = await startScriptedServer({ capabilities });
    await using cli = await openCommandLine();
    const at = [
      '--host',
      '127.0.0.1',
      '--port',
      `${server.port}`,
      '--tls',
      'none',
      '--user',
      'ada',
      '--password-stdin',
    ];
    const { err, code } = await cli.run(['mailbox', 'add', '--name', 'desk', ...at, '--on-success', action], 'pw');
    expect(code).toBe(0);
    expect(err.includes('the server has no UIDPLUS: messages stay in the folder')).toBe(isSaid);
  },
);
