/**
 * Network errors before and after the connection is established: each has its own code, none counts as a bug.
 */
import { expect, test } from 'vitest';
import { connectionLost, refusalFailure, toFailure } from '../../../src/adapters/imap/errors.ts';
import type { ConnectionStage } from '../../../src/adapters/imap/transport.ts';
import { knownHint } from '../../../src/text/hints.ts';

function failed(code: string, stage: ConnectionStage): ReturnType<typeof toFailure> {
  return toFailure(Object.assign(new Error(`what ${code} says`), { code }), {
    ...{ stage, isLoggedIn: false, doing: 'testing', goodbye: null, token: null },
  });
}

test.each([
  ['ENOTFOUND', 'name_not_found'],
  ['EAI_AGAIN', 'name_not_found'],
  ['EAI_FAIL', 'name_not_found'],
  ['EAI_NONAME', 'name_not_found'],
  ['EAI_NODATA', 'name_not_found'],
  ['EAI_SYSTEM', 'name_not_found'],
  ['ECONNREFUSED', 'connect_refused'],
  ['EACCES', 'connect_refused'],
  ['EMFILE', 'connect_refused'],
  ['ENFILE', 'connect_refused'],
  ['ENOBUFS', 'connect_refused'],
  ['ETIMEDOUT', 'connect_timeout'],
  ['ERR_SOCKET_CONNECTION_TIMEOUT', 'connect_timeout'],
  ['ENETUNREACH', 'connect_timeout'],
  ['EHOSTUNREACH', 'connect_timeout'],
  ['EHOSTDOWN', 'connect_timeout'],
  ['ENETDOWN', 'connect_timeout'],
  ['EADDRNOTAVAIL', 'connect_timeout'],
  ['ECONNRESET', 'connection_lost'],
])('%s before the connection is %s', (code, expected) => {
  const failure = failed(code, code.startsWith('EAI') || code === 'ENOTFOUND' ? 'name' : 'connect');
  expect(failure).toMatchObject({ code: expected, domain: 'server' });
  expect(`${failure.message}${failure.hint}`).not.toContain('says');
});

test.each(['ETIMEDOUT', 'ENETUNREACH', 'EHOSTUNREACH', 'ENETDOWN', 'ECONNRESET', 'EPIPE'])(
  '%s within the connection is connection_lost; before the login the stage is named',
  (code) => {
    expect(failed(code, 'open')).toMatchObject({ code: 'connection_lost', fields: {} });
    expect(failed(code, 'open').fields.stage).toBeUndefined();
    expect(failed(code, 'greeted')).toMatchObject({ code: 'connection_lost', fields: { stage: 'greeting' } });
    expect(failed(code, 'login')).toMatchObject({ code: 'connection_lost', fields: { stage: 'login' } });
  },
);

test('an aborted TLS handshake reports its stage, one refused by the server does not', () => {
  const expected = { code: 'tls_failed', fields: { stage: 'tls' } };
  expect(failed('ECONNRESET', 'tls')).toMatchObject(expected);
  expect(
    connectionLost({ stage: 'tls', isLoggedIn: false, doing: 'logging in', goodbye: null, token: null }),
  ).toMatchObject(expected);
  for (const code of ['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE'])
    expect(failed(code, 'tls')).toMatchObject({ code: 'tls_failed', fields: { cause: code } });
  expect(failed('EPROTO', 'tls').fields['stage']).toBeUndefined();
  expect(failed('CERT_HAS_EXPIRED', 'tls').fields['stage']).toBeUndefined();
});

test('a refused command shows status and known response code in its message, and no text of the server', () => {
  const at = { stage: 'open', isLoggedIn: true, doing: 'fetching messages', goodbye: null, token: null } as const;
  const message = (code: string | null) => refusalFailure({ status: 'NO', code, text: 'pw hunter2' }, at).message;
  expect(message('SERVERBUG')).toBe('The server refused fetching messages (NO [SERVERBUG]).');
  expect(message('HUNTER2')).toBe('The server refused fetching messages (NO).');
  expect(message(null)).toBe('The server refused fetching messages (NO).');
});

test.each(['GREETING_TIMEOUT', 'CERT_NOT_YET_VALID', 'EAI_AGAIN', 'EMFILE', 'ENFILE', 'ENOMEM'])(
  'the own hint of %s is one of the catalogue, which status and tables accept',
  (code) => {
    const { hint } = failed(code, 'connect');
    expect(knownHint(hint)).toBe(hint);
  },
);

test('a hint adds to the message of its failure, and does not repeat it', () => {
  for (const code of ['ENOTFOUND', 'CERT_HAS_EXPIRED', 'ERR_TLS_CERT_ALTNAME_INVALID']) {
    const { message, hint } = failed(code, 'connect');
    expect(hint).not.toContain(message.replace(/ of the server|\.$/g, ''));
  }
});
