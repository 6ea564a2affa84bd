/**
 * What can be known of a statement before it is sent (its size, bytes among its values, whether it changes a table), and of
 * its answer afterwards.
 */
import { Failure } from '../../errors.ts';
import { type Answer, isRows } from './mysql-session.ts';

/** What the server counts beside the values of a statement: its command, its attributes, each value's type and length. */
const packetOverheadBytes = 1024;
const valueOverheadBytes = 16;
const bytesPerUnitMax = 3;

/** Throws `row_refused` for what is larger than the server takes: it would hang up on it. */
export function checkSize(values: readonly unknown[], packetBytesMax: number): void {
  const bytesMax = packetBytesMax - packetOverheadBytes;
  const texts = textsIn(values);
  const overheadBytes = values.length * valueOverheadBytes;
  if (total(texts, lengthOf) * bytesPerUnitMax + overheadBytes <= bytesMax) return;
  const bytes = total(texts, (text) => Buffer.byteLength(text)) + overheadBytes;
  if (bytes <= bytesMax) return;
  const message = `A statement of ${bytes} bytes is larger than the server takes (max_allowed_packet ${packetBytesMax}).`;
  throw new Failure('row_refused', message, { fields: { cause: 'ER_NET_PACKET_TOO_LARGE', errno: 1153, bytes } });
}

/** How long the texts among them are, in units of UTF-16. */
export function textUnits(values: readonly unknown[]): number {
  return total(textsIn(values), lengthOf);
}

function total(texts: readonly string[], size: (text: string) => number): number {
  let sum = 0;
  for (const text of texts) sum += size(text);
  return sum;
}

function textsIn(values: readonly unknown[]): readonly string[] {
  return values.filter((value) => typeof value === 'string');
}

function lengthOf(text: string): number {
  return text.length;
}

export function hasBytes(values: readonly unknown[]): boolean {
  return values.some((value) => typeof value === 'object' && value instanceof Uint8Array);
}

export function isTableChange(sql: string): boolean {
  return /^\s*(create|alter|drop)\b/i.test(sql);
}

/** False also for an UPDATE whose rows had those values already: nothing is written for it. */
export function changesRows(answer: Answer): boolean {
  if (isRows(answer)) return false;
  return (answer.info.startsWith('Rows matched') ? answer.changedRows : answer.affectedRows) > 0;
}

/** The same bytes, not copied, in the one class that mysql2 sends as they are. */
export function asBuffer(value: unknown): unknown {
  if (!(value instanceof Uint8Array)) return value;
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
