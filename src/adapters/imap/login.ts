/**
 * IMAP login with bytes: SASL PLAIN (RFC 4616), SASL LOGIN, or the LOGIN command with literals (RFC 9051 section
 * 6.2.3).
 *
 * Replaces the login of imapflow, which takes the password as a string and concatenates it; strings cannot be wiped.
 * Here the bytes go from the secret into one scratch buffer, from there to the socket, and the buffer is wiped once the
 * socket has taken them. The first of `loginMethods` is used that takes a password and that the server offers. A server
 * that sends one challenge more than the mechanism has responses gets the cancel line, never the password again. Its
 * answers pass `redact` (echo-filter.ts) before the parser. Relies on: imapflow calls `authenticate` once TLS is
 * established, and on `imapflow-internals.ts`.
 */
import type { Writable } from 'node:stream';
import { ImapFlow, type ImapFlowOptions } from 'imapflow';
import { Failure } from '../../errors.ts';
import { copySecret, type SecretBytes, secretBuffer } from '../../secret/secret-bytes.ts';
import { writeBase64 } from './base64.ts';
import { EchoFilter } from './echo-filter.ts';
import { type CommandToken, type ContinuationRequest, continuationText, internals } from './imapflow-internals.ts';

/**
 * Writes one response line into the scratch buffer, from its start; returns its length in bytes. `challenge`: of the
 * server, in base64; '' for an empty one.
 */
type WriteResponse = (scratch: Uint8Array<ArrayBuffer>, challenge: string) => number;

const scratchBytesMin = 8192;

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

/** A line without a secret. */
function writeLine(scratch: Uint8Array<ArrayBuffer>, line: string): number {
  const { buffer, byteOffset, length } = scratch;
  return appendCrLf(scratch, Buffer.from(buffer, byteOffset, length).write(line, 'latin1'));
}

/** RFC 4616 section 2: authorization identity (none), NUL, user, NUL, password. */
function plainResponses(user: Uint8Array, password: Uint8Array): readonly WriteResponse[] {
  return [
    base64Line(user.length + password.length + 2, (clear) => {
      clear.fill(0);
      clear.set(user, 1);
      copySecret(password, clear, user.length + 2);
    }),
  ];
}

function loginResponses(user: Uint8Array, password: Uint8Array): readonly WriteResponse[] {
  return [
    base64Line(user.length, (clear) => clear.set(user)),
    base64Line(password.length, (clear) => copySecret(password, clear)),
  ];
}

/** First literal: the user and the announcement of the second; second literal: the password. */
function literalResponses(user: Uint8Array, password: Uint8Array): readonly WriteResponse[] {
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

/** Writes one line and waits until the socket has taken it; always wipes the scratch buffer. */
async function send(socket: Writable, scratch: Uint8Array<ArrayBuffer>, lengthBytes: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.write(scratch.subarray(0, lengthBytes), (error) => {
    scratch.fill(0);
    if (error) reject(error);
    else resolve();
  });
  await promise;
}

type Mechanism = 'sasl_plain' | 'sasl_login' | 'login_command';

/** The secret that a mechanism sends. Only passwords are stored so far. */
type Credential = 'password' | 'token';

type LoginMethod = {
  /** A server that offers a mechanism gets no secret of another kind by it. */
  readonly credential: Credential;
  readonly isOffered: (capabilities: ReadonlyMap<string, unknown>) => boolean;
  readonly command: 'AUTHENTICATE' | 'LOGIN';
  readonly argument: (user: Uint8Array) => CommandToken;
  /**
   * One writer for each continuation request (`+`) of the server. No initial response (SASL-IR, RFC 4959) is sent with
   * the command, since imapflow writes commands as strings: it answers the first, empty challenge.
   */
  readonly responses: (user: Uint8Array, secret: Uint8Array) => readonly WriteResponse[];
};

/**
 * In order of preference. A new mechanism is a member of `Mechanism` and an entry here; one that answers an error
 * challenge (RFC 7628 section 3.2.3) has a writer more. Tokens need a source beside: `ImapClient` is given a password,
 * and a stored secret has at most `passwordBytesMax` bytes.
 */
const loginMethods: Readonly<Record<Mechanism, LoginMethod>> = {
  sasl_plain: {
    credential: 'password',
    isOffered: (capabilities) => capabilities.has('AUTH=PLAIN'),
    command: 'AUTHENTICATE',
    argument: () => ({ type: 'ATOM', value: 'PLAIN' }),
    responses: plainResponses,
  },
  sasl_login: {
    credential: 'password',
    isOffered: (capabilities) => capabilities.has('AUTH=LOGIN'),
    command: 'AUTHENTICATE',
    argument: () => ({ type: 'ATOM', value: 'LOGIN' }),
    responses: loginResponses,
  },
  login_command: {
    credential: 'password',
    isOffered: (capabilities) => !capabilities.has('LOGINDISABLED'),
    command: 'LOGIN',
    argument: (user) => ({ type: 'TEXT', value: `{${user.length}}` }),
    responses: literalResponses,
  },
};

function chooseMethod(capabilities: ReadonlyMap<string, unknown>, credential: Credential): LoginMethod {
  const method = Object.values(loginMethods).find(
    (one) => one.credential === credential && one.isOffered(capabilities),
  );
  if (method !== undefined) return method;
  throw new Failure('login_unsupported', 'The server offers neither PLAIN nor LOGIN on this connection.', {
    hint: 'Many servers allow a login over TLS only: use --tls implicit or --tls starttls.',
  });
}

/** Moments of a login. */
export type LoginEvents = {
  beforeLogin(): void;
  /** The login has ended, and the server repeated the password meanwhile. */
  echoed(): void;
};

/**
 * imapflow client that logs in with bytes. It borrows the password for one login: it is wiped when the folder is open,
 * or the attempt has failed.
 */
export class ImapClient extends ImapFlow {
  readonly #user: Uint8Array;
  readonly #events: LoginEvents;
  #password: SecretBytes | null;
  #echo: EchoFilter | null = null;
  #hasLoggedIn = false;

  constructor(options: ImapFlowOptions, user: string, password: SecretBytes, events: LoginEvents) {
    super(options);
    this.#user = Buffer.from(user);
    this.#password = password;
    this.#events = events;
  }

  /** True once the server accepted the login, also after the close, where imapflow resets `authenticated`. */
  get hasLoggedIn(): boolean {
    return this.#hasLoggedIn;
  }

  /** Overwrites the password in received bytes while the login is in progress. */
  redact(received: Uint8Array): void {
    this.#echo?.redact(received);
  }

  /** Called by imapflow once TLS is established, or not used. */
  async authenticate(): Promise<boolean> {
    const password = this.#password;
    this.#password = null;
    if (this.state !== this.states.NOT_AUTHENTICATED) return true;
    this.#events.beforeLogin();
    if (password === null) throw new Error('a client logs in once');
    const echo = new EchoFilter(password);
    this.#echo = echo;
    try {
      await this.#login(chooseMethod(this.capabilities, 'password'), password);
      this.#hasLoggedIn = true;
      this.authenticated = true;
      await internals(this).setAuthenticationState();
    } finally {
      this.#echo = null;
      echo.end();
      if (echo.hasFound) this.#events.echoed();
    }
    return true;
  }

  async #login(method: LoginMethod, password: SecretBytes): Promise<void> {
    const user = this.#user;
    const scratch = secretBuffer(scratchBytesMin + 4 * (user.length + password.length));
    const inner = internals(this);
    let step = 0;
    let broken: unknown = null;
    const respond = async (challenge: string): Promise<void> => {
      const socket = inner.writeSocket;
      // Closed meanwhile, which ends the command.
      if (socket === null) return;
      const lengthBytes = password.use((bytes) => {
        const write = method.responses(user, bytes)[step];
        return write === undefined ? writeLine(scratch, '*') : write(scratch, challenge);
      });
      step += 1;
      await send(socket, scratch, lengthBytes);
    };
    const onPlusTag = async (request: ContinuationRequest): Promise<void> => {
      try {
        await respond(continuationText(request));
      } catch (error) {
        // imapflow only logs an error thrown here, and would wait forever for a response.
        broken = error;
        this.close();
      }
    };
    inner.expectCapabilityUpdate = true;
    try {
      const tagged = await inner.exec(method.command, [method.argument(user)], { onPlusTag });
      tagged.next();
    } catch (error) {
      throw broken ?? error;
    } finally {
      scratch.fill(0);
    }
  }
}
