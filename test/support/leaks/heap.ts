/**
 * Search of the own heap for a secret: random secrets that are never strings, and the heap snapshot as bytes.
 */
import { randomInt } from 'node:crypto';
import { getHeapSnapshot } from 'node:v8';

const lengthBytes = 30;

/** Not in the buffer pool of Node, whose neighbours would be searched too. */
export function randomLetters(): Uint8Array {
  const letters = new Uint8Array(new ArrayBuffer(4096), 0, lengthBytes);
  for (let at = 0; at < lengthBytes; at += 1) letters[at] = 97 + randomInt(26);
  return letters;
}

/** The snapshot holds every string of the heap as text. */
export async function heapSnapshot(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of getHeapSnapshot()) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
