/**
 * Logins: every mechanism, every TLS mode, every refusal, and no password left in memory.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EchoFilter } from '../../../src/adapters/imap/echo/echo-filter.ts';
import type { Credential } from '../../../src/ingest/ports.ts';
import { hints } from '../../../src/text/hints.ts';
import { failureOf } from '../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { type Script, startScriptedServer } from './scripted-server.ts';
import { connectionTo, credential, openSession, plainTo, secret, sessions, tokenCredential } from './setting.ts';

let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = await startDovecot();
});

afterAll(() => dovecot[Symbol.asyncDispose]());

describe('against a real server', () => {
  test.each(['implicit', 'starttls', 'none'] as const)('a login with --tls %s opens the folder', async (tls) => {
    await using session = await openSession(connectionTo(dovecot, dovecot.newUser(), { tls }));
    expect(session.folder.messageCount).toBe(0);
  });

  test.each(['implicit', 'starttls', 'none'] as const)(
    'a wrong password with --tls %s is login_refused, with the code of the server',
    async (tls) => {
      const refused = await failureOf(openSession(connectionTo(dovecot, 'ada', { tls }), secret('wrong')));
      expect(refused.code).toBe('login_refused');
      expect(refused.fields).toEqual({ status: 'NO', response_code: 'AUTHENTICATIONFAILED' });
    },
  );

  test('a password with quotes, spaces, braces and characters beyond ASCII is sent as it is', async () => {
    const { name, password } = dovecot.specialUser;
    await using session = await openSession(connectionTo(dovecot, name), secret(password));
    expect(session.folder.uidValidity).toBeGreaterThan(0);
  });

  test('the password is only borrowed: it is whole afterwards and can be used again', async () => {
    const password = secret();
    for (let count = 0; count < 2; count += 1) {
      await using session = await openSession(connectionTo(dovecot, 'ada'), password);
      expect(session.folder.messageCount).toBe(0);
    }
    expect(password.use((bytes) => Buffer.from(bytes).toString())).toBe('pw');
  });
});

const odd = `p"w \\ü€{3}${'x'.repeat(290)}`;

test('SASL PLAIN is taken when offered, with a long odd password', async () => {
  await using server = await startScriptedServer({ capabilities: 'IMAP4rev1 AUTH=LOGIN AUTH=PLAIN' });
  await using session = await openSession(plainTo(server.port, { user: 'zoë' }), secret(odd));
  expect(session.folder.messageCount).toBe(3);
  const at = server.lines.findIndex((line) => line.endsWith('AUTHENTICATE PLAIN'));
  expect(Buffer.from(server.lines[at + 1] ?? '', 'base64').toString()).toBe(`\0zoë\0${odd}`);
});

test('SASL LOGIN is taken when it is all there is', async () => {
  await using server = await startScriptedServer({
    capabilities: 'IMAP4rev1 AUTH=LOGIN LOGINDISABLED',
    script: (command, _rest, tag, { say, next }) => {
      if (command !== 'AUTHENTICATE') return false;
      say('+ VXNlcm5hbWU6');
      next(() => {
        say('+ UGFzc3dvcmQ6');
        next(() => say(`${tag} OK`));
      });
      return true;
    },
  });
  await using session = await openSession(plainTo(server.port), secret(odd));
  expect(session.folder.messageCount).toBe(3);
  const at = server.lines.findIndex((line) => line.endsWith('AUTHENTICATE LOGIN'));
  const sent = server.lines.slice(at + 1, at + 3).map((line) => Buffer.from(line, 'base64').toString());
  expect(sent).toEqual(['ada', odd]);
});

test.each(['', ' LITERAL+'])('the LOGIN command with literals is the last resort%s', async (more) => {
  await using server = await startScriptedServer({
    capabilities: `IMAP4rev1${more}`,
    script: (command, _rest, tag, { say, next }) => {
      if (command !== 'LOGIN') return false;
      say('+ user');
      next(() => {
        say('+ password');
        next(() => say(`${tag} OK`));
      });
      return true;
    },
  });
  await using session = await openSession(plainTo(server.port, { user: 'zoë' }), secret(odd));
  expect(session.folder.messageCount).toBe(3);
  const at = server.lines.findIndex((line) => line.endsWith('LOGIN {4}'));
  const sent = server.lines.slice(at + 1, at + 3).map((line) => Buffer.from(line, 'latin1').toString());
  expect(sent).toEqual([`zoë {${Buffer.byteLength(odd)}}`, odd]);
});

/** A server that asks for one response after the other, and takes them all. */
const asking: Script = (command, rest, tag, { say, next }) => {
  if (command !== 'AUTHENTICATE' && command !== 'LOGIN') return false;
  const isTwice = !/PLAIN/.test(rest);
  say('+ ');
  next(() => {
    if (isTwice) say('+ ');
    if (isTwice) next(() => say(`${tag} OK`));
    else say(`${tag} OK`);
  });
  return true;
};

// Recorded before logins by token were added.
test.each<[string, readonly string[]]>([
  ['AUTH=LOGIN AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER', ['AUTHENTICATE PLAIN', 'AHpvw6sAcCJ3IFzDvOKCrHszfT0s']],
  ['AUTH=XOAUTH2 AUTH=LOGIN LOGINDISABLED', ['AUTHENTICATE LOGIN', 'em/Dqw==', 'cCJ3IFzDvOKCrHszfT0s']],
  ['AUTH=OAUTHBEARER', ['LOGIN {4}', 'zo\xc3\xab {15}', 'p"w \\\xc3\xbc\xe2\x82\xac{3}=,']],
])('the bytes of a password login to %s are those of the transcript', async (offered, transcript) => {
  await using server = await startScriptedServer({ capabilities: `IMAP4rev1 ${offered}`, script: asking });
  await using session = await openSession(plainTo(server.port, { user: 'zoë' }), secret('p"w \\ü€{3}=,'));
  expect(session.folder.messageCount).toBe(3);
  const at = server.lines.findIndex((line) => /AUTHENTICATE|LOGIN/.test(line));
  const [first = '', ...more] = server.lines.slice(at, at + transcript.length);
  expect([first.replace(/^[A-Z0-9]+ /, ''), ...more]).toEqual(transcript);
});

describe('what a server repeats during the login', () => {
  const redacted = (text: string, at: number, of: Credential): { readonly text: string; readonly found: boolean } => {
    const [whole, filter] = [Buffer.from(text), new EchoFilter(of)];
    filter.redact(whole.subarray(0, at));
    filter.redact(whole.subarray(at));
    filter.end();
    return { text: whole.toString(), found: filter.hasFound };
  };
  const password = 'hunter2-hunter2';
  const token = `eyJhbGciOiJSUzI1NiJ9.${'abc-_~.123'.repeat(30)}`;
  const inBase64 = (before: string, what: string) => Buffer.from(`${before}${what}\x01`).toString('base64');

  test.each(['', 'a', 'ab'])(
    'is overwritten, in clear and in base64 with %j before it, wherever it is cut',
    (before) => {
      for (const [what, of] of [
        [password, credential(secret(password))],
        [token, tokenCredential(token)],
      ] as const)
        for (const echo of [what, inBase64(before, what)]) {
          const text = `a NO "${echo}" no\r\n`;
          for (const at of [0, 3, 6, 20, 45, text.length - 9])
            expect(redacted(text, at, of)).toEqual({ text: `a NO "${'x'.repeat(echo.length)}" no\r\n`, found: true });
        }
    },
  );

  test('is overwritten also where a token is cut short, and nothing else is', () => {
    const text = `a NO token ${token.slice(0, 100)}... (${token.slice(0, 40)}) eyJhbGciOiJSUzI1NiJ9.other\r\n`;
    const expected = `a NO token ${'x'.repeat(103)} (${'x'.repeat(40)}) eyJhbGciOiJSUzI1NiJ9.other\r\n`;
    for (const at of [0, 5, 30, 60, 150]) expect(redacted(text, at, tokenCredential(token)).text).toBe(expected);
  });

  test('a password that is a word of the protocol, or short, is left as it is', () => {
    for (const word of ['PLAIN', 'imap4rev1', 'ok'])
      expect(redacted('* CAPABILITY IMAP4rev1 AUTH=PLAIN ok', 9, credential(secret(word)))).toEqual({
        text: '* CAPABILITY IMAP4rev1 AUTH=PLAIN ok',
        found: false,
      });
  });
});

test('a server that takes tokens alone gets no password, and the sentence says so', async () => {
  await using server = await startScriptedServer({ capabilities: 'IMAP4rev1 LOGINDISABLED AUTH=XOAUTH2' });
  expect(await failureOf(openSession(plainTo(server.port)))).toMatchObject({
    code: 'login_unsupported',
    message: 'The server takes no password, but OAuth tokens alone.',
    hint: hints.passwordMechanismMissing,
  });
  expect(server.lines.filter((line) => /LOGIN|AUTH/.test(line))).toEqual([]);
});

test('a server that offers no password login is login_unsupported, and gets nothing', async () => {
  await using server = await startScriptedServer({ capabilities: 'IMAP4rev1 LOGINDISABLED AUTH=GSSAPI' });
  expect(await failureOf(openSession(plainTo(server.port)))).toMatchObject({ code: 'login_unsupported' });
  expect(server.lines.filter((line) => /LOGIN|AUTH/.test(line))).toEqual([]);
});

test('a server that asks twice gets the cancel line, not the password again', async () => {
  await using server = await startScriptedServer({
    script: (command, _rest, tag, { say, next }) => {
      if (command !== 'AUTHENTICATE') return false;
      say('+ ');
      next(() => {
        say('+ ');
        next(() => say(`${tag} BAD cancelled`));
      });
      return true;
    },
  });
  expect(await failureOf(openSession(plainTo(server.port)))).toMatchObject({ code: 'server_refused' });
  const at = server.lines.findIndex((line) => line.endsWith('AUTHENTICATE PLAIN'));
  expect(server.lines[at + 2]).toBe('*');
});

test.each([
  ['NO [AUTHENTICATIONFAILED] no', 'login_refused'],
  ['NO no', 'login_refused'],
  ['NO [UNAVAILABLE] later', 'server_busy'],
  ['NO [INUSE] later', 'server_busy'],
  ['NO [LIMIT] later', 'server_busy'],
  ['NO [OVERQUOTA] Account exceeded command or bandwidth limits.', 'server_busy'],
  ['NO [ALERT] Too many simultaneous connections. (Failure)', 'server_busy'],
  ['NO [CONTACTADMIN] broken', 'server_refused'],
  ['NO [PRIVACYREQUIRED] no', 'login_unsupported'],
  ['BAD what', 'server_refused'],
])('the answer "%s" to the login is %s', async (answer, code) => {
  await using server = await startScriptedServer({
    script: (command, _rest, tag, { say, next }) => {
      if (command !== 'AUTHENTICATE') return false;
      say('+ ');
      next(() => say(`${tag} ${answer}`));
      return true;
    },
  });
  expect((await failureOf(openSession(plainTo(server.port)))).code).toBe(code);
});

test('a failure carries no command, no response and no object of the library', async () => {
  const refused = await failureOf(openSession(connectionTo(dovecot, 'ada'), secret('wrong-password')));
  const inside = JSON.stringify(refused, Object.getOwnPropertyNames(refused));
  expect(inside).not.toMatch(/wrong-password|executedCommand|AUTHENTICATE PLAIN/);
});

test('the password crosses no network in clear unless the mailbox allows it', async () => {
  const far = plainTo(143, { host: 'mail.example.test' });
  expect(await failureOf(openSession(far))).toMatchObject({ code: 'plaintext_refused', domain: 'configuration' });
  expect(await failureOf(sessions.probe(far, credential(), () => undefined))).toMatchObject({
    code: 'plaintext_refused',
  });
  const allowed = plainTo(1, { host: '0.0.0.0', allowPlaintext: true });
  expect(await failureOf(openSession(allowed))).toMatchObject({ code: 'connect_refused' });
});

test('a server that greets as logged in already gets no password', async () => {
  await using server = await startScriptedServer({ greeting: '* PREAUTH welcome' });
  await using session = await openSession(plainTo(server.port));
  expect(session.folder.messageCount).toBe(3);
  expect(server.lines.filter((line) => /LOGIN|AUTH/.test(line))).toEqual([]);
});

test('after 20 logins no string in the heap holds the password, in clear or in base64', async () => {
  const child = new URL('./login-leak.ts', import.meta.url).pathname;
  await using server = await startScriptedServer({ capabilities: 'IMAP4rev1 AUTH=PLAIN' });
  await using literals = await startScriptedServer({
    capabilities: 'IMAP4rev1',
    script: (command, _rest, tag, { say, next }) => {
      if (command !== 'LOGIN') return false;
      say('+ ');
      next(() => {
        say('+ ');
        next(() => say(`${tag} OK`));
      });
      return true;
    },
  });
  const ports = [`${server.port}`, `${literals.port}`];
  const { stdout } = await promisify(execFile)(process.execPath, [child, ...ports]);
  expect(JSON.parse(stdout)).toEqual({ control: true, clear: false, base64: false });
});
