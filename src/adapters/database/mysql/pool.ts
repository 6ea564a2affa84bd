/**
 * The connections to MySQL, as Kysely's driver: made when they are needed, up to a limit, kept when they are free.
 *
 * Nothing connects before the first statement, so a program starts while the database is down, and goes on by itself
 * when it is back. Who waits for a free connection waits no longer than a statement may take: `database_unavailable`.
 * With several hosts a connection goes to the first that can do the work (mysql-hosts.ts). Where one connection broke,
 * the others are used no more, so that none stays behind on a server that is dead, read-only or without quorum. A server
 * that is silent for long is asked on a connection of its own; when that fails, all connections to it are cut. One that
 * logs us in and ends no change is left at the deadline of a statement, when another one can do the work.
 */
import {
  type DatabaseConnection,
  type Dialect,
  type Driver,
  MysqlAdapter,
  MysqlIntrospector,
  MysqlQueryCompiler,
} from 'kysely';
import { Failure, isFailure } from '../../../errors.ts';
import type { PoolCheck } from '../../../ingest/readiness.ts';
import type { SecretBytes } from '../../../secret/secret-bytes.ts';
import { MysqlLink } from './connection.ts';
import { MysqlHosts, noHostWorks, standsStill } from './hosts.ts';
import { type MysqlConfig, type MysqlLimits, type MysqlPlace, nameOf, placesOf } from './options.ts';

/** A connection that nobody uses, and since when. */
type Free = { readonly link: MysqlLink; readonly sinceMs: number };

type Waiter = {
  readonly serve: (link: MysqlLink) => void;
  readonly fail: (error: unknown) => void;
  /** Set when its time is over: a link that comes now would have no owner. */
  isOver: boolean;
};

export class MysqlPool implements Driver {
  #config: MysqlConfig;
  readonly #limits: MysqlLimits;
  readonly #hosts: MysqlHosts;
  readonly #links = new Set<MysqlLink>();
  /** Those of them that nobody uses. */
  readonly #free: Free[] = [];
  /** When each of them was asked last whether it still works. */
  readonly #askedAtMs = new WeakMap<MysqlLink, number>();
  readonly #waiting: Waiter[] = [];
  /** Those that are silent, and are being asked whether they live. */
  readonly #questioned = new Set<MysqlPlace>();
  /** Connections that are being opened. */
  #opening = 0;
  #isClosed = false;
  #packetBytesMax = Number.POSITIVE_INFINITY;

  constructor(config: MysqlConfig, limits: MysqlLimits) {
    this.#config = config;
    this.#limits = limits;
    this.#hosts = new MysqlHosts(placesOf(config));
  }

  /** From the next connection on; those that are open stay. */
  usePassword(password: SecretBytes): void {
    this.#config = { ...this.#config, password };
  }

  stats(): PoolCheck {
    const open = this.#links.size;
    const max = this.#config.connectionsMax;
    return { open, busy: open - this.#free.length, waiting: this.#waiting.length, max };
  }

  /** The largest statement that the servers seen so far take. */
  packetBytesMax(): number {
    return this.#packetBytesMax;
  }

  async init(): Promise<void> {
    // Connections are made when they are needed.
  }

  async acquireConnection(): Promise<MysqlLink> {
    void this.#goBack();
    for (let free = this.#free.pop(); free !== undefined; free = this.#free.pop()) {
      if (this.#isFresh(free) || (await this.#answers(free.link))) return free.link;
    }
    if (this.#links.size + this.#opening < this.#config.connectionsMax) return this.#open();
    return this.#wait();
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    const link = connection as MysqlLink;
    if (link.isBroken) return;
    if (this.#isClosed) return link.close();
    if (link.isRetired) return this.#retire(link);
    const waiter = this.#waiting.shift();
    if (waiter === undefined) this.#free.push({ link, sinceMs: performance.now() });
    else waiter.serve(link);
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as MysqlLink).begin();
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as MysqlLink).commit();
  }

  /** Never throws: what caused the rollback is the news. A link that cannot roll back is cut, which does the same. */
  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    const link = connection as MysqlLink;
    if (link.isBroken) return;
    try {
      await link.rollback();
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
    await Promise.all(this.#free.splice(0).map(({ link }) => link.close()));
  }

  #isFresh({ link, sinceMs }: Free): boolean {
    const { idleMs, askMs } = this.#limits;
    const nowMs = performance.now();
    return nowMs - sinceMs < idleMs && nowMs - (this.#askedAtMs.get(link) ?? 0) < askMs;
  }

  #answers(link: MysqlLink): Promise<boolean> {
    this.#askedAtMs.set(link, performance.now());
    return link.answers(this.#limits.answerMs);
  }

  async #open(): Promise<MysqlLink> {
    this.#opening += 1;
    try {
      const link = await this.#openSomewhere();
      this.#take(link);
      return link;
    } finally {
      this.#opening -= 1;
      // There is room for another one when it failed, or broke as soon as it was open.
      this.#serveNext();
    }
  }

  #take(link: MysqlLink): void {
    const nowMs = performance.now();
    this.#links.add(link);
    this.#askedAtMs.set(link, nowMs);
    link.isRetired = !this.#hosts.worked(link.place, link.beganAtMs, nowMs);
    link.belongTo({
      broken: () => this.#forget(link),
      slow: () => void this.#question(link.place),
      late: (sinceMs) => this.#hosts.late(link.place, sinceMs, performance.now()),
      changed: () => this.#hosts.changed(link.place, performance.now()),
    });
    this.#packetBytesMax = Math.min(this.#packetBytesMax, link.packetBytesMax);
  }

  /** Once the first host works again, everything goes back there; what is in use elsewhere follows as it comes back. */
  async #goBack(): Promise<void> {
    const first = this.#hosts.wayBack(performance.now());
    if (first === null) return;
    try {
      await this.#welcome(await MysqlLink.open(this.#config, first, this.#limits));
    } catch (error) {
      if (!isFailure(error)) throw error;
      return;
    }
    for (const { place } of this.#links) if (place !== first) this.#distrust(place);
  }

  /** A link that nobody waited for is one of ours if there is room for it. */
  async #welcome(link: MysqlLink): Promise<void> {
    this.#hosts.worked(link.place, link.beganAtMs, performance.now());
    if (this.#isClosed || this.#links.size + this.#opening >= this.#config.connectionsMax) return link.close();
    this.#take(link);
    await this.releaseConnection(link);
  }

  /** When a server stands still, nobody waits for it until his deadline. */
  async #question(place: MysqlPlace): Promise<void> {
    if (this.#questioned.has(place)) return;
    this.#questioned.add(place);
    try {
      const silence = await standsStill(this.#config, place, this.#limits);
      if (silence === null) return;
      this.#hosts.failed(place, performance.now());
      for (const link of this.#links) if (link.place === place) link.discard(silence);
    } finally {
      this.#questioned.delete(place);
    }
  }

  /** A host that refuses us (a wrong password) ends it: the others would do the same. */
  async #openSomewhere(): Promise<MysqlLink> {
    const failures = new Map<MysqlPlace, Failure>();
    for (const place of this.#hosts.order(performance.now())) {
      try {
        return await MysqlLink.open(this.#config, place, this.#limits);
      } catch (error) {
        if (!isFailure(error, 'database_unavailable')) throw error;
        this.#hosts.failed(place, performance.now());
        failures.set(place, error);
      }
    }
    throw noHostWorks(this.#hosts.places, failures);
  }

  #wait(): Promise<MysqlLink> {
    const { promise, resolve, reject } = Promise.withResolvers<MysqlLink>();
    const timer = setTimeout(() => {
      waiter.isOver = true;
      // It waits no longer in the row when a connection is being opened for it.
      const at = this.#waiting.indexOf(waiter);
      if (at >= 0) this.#waiting.splice(at, 1);
      const message = `No connection to the database at ${placesOf(this.#config).map(nameOf).join(', ')} became free in time.`;
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
      isOver: false,
    };
    this.#waiting.push(waiter);
    return promise;
  }

  /** A broken link leaves its place to who waits. */
  #forget(link: MysqlLink): void {
    this.#links.delete(link);
    this.#distrust(link.place);
    this.#serveNext();
  }

  /** Closes the free connections to `place`; those in use follow as they come back. */
  #distrust(place: MysqlPlace): void {
    for (const link of this.#links) link.isRetired ||= link.place === place;
    const kept = this.#free.filter(({ link }) => !link.isRetired && !link.isBroken);
    const gone = this.#free.filter(({ link }) => link.isRetired);
    this.#free.splice(0, this.#free.length, ...kept);
    for (const { link } of gone) this.#retire(link);
  }

  #retire(link: MysqlLink): void {
    this.#links.delete(link);
    void link.close();
    this.#serveNext();
  }

  #serveNext(): void {
    if (this.#links.size + this.#opening >= this.#config.connectionsMax) return;
    const waiter = this.#waiting.shift();
    if (waiter !== undefined) this.#open().then((link) => this.#hand(link, waiter), waiter.fail);
  }

  /** A link that was opened for somebody whose time is over meanwhile is for the next, or rests. */
  #hand(link: MysqlLink, waiter: Waiter): void {
    if (waiter.isOver) void this.releaseConnection(link);
    else waiter.serve(link);
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
