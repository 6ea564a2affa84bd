/**
 * The login, written by hand.
 *
 * imapflow wants the password as a string and joins it to further strings; strings cannot be wiped. Here the bytes go
 * from the secret into one scratch buffer, from there to the socket, and the buffer is wiped when the socket has
 * taken them. SASL PLAIN (RFC 4616) if the server offers it, else SASL LOGIN, else the LOGIN command with literals
 * (RFC 9051 section 6.2.3) unless the server forbids that. A server that asks once more than the mechanism has
 * answers gets the cancel line, never the password again. Relied upon: `authenticate` is called once TLS is settled,
 * and what inside.ts names.
 */
import type { Writable } from 'node:stream';
import { ImapFlow, type ImapFlowOptions } from 'imapflow';
import { Failure } from '../../errors.ts';
import { type SecretBytes, secretBuffer } from '../../secret/secret-bytes.ts';
import { type CommandToken, internals } from './imapflow-internals.ts';

/** One answer to a `+`: fills the scratch buffer from its start and says how many bytes the line has. */
type WriteResponse = (scratch: Uint8Array<ArrayBuffer>) => number;

const alphabet = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const padding = 0x3d;
const scratchBytesMin = 8192;

/** base64 (RFC 4648) of `source` at the start of `target`, from bytes to bytes; returns how many were written. */
function writeBase64(target: Uint8Array, source: Uint8Array): number {
  let at = 0;
  for (let i = 0; i < source.length; i += 3) {
    const bits = ((source[i] ?? 0) << 16) | ((source[i + 1] ?? 0) << 8) | (source[i + 2] ?? 0);
    target[at++] = alphabet[bits >> 18] ?? 0;
    target[at++] = alphabet[(bits >> 12) & 63] ?? 0;
    target[at++] = i + 1 < source.length ? (alphabet[(bits >> 6) & 63] ?? 0) : padding;
    target[at++] = i + 2 < source.length ? (alphabet[bits & 63] ?? 0) : padding;
  }
  return at;
}

function appendCrLf(target: Uint8Array, at: number): number {
  target[at] = 13;
  target[at + 1] = 10;
  return at + 2;
}

/** The base64 line of what `fill` writes; both lie in the one scratch buffer, the clear form in its upper half. */
function base64Line(lengthBytes: number, fill: (clear: Uint8Array) => void): WriteResponse {
  return (scratch) => {
    const clear = scratch.subarray(scratch.length - lengthBytes);
    fill(clear);
    return appendCrLf(scratch, writeBase64(scratch, clear));
  };
}

function plainLine(line: string): WriteResponse {
  return (scratch) => {
    const { buffer, byteOffset, length } = scratch;
    return appendCrLf(scratch, Buffer.from(buffer, byteOffset, length).write(line, 'latin1'));
  };
}

/** RFC 4616 section 2: authorization identity (none), NUL, user, NUL, password. */
function plainResponses(user: Uint8Array, password: Uint8Array): readonly WriteResponse[] {
  return [
    base64Line(user.length + password.length + 2, (clear) => {
      clear.fill(0);
      clear.set(user, 1);
      clear.set(password, user.length + 2);
    }),
  ];
}

function loginResponses(user: Uint8Array, password: Uint8Array): readonly WriteResponse[] {
  return [
    base64Line(user.length, (clear) => clear.set(user)),
    base64Line(password.length, (clear) => clear.set(password)),
  ];
}

/** The first literal is the user with the announcement of the second, which is the password. */
function literalResponses(user: Uint8Array, password: Uint8Array): readonly WriteResponse[] {
  return [
    (scratch) => {
      scratch.set(user);
      return user.length + plainLine(` {${password.length}}`)(scratch.subarray(user.length));
    },
    (scratch) => {
      scratch.set(password);
      return appendCrLf(scratch, password.length);
    },
  ];
}

/** Writes one line and waits until the socket has taken it; the scratch buffer is wiped in any case. */
async function writeLine(socket: Writable, scratch: Uint8Array<ArrayBuffer>, lengthBytes: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.write(scratch.subarray(0, lengthBytes), (error) => {
    scratch.fill(0);
    if (error) reject(error);
    else resolve();
  });
  await promise;
}

type LoginMethod = {
  readonly command: string;
  readonly tokens: readonly CommandToken[];
  readonly answers: (user: Uint8Array, password: Uint8Array) => readonly WriteResponse[];
};

function chooseMethod(capabilities: ReadonlyMap<string, unknown>, user: Uint8Array): LoginMethod {
  if (capabilities.has('AUTH=PLAIN')) {
    return { command: 'AUTHENTICATE', tokens: [{ type: 'ATOM', value: 'PLAIN' }], answers: plainResponses };
  }
  if (capabilities.has('AUTH=LOGIN')) {
    return { command: 'AUTHENTICATE', tokens: [{ type: 'ATOM', value: 'LOGIN' }], answers: loginResponses };
  }
  if (!capabilities.has('LOGINDISABLED')) {
    return { command: 'LOGIN', tokens: [{ type: 'TEXT', value: `{${user.length}}` }], answers: literalResponses };
  }
  throw new Failure('login_unsupported', 'The server offers neither PLAIN nor LOGIN on this connection.', {
    hint: 'Many servers allow a login over TLS only: use --tls implicit or starttls.',
  });
}

/** An imapflow client that logs in with bytes. It holds the password until the login, and no longer. */
export class ImapClient extends ImapFlow {
  readonly #user: Uint8Array;
  readonly #beforeLogin: () => void;
  #password: SecretBytes | null;

  constructor(options: ImapFlowOptions, user: string, password: SecretBytes, beforeLogin: () => void) {
    super(options);
    this.#user = Buffer.from(user);
    this.#password = password;
    this.#beforeLogin = beforeLogin;
  }

  /** Called by imapflow once the connection is as secure as it will be. */
  async authenticate(): Promise<boolean> {
    const password = this.#password;
    this.#password = null;
    if (this.state !== this.states.NOT_AUTHENTICATED) return true;
    this.#beforeLogin();
    if (password === null) throw new Error('a client logs in once');
    await this.#login(chooseMethod(this.capabilities, this.#user), password);
    this.authenticated = true;
    await internals(this).setAuthenticationState();
    return true;
  }

  async #login(mechanism: LoginMethod, password: SecretBytes): Promise<void> {
    const user = this.#user;
    const scratch = secretBuffer(scratchBytesMin + 4 * (user.length + password.length));
    const inner = internals(this);
    let step = 0;
    let broken: unknown = null;
    const answer = async (): Promise<void> => {
      const socket = inner.writeSocket;
      // Closed meanwhile: that ends the command.
      if (socket === null) return;
      const lengthBytes = password.use((bytes) => {
        const fill = mechanism.answers(user, bytes)[step] ?? plainLine('*');
        return fill(scratch);
      });
      step += 1;
      await writeLine(socket, scratch, lengthBytes);
    };
    const onPlusTag = async (): Promise<void> => {
      try {
        await answer();
      } catch (error) {
        // imapflow only logs what is thrown here and would wait for an answer that never comes.
        broken = error;
        this.close();
      }
    };
    inner.expectCapabilityUpdate = true;
    try {
      const tagged = await inner.exec(mechanism.command, mechanism.tokens, { onPlusTag });
      tagged.next();
    } catch (error) {
      throw broken ?? error;
    } finally {
      scratch.fill(0);
    }
  }
}
