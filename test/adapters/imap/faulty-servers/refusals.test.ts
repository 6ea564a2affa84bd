/**
 * Refusals (NO, BAD) as an operator reads them: the response code (RFC 5530), and what to do about it.
 */
import { expect, test } from 'vitest';
import { type Failure, failureHint } from '../../../../src/errors.ts';
import { suspendsLogins } from '../../../../src/ingest/poll/backoff.ts';
import { isServerFailure } from '../../../../src/ingest/poll/server-failures.ts';
import { hints, knownHint } from '../../../../src/text/hints.ts';
import { failureOf } from '../../../support/promises.ts';
import { readDialogue } from '../../../support/servers/dialogues/dialogue.ts';
import { type Script, startScriptedServer } from '../scripted-server.ts';
import { credential, openSession, plainTo, sessions } from '../setting.ts';

async function probeFailure(port: number, folder = 'INBOX'): Promise<Failure> {
  return await failureOf(sessions.probe(plainTo(port, { folder }), credential(), () => undefined));
}

test('a missing folder has the same sentence, hint and list of folders with NONEXISTENT as without', async () => {
  await using server = await startScriptedServer(await readDialogue('folder-nonexistent'));
  const withCode = await probeFailure(server.port, 'Tickets');
  const without = await probeFailure(server.port, 'Tickets');
  expect(withCode.fields).toEqual({ status: 'NO', response_code: 'NONEXISTENT', folders: 'INBOX' });
  expect(without.fields).toEqual({ status: 'NO', folders: 'INBOX' });
  for (const { code, message, hint } of [withCode, without])
    expect({ code, message, hint }).toEqual({
      code: 'folder_missing',
      message: 'The folder does not exist.',
      hint: 'The folders of the server are listed by: ticketmaild mailbox test NAME',
    });
});

test('a login that is referred to another host is a failure of its own, which suspends no logins', async () => {
  await using server = await startScriptedServer(await readDialogue('login-referral'));
  const refused = await probeFailure(server.port);
  expect(refused).toMatchObject({
    code: 'server_referral',
    message: 'The server says that the mailbox is on another host, and refuses the login.',
    hint: expect.stringContaining('ticketmaild mailbox set NAME --host HOST'),
    fields: { response_code: 'REFERRAL' },
  });
  expect(JSON.stringify([refused.message, refused.fields])).not.toContain('mail2');
  expect(suspendsLogins(refused, { loginFailures: 99 }, { loginFailuresMax: 3 })).toBe(false);
  expect(isServerFailure(refused)).toBe(false);

  const accepted = await sessions.probe(plainTo(server.port), credential(), () => undefined);
  expect(accepted).toMatchObject({ isReferred: true });
  expect(JSON.stringify(accepted)).not.toContain('SERVER2');
});

test.each([
  ['the greeting', 'greeting'],
  ['the answer to a login', 'login'],
])('a BYE with a referral in %s is a referral', async (_, moment) => {
  const bye = '* BYE [REFERRAL imap://ada;AUTH=*@mail2.example.test/] Server not accepting connections';
  const script: Script = (command, _rest, _tag, { say, socket }) => {
    if (command !== 'AUTHENTICATE') return false;
    say(bye);
    socket.end();
    return true;
  };
  await using server = await startScriptedServer(moment === 'greeting' ? { greeting: bye } : { script });
  const refused = await probeFailure(server.port);
  expect(refused.code).toBe('server_referral');
  expect(JSON.stringify([refused.message, refused.fields])).not.toContain('mail2');
});

test('a referral is not followed: the other host gets no connection', async () => {
  let connections = 0;
  await using other = await startScriptedServer({}, () => {
    connections += 1;
  });
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'AUTHENTICATE') say(`${tag} NO [REFERRAL imap://ada@127.0.0.1:${other.port}/] Try there`);
    return command === 'AUTHENTICATE';
  };
  await using server = await startScriptedServer({ script });
  expect(await probeFailure(server.port)).toMatchObject({ code: 'server_referral' });
  expect(server.lines.filter((line) => line.includes('AUTHENTICATE'))).toHaveLength(1);
  expect(connections).toBe(0);
});

test('each response code is shown with what to do about it, and no other word of the server is', async () => {
  await using server = await startScriptedServer(await readDialogue('response-codes'));
  const expected: readonly [string, string, RegExp][] = [
    ['server_busy', 'The account is over its quota (NO [OVERQUOTA]).', /over a limit .*quota raised/],
    ['server_busy', 'The server is too busy for logging in (NO [LIMIT]).', /concurrency_per_host_max/],
    ['server_busy', 'The server is too busy for logging in (NO [UNAVAILABLE]).', /part of the mail server is down/],
    ['login_unsupported', 'The server refused logging in (NO [PRIVACYREQUIRED]).', /over TLS only/],
    ['login_refused', 'The server refused user or password (NO [EXPIRED]).', /has expired/],
    ['login_refused', 'The server refused user or password (NO [AUTHORIZATIONFAILED]).', /does not let it open/],
    ['login_refused', 'The server refused user or password.', /set-password NAME/],
    ['login_refused', 'The server refused user or password.', /set-password NAME/],
    ['server_refused', 'The server refused opening the folder (NO [NOPERM]).', /lacks a right/],
    ['server_busy', 'The server is too busy for opening the folder (NO [INUSE]).', /holds the mailbox/],
    ['server_refused', 'The server refused opening the folder (NO [CORRUPTION]).', /is damaged/],
    ['server_refused', 'The server refused opening the folder (NO [SERVERBUG]).', /defect of its own/],
    ['server_refused', 'The server refused opening the folder (NO [CONTACTADMIN]).', /its operator be contacted/],
    ['server_refused', 'The server refused opening the folder (NO [ALERT]).', /has a message for the user/],
    ['server_refused', 'The server refused opening the folder (NO [CANNOT]).', /allows this to no user/],
    ['server_refused', 'The server refused opening the folder (NO).', /status and the response code/],
  ];
  for (const [code, message, hint] of expected) {
    const refused = await probeFailure(server.port);
    expect(refused).toMatchObject({ code, message, hint: expect.stringMatching(hint) });
    // Status, tables and the control socket accept hints of the catalogue alone.
    expect(knownHint(refused.hint) ?? failureHint(refused.hint)).toBe(refused.hint);
    expect(JSON.stringify([refused.message, refused.fields, refused.hint, refused.cause])).not.toMatch(/hunter2/i);
  }
});

test('a folder that the server refers to another host has the words of a login that it refers', async () => {
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'EXAMINE') say(`${tag} NO [REFERRAL imap://mail2.example.test/Tickets] Try there`);
    return command === 'EXAMINE';
  };
  await using server = await startScriptedServer({ script });
  expect(await probeFailure(server.port)).toMatchObject({
    code: 'server_referral',
    message: 'The server says that the folder is on another host, and does not open it.',
    fields: { response_code: 'REFERRAL' },
  });
});

test('a full mailbox is named where a post-action needs space, or makes a folder', async () => {
  const script: Script = (command, _rest, tag, { say }) => {
    if (command === 'UID STORE' || command === 'CREATE') say(`${tag} NO [OVERQUOTA] Disk full`);
    if (command === 'UID MOVE') say(`${tag} NO [TRYCREATE] no`);
    return ['UID STORE', 'CREATE', 'UID MOVE'].includes(command);
  };
  await using server = await startScriptedServer({ capabilities: 'IMAP4rev1 AUTH=PLAIN UIDPLUS MOVE', script });
  await using session = await openSession(plainTo(server.port));
  expect(await failureOf(session.apply({ kind: 'seen' }, [1]))).toMatchObject({
    message: expect.stringMatching(/\(NO \[OVERQUOTA\]\)\.$/),
    hint: hints.overQuota,
  });
  expect(await failureOf(session.apply({ kind: 'move', folder: 'Done' }, [1]))).toMatchObject({
    message: 'The server refused to create the folder "Done" (NO [OVERQUOTA]). Its hierarchy separator is "/".',
    hint: hints.overQuota,
  });
});
