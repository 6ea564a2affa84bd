/**
 * Table digest: a keyed SHA-256 of each row, summed over all rows (a multiset hash), so that their order does not
 * matter.
 *
 * The key is random for each run and never shown: a plain hash of a row would let a password be guessed offline. Two
 * tables with the same digest under one key have the same rows.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { CopiedRow, CopiedTable } from './columns.ts';

export type TableDigest = { readonly rows: number; readonly sum: string };

export type RunningDigest = { add(row: CopiedRow): void; result(): TableDigest };

const keyBytes = 32;
/** Each part of a hash is summed modulo 2^64. */
const partBytes = [0, 8, 16, 24];

export function createDigests(): (table: CopiedTable) => RunningDigest {
  const key = randomBytes(keyBytes);
  return (table) => {
    const sums = partBytes.map(() => 0n);
    let rows = 0;
    return {
      add(row) {
        const hash = rowHash(key, table, row);
        for (const [part, at] of partBytes.entries())
          sums[part] = BigInt.asUintN(64, (sums[part] ?? 0n) + hash.readBigUInt64BE(at));
        rows += 1;
      },
      result: () => ({ rows, sum: sums.map((sum) => sum.toString(16)).join(' ') }),
    };
  };
}

export function isSameDigest(a: TableDigest, b: TableDigest): boolean {
  return a.rows === b.rows && a.sum === b.sum;
}

/** Texts and numbers as one JSON array, with the lengths of the bytes, which follow: no byte becomes a text. */
function rowHash(key: Uint8Array, table: CopiedTable, row: CopiedRow): Buffer {
  const bytes: Uint8Array[] = [];
  const values = table.columns.map(({ name }) => {
    const value = row[name];
    if (!(value instanceof Uint8Array)) return value;
    bytes.push(value);
    return { bytes: value.length };
  });
  const hash = createHash('sha256')
    .update(key)
    .update(JSON.stringify([table.name, ...values]));
  for (const one of bytes) hash.update(one);
  return hash.digest();
}
