/**
 * SQL dialect: the fragments in which MySQL and SQLite differ, and the statement sizes that suit each.
 *
 * `now` is the clock of the database: leases and due times of several workers are compared with one clock.
 */
import { type RawBuilder, sql } from 'kysely';

export type SqlDialect = {
  readonly kind: 'mysql' | 'sqlite';
  readonly now: RawBuilder<string>;
  /** A new value of `mailboxes.changed_at`. */
  readonly newVersion: RawBuilder<string>;
  /** The time `ms` milliseconds from now. */
  nowPlus(ms: number): RawBuilder<string>;
  /** Row counts of INSERT statements, largest first: few different statements, so that they stay prepared. */
  readonly insertSizes: readonly [number, ...number[]];
  /**
   * Row counts of an UPDATE by keys, largest first. With many more keys the server scans the whole table and waits for
   * the lock of every row in it.
   */
  readonly updateSizes: readonly [number, ...number[]];
  /** Limit for the values of an INSERT of several rows, in UTF-16 units of 3 bytes at most. */
  insertUnitsMax(): number;
  /** Up to this size an INSERT may have any number of rows: preparing it would gain nothing. */
  readonly smallInsertUnitsMax: number;
};

const insertUnitsMax = 2_000_000;

/** Up to this size escaping the texts of an INSERT is cheaper than more statements, and than preparing them. */
export const textProtocolUnitsMax = 8_192;

/** `packetBytesMax` returns `max_allowed_packet` of the server. */
export function mysqlDialect(packetBytesMax: () => number): SqlDialect {
  return {
    kind: 'mysql',
    now: sql<string>`utc_timestamp(3)`,
    newVersion: sql<string>`current_timestamp(6)`,
    nowPlus: (ms) => sql<string>`utc_timestamp(3) + interval ${Math.round(ms) * 1000} microsecond`,
    insertSizes: [100, 64, 32, 16, 8, 4, 2, 1],
    updateSizes: [32, 16, 8, 4, 2, 1],
    insertUnitsMax: () => Math.min(insertUnitsMax, Math.floor(packetBytesMax() / 8)),
    smallInsertUnitsMax: textProtocolUnitsMax,
  };
}

export function sqliteDialect(): SqlDialect {
  return {
    kind: 'sqlite',
    now: sql<string>`strftime('%Y-%m-%d %H:%M:%f', 'now')`,
    newVersion: sql<string>`strftime('%Y-%m-%d %H:%M:%f', 'now') || ' ' || hex(randomblob(4))`,
    nowPlus: (ms) => sql<string>`strftime('%Y-%m-%d %H:%M:%f', 'now', ${`${(ms / 1000).toFixed(3)} seconds`})`,
    // There is no round trip to save.
    insertSizes: [1],
    updateSizes: [1],
    insertUnitsMax: () => insertUnitsMax,
    smallInsertUnitsMax: 0,
  };
}
