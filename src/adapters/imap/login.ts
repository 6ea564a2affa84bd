/**
 * IMAP login with bytes (RFC 9051 sections 6.2.2 and 6.2.3), by a password or an access token, over a mechanism of
 * sasl.ts.
 *
 * Replaces the login of imapflow, which takes the secret as a string and concatenates it; strings cannot be wiped. Here
 * the bytes go from the secret into one scratch buffer, from there to the socket, and the buffer is wiped once the
 * socket has taken them. A server that sends one challenge more than the mechanism has responses gets the cancel line,
 * never the secret again, and is left if it asks on. Its answers pass `redact` (echo/echo-filter.ts) before the parser.
 * Relies on: imapflow calls `authenticate` once TLS is established, and on `imapflow-internals.ts`.
 */
import type { Writable } from 'node:stream';
import { ImapFlow, type ImapFlowOptions } from 'imapflow';
import type { Credential } from '../../ingest/ports.ts';
import { secretBuffer } from '../../secret/secret-bytes.ts';
import { EchoFilter } from './echo/echo-filter.ts';
import { type ContinuationRequest, continuationText, filterResponses, internals } from './imapflow-internals.ts';
import { ResponseFilter } from './responses/response-filter.ts';
import { chooseMethod, type LoginIdentity, type LoginMethod, scratchBytes, writeLine } from './sasl/sasl.ts';
import { readChallenge, type TokenChallenge } from './token-failures.ts';

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

/** Moments of a login. */
export type LoginEvents = {
  beforeLogin(): void;
  /** The login has ended, and the server repeated the secret meanwhile. */
  echoed(): void;
};

/**
 * imapflow client that logs in with bytes. It borrows the credential for one login: it is wiped when the folder is
 * open, or the attempt has failed.
 */
export class ImapClient extends ImapFlow {
  readonly responses = new ResponseFilter();
  readonly #identity: LoginIdentity;
  readonly #events: LoginEvents;
  #credential: Credential | null;
  #echo: EchoFilter | null = null;
  #hasLoggedIn = false;
  #hasSentSecret = false;
  #tokenChallenge: TokenChallenge | null = null;
  #mechanism: string | null = null;

  constructor(options: ImapFlowOptions, user: string, credential: Credential, events: LoginEvents) {
    super(options);
    this.#identity = { user: Buffer.from(user), host: options.host ?? '', port: options.port ?? 0 };
    this.#credential = credential;
    this.#events = events;
    filterResponses(this, (line, command) => this.responses.accepts(line, command));
  }

  /** True once the server accepted the login, also after the close, where imapflow resets `authenticated`. */
  get hasLoggedIn(): boolean {
    return this.#hasLoggedIn;
  }

  /** True once a response with the secret was begun. */
  get hasSentSecret(): boolean {
    return this.#hasSentSecret;
  }

  /** The challenge by which the server announced that it refuses the token; null: none. */
  get tokenChallenge(): TokenChallenge | null {
    return this.#tokenChallenge;
  }

  /** The mechanism of the login; null: none was begun. */
  get mechanism(): string | null {
    return this.#mechanism;
  }

  /** Overwrites the secret in received bytes while the login is in progress. */
  redact(received: Uint8Array): void {
    this.#echo?.redact(received);
  }

  /** Called by imapflow once TLS is established, or not used. */
  async authenticate(): Promise<boolean> {
    const credential = this.#credential;
    this.#credential = null;
    if (this.state !== this.states.NOT_AUTHENTICATED) return true;
    this.#events.beforeLogin();
    if (credential === null) throw new Error('a client logs in once');
    const echo = new EchoFilter(credential);
    this.#echo = echo;
    try {
      await this.#login(chooseMethod(this.capabilities, credential.kind), credential);
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

  async #login(method: LoginMethod, { secret }: Credential): Promise<void> {
    const identity = this.#identity;
    this.#mechanism = method.name;
    const scratch = secretBuffer(scratchBytes(identity, secret));
    const inner = internals(this);
    let step = 0;
    let isCancelled = false;
    let broken: unknown = null;
    const respond = async (challenge: string): Promise<void> => {
      const socket = inner.writeSocket;
      // Closed meanwhile, which ends the command.
      if (socket === null) return;
      if (method.credential === 'token' && step > 0) this.#tokenChallenge ??= readChallenge(challenge);
      if (isCancelled) throw new Error('the server asks on after the login was cancelled');
      const lengthBytes = secret.use((bytes) => {
        const write = method.responses(identity, bytes)[step];
        isCancelled = write === undefined;
        return write === undefined ? writeLine(scratch, '*') : write(scratch);
      });
      this.#hasSentSecret = true;
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
      const tagged = await inner.exec(method.command, [method.argument(identity.user)], { onPlusTag });
      tagged.next();
    } catch (error) {
      throw broken ?? error;
    } finally {
      scratch.fill(0);
    }
  }
}
