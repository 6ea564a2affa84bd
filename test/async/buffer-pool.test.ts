/**
 * Memory that is used again: never for two at a time, whoever gives it back and how often.
 */
import { expect, test } from 'vitest';
import { giveBack, inSlab, takeSlab } from '../../src/async/buffer-pool.ts';

test('memory that was given back is used again, for a source of about its size', () => {
  const first = takeSlab(5_000);
  expect(first.buffer).toBeInstanceOf(SharedArrayBuffer);
  giveBack(first);
  const second = takeSlab(5_800);
  expect(second.buffer).toBe(first.buffer);
  expect(second.length).toBe(5_800);
  expect(takeSlab(5_800).buffer).not.toBe(second.buffer);
});

test.each([1, 4_096, 4_097, 6_144, 6_145, 52_000, 1_048_576, 1_048_577, 3_000_000])(
  'a source of %i bytes gets just that, and at most a third of its memory is unused',
  (length) => {
    const bytes = takeSlab(length);
    expect(bytes.length).toBe(length);
    expect(bytes.buffer.byteLength).toBeLessThanOrEqual(Math.max(4_096, Math.ceil(length * 1.5)));
    bytes.fill(7);
    giveBack(bytes);
  },
);

test('who gives back what is not his any more takes nothing from its new owner', () => {
  const first = takeSlab(9_000);
  giveBack(first);
  const second = takeSlab(9_000);
  expect(second.buffer).toBe(first.buffer);
  giveBack(first);
  giveBack(new Uint8Array(second.buffer, 0, 9_000));
  expect(takeSlab(9_000).buffer).not.toBe(second.buffer);
});

test('bytes from elsewhere are copied in once, those from here stay where they are', () => {
  const elsewhere = new Uint8Array([1, 2, 3]);
  const here = inSlab(elsewhere);
  expect([...here]).toEqual([1, 2, 3]);
  expect(here.buffer).not.toBe(elsewhere.buffer);
  expect(inSlab(here)).toBe(here);
});

test('memory of its own is freed, a view of what belongs to others is left alone', () => {
  const large = takeSlab(2_000_000);
  giveBack(large);
  expect(large.length).toBe(0);
  const own = new Uint8Array(10);
  giveBack(own);
  expect(own.length).toBe(0);
  const shared = new Uint8Array(100);
  const view = shared.subarray(10, 20);
  giveBack(view);
  expect(view.length).toBe(10);
});

test('only so much waits to be used again', () => {
  const slabs = Array.from({ length: 40 }, () => takeSlab(1_048_576));
  const buffers = new Set(slabs.map(({ buffer }) => buffer));
  for (const slab of slabs) giveBack(slab);
  const again = Array.from({ length: 40 }, () => takeSlab(1_048_576)).filter(({ buffer }) => buffers.has(buffer));
  expect(again.length).toBeGreaterThan(3);
  expect(again.length).toBeLessThanOrEqual(6);
});
