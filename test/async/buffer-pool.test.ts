/** Buffer pool: memory is reused, and never has two owners, however often it is released. */
import { expect, test } from 'vitest';
import { acquire, copyIn, release, transferOwnership } from '../../src/async/buffer-pool.ts';

test('released memory is reused for a source of about its size', () => {
  const first = acquire(5_000);
  expect(first.buffer).toBeInstanceOf(SharedArrayBuffer);
  release(first);
  const second = acquire(5_800);
  expect(second.buffer).toBe(first.buffer);
  expect(second.length).toBe(5_800);
  expect(acquire(5_800).buffer).not.toBe(second.buffer);
});

test.each([1, 4_096, 4_097, 6_144, 6_145, 52_000, 1_048_576, 1_048_577, 3_000_000])(
  'a source of %i bytes gets exactly that, and at most a third of its memory is unused',
  (length) => {
    const bytes = acquire(length);
    expect(bytes.length).toBe(length);
    expect(bytes.buffer.byteLength).toBeLessThanOrEqual(Math.max(4_096, Math.ceil(length * 1.5)));
    bytes.fill(7);
    release(bytes);
  },
);

test('a second release takes nothing from the new owner', () => {
  const first = acquire(9_000);
  release(first);
  const second = acquire(9_000);
  expect(second.buffer).toBe(first.buffer);
  release(first);
  release(new Uint8Array(second.buffer, 0, 9_000));
  expect(acquire(9_000).buffer).not.toBe(second.buffer);
});

test('foreign bytes are copied in once, acquired ones stay where they are', () => {
  const elsewhere = new Uint8Array([1, 2, 3]);
  const here = copyIn(elsewhere);
  expect([...here]).toEqual([1, 2, 3]);
  expect(here.buffer).not.toBe(elsewhere.buffer);
  expect(copyIn(here)).toBe(here);
});

test('memory outside the pool is freed, a view of a larger buffer is not', () => {
  const large = acquire(2_000_000);
  release(large);
  expect(large.length).toBe(0);
  const own = new Uint8Array(10);
  release(own);
  expect(own.length).toBe(0);
  const shared = new Uint8Array(100);
  const view = shared.subarray(10, 20);
  release(view);
  expect(view.length).toBe(10);
});

test('the memory that waits for reuse is limited', () => {
  const all = Array.from({ length: 40 }, () => acquire(1_048_576));
  const buffers = new Set(all.map(({ buffer }) => buffer));
  for (const one of all) release(one);
  const again = Array.from({ length: 40 }, () => acquire(1_048_576)).filter(({ buffer }) => buffers.has(buffer));
  expect(again.length).toBeGreaterThan(3);
  expect(again.length).toBeLessThanOrEqual(6);
});

test('ownership is transferred: the source is detached, and a second transfer fails', () => {
  const own = new Uint8Array([1, 2, 3]);
  expect([...transferOwnership(own)]).toEqual([1, 2, 3]);
  expect(own.length).toBe(0);
  expect(() => transferOwnership(own)).toThrow('detached bytes are used again');
  const shared = new Uint8Array(100).fill(7);
  expect([...transferOwnership(shared.subarray(10, 12))]).toEqual([7, 7]);
  expect(shared.length).toBe(100);
});
