/**
 * Credentials that stopped working, and took more with them, in what others used.
 *
 * The complaints are about tokens of OAuth. This program knows passwords only, so each wish is tested on what exists: a
 * stored credential that the mail server does not take any more.
 */
import { beforeAll, expect, test } from 'vitest';
import { startScriptedServer } from '../adapters/imap/scripted-server.ts';
import { checkOf, type Instance, metrics, opened, openInstance, readiness } from '../support/instance.ts';

import type { Daemon } from '../support/processes/daemon.ts';
import { named, runCommand } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { inClear, mail, sceneOfFile } from './scene.ts';

const at = sceneOfFile();

let instance: Instance;

beforeAll(async () => {
  instance = await openInstance({ database: at.database });
  return () => instance[Symbol.asyncDispose]();
});

/** The password column of a mailbox, in hex. */
const passwordOf = async (name: string): Promise<string> =>
  (
    await at.mariadb.query(
      `SELECT HEX(password), password_form FROM ${at.database.name}.mailboxes WHERE name = '${name}'`,
    )
  ).trim();

async function refusedMailbox(name: string) {
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', [mail()]);
  const mailbox = await instance.add(at.dovecot, user, { name });
  await instance.setPassword(mailbox, 'expired');
  return { user, mailbox };
}

const remove = (id: string): Promise<void> => instance.app.store.removeMailbox(id, instance.app.actor);

// Instead of a token that cannot be refreshed: a password that is refused.
test('case 76 (ZA#3294): a mailbox whose login fails does not stop those after it', async () => {
  const names = ['a-first', 'b-second', 'c-third'];
  await refusedMailbox('a-first');
  for (const name of names.slice(1)) {
    const user = at.dovecot.newUser();
    await at.dovecot.append(user, 'INBOX', [mail()]);
    await instance.add(at.dovecot, user, { name });
  }
  const { code, stdout } = await instance.command('poll', '--json');
  expect(code).toBe(1);
  const reports = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .filter(({ mailbox }) => names.includes(mailbox));
  expect(reports.map(({ mailbox, ok }) => [mailbox, ok]).sort()).toEqual([
    ['a-first', false],
    ['b-second', true],
    ['c-third', true],
  ]);
  for (const { id, name } of await instance.app.store.listMailboxes()) if (names.includes(name)) await remove(id);
});

let daemon: Daemon;
const start = () => {
  daemon ??= instance.start({ TICKETMAILD_POLL_LOGIN_FAILURES_MAX: '2' });
  return daemon;
};

// Instead of a new refresh token that was not saved: the stored password stays what it was, whatever the server says.
test('case 77 (ZA#3411): a stored credential is not changed or deleted by logins that fail, and works when they are taken again', async () => {
  let isTaken = false;
  await using server = await startScriptedServer({
    exists: 0,
    script: (command, _rest, tag, { say, next }) => {
      if (command !== 'AUTHENTICATE' || isTaken) return false;
      say('+ ');
      next(() => say(`${tag} NO [AUTHENTICATIONFAILED] no`));
      return true;
    },
  });
  const mailbox = await instance.add(at.dovecot, 'seventy-seven', inClear(server.port, 'seventy-seven'));
  const before = await passwordOf(mailbox.name);
  start();
  await until('logins are suspended', async () =>
    (await checkOf(daemon, mailbox.name))?.reason?.includes('Logins are suspended'),
  );
  expect(await passwordOf(mailbox.name)).toBe(before);
  isTaken = true;
  await instance.command('mailbox', 'resume', mailbox.name);
  await until('it is taken', async () => (await checkOf(daemon, mailbox.name))?.status === 'ok');
  expect(await passwordOf(mailbox.name)).toBe(before);
  await remove(mailbox.id);
});

// There is no page to administrate yet: the commands, and what /readyz says, must work while the login fails.
test('case 78 (ZA#3292): while a credential is refused, all that shows it works, and it can be set again', async () => {
  const { mailbox } = await refusedMailbox('seventy-eight');
  start();
  await until('it fails', async () => (await checkOf(daemon, mailbox.name))?.status === 'failing');
  const { address } = await daemon.waitFor(named('http.listening'));
  for (const path of ['livez', 'readyz', 'metrics'])
    expect([200, 503]).toContain((await fetch(`${address}/${path}`)).status);
  for (const command of [
    ['mailbox', 'show', mailbox.name],
    ['mailbox', 'list', '--json'],
  ]) {
    const shown = await instance.command(...command);
    expect(shown).toMatchObject({ code: 0, stdout: expect.stringMatching(/login_refused/) });
  }
  const args = ['mailbox', 'set-password', '--no-probe', mailbox.name, '--password-stdin'];
  expect(await runCommand(args, { env: instance.env, input: 'pw' })).toMatchObject({ code: 0 });
  await until('the mail', () => opened(daemon, mailbox.name) === 1);
  await until('it is well', async () => (await checkOf(daemon, mailbox.name))?.status === 'ok');
});

// Instead of a token that was not renewed.
test('case 79 (OT#6455): that a login fails is reported at once: in the log, on /readyz, in the metrics and by status', async () => {
  start();
  await daemon.waitFor(named('daemon.ready'));
  const addedAt = performance.now();
  const { mailbox } = await refusedMailbox('seventy-nine');
  const line = await daemon.waitFor((each) => named('poll.failed')(each) && each['mailbox'] === mailbox.name);
  expect(line).toMatchObject({
    level: expect.stringMatching(/^(warn|error)$/),
    error: { code: 'login_refused', hint: expect.stringMatching(/set-password/) },
  });
  const check = await until('/readyz', async () => {
    const found = await checkOf(daemon, mailbox.name);
    return found?.status === 'failing' ? found : null;
  });
  expect(performance.now() - addedAt).toBeLessThan(8000);
  expect(check).toMatchObject({
    reason: expect.stringMatching(/^login_refused: /),
    hint: expect.stringMatching(/set-password/),
  });
  expect((await readiness(daemon)).body.checks.mailboxes.status).toBe('failing');
  const text = await metrics(daemon);
  expect(text).toMatch(/^ticketmaild_login_failures_total\{host="localhost",code="login_refused"\} [1-9]/m);
  expect(text).toMatch(/^ticketmaild_mailbox_trouble\{mailbox="seventy-nine",.*code="login_refused"\} 1$/m);
  const status = await instance.command('status');
  expect(status.stdout).toMatch(/seventy-nine[\s\S]*login_refused/);
});

test('case 80 (OT#5390): a provider that has ended passwords is called that, and not a wrong password', async () => {
  const refusing = (line: string) =>
    startScriptedServer({
      script: (command, _rest, tag, { say, next }) => {
        if (command !== 'AUTHENTICATE') return false;
        say('+ ');
        next(() => say(`${tag} ${line}`));
        return true;
      },
    });
  await using disabled = await startScriptedServer({ capabilities: 'IMAP4rev1 LOGINDISABLED AUTH=XOAUTH2' });
  await using microsoft = await refusing('NO [AUTHENTICATIONFAILED] Basic authentication is disabled.');
  await using blocked = await refusing('NO LogonDenied-BasicAuthBlocked');
  const servers = [
    [disabled, 'login_unsupported', /Sign in with OAuth 2|supported password login/],
    [microsoft, 'login_refused', /Microsoft no longer supports passwords for IMAP/],
    [blocked, 'login_refused', /Microsoft no longer supports passwords for IMAP/],
  ] as const;
  for (const [server, code, hint] of servers) {
    const name = `eighty-${server.port}`;
    await instance.add(at.dovecot, name, { name, ...inClear(server.port, name) });
    const tested = await instance.command('mailbox', 'test', name);
    expect([tested.code, hint.test(tested.stdout + tested.stderr)], tested.stderr).toEqual([1, true]);
    start();
    await until(`${code} of ${name}`, async () => (await checkOf(daemon, name))?.reason?.startsWith(`${code}: `));
    expect((await checkOf(daemon, name))?.hint).toMatch(hint);
  }
});

// Instead of asking for a new refresh token: setting a password again, and thinking better of it.
test('case 81 (znuny/Znuny#230): a credential is not lost by an attempt to set a new one', async () => {
  const user = at.dovecot.newUser();
  const mailbox = await instance.add(at.dovecot, user, { name: 'eighty-one' });
  const before = await passwordOf(mailbox.name);
  for (const input of ['', 'x\0y']) {
    const ran = await runCommand(['mailbox', 'set-password', '--no-probe', mailbox.name, '--password-stdin'], {
      env: instance.env,
      input,
    });
    expect(ran.code, JSON.stringify(input)).not.toBe(0);
    expect(await passwordOf(mailbox.name)).toBe(before);
  }
  start();
  await until('it is polled', async () => (await checkOf(daemon, mailbox.name))?.status === 'ok');
});
