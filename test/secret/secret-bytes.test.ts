import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';

const text = (secret: SecretBytes): string => secret.use((bytes) => new TextDecoder().decode(bytes));

test('secret bytes are a copy, and their source is wiped', () => {
  const source = Buffer.from('correct horse');
  using secret = SecretBytes.take(source);
  expect(source.every((byte) => byte === 0)).toBe(true);
  expect(text(secret)).toBe('correct horse');
  expect(secret.length).toBe(13);
});

test.each([0, 1, 64, 4095, 4096, 4097, 10_000])(
  '%d secret bytes are in memory of their own that does not move',
  (size) => {
    using secret = SecretBytes.take(new Uint8Array(size).fill(7));
    secret.use((bytes) => {
      expect(bytes.length).toBe(size);
      expect(bytes.byteOffset).toBe(0);
      expect(bytes.buffer.byteLength).toBe(Math.max(4096, size));
      expect(bytes.every((byte) => byte === 7)).toBe(true);
    });
  },
);

test('every printed form of secret bytes is a fixed word', () => {
  using secret = SecretBytes.take(Buffer.from('correct horse'));
  expect([inspect(secret), JSON.stringify(secret), `${secret}`]).toEqual(['[secret]', '"[secret]"', '[secret]']);
  const hidden = inspect({ deep: { secret } }, { depth: null, showHidden: true, getters: true });
  expect(hidden).toContain('[secret]');
  expect(hidden).not.toMatch(/correct|99, 111|63 6f/);
  expect(Object.keys(secret)).toEqual([]);
});

test('wiped bytes are zeros, and cannot be used again', () => {
  const secret = SecretBytes.take(Buffer.from('correct horse'));
  const lent = secret.use((bytes) => bytes);
  secret.wipe();
  expect(lent.every((byte) => byte === 0)).toBe(true);
  expect(secret.length).toBe(0);
  expect(() => secret.use(() => 1)).toThrow('after wipe');
  expect(() => secret.wipe()).not.toThrow();
  expect(`${secret}`).toBe('[secret]');
});

test('secret bytes are wiped at the end of their block', () => {
  let lent: Uint8Array | null = null;
  {
    using secret = SecretBytes.take(Buffer.from('correct horse'));
    lent = secret.use((bytes) => bytes);
  }
  expect(lent.every((byte) => byte === 0)).toBe(true);
});

test('two are equal when all bytes are', () => {
  const of = (text: string) => SecretBytes.take(Buffer.from(text));
  expect(['same', 'Same', 'sam', 'samee', ''].map((text) => of('same').equals(of(text)))).toEqual([
    ...[true, false, false, false, false],
  ]);
});
