/**
 * The few words in which the two dialects differ, as SQL fragments, and how large an INSERT each of them likes.
 *
 * The clock is the database's own: leases and due times of several workers are compared with one clock.
 */
import { type RawBuilder, sql } from 'kysely';

export type DialectWords = {
  readonly kind: 'mysql' | 'sqlite';
  readonly now: RawBuilder<string>;
  /** The time that many milliseconds from now. */
  nowPlus(ms: number): RawBuilder<string>;
  /** How many rows an INSERT may have, largest first: few different statements, so that they stay prepared. */
  readonly insertSizes: readonly [number, ...number[]];
  /**
   * How many rows a change of rows by their keys may have, largest first. With many more keys a server reads the whole table,
   * and waits for everybody who holds a row of it.
   */
  readonly changeSizes: readonly [number, ...number[]];
  /** Size of the values of an INSERT with several rows, in UTF-16 units, which take 3 bytes at most. */
  insertUnitsMax(): number;
  /** Up to that size an INSERT may have any number of rows: there is nothing to gain from a prepared one. */
  readonly smallInsertUnitsMax: number;
};

const insertUnitsMax = 2_000_000;

/** Up to that size escaping the texts of an INSERT is cheaper than more statements, and than preparing them. */
export const textUnitsMax = 8_192;

/** `packetBytesMax` tells the largest statement that the server takes. */
export function mysqlWords(packetBytesMax: () => number): DialectWords {
  return {
    kind: 'mysql',
    now: sql<string>`utc_timestamp(3)`,
    nowPlus: (ms) => sql<string>`utc_timestamp(3) + interval ${Math.round(ms) * 1000} microsecond`,
    insertSizes: [100, 64, 32, 16, 8, 4, 2, 1],
    changeSizes: [32, 16, 8, 4, 2, 1],
    insertUnitsMax: () => Math.min(insertUnitsMax, Math.floor(packetBytesMax() / 8)),
    smallInsertUnitsMax: textUnitsMax,
  };
}

export function sqliteWords(): DialectWords {
  return {
    kind: 'sqlite',
    now: sql<string>`strftime('%Y-%m-%d %H:%M:%f', 'now')`,
    nowPlus: (ms) => sql<string>`strftime('%Y-%m-%d %H:%M:%f', 'now', ${`${(ms / 1000).toFixed(3)} seconds`})`,
    // There is no round trip to save.
    insertSizes: [1],
    changeSizes: [1],
    insertUnitsMax: () => insertUnitsMax,
    smallInsertUnitsMax: 0,
  };
}
