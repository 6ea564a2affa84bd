/**
 * A process that holds given bytes on purpose, for the test of the search through its memory.
 *
 * Each line of standard input is JSON: `masked`, the bytes XOR 0x55, so that the line itself is no hit; and `as`, what
 * they become. For each it says `ready`. It makes no other copy of them, and ends with its standard input.
 */
import { createInterface } from 'node:readline';

export type Held = {
  readonly masked: readonly number[];
  /** A typed array of 64 KiB, or a text of V8 with one or with two bytes a letter. */
  readonly as: 'array' | 'latin1' | 'utf16le';
};

export const mask = 0x55;
const ownBufferBytes = 1 << 16;

function hold({ masked, as }: Held): unknown {
  const buffer = Buffer.allocUnsafeSlow(ownBufferBytes).fill(0);
  // At the end, so that what the allocator writes into a freed piece does not matter.
  const start = ownBufferBytes - masked.length;
  for (const [index, byte] of masked.entries()) buffer[start + index] = byte ^ mask;
  if (as === 'array') return buffer;
  const text = buffer.toString(as, start);
  buffer.fill(0);
  return text;
}

if (import.meta.main) {
  const kept: unknown[] = [];
  for await (const line of createInterface({ input: process.stdin })) {
    kept.push(hold(JSON.parse(line)));
    process.stdout.write('ready\n');
  }
  process.stdout.write(`${kept.length} held\n`);
}
