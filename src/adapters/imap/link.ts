/**
 * One connection with its guards: deadline, abort, one command at a time, errors as failures.
 *
 * A command fails when the server is silent for `commandTimeoutMs` (bytes that arrive feed the watchdog, so a large
 * slow mail is fine), when it takes three times as long in all although bytes flow (a fetch may take longer), when the
 * connection breaks, and when the signal fires. Each of these ends the connection; the first reason is what every later command is told.
 * The watchdog is our own: it does not depend on the library settling its promises. It never throws by itself, and
 * an error event of the client is always heard, before, during and after.
 */
import { Failure } from '../../errors.ts';
import type { Connection } from '../../ingest/mailbox.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { type Client, checkPlaintext, type ImapOptions, newClient } from './client.ts';
import { type Circumstances, failureOf, lost, refused } from './failures.ts';
import type { ImapClient } from './login.ts';
import { newTransport, type Stage, type Transport } from './transport.ts';

const logoutMs = 2000;
const wholeCommandFactor = 3;
const checksPerTimeout = 8;
/** A main thread that was busy is not a silent server: after a long turn there is only one check, and input to read. */
const quietChecksMin = 4;
const connecting: ReadonlySet<Stage> = new Set<Stage>(['name', 'connect', 'tls', 'greeting']);

export class Link {
  readonly #options: ImapOptions;
  readonly #signal: AbortSignal;
  readonly #client: Client;
  readonly transport: Transport;
  #stage: Stage = 'name';
  #doing = 'connecting';
  #ended: Failure | null = null;
  #fail: ((failure: Failure) => void) | null = null;
  /** The last status of a tagged response: after a BAD, silence is a throttled server that the library waits for. */
  #lastStatus = '';

  private constructor(
    connection: Connection,
    password: SecretBytes,
    options: ImapOptions,
    signal: AbortSignal,
    enter: (stage: Stage) => void,
  ) {
    this.#options = options;
    this.#signal = signal;
    const stage = (next: Stage): void => {
      this.#stage = next;
      enter(next);
    };
    this.transport = newTransport(connection, stage);
    this.#client = newClient(connection, password, this.transport, options, () => stage('login'));
    this.imap.on('error', (error) => this.end(failureOf(error, this.#circumstances)));
    this.imap.on('close', () => this.end(lost(this.#circumstances)));
    this.imap.on('response', ({ response }) => {
      this.#lastStatus = response;
    });
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Connects and logs in. Rejects with a `Failure`; the password is borrowed until this settles. */
  static async open(
    connection: Connection,
    password: SecretBytes,
    options: ImapOptions,
    signal: AbortSignal,
    enter: (stage: Stage) => void,
  ): Promise<Link> {
    checkPlaintext(connection);
    if (signal.aborted) throw new Failure('interrupted', 'The connection was not begun: a stop was asked for.');
    const link = new Link(connection, password, options, signal, enter);
    try {
      await link.run('logging in', () => link.imap.connect());
    } catch (error) {
      link.end(failureOf(error, link.#circumstances));
      throw error;
    }
    link.#stage = 'open';
    return link;
  }

  get imap(): ImapClient {
    return this.#client.imap;
  }

  /** True once nothing more can be asked. */
  get isEnded(): boolean {
    return this.#ended !== null;
  }

  get #circumstances(): Circumstances {
    const saidGoodbye = (this.imap.byeReason ?? null) !== null;
    return { stage: this.#stage, doing: this.#doing, saidGoodbye };
  }

  readonly #onAbort = (): void => this.end(new Failure('interrupted', `A stop was asked for while ${this.#doing}.`));

  /**
   * Runs one command. `doing` says what, for messages. `whole` is false for what may take as long as bytes flow.
   * Rejects with a `Failure`.
   */
  async run<T>(doing: string, command: () => Promise<T>, whole = true): Promise<T> {
    if (this.#ended !== null) throw this.#ended;
    if (this.#fail !== null)
      throw new Failure('unexpected', `A session was asked for ${doing} before it was done with the last thing.`);
    this.#doing = doing;
    this.#lastStatus = '';
    const { promise: failed, reject } = Promise.withResolvers<never>();
    this.#fail = reject;
    const stopWatch = this.#watch(whole);
    try {
      return await Promise.race([command(), failed]);
    } catch (error) {
      throw this.#ended ?? failureOf(error, this.#circumstances);
    } finally {
      stopWatch();
      this.#fail = null;
    }
  }

  /** Like `run`, for the methods that answer a NO with `false`: that becomes a `Failure`. */
  async require<T>(doing: string, command: () => Promise<T>): Promise<Exclude<T, false | undefined>> {
    const before = this.#client.lastRefusal();
    const result = await this.run(doing, command);
    if (result !== false && result !== undefined) return result as Exclude<T, false | undefined>;
    if (this.#ended !== null) throw this.#ended;
    const refusal = this.#client.lastRefusal();
    if (refusal !== null && refusal !== before) throw refused(refusal, this.#circumstances);
    throw new Failure('server_refused', `The server does not allow ${doing}.`);
  }

  /** Runs `work` in a stage of its own, which says what a refusal means. */
  async at<T>(stage: 'folder' | 'act', work: () => Promise<T>): Promise<T> {
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
    const fields = { after_ms: Math.round(afterMs) };
    if (this.#stage === 'tls')
      return new Failure('tls_failed', 'The server did not finish the TLS handshake in time.', { fields });
    if (this.#lastStatus === 'BAD') return new Failure('server_busy', 'The server asks to slow down.', { fields });
    const sentence =
      what === 'silent'
        ? `The server fell silent while ${this.#doing}.`
        : `The server did not finish ${this.#doing} in time.`;
    return new Failure('server_timeout', sentence, { fields });
  }

  #watch(whole: boolean): () => void {
    let begun = performance.now();
    let isConnecting = connecting.has(this.#stage);
    let heard = begun;
    let received = this.imap.stats().received;
    let quietChecks = 0;
    let isStopped = false;
    const check = (): void => {
      if (isStopped) return;
      const now = performance.now();
      if (connecting.has(this.#stage) !== isConnecting) {
        // Connecting and what follows have different deadlines: a slow network takes nothing from the login.
        isConnecting = !isConnecting;
        begun = now;
      }
      const arrived = this.imap.stats().received;
      quietChecks = arrived === received ? quietChecks + 1 : 0;
      if (quietChecks === 0) heard = now;
      received = arrived;
      const isLate = whole && now - begun > wholeCommandFactor * this.#silenceMsMax();
      const isSilent = quietChecks >= quietChecksMin && now - heard >= this.#silenceMsMax();
      if (isSilent) this.end(this.#overdue('silent', now - heard));
      else if (isLate) this.end(this.#overdue('late', now - begun));
    };
    const every = Math.max(
      5,
      Math.min(this.#options.commandTimeoutMs, this.#options.connectTimeoutMs) / checksPerTimeout,
    );
    const timer = setInterval(() => setImmediate(check), every);
    return () => {
      isStopped = true;
      clearInterval(timer);
    };
  }
}
