/**
 * Logins: every mechanism, every TLS mode, every refusal, and no password left in memory.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failureOf } from '../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { startScriptedServer } from './scripted-server.ts';
import { connectionTo, credential, openSession, plainTo, secret, sessions } from './setting.ts';

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
