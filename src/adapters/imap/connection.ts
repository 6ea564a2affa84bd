/**
 * One connection with its guards: deadline, abort, one command at a time, errors as failures.
 *
 * A command fails when the server is silent for `commandTimeoutMs` (bytes that arrive feed the watchdog, so a large
 * slow mail is fine), when it takes three times as long in all although bytes flow (a fetch may take longer), when the
 * connection breaks, when the server says far more than was asked, and when the signal fires. Each of these ends the connection; the first reason is what every
 * later command is told. The watchdog is our own: it does not depend on the library settling its promises. A throttled command also ends the
 * connection at once: the library would sleep for minutes and then ask again. The link never throws by itself, and an
 * error event of the client is always heard, before, during and after.
 */

import { acquire } from '../../async/buffer-pool.ts';
import { Failure } from '../../errors.ts';
import type { Connection } from '../../ingest/model.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { type ClientHandle, checkPlaintext, type ImapOptions, newClient } from './client.ts';
import { connectionLost, type ErrorContext, refusalFailure, stageField, toFailure } from './errors.ts';
import { internals, readLiteralsInPlace } from './imapflow-internals.ts';
import { commandBytesMax, InboundLimit, idleBytesMax, loginBytesMax, Watchdog } from './limits.ts';
import type { ImapClient } from './login.ts';
import { type ConnectionStage, newTransport, type SocketTransport } from './transport.ts';

const logoutMs = 2000;
const connecting: ReadonlySet<ConnectionStage> = new Set<ConnectionStage>(['name', 'connect', 'tls', 'greeting']);

export type CommandBounds = {
  /** False for what may take as long as bytes flow. */
  readonly limitsTotalTime?: boolean;
  /** What the server may say meanwhile, beside the literals that are expected; null goes on with what is left. */
  readonly bytesMax?: number | null;
};

export class ImapConnection {
  readonly #options: ImapOptions;
  readonly #signal: AbortSignal;
  readonly #client: ClientHandle;
  readonly transport: SocketTransport;
  readonly inboundLimit: InboundLimit;
  #stage: ConnectionStage = 'name';
  #doing = 'connecting';
  #ended: Failure | null = null;
  #fail: ((failure: Failure) => void) | null = null;

  private constructor(
    connection: Connection,
    password: SecretBytes,
    options: ImapOptions,
    signal: AbortSignal,
    enter: (stage: ConnectionStage) => void,
  ) {
    this.#options = options;
    this.#signal = signal;
    const stage = (next: ConnectionStage): void => {
      this.#stage = next;
      enter(next);
    };
    this.inboundLimit = new InboundLimit(() => this.end(this.#tooMuch()));
    this.transport = newTransport(connection, stage, (chunk) => this.inboundLimit.count(chunk));
    this.#client = newClient(connection, password, this.transport, options, {
      beforeLogin: () => {
        stage('login');
        readLiteralsInPlace(internals(this.imap).streamer, acquire);
      },
      // Once the library waits: closing ends the wait, and with it what is in flight.
      throttled: (refusal) => queueMicrotask(() => this.end(refusalFailure(refusal, this.#circumstances))),
    });
    this.imap.on('error', (error) => this.end(toFailure(error, this.#circumstances)));
    this.imap.on('close', () => this.end(connectionLost(this.#circumstances)));
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Connects and logs in. Rejects with a `Failure`; the password is borrowed until this settles. */
  static async open(
    connection: Connection,
    password: SecretBytes,
    options: ImapOptions,
    signal: AbortSignal,
    enter: (stage: ConnectionStage) => void,
  ): Promise<ImapConnection> {
    checkPlaintext(connection);
    if (signal.aborted) throw new Failure('interrupted', 'The connection was not begun: a stop was asked for.');
    const link = new ImapConnection(connection, password, options, signal, enter);
    try {
      await link.run('logging in', () => link.imap.connect(), { bytesMax: loginBytesMax });
    } catch (error) {
      link.end(toFailure(error, link.#circumstances));
      throw error;
    }
    link.#stage = 'open';
    return link;
  }

  /** The largest mail that is taken. */
  get literalBytesMax(): number {
    return this.#options.literalBytesMax;
  }

  get imap(): ImapClient {
    return this.#client.imap;
  }

  /** True once nothing more can be asked. */
  get isEnded(): boolean {
    return this.#ended !== null;
  }

  /** Throws the failure that ended the connection, if one has. */
  assertOpen(): void {
    if (this.#ended !== null) throw this.#ended;
  }

  get #circumstances(): ErrorContext {
    return { stage: this.#stage, doing: this.#doing, goodbye: this.imap.byeReason ?? null };
  }

  readonly #onAbort = (): void => this.end(new Failure('interrupted', `A stop was asked for while ${this.#doing}.`));

  /**
   * Runs one command. `doing` says what, for messages. The command may let the watchdog rest. Rejects with a `Failure`.
   */
  async run<T>(
    doing: string,
    command: (watchdog: Watchdog) => Promise<T>,
    { limitsTotalTime: whole = true, bytesMax = commandBytesMax }: CommandBounds = {},
  ): Promise<T> {
    this.assertOpen();
    if (this.#fail !== null)
      throw new Failure('unexpected', `A session was asked for ${doing} before it was done with the last thing.`);
    this.#doing = doing;
    const { promise: failed, reject } = Promise.withResolvers<never>();
    this.#fail = reject;
    const watchdog = this.#watch(whole);
    if (bytesMax !== null) this.inboundLimit.allow(bytesMax);
    try {
      return await Promise.race([command(watchdog), failed]);
    } catch (error) {
      throw this.#ended ?? toFailure(error, this.#circumstances);
    } finally {
      watchdog.pause();
      if (bytesMax !== null) this.inboundLimit.allow(idleBytesMax);
      this.#fail = null;
    }
  }

  /** Like `run`, for the methods that answer a NO with `false`: that becomes a `Failure`. */
  async require<T>(
    doing: string,
    command: () => Promise<T>,
    bounds: CommandBounds = {},
  ): Promise<Exclude<T, false | undefined>> {
    const before = this.#client.lastRefusal();
    const result = await this.run(doing, command, bounds);
    if (result !== false && result !== undefined) return result as Exclude<T, false | undefined>;
    this.assertOpen();
    const refusal = this.#client.lastRefusal();
    if (refusal !== null && refusal !== before) throw refusalFailure(refusal, this.#circumstances);
    throw new Failure('server_refused', `The server does not allow ${doing}.`);
  }

  /** Runs `work` in a stage of its own, which says what a refusal means. */
  async inStage<T>(stage: 'folder' | 'act', work: () => Promise<T>): Promise<T> {
    this.#stage = stage;
    try {
      return await work();
    } finally {
      this.#stage = 'open';
    }
  }

  /** Ends the connection at once; the first reason stays. */
  end(reason: Failure): void {
    if (this.#ended !== null) return;
    this.#ended = reason;
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#fail?.(reason);
    this.imap.close();
  }

  /** Says goodbye when nothing is in flight, waits 2 s at most, then closes. Never rejects. */
  async close(): Promise<void> {
    if (this.#ended === null && this.#fail === null) {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, logoutMs);
      // Whatever becomes of the goodbye, the connection is closed right after.
      await Promise.race([this.imap.logout().then(resolve, () => resolve()), late]);
      clearTimeout(timer);
    }
    this.end(new Failure('connection_lost', 'The session is closed.'));
  }

  #silenceMsMax(): number {
    const { connectTimeoutMs, commandTimeoutMs } = this.#options;
    // The library keeps the deadlines of these stages, one for the connection and one for the greeting.
    return connecting.has(this.#stage) ? 2 * connectTimeoutMs + 1000 : commandTimeoutMs;
  }

  #overdue(what: 'silent' | 'late', afterMs: number): Failure {
    const fields = { after_ms: Math.round(afterMs), ...stageField(this.#stage) };
    if (this.#stage === 'tls')
      return new Failure('tls_failed', 'The server did not finish the TLS handshake in time.', { fields });
    const sentence =
      what === 'silent'
        ? `The server fell silent while ${this.#doing}.`
        : `The server did not finish ${this.#doing} in time.`;
    return new Failure('server_timeout', sentence, { fields });
  }

  #tooMuch(): Failure {
    return new Failure(
      'server_protocol_error',
      `The server said far more than it was asked for while ${this.#doing}.`,
      {
        fields: stageField(this.#stage),
        hint: 'A great change in the folder by somebody else may be the reason; if it stays, report it to those who run the server.',
      },
    );
  }

  #watch(whole: boolean): Watchdog {
    return new Watchdog({
      received: () => this.imap.stats().received,
      isConnecting: () => connecting.has(this.#stage),
      silenceMaxMs: () => this.#silenceMsMax(),
      deadlineMinMs: Math.min(this.#options.commandTimeoutMs, this.#options.connectTimeoutMs),
      limitsTotalTime: whole,
      overdue: (what, afterMs) => this.end(this.#overdue(what, afterMs)),
    });
  }
}
