/**
 * Monotonic UUIDv7 (RFC 9562 section 6.2, method 1): ids sort in the order in which this process generates them.
 *
 * Plain UUIDv7 of one millisecond sort at random, which would shuffle the messages of a batch. After a step back of the
 * clock the last time is used until the clock has passed it.
 */
import { randomUUIDv7 } from 'node:crypto';

const counterMax = 0xfff;
const variantAndRandomAt = 19;

/** Ids of two generators never collide. */
export function createUuidV7Generator(nowMs: () => number): () => string {
  let atMs = 0;
  let counter = 0;
  return () => {
    const now = nowMs();
    if (now > atMs) {
      atMs = now;
      counter = 0;
    } else if (counter < counterMax) {
      counter += 1;
    } else {
      atMs += 1;
      counter = 0;
    }
    const time = atMs.toString(16).padStart(12, '0');
    const order = counter.toString(16).padStart(3, '0');
    return `${time.slice(0, 8)}-${time.slice(8)}-7${order}-${randomUUIDv7().slice(variantAndRandomAt)}`;
  };
}
