/**
 * Logins by access token: the bytes of XOAUTH2 and OAUTHBEARER, the error challenge, and no token by another mechanism.
 */
import { expect, test } from 'vitest';
import { hints } from '../../../../src/text/hints.ts';
import { failureOf } from '../../../support/promises.ts';
import { type Script, type ScriptedServer, startScriptedServer } from '../scripted-server.ts';
import { openByToken, plainTo, sessions, tokenCredential } from '../setting.ts';

const both = 'IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN AUTH=OAUTHBEARER AUTH=XOAUTH2';
const user = 'zoë,=@example.test';

/** The lines of the login after the command, in clear. */
function clearLines(server: ScriptedServer, count: number): readonly string[] {
  const at = server.lines.findIndex((line) => /AUTHENTICATE/.test(line));
  return [
    server.lines[at]?.split(' ').slice(1).join(' ') ?? '',
    ...server.lines.slice(at + 1, at + 1 + count).map((line) => Buffer.from(line, 'base64').toString()),
  ];
}

/** Sends the error challenge, takes the answer to it, and refuses. */
function refusing(error: string, answer = 'NO [AUTHENTICATIONFAILED] no'): Script {
  return (command, _rest, tag, { say, next }) => {
    if (command !== 'AUTHENTICATE') return false;
    say('+ ');
    next(() => {
      say(`+ ${Buffer.from(error).toString('base64')}`);
      next(() => say(`${tag} ${answer}`));
    });
    return true;
  };
}

test.each([3, 2000, 6000, 12_000])('XOAUTH2 is taken first, with a token of %d bytes', async (lengthBytes) => {
  const token = 't0-._~+/='.repeat(lengthBytes).slice(0, lengthBytes);
  await using server = await startScriptedServer({ capabilities: both });
  await using session = await openByToken(plainTo(server.port, { user }), token);
  expect(session.folder.messageCount).toBe(3);
  expect(clearLines(server, 1)).toEqual(['AUTHENTICATE XOAUTH2', `user=${user}\x01auth=Bearer ${token}\x01\x01`]);
});

test('OAUTHBEARER names user, host and port, with a comma and an equals sign escaped', async () => {
  const token = 'x'.repeat(12_000);
  await using server = await startScriptedServer({ capabilities: both.replace(' AUTH=XOAUTH2', '') });
  await using session = await openByToken(plainTo(server.port, { user }), token);
  expect(session.folder.messageCount).toBe(3);
  expect(clearLines(server, 1)).toEqual([
    'AUTHENTICATE OAUTHBEARER',
    `n,a=zoë=2C=3D@example.test,\x01host=127.0.0.1\x01port=${server.port}\x01auth=Bearer ${token}\x01\x01`,
  ]);
});

test.each([
  ['XOAUTH2', ''],
  ['OAUTHBEARER', 'AQ=='],
])('the error challenge of %s is answered with "%s", and then comes the NO', async (mechanism, answer) => {
  const script = refusing('{"status":"invalid_token","schemes":"bearer","scope":"secret-words"}');
  await using server = await startScriptedServer({ capabilities: `IMAP4rev1 AUTH=${mechanism}`, script });
  const refused = await failureOf(openByToken(plainTo(server.port), 'token-token'));
  expect(refused).toMatchObject({
    ...{ code: 'login_refused', message: 'The server refused the access token for this user.' },
    ...{ hint: hints.tokenRefused, fields: { credential: 'token', response_code: 'AUTHENTICATIONFAILED' } },
  });
  const at = server.lines.findIndex((line) => /AUTHENTICATE/.test(line));
  expect(server.lines[at + 2]).toBe(answer);
  expect(JSON.stringify([refused.message, refused.hint, refused.fields])).not.toMatch(/secret-words|invalid_token/);
});

test.each([
  ['{"status":"insufficient_scope","scope":"mail"}', hints.tokenLacksScope],
  ['{"status":"403"}', hints.tokenLacksScope],
  ['{"status":403}', hints.tokenLacksScope],
  ['{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}', hints.tokenRefused],
  ['no JSON', hints.tokenRefused],
  ['null', hints.tokenRefused],
  ['', hints.tokenRefused],
])('the challenge %s decides about the hint', async (error, hint) => {
  await using server = await startScriptedServer({ capabilities: both, script: refusing(error) });
  expect(await failureOf(openByToken(plainTo(server.port), 'token-token'))).toMatchObject({
    ...{ code: 'login_refused', hint },
  });
});

test('a server that asks a third time gets the cancel line, not the token again', async () => {
  const script: Script = (command, _rest, tag, { say, next }) => {
    if (command !== 'AUTHENTICATE') return false;
    say('+ ');
    next(() => {
      say('+ ');
      next(() => {
        say('+ ');
        next(() => say(`${tag} BAD cancelled`));
      });
    });
    return true;
  };
  await using server = await startScriptedServer({ capabilities: both, script });
  expect(await failureOf(openByToken(plainTo(server.port), 'token-token'))).toMatchObject({ code: 'server_refused' });
  const at = server.lines.findIndex((line) => /AUTHENTICATE/.test(line));
  expect(server.lines.slice(at + 2, at + 4)).toEqual(['', '*']);
});

test('a server that asks on after the cancel line is left', async () => {
  const script: Script = (command, _rest, _tag, { say, next }) => {
    if (command !== 'AUTHENTICATE') return false;
    const ask = (): void => {
      say('+ ');
      next(ask);
    };
    ask();
    return true;
  };
  await using server = await startScriptedServer({ capabilities: both, script });
  expect(await failureOf(openByToken(plainTo(server.port), 'token-token'))).toMatchObject({ code: 'connection_lost' });
  const at = server.lines.findIndex((line) => /AUTHENTICATE/.test(line));
  expect(server.lines.slice(at + 2)).toEqual(['', '*']);
});

test.each(['AUTH=PLAIN AUTH=LOGIN', '', 'AUTH=XOAUTH AUTH=OAUTH'])(
  'a server that offers "%s" alone gets no token',
  async (offered) => {
    await using server = await startScriptedServer({ capabilities: `IMAP4rev1 ${offered}` });
    for (const attempt of [
      openByToken(plainTo(server.port), 'token-token'),
      sessions.probe(plainTo(server.port), tokenCredential('token-token'), () => undefined),
    ])
      expect(await failureOf(attempt)).toMatchObject({
        ...{ code: 'login_unsupported', hint: hints.tokenMechanismMissing },
        message: 'The server offers neither XOAUTH2 nor OAUTHBEARER on this connection.',
      });
    expect(server.lines.filter((line) => /LOGIN|AUTH/.test(line))).toEqual([]);
  },
);

test('the token is only borrowed: it is whole afterwards', async () => {
  await using server = await startScriptedServer({ capabilities: both });
  const borrowed = tokenCredential('token-token');
  for (let count = 0; count < 2; count += 1) {
    await using session = await sessions.open(plainTo(server.port), borrowed, new AbortController().signal);
    expect(session.endsInMs).toBeNull();
  }
  expect(borrowed.secret.use((bytes) => Buffer.from(bytes).toString())).toBe('token-token');
});
