/**
 * Servers that accept the login and then close the session with a BYE, as Dovecot does for a user it cannot serve.
 */
import { expect, test } from 'vitest';
import { failureOf } from '../../../support/promises.ts';
import { startScriptedServer } from '../scripted-server.ts';
import { openSession, plainTo } from '../setting.ts';

/** The failure after a login that the server answers with `lines`, and the end of the connection. */
async function failureAfter(lines: (tag: string) => string[]) {
  await using server = await startScriptedServer({
    script: (command, _rest, tag, { say, next, socket }) => {
      if (command !== 'AUTHENTICATE') return false;
      say('+ ');
      next(() => {
        say(...lines(tag));
        socket.end();
      });
      return true;
    },
  });
  return await failureOf(openSession(plainTo(server.port)));
}

const bye = '* BYE Internal error occurred. Refer to server log for more information.';

test('a BYE after an accepted login is session_closed: neither a refused login nor a busy server', async () => {
  const failure = await failureAfter((tag) => [`${tag} OK Logged in, but initialization failed.`, bye]);
  expect(failure).toMatchObject({
    code: 'session_closed',
    message: 'The server accepted the login, then closed the session.',
    fields: { stage: 'login' },
  });
  expect(failure.hint).toMatch(/log of the mail server/);
  expect(failure.fields['retry_after_ms']).toBeUndefined();
});

test('a BYE that states a limit is server_busy after the login as well', async () => {
  const failure = await failureAfter((tag) => [`${tag} OK done`, '* BYE Too many simultaneous connections.']);
  expect(failure).toMatchObject({ code: 'server_busy', fields: { retry_after_ms: 60_000 } });
  expect(failure.message).not.toContain('before the login');
});

test('a BYE in place of the answer to the login is server_busy, before the login', async () => {
  const failure = await failureAfter(() => [bye]);
  expect(failure).toMatchObject({
    code: 'server_busy',
    message: 'The server closed the connection before the login.',
  });
});

test('the text of a BYE is never shown: it could repeat the password', async () => {
  const failure = await failureAfter((tag) => [`${tag} OK done`, '* BYE pw hunter2']);
  expect(JSON.stringify([failure.message, failure.hint, failure.fields, `${failure.cause}`])).not.toContain('hunter2');
});
