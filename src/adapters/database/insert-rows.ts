/**
 * Many rows into a table, in few statements of bounded size.
 *
 * The sizes are few, so that the statements stay prepared; a row that is larger than a statement may be goes alone.
 */
import type { InsertObject } from 'kysely';
import type { DialectWords } from './dialect-words.ts';
import type { Connected, Tables } from './tables.ts';

export async function insertRows<T extends keyof Tables & string>(
  db: Connected,
  words: DialectWords,
  table: T,
  rows: readonly InsertObject<Tables, T>[],
): Promise<void> {
  for (const chunk of chunks(rows, words)) await db.insertInto(table).values(chunk).execute();
}

/** Stretches of rows, each as long as one of the sizes and no larger than the dialect likes; a larger row goes alone. */
export function* chunks<R extends object>(rows: readonly R[], words: DialectWords): Iterable<readonly R[]> {
  const unitsMax = words.insertUnitsMax();
  for (let at = 0; at < rows.length; ) {
    const left = rows.length - at;
    const size = words.insertSizes.find((n) => n <= left && unitsOf(rows.slice(at, at + n)) <= unitsMax) ?? 1;
    yield rows.slice(at, at + size);
    at += size;
  }
}

function unitsOf(rows: readonly object[]): number {
  let units = 0;
  for (const row of rows) {
    for (const value of Object.values(row)) units += typeof value === 'string' ? value.length + 4 : 24;
  }
  return units;
}
