/**
 * MySQL connection with statement timeouts, as Kysely drives it: every error is a Failure.
 *
 * At its timeout a statement fails with `database_unavailable` and the connection is cut; the owner is notified
 * earlier, when the result is slow. A statement above `max_allowed_packet` is not sent, because the server would drop
 * the connection: `row_refused`. After a connection error nothing more is sent, and the pool opens another connection.
 * A statement with bytes among its values is sent as a prepared statement, so that a password never becomes text.
 * Outside a transaction, a statement that the server rolled back (deadlock, certification conflict) is retried.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CompiledQuery, type DatabaseConnection, type QueryResult } from 'kysely';
import { type Connection, createConnection } from 'mysql2';
import { Failure } from '../../../errors.ts';
import { textProtocolUnitsMax } from '../sql/dialect.ts';
import { detachBytes, readsPasswords, recordForWipe } from '../sql/driver-buffers.ts';
import { isRolledBackConflict, mysqlFailure } from '../sql/errors.ts';
import { withRetries } from '../sql/statements.ts';
import { guardUpgrade } from './certificate.ts';
import { channelTo } from './channel.ts';
import { createLogin, type MysqlLogin } from './login.ts';
import {
  connectionOptions,
  type MysqlConfig,
  type MysqlLimits,
  type MysqlServer,
  openSocket,
  serverName,
} from './options.ts';
import {
  asBuffer,
  assertFitsPacket,
  changesRows,
  hasBytes,
  hasCurrentPacketLimit,
  isRows,
  isSchemaChange,
  type StatementResult,
  setUpSession,
  textUnits,
} from './session.ts';

const tooManyPrepared = 1461;

/** Notifications to the pool. */
export type ConnectionOwner = {
  /** Once, when it breaks. */
  broken(): void;
  /** After every `probeAfterMs` that a statement waits for its answer. */
  slow(): void;
  /** A statement sent at `sinceMs` timed out; the connection breaks next. */
  timedOut(sinceMs: number): void;
  /** A write was committed. */
  committed(): void;
};

export class MysqlConnection implements DatabaseConnection {
  readonly server: MysqlServer;
  /** When opening began. */
  readonly openedAtMs = performance.now();
  /** Set by the pool after a failure at the server: the connection is closed when it is released. */
  isRetired = false;
  readonly #client: Connection;
  readonly #socket: Socket;
  readonly #login: MysqlLogin;
  readonly #name: string;
  readonly #limits: MysqlLimits;
  #owner: ConnectionOwner | null = null;
  #isBroken = false;
  /** Within a transaction no single statement is retried. */
  #isInTransaction = false;
  #hasUncommittedWrite = false;
  /** Rejects the login or statement in progress. */
  #rejectPending: ((failure: Failure) => void) | null = null;
  #packetBytesMax = Number.POSITIVE_INFINITY;

  private constructor(config: MysqlConfig, server: MysqlServer, limits: MysqlLimits) {
    this.server = server;
    this.#name = serverName(server);
    this.#limits = limits;
    this.#socket = openSocket(server);
    this.#login = createLogin({
      ...{ serverName: this.#name, password: config.password },
      channel: () => channelTo(config, server),
    });
    this.#client = createConnection(connectionOptions(config, server, limits, this.#socket, this.#login));
    if (config.tls === 'verify') guardUpgrade(this.#client, config.fingerprint, this.#name);
    this.#client.on('error', (error) => this.discard(error));
    this.#client.on('end', () => this.discard());
  }

  /** Connects, logs in and sets up the session. Throws when the server is unfit (session.ts). */
  static async open(config: MysqlConfig, server: MysqlServer, limits: MysqlLimits): Promise<MysqlConnection> {
    const connection = MysqlConnection.#create(config, server, limits);
    try {
      await connection.#connect();
      const hasFailover = config.hosts.length > 1;
      const session = await setUpSession(
        (sql) => connection.#run(sql, [], limits.connectTimeoutMs),
        connection.#name,
        hasFailover,
      );
      connection.#packetBytesMax = session.packetBytesMax;
    } catch (error) {
      connection.discard();
      throw error;
    }
    return connection;
  }

  static #create(config: MysqlConfig, server: MysqlServer, limits: MysqlLimits): MysqlConnection {
    try {
      return new MysqlConnection(config, server, limits);
    } catch (error) {
      throw mysqlFailure(error, serverName(server));
    }
  }

  /** Notifies `owner` from now on, immediately when the connection is broken already. */
  setOwner(owner: ConnectionOwner): void {
    this.#owner = owner;
    if (this.#isBroken) owner.broken();
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** `max_allowed_packet` of the server. */
  get packetBytesMax(): number {
    return this.#packetBytesMax;
  }

  /** Cuts the connection; the server rolls back an open transaction. `error` is the reason, where there is one. */
  discard(error?: unknown): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#client.destroy();
    this.#socket.destroy();
    // mysql2 drops the callback of the statement in progress when the end arrives first. Otherwise the callback runs
    // before this, and its error is the more precise one.
    setImmediate(() =>
      this.#rejectPending?.(error === undefined ? this.#brokenFailure() : mysqlFailure(error, this.#name)),
    );
    this.#owner?.broken();
  }

  #brokenFailure(): Failure {
    return new Failure('database_unavailable', `The connection to the database at ${this.#name} broke.`);
  }

  /** Closes in order (COM_QUIT), within one second. */
  async close(): Promise<void> {
    if (this.#isBroken) return;
    this.#isBroken = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, 1000);
    this.#client.end(() => resolve());
    await promise;
    clearTimeout(timer);
    this.#socket.destroy();
  }

  async executeQuery<R>(compiled: CompiledQuery): Promise<QueryResult<R>> {
    const run = () => this.#run(compiled.sql, compiled.parameters);
    const result = this.#isInTransaction ? await run() : await withRetries(run, isRolledBackConflict);
    if (changesRows(result)) this.#hasUncommittedWrite = true;
    if (!this.#isInTransaction) this.#noteCommit();
    if (isRows(result)) return { rows: result as readonly unknown[] as R[] };
    const insertId = result.insertId === 0 ? {} : { insertId: BigInt(result.insertId) };
    return { rows: [], numAffectedRows: BigInt(result.affectedRows), ...insertId };
  }

  async begin(): Promise<void> {
    await this.executeQuery(CompiledQuery.raw('begin'));
    this.#isInTransaction = true;
  }

  async commit(): Promise<void> {
    await this.executeQuery(CompiledQuery.raw('commit'));
    this.#isInTransaction = false;
    this.#noteCommit();
  }

  async rollback(): Promise<void> {
    await this.executeQuery(CompiledQuery.raw('rollback'));
    this.#isInTransaction = false;
    this.#hasUncommittedWrite = false;
  }

  #noteCommit(): void {
    if (this.#hasUncommittedWrite) this.#owner?.committed();
    this.#hasUncommittedWrite = false;
  }

  /** Unsupported: long results are read in pages. */
  // biome-ignore lint/correctness/useYield: the interface asks for a generator.
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Failure('unexpected', 'Streaming from the database is not supported.');
  }

  async #connect(): Promise<void> {
    using _login = this.#login;
    await new Promise<void>((resolve, reject) => {
      this.#rejectPending = reject;
      this.#client.connect((error) => {
        this.#rejectPending = null;
        if (error === null || error === undefined) resolve();
        else reject(mysqlFailure(error, this.#name));
      });
    });
  }

  /** Pings the server; without an answer within `timeoutMs` the connection is cut. False: use another one. */
  async isUsable(timeoutMs: number): Promise<boolean> {
    try {
      if (await hasCurrentPacketLimit((sql) => this.#run(sql, [], timeoutMs), this.#packetBytesMax)) return true;
      void this.close();
      this.#owner?.broken();
      return false;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.discard();
      return false;
    }
  }

  /** `timeoutMs` replaces the statement timeout for statements of the connection itself. */
  #run(sql: string, values: readonly unknown[], timeoutMs: number | null = null): Promise<StatementResult> {
    const deadlineMs = timeoutMs ?? this.#timeoutMs(sql);
    const sinceMs = performance.now();
    return new Promise((resolve, reject) => {
      if (this.#isBroken) {
        reject(this.#brokenFailure());
        return;
      }
      const slow = setInterval(() => this.#owner?.slow(), this.#limits.probeAfterMs);
      const deadline = setTimeout(() => {
        const message = `The database at ${this.#name} did not answer a statement within ${deadlineMs / 1000} s.`;
        stopWaiting();
        reject(new Failure('database_unavailable', message, { fields: { cause: 'deadline' } }));
        // The duration of DDL says nothing about the health of the server.
        if (timeoutMs === null && !isSchemaChange(sql)) this.#owner?.timedOut(sinceMs);
        this.discard();
      }, deadlineMs);
      const stopWaiting = () => {
        clearInterval(slow);
        clearTimeout(deadline);
        this.#rejectPending = null;
      };
      const recorded = hasBytes(values) || readsPasswords(sql) ? recordForWipe(this.#stream()) : null;
      this.#rejectPending = (failure) => {
        stopWaiting();
        recorded?.[Symbol.dispose]();
        reject(failure);
      };
      const settle: Settle = (error, result) => {
        stopWaiting();
        if (recorded !== null && Array.isArray(result)) detachBytes(result);
        recorded?.[Symbol.dispose]();
        if (error === null || error === undefined) resolve(result as StatementResult);
        else reject(this.#toFailure(error));
      };
      this.#trySend(() => this.#send(sql, values, settle), settle);
    });
  }

  #timeoutMs(sql: string): number {
    return isSchemaChange(sql) ? this.#limits.schemaChangeTimeoutMs : this.#limits.statementTimeoutMs;
  }

  /** The stream that mysql2 reads and writes: the socket, or TLS on it. */
  #stream(): Duplex {
    return Reflect.get(this.#client, 'stream');
  }

  /** A large INSERT is sent as a prepared statement too: escaping its texts takes twice the time of sending them. */
  #send(sql: string, values: readonly unknown[], settle: Settle): void {
    const isSecret = hasBytes(values);
    if (!isSecret && !(sql.startsWith('insert into ') && textUnits(values) > textProtocolUnitsMax)) {
      this.#sendText(sql, values, settle);
      return;
    }
    assertFitsPacket(values, this.#packetBytesMax);
    const bound = isSecret ? values.map(asBuffer) : values;
    this.#client.execute(sql, bound as never, (error: unknown, result: unknown) => {
      // `max_prepared_stmt_count` limits all clients of the server together.
      const isFull = typeof error === 'object' && error !== null && 'errno' in error && error.errno === tooManyPrepared;
      if (isFull && !isSecret) this.#trySend(() => this.#sendText(sql, values, settle), settle);
      else settle(error, result);
    });
  }

  #sendText(sql: string, values: readonly unknown[], settle: Settle): void {
    const text = values.length === 0 ? sql : this.#client.format(sql, values as unknown[]);
    assertFitsPacket([text], this.#packetBytesMax);
    this.#client.query(text, settle);
  }

  #trySend(send: () => void, settle: Settle): void {
    try {
      send();
    } catch (error) {
      settle(error, undefined);
    }
  }

  /** A server that shuts down or became read-only never serves this connection again, so it is cut. */
  #toFailure(error: unknown): Failure {
    const failure = mysqlFailure(error, this.#name);
    if (failure.code === 'database_unavailable') this.discard();
    return failure;
  }
}

type Settle = (error: unknown, result: unknown) => void;
