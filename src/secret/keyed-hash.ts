/**
 * Keyed hash: HMAC-SHA-256 (RFC 2104) under a key derived (HKDF, RFC 5869) from a key of the key file, one for each
 * purpose (`info`).
 */
import { createHmac, hkdfSync } from 'node:crypto';
import type { Key } from './key.ts';

/** 32 bytes over `content`. */
export function keyedHash(key: Key, info: string, content: string): Buffer {
  const derived = Buffer.from(hkdfSync('sha256', key.object, Buffer.alloc(0), info, 32));
  const hash = createHmac('sha256', derived).update(content).digest();
  derived.fill(0);
  return hash;
}
