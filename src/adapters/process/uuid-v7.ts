/**
 * Ids that sort in the order in which this process made them: UUIDv7 with a counter (RFC 9562 section 6.2, method 1).
 *
 * The plain UUIDv7 of one millisecond sort by chance; mails of one batch would be shown in any order. A clock that is
 * set back does not disturb the order: the last time is used until the clock has passed it.
 */
import { randomUUIDv7 } from 'node:crypto';

const counterMax = 0xfff;
const variantAndRandomAt = 19;

/** A maker of ids; two makers never make the same one. */
export function createIds(nowMs: () => number): () => string {
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
