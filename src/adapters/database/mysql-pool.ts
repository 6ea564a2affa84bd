/**
 * The connections to MySQL, as Kysely's driver: made when they are needed, up to a limit, kept when they are free.
 *
 * Nothing connects before the first statement, so a program starts while the database is down, and goes on by itself
 * when it is back. Who waits for a free connection waits no longer than a statement may take: `database_unavailable`.
 */
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  MysqlAdapter,
  MysqlIntrospector,
  MysqlQueryCompiler,
} from 'kysely';
import { Failure } from '../../errors.ts';
import { MysqlLink } from './mysql-link.ts';
import { type MysqlConfig, type MysqlLimits, placeOf } from './mysql-options.ts';

type Waiter = { readonly serve: (link: MysqlLink) => void; readonly fail: (error: unknown) => void };

export class MysqlPool implements Driver {
  readonly #config: MysqlConfig;
  readonly #limits: MysqlLimits;
  readonly #free: MysqlLink[] = [];
  readonly #waiting: Waiter[] = [];
  /** Connections that are open or being opened. */
  #count = 0;
  #isClosed = false;
  #packetBytesMax = Number.POSITIVE_INFINITY;

  constructor(config: MysqlConfig, limits: MysqlLimits) {
    this.#config = config;
    this.#limits = limits;
  }

  /** The largest statement that the servers seen so far take. */
  packetBytesMax(): number {
    return this.#packetBytesMax;
  }

  async init(): Promise<void> {
    // Connections are made when they are needed.
  }

  async acquireConnection(): Promise<MysqlLink> {
    const link = this.#free.pop();
    if (link !== undefined) return link;
    if (this.#count < this.#config.connectionsMax) return this.#open();
    return this.#wait();
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    const link = connection as MysqlLink;
    if (link.isBroken) return;
    if (this.#isClosed) return link.close();
    const waiter = this.#waiting.shift();
    if (waiter === undefined) this.#free.push(link);
    else waiter.serve(link);
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin'));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'));
  }

  /** Never throws: what caused the rollback is the news. A link that cannot roll back is cut, which does the same. */
  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    const link = connection as MysqlLink;
    if (link.isBroken) return;
    try {
      await link.executeQuery(CompiledQuery.raw('rollback'));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      link.discard();
    }
  }

  /** Links in use are closed as they come back. */
  async destroy(): Promise<void> {
    this.#isClosed = true;
    const closed = new Failure('database_unavailable', 'The database was closed by this program.');
    for (const waiter of this.#waiting.splice(0)) waiter.fail(closed);
    await Promise.all(this.#free.splice(0).map((link) => link.close()));
  }

  /** A link that fails, now or later, tells `#forget`. */
  async #open(): Promise<MysqlLink> {
    this.#count += 1;
    const link = await MysqlLink.open(this.#config, this.#limits, () => this.#forget());
    this.#packetBytesMax = Math.min(this.#packetBytesMax, link.packetBytesMax);
    return link;
  }

  #wait(): Promise<MysqlLink> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        const message = `No connection to the database at ${placeOf(this.#config)} became free in time.`;
        reject(new Failure('database_unavailable', message, { fields: { cause: 'pool_busy' } }));
      }, this.#limits.statementMs);
      const waiter: Waiter = {
        serve: (link) => {
          clearTimeout(timer);
          resolve(link);
        },
        fail: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.#waiting.push(waiter);
    });
  }

  /** A broken link leaves its place to who waits. */
  #forget(): void {
    this.#count -= 1;
    const broken = this.#free.findIndex((link) => link.isBroken);
    if (broken >= 0) this.#free.splice(broken, 1);
    const waiter = this.#waiting.shift();
    if (waiter !== undefined) this.#open().then(waiter.serve, waiter.fail);
  }
}

export function mysqlDialect(pool: MysqlPool): Dialect {
  return {
    createDriver: () => pool,
    createAdapter: () => new MysqlAdapter(),
    createIntrospector: (db) => new MysqlIntrospector(db),
    createQueryCompiler: () => new MysqlQueryCompiler(),
  };
}
