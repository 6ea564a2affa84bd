/**
 * One connection to MySQL or MariaDB, as Kysely drives it.
 *
 * Every statement has a deadline: after it the connection is cut, and `database_unavailable` thrown; its owner is told
 * before, when the answer takes long. A statement larger than the server takes is not sent, because the server would hang
 * up on it: `row_refused`. After an error of the connection the link is broken: nothing is sent on it any more, and the
 * pool makes another one. Every error is a Failure. A statement with bytes among its values goes as a prepared one, so that a password never becomes text.
 * Outside a transaction, a statement that the server gave up (deadlock, conflict with another node) is tried again.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { CompiledQuery, type DatabaseConnection, type QueryResult } from 'kysely';
import { type Connection, createConnection } from 'mysql2';
import { Failure } from '../../../errors.ts';
import { textUnitsMax } from '../sql/dialect.ts';
import { readsPasswords, takeBytes, watchSocket } from '../sql/driver-buffers.ts';
import { isGivenUp, mysqlFailure } from '../sql/errors.ts';
import { tryAgain } from '../sql/transactions.ts';
import { connectionOptions, dial, type MysqlConfig, type MysqlLimits, type MysqlPlace, nameOf } from './options.ts';
import {
  type Answer,
  asBuffer,
  beginSession,
  changesRows,
  checkSize,
  hasBytes,
  isRows,
  isTableChange,
  isUpToDate,
  textUnits,
} from './session.ts';

const preparedTooMany = 1461;

/** What a link tells its owner. */
export type LinkOwner = {
  /** Once, when it breaks. */
  broken(): void;
  /** Again and again while a statement has no answer for long. */
  slow(): void;
  /** A statement that was sent at `sinceMs` ended at its deadline; the link breaks next. */
  late(sinceMs: number): void;
  /** A change was committed. */
  changed(): void;
};

export class MysqlLink implements DatabaseConnection {
  readonly place: MysqlPlace;
  /** When it was begun to be opened. */
  readonly beganAtMs = performance.now();
  /** Set when something was wrong at its place after it was opened: what it does now is the last that it does. */
  isRetired = false;
  readonly #connection: Connection;
  readonly #socket: Socket;
  readonly #where: string;
  readonly #limits: MysqlLimits;
  #owner: LinkOwner | null = null;
  #isBroken = false;
  /** Within a transaction no statement is repeated alone. */
  #isInTransaction = false;
  /** Set while a change waits for its commit. */
  #hasChanged = false;
  /** Rejects what is under way. */
  #endWaiting: ((failure: Failure) => void) | null = null;
  #packetBytesMax = Number.POSITIVE_INFINITY;

  private constructor(config: MysqlConfig, place: MysqlPlace, limits: MysqlLimits) {
    this.place = place;
    this.#where = nameOf(place);
    this.#limits = limits;
    this.#socket = dial(place);
    this.#connection = createConnection(connectionOptions(config, place, limits, this.#socket));
    this.#connection.on('error', (error) => this.discard(error));
    this.#connection.on('end', () => this.discard());
  }

  /** Connects, logs in and sets the session up. Throws when the server there cannot do the work (see mysql-session.ts). */
  static async open(config: MysqlConfig, place: MysqlPlace, limits: MysqlLimits): Promise<MysqlLink> {
    const link = MysqlLink.#begin(config, place, limits);
    try {
      await link.#connected();
      const isChoosy = config.hosts.length > 1;
      const session = await beginSession((sql) => link.#run(sql, [], limits.connectMs), link.#where, isChoosy);
      link.#packetBytesMax = session.packetBytesMax;
    } catch (error) {
      link.discard();
      throw error;
    }
    return link;
  }

  static #begin(config: MysqlConfig, place: MysqlPlace, limits: MysqlLimits): MysqlLink {
    try {
      return new MysqlLink(config, place, limits);
    } catch (error) {
      throw mysqlFailure(error, nameOf(place));
    }
  }

  /** Tells `owner` from now on, at once when the link has broken already. */
  belongTo(owner: LinkOwner): void {
    this.#owner = owner;
    if (this.#isBroken) owner.broken();
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** The largest statement that the server takes. */
  get packetBytesMax(): number {
    return this.#packetBytesMax;
  }

  /** Cuts the connection; the server rolls back what was open. `error` is why, where there is a reason. */
  discard(error?: unknown): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#connection.destroy();
    this.#socket.destroy();
    // mysql2 forgets the callback of what was under way when it hears of the end first; when it does not, the callback
    // knows better what went wrong, and comes now.
    setImmediate(() => this.#endWaiting?.(error === undefined ? this.#broken() : mysqlFailure(error, this.#where)));
    this.#owner?.broken();
  }

  #broken(): Failure {
    return new Failure('database_unavailable', `The connection to the database at ${this.#where} broke.`);
  }

  /** Says goodbye to the server. */
  async close(): Promise<void> {
    if (this.#isBroken) return;
    this.#isBroken = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, 1000);
    this.#connection.end(() => resolve());
    await promise;
    clearTimeout(timer);
    this.#socket.destroy();
  }

  async executeQuery<R>(compiled: CompiledQuery): Promise<QueryResult<R>> {
    const run = () => this.#run(compiled.sql, compiled.parameters);
    const result = this.#isInTransaction ? await run() : await tryAgain(run, isGivenUp);
    if (changesRows(result)) this.#hasChanged = true;
    if (!this.#isInTransaction) this.#committed();
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
    this.#committed();
  }

  async rollback(): Promise<void> {
    await this.executeQuery(CompiledQuery.raw('rollback'));
    this.#isInTransaction = false;
    this.#hasChanged = false;
  }

  #committed(): void {
    if (this.#hasChanged) this.#owner?.changed();
    this.#hasChanged = false;
  }

  /** Nothing here streams: what is long is read in pages. */
  // biome-ignore lint/correctness/useYield: the interface asks for a generator.
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Failure('unexpected', 'Streaming from the database is not supported.');
  }

  #connected(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#endWaiting = reject;
      this.#connection.connect((error) => {
        this.#endWaiting = null;
        if (error === null || error === undefined) resolve();
        else reject(mysqlFailure(error, this.#where));
      });
    });
  }

  /** Asks the server something; a link that gets no answer within `ms` is cut. False: take another one. */
  async answers(ms: number): Promise<boolean> {
    try {
      if (await isUpToDate((sql) => this.#run(sql, [], ms), this.#packetBytesMax)) return true;
      void this.close();
      this.#owner?.broken();
      return false;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.discard();
      return false;
    }
  }

  /** `ms` is for questions of the link itself: instead of the deadline of a statement. */
  #run(sql: string, values: readonly unknown[], ms: number | null = null): Promise<Answer> {
    const deadlineMs = ms ?? this.#deadlineMs(sql);
    const sinceMs = performance.now();
    return new Promise((resolve, reject) => {
      if (this.#isBroken) {
        reject(this.#broken());
        return;
      }
      const slow = setInterval(() => this.#owner?.slow(), this.#limits.slowMs);
      const deadline = setTimeout(() => {
        const message = `The database at ${this.#where} did not answer a statement within ${deadlineMs / 1000} s.`;
        stopWaiting();
        reject(new Failure('database_unavailable', message, { fields: { cause: 'deadline' } }));
        // How long a change of a table takes says nothing about the server.
        if (ms === null && !isTableChange(sql)) this.#owner?.late(sinceMs);
        this.discard();
      }, deadlineMs);
      const stopWaiting = () => {
        clearInterval(slow);
        clearTimeout(deadline);
        this.#endWaiting = null;
      };
      const watch = hasBytes(values) || readsPasswords(sql) ? watchSocket(this.#stream()) : null;
      this.#endWaiting = (failure) => {
        stopWaiting();
        watch?.[Symbol.dispose]();
        reject(failure);
      };
      const settle: Settle = (error, answer) => {
        stopWaiting();
        if (watch !== null && Array.isArray(answer)) takeBytes(answer);
        watch?.[Symbol.dispose]();
        if (error === null || error === undefined) resolve(answer as Answer);
        else reject(this.#failed(error));
      };
      this.#trySend(() => this.#send(sql, values, settle), settle);
    });
  }

  #deadlineMs(sql: string): number {
    return isTableChange(sql) ? this.#limits.changeMs : this.#limits.statementMs;
  }

  /** What mysql2 reads and writes: the socket, or TLS on it. */
  #stream(): Duplex {
    return Reflect.get(this.#connection, 'stream');
  }

  /** A large INSERT goes as a prepared statement too: escaping the texts of mails takes twice the time of sending them. */
  #send(sql: string, values: readonly unknown[], settle: Settle): void {
    const isSecret = hasBytes(values);
    if (!isSecret && !(sql.startsWith('insert into ') && textUnits(values) > textUnitsMax)) {
      this.#sendText(sql, values, settle);
      return;
    }
    checkSize(values, this.#packetBytesMax);
    const bound = isSecret ? values.map(asBuffer) : values;
    this.#connection.execute(sql, bound as never, (error: unknown, answer: unknown) => {
      // The server has a limit of prepared statements for all its clients together.
      const isFull = typeof error === 'object' && error !== null && 'errno' in error && error.errno === preparedTooMany;
      if (isFull && !isSecret) this.#trySend(() => this.#sendText(sql, values, settle), settle);
      else settle(error, answer);
    });
  }

  #sendText(sql: string, values: readonly unknown[], settle: Settle): void {
    const text = values.length === 0 ? sql : this.#connection.format(sql, values as unknown[]);
    checkSize([text], this.#packetBytesMax);
    this.#connection.query(text, settle);
  }

  #trySend(send: () => void, settle: Settle): void {
    try {
      send();
    } catch (error) {
      settle(error, undefined);
    }
  }

  /** A server that shuts down, or became read-only, will not serve this connection again: the next may be another one. */
  #failed(error: unknown): Failure {
    const failure = mysqlFailure(error, this.#where);
    if (failure.code === 'database_unavailable') this.discard();
    return failure;
  }
}

type Settle = (error: unknown, answer: unknown) => void;
