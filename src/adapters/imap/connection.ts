/**
 * IMAP connection with guards: deadlines, abort, one command at a time, a byte budget, errors as failures.
 *
 * A command fails when the server is silent for `commandTimeoutMs` (any received byte resets it, so a large slow
 * message is fine), when it takes three times as long in total (except a fetch), when the connection breaks, when the
 * server sends far more than requested, and when the signal aborts. Each of these closes the connection, and every
 * later command fails with the first reason. The watchdog does not depend on imapflow settling its promises. A
 * throttled command closes the connection at once: imapflow would sleep for minutes and repeat it. The client always
 * has an error listener.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { acquire } from '../../async/buffer-pool.ts';
import { Failure } from '../../errors.ts';
import type { Connection } from '../../ingest/model.ts';
import type { AnswerWatch, Credential } from '../../ingest/ports.ts';
import { hints } from '../../text/hints.ts';
import { overwriteReadBuffer, overwriteStack } from '../process/scrub-memory.ts';
import { type ClientHandle, checkPlaintext, type ImapOptions, newClient } from './client.ts';
import { connectionLost, type ErrorContext, refusalFailure, stageField, toFailure } from './errors.ts';
import { internals, readLiteralsInPlace } from './imapflow-internals.ts';
import { commandBytesMax, InboundLimit, idleBytesMax, loginBytesMax, Watchdog } from './limits.ts';
import type { ImapClient } from './login.ts';
import type { TokenLogin } from './token-failures.ts';
import { type ConnectionStage, newTransport, type SocketTransport } from './transport.ts';

const logoutMs = 2000;
const connecting: ReadonlySet<ConnectionStage> = new Set<ConnectionStage>(['name', 'connect', 'tls', 'greeting']);

export type CommandBounds = {
  /** False: no limit on the total time while bytes arrive. */
  readonly limitsTotalTime?: boolean;
  /** Byte budget beside the expected literals; null: continue with the rest of the present one. */
  readonly bytesMax?: number | null;
  /** Of them in one line of a SEARCH response. */
  readonly searchBytes?: number;
};

/** Overwrites what Node keeps of what it read last, once this reading has ended. */
function overwriteReadCopies(socket: Socket | null): void {
  if (socket instanceof TLSSocket) setImmediate(overwriteStack);
  else setImmediate(() => void overwriteReadBuffer());
}

/** A token ends its session some time before its own end, so that a new one is there in time. */
type TokenLife = { readonly lengthBytes: number; readonly beganAtMs: number; readonly endsAtMs: number };

const reserveMsMax = 60_000;
const reserveShare = 0.2;

/** null: of a password. */
function lifeOf(credential: Credential): TokenLife | null {
  if (credential.kind === 'password') return null;
  const { sessionMs, secret } = credential;
  const beganAtMs = performance.now();
  const lastsMs =
    sessionMs === null ? Number.POSITIVE_INFINITY : sessionMs - Math.min(reserveMsMax, reserveShare * sessionMs);
  return { lengthBytes: secret.length, beganAtMs, endsAtMs: beganAtMs + lastsMs };
}

const unwatched: AnswerWatch = { awaited: () => undefined, received: () => undefined, settled: () => undefined };

export class ImapConnection {
  readonly #answers: AnswerWatch;
  readonly #life: TokenLife | null;
  readonly #options: ImapOptions;
  readonly #signal: AbortSignal;
  readonly #isImplicitTls: boolean;
  readonly #client: ClientHandle;
  readonly transport: SocketTransport;
  readonly inboundLimit: InboundLimit;
  #stage: ConnectionStage = 'name';
  #doing = 'connecting';
  #ended: Failure | null = null;
  #fail: ((failure: Failure) => void) | null = null;

  private constructor(
    connection: Connection,
    credential: Credential,
    options: ImapOptions,
    signal: AbortSignal,
    enter: (stage: ConnectionStage) => void,
    answers: AnswerWatch,
  ) {
    this.#answers = answers;
    this.#life = lifeOf(credential);
    this.#options = options;
    this.#signal = signal;
    this.#isImplicitTls = connection.tls === 'implicit';
    const stage = (next: ConnectionStage): void => {
      this.#stage = next;
      // A TCP connection is an answer of the kernel: it only ends the wait for it.
      if (next === 'greeting' && this.#isImplicitTls) answers.received();
      else if (next === 'tls' || next === 'greeting') answers.awaited();
      enter(next);
    };
    this.inboundLimit = new InboundLimit(() => this.end(this.#tooMuch()));
    this.transport = newTransport(connection, stage, (chunk) => {
      answers.received();
      this.imap.redact(chunk);
      this.inboundLimit.count(chunk);
    });
    this.#client = newClient(connection, credential, this.transport, options, {
      beforeLogin: () => stage('login'),
      echoed: () => overwriteReadCopies(this.transport.socket()),
      // In a microtask, once imapflow waits: closing ends the wait and the command.
      throttled: (refusal) => queueMicrotask(() => this.end(refusalFailure(refusal, this.#errorContext))),
    });
    this.imap.on('error', (error) => this.end(toFailure(error, this.#errorContext)));
    this.imap.on('close', () => this.end(connectionLost(this.#errorContext)));
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Connects and logs in. Rejects with a `Failure`; borrows the credential until it settles. */
  static async open(
    connection: Connection,
    credential: Credential,
    options: ImapOptions,
    signal: AbortSignal,
    enter: (stage: ConnectionStage) => void,
    answers: AnswerWatch = unwatched,
  ): Promise<ImapConnection> {
    checkPlaintext(connection);
    if (signal.aborted) throw new Failure('interrupted', 'The connection was not opened: a stop was requested.');
    const opened = new ImapConnection(connection, credential, options, signal, enter, answers);
    try {
      await opened.run('logging in', () => opened.imap.connect(), { bytesMax: loginBytesMax });
      // Not before: until then literals stay views of the received bytes, where an echoed secret is overwritten.
      readLiteralsInPlace(internals(opened.imap).streamer, acquire);
    } catch (error) {
      opened.end(toFailure(error, opened.#errorContext));
      throw error;
    }
    opened.#stage = 'open';
    return opened;
  }

  /** Size limit of a message. */
  get literalBytesMax(): number {
    return this.#options.literalBytesMax;
  }

  get imap(): ImapClient {
    return this.#client.imap;
  }

  /** True once the connection is closed. */
  get isEnded(): boolean {
    return this.#ended !== null;
  }

  /** Throws the failure that closed the connection, if any. */
  assertOpen(): void {
    if (this.#ended !== null) throw this.#ended;
  }

  get #errorContext(): ErrorContext {
    const { byeReason, hasLoggedIn, responses } = this.imap;
    const state = { stage: this.#stage, isLoggedIn: hasLoggedIn, doing: this.#doing };
    const referred = { isReferred: responses.isReferred, isImplicitTls: this.#isImplicitTls };
    const certificateEndsAtMs = this.transport.certificateEndsAtMs();
    return { ...state, ...referred, certificateEndsAtMs, goodbye: byeReason ?? null, token: this.#token };
  }

  /**
   * Time until the session should be left, as the token of its login ends: 60 s before, at 80 % of a short life. Not
   * positive afterwards; null: it lasts.
   */
  get endsInMs(): number | null {
    const leftMs = this.#life === null ? Number.POSITIVE_INFINITY : this.#life.endsAtMs - performance.now();
    return Number.isFinite(leftMs) ? leftMs : null;
  }

  get #token(): TokenLogin | null {
    if (this.#life === null) return null;
    const { hasSentSecret, tokenChallenge } = this.imap;
    const { lengthBytes, beganAtMs, endsAtMs } = this.#life;
    const nowMs = performance.now();
    const session = { isEnding: nowMs >= endsAtMs, ageMs: nowMs - beganAtMs };
    return { lengthBytes, isSent: hasSentSecret, challenge: tokenChallenge, ...session };
  }

  readonly #onAbort = (): void => this.end(new Failure('interrupted', `A stop was requested while ${this.#doing}.`));

  /**
   * Runs one command, which may pause the watchdog. `doing` names it in messages. Rejects with a `Failure`.
   */
  async run<T>(
    doing: string,
    command: (watchdog: Watchdog) => Promise<T>,
    { limitsTotalTime: whole = true, bytesMax = commandBytesMax, searchBytes = 0 }: CommandBounds = {},
  ): Promise<T> {
    this.assertOpen();
    if (this.#fail !== null)
      throw new Failure('unexpected', `A session was used for ${doing} before the previous command ended.`);
    this.#doing = doing;
    const { promise: failed, reject } = Promise.withResolvers<never>();
    this.#fail = reject;
    const watchdog = this.#watch(whole);
    if (bytesMax !== null) this.inboundLimit.allow(bytesMax, searchBytes);
    try {
      return await Promise.race([command(watchdog), failed]);
    } catch (error) {
      throw this.#ended ?? toFailure(error, this.#errorContext);
    } finally {
      watchdog.pause();
      if (bytesMax !== null) this.inboundLimit.allow(idleBytesMax);
      this.#fail = null;
    }
  }

  /** Like `run`, for methods of imapflow that return `false` for a NO: that becomes a `Failure`. */
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
    if (refusal !== null && refusal !== before) throw refusalFailure(refusal, this.#errorContext);
    throw new Failure('server_refused', `The server does not allow ${doing}.`);
  }

  /** Runs `work` in a stage of its own, which decides the meaning of a refusal. */
  async inStage<T>(stage: 'folder' | 'act', work: () => Promise<T>): Promise<T> {
    this.#stage = stage;
    try {
      return await work();
    } finally {
      this.#stage = 'open';
    }
  }

  /** Closes the connection at once; the first reason wins. */
  end(reason: Failure): void {
    if (this.#ended !== null) return;
    this.#ended = reason;
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#fail?.(reason);
    this.imap.close();
  }

  /** Sends LOGOUT when no command is in flight, waits at most 2 s, then closes. Never rejects. */
  async close(): Promise<void> {
    if (this.#ended === null && this.#fail === null) {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, logoutMs);
      // The connection is closed next, whether LOGOUT succeeds or not.
      await Promise.race([this.imap.logout().then(resolve, () => resolve()), late]);
      clearTimeout(timer);
    }
    this.end(new Failure('connection_lost', 'The session is closed.'));
  }

  #silenceMsMax(): number {
    const { connectTimeoutMs, commandTimeoutMs } = this.#options;
    // imapflow enforces the deadlines of these stages, one for the connection and one for the greeting.
    return connecting.has(this.#stage) ? 2 * connectTimeoutMs + 1000 : commandTimeoutMs;
  }

  #overdue(what: 'silent' | 'late', afterMs: number): Failure {
    const fields = { after_ms: Math.round(afterMs), ...stageField(this.#stage) };
    if (this.#stage === 'tls')
      return new Failure('tls_failed', 'The server did not finish the TLS handshake in time.', { fields });
    const sentence =
      what === 'silent'
        ? `The server sent nothing while ${this.#doing}.`
        : `The server did not finish ${this.#doing} in time.`;
    return new Failure('server_timeout', sentence, { fields });
  }

  #tooMuch(): Failure {
    return new Failure('server_protocol_error', `The server sent far more data than requested while ${this.#doing}.`, {
      fields: stageField(this.#stage),
      hint: hints.tooMuchData,
    });
  }

  #watch(whole: boolean): Watchdog {
    return new Watchdog({
      received: () => this.imap.stats().received,
      isConnecting: () => connecting.has(this.#stage),
      silenceMaxMs: () => this.#silenceMsMax(),
      deadlineMinMs: Math.min(this.#options.commandTimeoutMs, this.#options.connectTimeoutMs),
      limitsTotalTime: whole,
      answers: this.#answers,
      overdue: (what, afterMs) => this.end(this.#overdue(what, afterMs)),
    });
  }
}
