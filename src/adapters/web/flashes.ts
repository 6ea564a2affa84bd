/**
 * What a form led to, kept until the next page of that admin session shows it, once.
 *
 * In memory alone and bounded: the oldest goes first. The key is the hash of the token, so that no token lies about here.
 */
import { createHash } from 'node:crypto';
import type { Flash } from './pages/frame.ts';

export type Flashes = {
  put(token: string, flash: Flash): void;
  /** Null when there is none, or it is so old that nobody remembers what it was about. */
  take(token: string): Flash | null;
};

const flashesMax = 200;
const rememberedMs = 60_000;

/** `nowMs`: a clock that only goes on. */
export function createFlashes(nowMs: () => number): Flashes {
  const kept = new Map<string, { readonly flash: Flash; readonly atMs: number }>();
  return {
    put(token, flash) {
      const key = keyOf(token);
      kept.delete(key);
      kept.set(key, { flash, atMs: nowMs() });
      for (const oldest of kept.keys()) {
        if (kept.size <= flashesMax) break;
        kept.delete(oldest);
      }
    },
    take(token) {
      const key = keyOf(token);
      const found = kept.get(key);
      kept.delete(key);
      return found === undefined || nowMs() - found.atMs > rememberedMs ? null : found.flash;
    },
  };
}

function keyOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
