/**
 * caching_sha2_password (MySQL 8 and later), step by step, against values computed from its specification.
 */
import { constants, createHash, generateKeyPairSync, privateDecrypt } from 'node:crypto';
import { expect, test } from 'vitest';
import { cachingSha2Login, passwordSha1 } from '../../../../src/adapters/database/mysql/options.ts';
import { secret } from '../samples.ts';

const scramble = Buffer.from('abcdefghijklmnopqrst\0', 'latin1');

const sha256 = (...parts: readonly Uint8Array[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();

function xor(one: Uint8Array, other: Uint8Array): Buffer {
  return Buffer.from(one.map((byte, at) => byte ^ (other[at % other.length] ?? 0)));
}

test('the first answer proves the password without revealing it', () => {
  const login = cachingSha2Login(secret('pässword'), true);
  const first = sha256(Buffer.from('pässword'));
  expect(login(scramble)).toEqual(xor(first, sha256(sha256(first), scramble.subarray(0, 20))));
  expect(login(Buffer.from([3]))).toBeNull();
});

test('on a private connection the whole password is sent when the server requests it', () => {
  const login = cachingSha2Login(secret('pässword'), true);
  login(scramble);
  expect(login(Buffer.from([4]))?.toString()).toBe('pässword\0');
});

test('on an open connection it is sent encrypted with the key of the server', () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const login = cachingSha2Login(secret('pässword'), false);
  login(scramble);
  expect(login(Buffer.from([4]))).toEqual(Buffer.from([2]));
  const sent = login(Buffer.from(publicKey.export({ type: 'spki', format: 'pem' })));
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const masked = privateDecrypt({ key: privateKey, padding, oaepHash: 'sha1' }, sent ?? Buffer.alloc(0));
  expect(xor(masked, scramble.subarray(0, 20)).toString()).toBe('pässword\0');
});

test('no password is an empty answer', () => {
  expect(cachingSha2Login(null, true)(scramble)).toHaveLength(0);
});

test('an unknown step is refused', () => {
  const login = cachingSha2Login(secret('x'), true);
  login(scramble);
  expect(() => login(Buffer.from([9]))).toThrow('unknown step');
});

test('the native login needs the SHA-1 of the password alone', () => {
  expect(passwordSha1(secret('x')).toString('hex')).toBe('11f6ad8ec52a2984abaafd7c3b516503785c2072');
});
