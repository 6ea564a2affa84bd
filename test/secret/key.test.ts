import { randomFillSync } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  checkKeyFileSize,
  generateKey,
  importKey,
  keyById,
  keyIds,
  parseKeySet,
  serializeKeySet,
} from '../../src/secret/key.ts';

/** 32 bytes that count up from `first`. */
const counting = (first: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, at) => (first + at) % 256);

const fileOf = (...firsts: readonly number[]): Uint8Array => Buffer.concat(firsts.map(counting));
const isWiped = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);
const firstsOf = fc.uniqueArray(fc.nat(255), { minLength: 1, maxLength: 8 });

describe('the key id', () => {
  test.each([
    [counting(1), 'fb6a0aaf3a945d8c'],
    [counting(1).toReversed(), 'ac9931553bb0a48d'],
    [new Uint8Array(32), '15cfd96d00db9ed8'],
  ])('is for ever the same for the same key (%#)', (bytes, id) => {
    expect(importKey(bytes).id).toBe(id);
  });

  test('differs when one bit of the key does', () => {
    const ids = new Set(
      Array.from({ length: 256 }, (_, bit) => {
        const bytes = counting(1);
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        return importKey(bytes).id;
      }),
    );
    expect(ids.size).toBe(256);
    expect(ids.has('fb6a0aaf3a945d8c')).toBe(false);
  });
});

describe('a key', () => {
  test('has exactly 32 bytes, and what was given is wiped either way', () => {
    for (const length of [0, 1, 16, 31, 33, 64]) {
      const bytes = randomFillSync(new Uint8Array(length));
      expect(() => importKey(bytes)).toThrow('32 bytes');
      expect(isWiped(bytes)).toBe(true);
    }
    const bytes = counting(1);
    importKey(bytes);
    expect(isWiped(bytes)).toBe(true);
  });

  test('that is new consists of the random bytes, in memory that does not move, and wiped', () => {
    const given: Uint8Array[] = [];
    const key = generateKey((bytes) => {
      given.push(bytes);
      bytes.set(counting(1));
      return bytes;
    });
    expect(key.id).toBe('fb6a0aaf3a945d8c');
    expect(given.map((bytes) => [bytes.length, bytes.buffer.byteLength])).toEqual([[32, 4096]]);
    expect(given.every(isWiped)).toBe(true);
  });

  test('that is new differs from the one before', () => {
    const random = (bytes: Uint8Array): Uint8Array => randomFillSync(bytes);
    expect(generateKey(random).id).not.toBe(generateKey(random).id);
  });

  test('prints its id and nothing of itself', () => {
    const key = importKey(counting(65));
    const printed = [
      inspect(key, { depth: null, showHidden: true, getters: true }),
      JSON.stringify(key),
      JSON.stringify(key.object),
      `${key.object}`,
      JSON.stringify(Object.entries(key.object)),
    ].join('\n');
    const bytes = Buffer.from(counting(65));
    const forms = [
      bytes.toString('latin1'),
      bytes.toString('hex'),
      bytes.toString('base64'),
      '65, 66',
      '65,66',
      '41 42',
    ];
    expect(printed).toContain(key.id);
    expect(forms.filter((form) => printed.includes(form))).toEqual([]);
  });
});

describe('a key file', () => {
  test('of 1 to 8 keys holds them in their order, and its content is wiped', () => {
    fc.assert(
      fc.property(firstsOf, (firsts) => {
        const content = fileOf(...firsts);
        expect(keyIds(parseKeySet(content))).toEqual(firsts.map((first) => importKey(counting(first)).id));
        expect(isWiped(content)).toBe(true);
      }),
    );
  });

  test('is made from the keys that it holds, byte for byte', () => {
    fc.assert(
      fc.property(firstsOf, (firsts) => {
        using content = serializeKeySet(parseKeySet(fileOf(...firsts)));
        expect(content.use((bytes) => Buffer.from(bytes))).toEqual(fileOf(...firsts));
      }),
    );
  });

  test.each([0, 1, 31, 33, 63, 65, 255, 257, 288, 320, 4096])('of %d bytes is refused, and wiped', (sizeBytes) => {
    const content = randomFillSync(new Uint8Array(sizeBytes));
    expect(() => parseKeySet(content)).toThrow(
      expect.objectContaining({ code: 'key_file_refused', message: expect.stringContaining(`${sizeBytes} bytes`) }),
    );
    expect(isWiped(content)).toBe(true);
    expect(() => checkKeyFileSize(sizeBytes)).toThrow(expect.objectContaining({ code: 'key_file_refused' }));
  });

  test.each([32, 64, 256])('of %d bytes has a good size', (sizeBytes) => {
    expect(() => checkKeyFileSize(sizeBytes)).not.toThrow();
  });

  test.each([-32, 32.5, Number.NaN, Number.POSITIVE_INFINITY])('cannot have a size of %d', (sizeBytes) => {
    expect(() => checkKeyFileSize(sizeBytes)).toThrow(expect.objectContaining({ code: 'key_file_refused' }));
  });

  test.each([0, 65, 255])('with a key of nothing but the byte %d is refused, and wiped', (byte) => {
    for (const place of [0, 1, 2]) {
      const content = fileOf(1, 2, 3);
      content.fill(byte, place * 32, place * 32 + 32);
      expect(() => parseKeySet(content)).toThrow(
        expect.objectContaining({ code: 'key_file_refused', message: expect.stringContaining('not random') }),
      );
      expect(isWiped(content)).toBe(true);
    }
  });

  test('with the same key twice holds it once, at its first place', () => {
    expect(keyIds(parseKeySet(fileOf(1, 2, 1, 3, 2, 2)))).toEqual(keyIds(parseKeySet(fileOf(1, 2, 3))));
  });

  test('is never written without a key, or with more than it may hold', () => {
    const keys = Array.from({ length: 9 }, (_, first) => importKey(counting(first)));
    for (const refused of [[], keys])
      expect(() => serializeKeySet(refused)).toThrow(expect.objectContaining({ code: 'key_file_refused' }));
    using content = serializeKeySet(keys.slice(0, 8));
    expect(content.length).toBe(256);
  });

  test('says nothing of its content when it is refused', () => {
    const content = Buffer.concat([fileOf(65), Buffer.alloc(32, 66)]);
    const refused = ((): unknown => {
      try {
        return parseKeySet(content);
      } catch (error) {
        return error;
      }
    })();
    expect(inspect(refused, { depth: null, showHidden: true })).not.toMatch(/ABCDEFGH|BBBBBBBB|41424344|42424242/);
  });

  test('gives a set that cannot be changed', () => {
    const keys = parseKeySet(fileOf(1, 2));
    expect(() => (keys as unknown[]).pop()).toThrow(TypeError);
  });
});

test('a key is found by its id alone', () => {
  const keys = parseKeySet(fileOf(1, 2));
  const [first, second] = keys;
  expect(keyById(keys, first?.id ?? '')).toBe(first);
  expect(keyById(keys, second?.id ?? '')).toBe(second);
  for (const id of [null, '', '0123456789abcdef', first?.id.toUpperCase() ?? '']) expect(keyById(keys, id)).toBeNull();
  expect(keyById([], first?.id ?? '')).toBeNull();
});
