/**
 * SASL mechanisms for IMAP: PLAIN (RFC 4616), LOGIN, XOAUTH2, OAUTHBEARER (RFC 7628), and the LOGIN command with
 * literals (RFC 9051 section 6.2.3).
 *
 * Each writes its responses as bytes into a scratch buffer of the caller, so that no secret becomes a string. The first
 * that takes the kind of credential and that the server offers is used: a token never goes by a mechanism for
 * passwords, nor a password by one for tokens. XOAUTH2 is preferred to OAUTHBEARER, as Exchange has it alone.
 */
import { Failure } from '../../../errors.ts';
import type { Credential } from '../../../ingest/ports.ts';
import { copySecret } from '../../../secret/secret-bytes.ts';
import { hints } from '../../../text/hints.ts';
import type { CommandToken } from '../imapflow-internals.ts';
import { writeBase64 } from './base64.ts';

/** Writes one response line into the scratch buffer, from its start; returns its length in bytes. */
type WriteResponse = (scratch: Uint8Array<ArrayBuffer>) => number;

/** Who logs in, and where; host and port are those that the client connects to. */
export type LoginIdentity = { readonly user: Uint8Array; readonly host: string; readonly port: number };

type Mechanism = 'xoauth2' | 'oauthbearer' | 'sasl_plain' | 'sasl_login' | 'login_command';

export type LoginMethod = {
  /** As people read it: XOAUTH2, PLAIN, or the LOGIN command. */
  readonly name: string;
  /** A server that offers a mechanism gets no secret of another kind by it. */
  readonly credential: Credential['kind'];
  readonly isOffered: (capabilities: ReadonlyMap<string, unknown>) => boolean;
  readonly command: 'AUTHENTICATE' | 'LOGIN';
  readonly argument: (user: Uint8Array) => CommandToken;
  /**
   * One writer for each continuation request (`+`) of the server. No initial response (SASL-IR, RFC 4959) is sent with
   * the command, since imapflow writes commands as strings: it answers the first, empty challenge.
   */
  readonly responses: (identity: LoginIdentity, secret: Uint8Array) => readonly WriteResponse[];
};

/** Order of preference. */
const loginMethods: Readonly<Record<Mechanism, LoginMethod>> = {
  xoauth2: { credential: 'token', ...authenticate('XOAUTH2'), responses: xoauth2Responses },
  oauthbearer: { credential: 'token', ...authenticate('OAUTHBEARER'), responses: oauthbearerResponses },
  sasl_plain: { credential: 'password', ...authenticate('PLAIN'), responses: plainResponses },
  sasl_login: { credential: 'password', ...authenticate('LOGIN'), responses: loginResponses },
  login_command: {
    name: 'LOGIN command',
    credential: 'password',
    isOffered: (capabilities) => !capabilities.has('LOGINDISABLED'),
    command: 'LOGIN',
    argument: (user) => ({ type: 'TEXT', value: `{${user.length}}` }),
    responses: literalResponses,
  },
};

function authenticate(mechanism: string): Pick<LoginMethod, 'name' | 'isOffered' | 'command' | 'argument'> {
  return {
    name: mechanism,
    isOffered: (capabilities) => capabilities.has(`AUTH=${mechanism}`),
    command: 'AUTHENTICATE',
    argument: () => ({ type: 'ATOM', value: mechanism }),
  };
}

/** Throws `login_unsupported` when the server offers no mechanism for this kind of credential. */
export function chooseMethod(capabilities: ReadonlyMap<string, unknown>, credential: Credential['kind']): LoginMethod {
  const offered = Object.values(loginMethods).filter((method) => method.isOffered(capabilities));
  const method = offered.find((one) => one.credential === credential);
  if (method !== undefined) return method;
  if (credential === 'token')
    throw new Failure('login_unsupported', 'The server offers neither XOAUTH2 nor OAUTHBEARER on this connection.', {
      hint: hints.tokenMechanismMissing,
    });
  if (offered.length > 0)
    throw new Failure('login_unsupported', 'The server takes no password, but OAuth tokens alone.', {
      hint: hints.passwordMechanismMissing,
    });
  throw new Failure('login_unsupported', 'The server offers neither PLAIN nor LOGIN on this connection.', {
    hint: hints.loginNeedsTls,
  });
}

const scratchBytesMin = 8192;

/** Room for the longest line in base64 and its clear form beside it. */
export function scratchBytes({ user }: LoginIdentity, secret: { readonly length: number }): number {
  return scratchBytesMin + 4 * (user.length + secret.length);
}

/** Writes a line without a secret. */
export function writeLine(scratch: Uint8Array<ArrayBuffer>, line: string): number {
  const { buffer, byteOffset, length } = scratch;
  return appendCrLf(scratch, Buffer.from(buffer, byteOffset, length).write(line, 'latin1'));
}

function appendCrLf(target: Uint8Array, at: number): number {
  target[at] = 13;
  target[at + 1] = 10;
  return at + 2;
}

/** A base64 line of the bytes that `fill` writes; the clear form is in the upper half of the same scratch buffer. */
function base64Line(lengthBytes: number, fill: (clear: Uint8Array) => void): WriteResponse {
  return (scratch) => {
    const clear = scratch.subarray(scratch.length - lengthBytes);
    fill(clear);
    return appendCrLf(scratch, writeBase64(scratch, clear));
  };
}

/** RFC 4616 section 2: authorization identity (none), NUL, user, NUL, password. */
function plainResponses({ user }: LoginIdentity, password: Uint8Array): readonly WriteResponse[] {
  return [
    base64Line(user.length + password.length + 2, (clear) => {
      clear.fill(0);
      clear.set(user, 1);
      copySecret(password, clear, user.length + 2);
    }),
  ];
}

function loginResponses({ user }: LoginIdentity, password: Uint8Array): readonly WriteResponse[] {
  return [
    base64Line(user.length, (clear) => clear.set(user)),
    base64Line(password.length, (clear) => copySecret(password, clear)),
  ];
}

/** First literal: the user and the announcement of the second; second literal: the password. */
function literalResponses({ user }: LoginIdentity, password: Uint8Array): readonly WriteResponse[] {
  return [
    (scratch) => {
      scratch.set(user);
      return user.length + writeLine(scratch.subarray(user.length), ` {${password.length}}`);
    },
    (scratch) => {
      copySecret(password, scratch);
      return appendCrLf(scratch, password.length);
    },
  ];
}

/** The error challenge is answered with an empty line. */
function xoauth2Responses({ user }: LoginIdentity, token: Uint8Array): readonly WriteResponse[] {
  return bearerResponses(Buffer.concat([Buffer.from('user='), user, Buffer.from('\x01auth=Bearer ')]), token, '');
}

/** RFC 7628 section 3.1; the error challenge is answered with the byte 1 in base64 (section 3.2.3). */
function oauthbearerResponses({ user, host, port }: LoginIdentity, token: Uint8Array): readonly WriteResponse[] {
  // A saslname (RFC 5801 section 4).
  const name = Buffer.from(user).toString().replaceAll('=', '=3D').replaceAll(',', '=2C');
  const before = `n,a=${name},\x01host=${host}\x01port=${port}\x01auth=Bearer `;
  return bearerResponses(Buffer.from(before), token, 'AQ==');
}

/** Second line: answers the challenge that describes an error, so that the server refuses the login. */
function bearerResponses(before: Uint8Array, token: Uint8Array, end: string): readonly WriteResponse[] {
  return [
    base64Line(before.length + token.length + 2, (clear) => {
      clear.set(before);
      copySecret(token, clear, before.length);
      clear.fill(1, before.length + token.length);
    }),
    (scratch) => writeLine(scratch, end),
  ];
}
