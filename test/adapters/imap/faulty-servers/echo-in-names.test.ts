/**
 * Servers that repeat the password after the login, in names of folders and in capabilities: no report and no failure
 * of a probe contains it, in any form.
 */
import { expect, test } from 'vitest';
import { EchoCheck } from '../../../../src/adapters/imap/echo/echo-check.ts';
import { failureOf } from '../../../support/promises.ts';
import { type Script, startScriptedServer } from '../scripted-server.ts';
import { credential, plainTo, secret, sessions, tokenCredential } from '../setting.ts';

const password = 'Zq7-Secret.PwX9';
const bytes = Buffer.from(password);
const backwards = (text: string): string => [...text].reverse().join('');
const wide = Buffer.from(password, 'utf16le').swap16();
const modifiedUtf7 = `&${wide.toString('base64').replaceAll('/', ',').replace(/=+$/, '')}-`;

const forms: Readonly<Record<string, string>> = {
  clear: password,
  'upper case': password.toUpperCase(),
  letters: password.replaceAll(/\W/g, ''),
  spaced: [...password].join(' '),
  base64: bytes.toString('base64'),
  base64url: Buffer.from(`ab${password}`).toString('base64url'),
  SASL: Buffer.from(`\0ada\0${password}`).toString('base64'),
  hex: bytes.toString('hex'),
  'hex in upper case': bytes.toString('hex').toUpperCase(),
  'hex with colons': [...bytes].map((byte) => byte.toString(16)).join(':'),
  reversed: backwards(password),
  'base64, reversed': backwards(bytes.toString('base64')),
  'base64 of the reversed': Buffer.from(backwards(password)).toString('base64'),
  '%XX': [...bytes].map((byte) => `%${byte.toString(16)}`).join(''),
  'partly %XX': password.replaceAll(/\W/g, (one) => `%${Buffer.from(one).toString('hex')}`),
  'modified UTF-7': modifiedUtf7,
  'modified UTF-7, twice': `&-${modifiedUtf7.slice(1)}`,
  'UTF-16 in base64': wide.toString('base64'),
};

const inQuotes = (name: string): string => `"${name.replaceAll(/["\\]/g, '\\$&')}"`;

/** A server with these folders beside INBOX, without the one that is opened. */
function listing(...names: readonly string[]): Script {
  return (command, rest, tag, { say }) => {
    if (command === 'EXAMINE' && !rest.includes('INBOX')) say(`${tag} NO [NONEXISTENT] no`);
    else if (command === 'LIST' && rest !== '"" ""')
      say('* LIST () "/" INBOX', ...names.map((name) => `* LIST () "/" ${inQuotes(name)}`), `${tag} OK`);
    else return false;
    return true;
  };
}

const probe = (port: number, folder: string, of = credential(secret(password))) =>
  sessions.probe(plainTo(port, { folder }), of, () => undefined);

test.each(Object.entries(forms))(
  'a folder named after the password, %s, is in no failure and no report',
  async (_, form) => {
    await using server = await startScriptedServer({ script: listing(`a${form}b`, 'Archive') });
    const missing = await failureOf(probe(server.port, 'Tickets'));
    expect(missing).toMatchObject({ code: 'folder_missing', fields: { folders: 'INBOX, Archive', left_out: 1 } });
    expect(await probe(server.port, 'INBOX')).toMatchObject({ folders: ['INBOX', 'Archive'], leftOut: 1 });
  },
);

test('names that contain the password together are all left out', () => {
  using check = new EchoCheck(credential(secret(password)));
  expect(check.without(['INBOX', 'Zq7-Sec', 'ret.PwX9'])).toEqual([]);
  expect(check.without(['INBOX', 'Zq7-Sec', 'Archive', password])).toEqual(['INBOX', 'Zq7-Sec', 'Archive']);
});

test('a literal with the password is left out too', async () => {
  const script: Script = (command, rest, tag, { say }) => {
    if (command !== 'LIST' || rest === '"" ""') return false;
    say(`* LIST () "/" {${password.length}}`, password, '* LIST () "/" INBOX', `${tag} OK`);
    return true;
  };
  await using server = await startScriptedServer({ script });
  expect(await probe(server.port, 'INBOX')).toMatchObject({ folders: ['INBOX'], leftOut: 1 });
});

test('a capability with the password is left out', async () => {
  const echo = bytes.toString('hex').toUpperCase();
  const script: Script = (command, _, __, { say }) => {
    if (command === 'LIST') say(`* CAPABILITY IMAP4rev1 UIDPLUS X-${echo}`);
    return false;
  };
  await using server = await startScriptedServer({ script });
  const report = await probe(server.port, 'INBOX');
  expect(report).toMatchObject({ capabilities: ['IMAP4rev1', 'UIDPLUS'], leftOut: 1 });
});

test('a folder with the beginning of an access token is left out', async () => {
  const token = `eyJhbGciOiJSUzI1NiJ9.${'abc-_~.123'.repeat(30)}`;
  const capabilities = 'IMAP4rev1 AUTH=XOAUTH2';
  await using server = await startScriptedServer({ capabilities, script: listing(token.slice(0, 60), 'Archive') });
  const report = await probe(server.port, 'INBOX', tokenCredential(token));
  expect(report).toMatchObject({ folders: ['INBOX', 'Archive'], leftOut: 1 });
});

test.each([
  ['pw', 'pwned', true],
  ['pw', 'p-w', false],
  ['§$%&/()', 'a§$%&/()', true],
  ['§$%&/()', Buffer.from('§$%&/()').toString('base64'), true],
  ['пароль-наш', 'ПРИВЕТ пароль-наш', true],
  ['пароль-наш', '&BD8EMARABD4EOwRM--&BD0EMARI-', true],
  ['Зима2024!', 'Зима%32024!', true],
  ['hunter2-hunter2', 'hunter', false],
  ['hunter2-hunter2', 'Archive/2024', false],
  ['hunter2-hunter2', '', false],
])('the password %j is in the text %j: %s', (of, text, expected) => {
  using check = new EchoCheck(credential(secret(of)));
  expect(check.isIn(text)).toBe(expected);
});
