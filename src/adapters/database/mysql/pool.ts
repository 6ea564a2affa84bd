/**
 * Connection pool for MySQL and MariaDB as a Kysely driver: opens connections on demand, up to a limit, with failover.
 *
 * Nothing connects before the first statement, so a program starts while the database is down and recovers
 * automatically. A wait for a free connection ends at the statement timeout: `database_unavailable`. mysql2's own pool
 * lost: it neither fails over between hosts nor retires the other connections to a server where one broke. A server
 * that leaves a statement unanswered is probed with a new login; when that fails, all its connections are cut.
 */
import {
  type DatabaseConnection,
  type Dialect,
  type Driver,
  MysqlAdapter,
  MysqlIntrospector,
  MysqlQueryCompiler,
} from 'kysely';
import type { DatabaseLogin } from '../../../config/config.ts';
import { Failure, hasNoConnection, isFailure } from '../../../errors.ts';
import type { PoolCheck } from '../../../ingest/readiness.ts';
import { channelTo } from './channel.ts';
import { MysqlConnection } from './connection.ts';
import { allHostsFailed, MysqlFailover } from './failover.ts';
import { type MysqlConfig, type MysqlLimits, type MysqlServer, serverName, serversOf } from './options.ts';

/** An idle connection. */
type Free = { readonly connection: MysqlConnection; readonly sinceMs: number };

type Waiter = {
  readonly serve: (connection: MysqlConnection) => void;
  readonly fail: (error: unknown) => void;
  /** Set at the timeout: a connection that becomes free later belongs to the next waiter. */
  hasTimedOut: boolean;
};

export class MysqlPool implements Driver {
  #config: MysqlConfig;
  readonly #limits: MysqlLimits;
  readonly #failover: MysqlFailover;
  readonly #connections = new Set<MysqlConnection>();
  /** The idle ones among `#connections`; the last one used is taken first. */
  readonly #free: Free[] = [];
  readonly #pingedAtMs = new WeakMap<MysqlConnection, number>();
  readonly #waiting: Waiter[] = [];
  /** Servers with a probe in progress (single-flight). */
  readonly #probed = new Set<MysqlServer>();
  /** Number of connections in the process of opening. */
  #opening = 0;
  #isClosed = false;
  #packetBytesMax = Number.POSITIVE_INFINITY;

  constructor(config: MysqlConfig, limits: MysqlLimits) {
    this.#config = config;
    this.#limits = limits;
    this.#failover = new MysqlFailover(serversOf(config));
  }

  /** The first server that nothing authenticates, and the reason; null: each is authenticated. */
  openChannel(): string | null {
    for (const server of this.#failover.servers) {
      const channel = channelTo(this.#config, server);
      if (channel.kind === 'open') return `nothing proves that ${serverName(server)} is the database: ${channel.why}`;
    }
    return null;
  }

  /** Applies to new connections. Open ones stay, unless they were opened to another proof of the server. */
  useLogin(login: DatabaseLogin): void {
    const { tls, caPem, fingerprint } = this.#config;
    this.#config = { ...this.#config, ...login };
    if (tls === login.tls && caPem === login.caPem && fingerprint === login.fingerprint) return;
    for (const server of this.#failover.servers) this.#retireAll(server);
  }

  stats(): PoolCheck {
    const open = this.#connections.size;
    const max = this.#config.connectionsMax;
    return { open, busy: open - this.#free.length, waiting: this.#waiting.length, max };
  }

  /** The smallest `max_allowed_packet` of the servers seen so far. */
  packetBytesMax(): number {
    return this.#packetBytesMax;
  }

  async init(): Promise<void> {
    // Connections open on demand.
  }

  async acquireConnection(): Promise<MysqlConnection> {
    void this.#failback();
    for (let free = this.#free.pop(); free !== undefined; free = this.#free.pop()) {
      if (this.#isFresh(free) || (await this.#ping(free.connection))) return free.connection;
    }
    if (this.#connections.size + this.#opening < this.#config.connectionsMax) return this.#open();
    return this.#wait();
  }

  async releaseConnection(used: DatabaseConnection): Promise<void> {
    const connection = used as MysqlConnection;
    if (connection.isBroken) return;
    if (this.#isClosed) return connection.close();
    if (connection.isRetired) return this.#retire(connection);
    const waiter = this.#waiting.shift();
    if (waiter === undefined) this.#free.push({ connection, sinceMs: performance.now() });
    else waiter.serve(connection);
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as MysqlConnection).begin();
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as MysqlConnection).commit();
  }

  /** Never throws: the caller reports what caused the rollback. Cutting the connection rolls back too. */
  async rollbackTransaction(used: DatabaseConnection): Promise<void> {
    const connection = used as MysqlConnection;
    if (connection.isBroken) return;
    try {
      await connection.rollback();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      connection.discard();
    }
  }

  /** Connections in use close when they are released. */
  async destroy(): Promise<void> {
    this.#isClosed = true;
    const closed = new Failure('database_unavailable', 'The database was closed by this program.');
    for (const waiter of this.#waiting.splice(0)) waiter.fail(closed);
    await Promise.all(this.#free.splice(0).map(({ connection }) => connection.close()));
  }

  #isFresh({ connection, sinceMs }: Free): boolean {
    const { pingAfterIdleMs, pingIntervalMs } = this.#limits;
    const nowMs = performance.now();
    const pingedAtMs = this.#pingedAtMs.get(connection) ?? 0;
    return nowMs - sinceMs < pingAfterIdleMs && nowMs - pingedAtMs < pingIntervalMs;
  }

  #ping(connection: MysqlConnection): Promise<boolean> {
    this.#pingedAtMs.set(connection, performance.now());
    return connection.isUsable(this.#limits.pingTimeoutMs);
  }

  async #open(): Promise<MysqlConnection> {
    this.#opening += 1;
    try {
      const connection = await this.#openOnAnyServer();
      this.#add(connection);
      return connection;
    } finally {
      this.#opening -= 1;
      // A connection that failed to open, or broke at once, leaves room for another one.
      this.#serveNext();
    }
  }

  #add(connection: MysqlConnection): void {
    const nowMs = performance.now();
    this.#connections.add(connection);
    this.#pingedAtMs.set(connection, nowMs);
    connection.isRetired = !this.#failover.connected(connection.server, connection.openedAtMs, nowMs);
    connection.setOwner({
      broken: () => this.#remove(connection),
      slow: () => void this.#probe(connection.server),
      timedOut: (sinceMs) => this.#failover.timedOut(connection.server, sinceMs, performance.now()),
      committed: () => this.#failover.committed(connection.server, performance.now()),
    });
    this.#packetBytesMax = Math.min(this.#packetBytesMax, connection.packetBytesMax);
  }

  /** Failback: once the first host works again, connections elsewhere are retired, those in use when released. */
  async #failback(): Promise<void> {
    const first = this.#failover.failbackCandidate(performance.now());
    if (first === null) return;
    try {
      await this.#adopt(await MysqlConnection.open(this.#config, first, this.#limits));
    } catch (error) {
      if (!isFailure(error)) throw error;
      return;
    }
    for (const { server } of this.#connections) if (server !== first) this.#retireAll(server);
  }

  /** Adds a connection without a waiter, if the limit permits. */
  async #adopt(connection: MysqlConnection): Promise<void> {
    this.#failover.connected(connection.server, connection.openedAtMs, performance.now());
    if (this.#isClosed || this.#connections.size + this.#opening >= this.#config.connectionsMax)
      return connection.close();
    this.#add(connection);
    await this.releaseConnection(connection);
  }

  /** Cuts all connections to a frozen server, so that their statements fail before the deadline. */
  async #probe(server: MysqlServer): Promise<void> {
    if (this.#probed.has(server)) return;
    this.#probed.add(server);
    try {
      const failure = await probeFailure(this.#config, server, this.#limits);
      if (failure === null) return;
      this.#failover.connectFailed(server, performance.now());
      for (const connection of this.#connections) if (connection.server === server) connection.discard(failure);
    } finally {
      this.#probed.delete(server);
    }
  }

  /**
   * A refused login (a wrong password) ends the search: the other hosts would refuse it too. A login that this side
   * refuses does not: another program may have taken the port of one host.
   */
  async #openOnAnyServer(): Promise<MysqlConnection> {
    const failures = new Map<MysqlServer, Failure>();
    for (const server of this.#failover.order(performance.now())) {
      try {
        return await MysqlConnection.open(this.#config, server, this.#limits);
      } catch (error) {
        if (!isFailure(error) || !hasNoConnection(error)) throw error;
        this.#failover.connectFailed(server, performance.now());
        failures.set(server, error);
      }
    }
    throw allHostsFailed(this.#failover.servers, failures);
  }

  #wait(): Promise<MysqlConnection> {
    const { promise, resolve, reject } = Promise.withResolvers<MysqlConnection>();
    const timer = setTimeout(() => {
      waiter.hasTimedOut = true;
      // A waiter with a connection in the process of opening has left the queue already.
      const at = this.#waiting.indexOf(waiter);
      if (at >= 0) this.#waiting.splice(at, 1);
      const servers = serversOf(this.#config).map(serverName).join(', ');
      const message = `No connection to the database at ${servers} became free in time.`;
      reject(new Failure('database_unavailable', message, { fields: { cause: 'pool_busy' } }));
    }, this.#limits.statementTimeoutMs);
    const waiter: Waiter = {
      serve: (connection) => {
        clearTimeout(timer);
        resolve(connection);
      },
      fail: (error) => {
        clearTimeout(timer);
        reject(error);
      },
      hasTimedOut: false,
    };
    this.#waiting.push(waiter);
    return promise;
  }

  /**
   * After one connection broke, the others to its server are not trusted: it may be dead, read-only or without
   * quorum.
   */
  #remove(connection: MysqlConnection): void {
    this.#connections.delete(connection);
    this.#retireAll(connection.server);
    this.#serveNext();
  }

  /** Closes the idle connections to `server` now, and those in use when they are released. */
  #retireAll(server: MysqlServer): void {
    for (const connection of this.#connections) connection.isRetired ||= connection.server === server;
    const usable = this.#free.filter(({ connection }) => !connection.isRetired && !connection.isBroken);
    const retired = this.#free.filter(({ connection }) => connection.isRetired);
    this.#free.splice(0, this.#free.length, ...usable);
    for (const { connection } of retired) this.#retire(connection);
  }

  #retire(connection: MysqlConnection): void {
    this.#connections.delete(connection);
    void connection.close();
    this.#serveNext();
  }

  #serveNext(): void {
    if (this.#connections.size + this.#opening >= this.#config.connectionsMax) return;
    const waiter = this.#waiting.shift();
    if (waiter !== undefined) this.#open().then((connection) => this.#handOver(connection, waiter), waiter.fail);
  }

  /** A connection whose waiter has timed out goes to the next waiter, or becomes idle. */
  #handOver(connection: MysqlConnection, waiter: Waiter): void {
    if (waiter.hasTimedOut) void this.releaseConnection(connection);
    else waiter.serve(connection);
  }
}

export function kyselyMysqlDialect(pool: MysqlPool): Dialect {
  return {
    createDriver: () => pool,
    createAdapter: () => new MysqlAdapter(),
    createIntrospector: (db) => new MysqlIntrospector(db),
    createQueryCompiler: () => new MysqlQueryCompiler(),
  };
}

/** Too many connections, in all or of one user: only a live server can answer that. */
const tooManyConnections: ReadonlySet<unknown> = new Set([1040, 1203, 1226]);

/**
 * Liveness probe by a new login: a frozen machine or process still accepts connections and stays silent, as a dead
 * network does, and a statement without an answer cannot distinguish that from hard work. null: the login completes
 * within the connect timeout. Else the failure for the statements that wait.
 */
async function probeFailure(config: MysqlConfig, server: MysqlServer, limits: MysqlLimits): Promise<Failure | null> {
  try {
    const connection = await MysqlConnection.open(config, server, limits);
    await connection.close();
    return null;
  } catch (error) {
    if (!isFailure(error)) throw error;
    if (error.code !== 'database_unavailable' || tooManyConnections.has(error.fields.errno)) return null;
    const cause = error.fields.cause ?? 'unknown';
    const message = `The database at ${serverName(server)} left a statement without an answer, and a new login failed (${cause}).`;
    return new Failure('database_unavailable', message, { fields: { cause: 'silent' } });
  }
}
