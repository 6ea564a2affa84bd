/**
 * Refusals (NO, BAD) as an operator reads them: the response code (RFC 5530), and what to do about it.
 */
import { expect, test } from 'vitest';
import type { Failure } from '../../../../src/errors.ts';
import { suspendsLogins } from '../../../../src/ingest/poll/backoff.ts';
import { isServerFailure } from '../../../../src/ingest/poll/server-failures.ts';
import { failureOf } from '../../../support/promises.ts';
import { readDialogue } from '../../../support/servers/dialogues/dialogue.ts';
import { type Script, startScriptedServer } from '../scripted-server.ts';
import { credential, plainTo, sessions } from '../setting.ts';

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
    message: 'The server says that the mailbox is on "mail2.example.test:1993", and refuses the login.',
    hint: expect.stringContaining('ticketmaild mailbox set NAME --host HOST'),
    fields: { response_code: 'REFERRAL', referral: 'mail2.example.test:1993' },
  });
  expect(suspendsLogins(refused, { loginFailures: 99 }, { loginFailuresMax: 3 })).toBe(false);
  expect(isServerFailure(refused)).toBe(false);

  const accepted = await sessions.probe(plainTo(server.port), credential(), () => undefined);
  expect(accepted.referral).toBe('SERVER2');

  const unreadable = await probeFailure(server.port);
  expect(unreadable).toMatchObject({ code: 'server_referral', fields: { response_code: 'REFERRAL' } });
  expect(unreadable.message).toBe('The server says that the mailbox is on another host, and refuses the login.');
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
  expect(await probeFailure(server.port)).toMatchObject({
    code: 'server_referral',
    fields: { referral: 'mail2.example.test' },
  });
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
  expect((await probeFailure(server.port)).fields).toMatchObject({ referral: `127.0.0.1:${other.port}` });
  expect(server.lines.filter((line) => line.includes('AUTHENTICATE'))).toHaveLength(1);
  expect(connections).toBe(0);
});
