/**
 * caching_sha2_password (MySQL 8 and later), step by step, against values computed from its specification.
 */
import { constants, createHash, generateKeyPairSync, privateDecrypt } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Channel } from '../../../../src/adapters/database/mysql/channel.ts';
import { cachingSha2Login, passwordSha1 } from '../../../../src/adapters/database/mysql/login.ts';
import { secret } from '../samples.ts';

const scramble = Buffer.from('abcdefghijklmnopqrst\0', 'latin1');
const fullLoginWanted = Buffer.from([4]);

const sha256 = (...parts: readonly Uint8Array[]): Buffer => createHash('sha256').update(Buffer.concat(parts)).digest();

function xor(one: Uint8Array, other: Uint8Array): Buffer {
  return Buffer.from(one.map((byte, at) => byte ^ (other[at % other.length] ?? 0)));
}

function loginOver(channel: Channel, password: string | null = 'pässword', own = (bytes: Buffer) => bytes) {
  const ports = {
    serverName: 'db:3306',
    password: password === null ? null : secret(password),
    channel: () => channel,
  };
  return cachingSha2Login(ports, own);
}

const open: Channel = { kind: 'open', why: 'anybody may listen there' };

test('the first answer proves the password without revealing it', () => {
  const login = loginOver(open);
  const first = sha256(Buffer.from('pässword'));
  expect(login(scramble)).toEqual(xor(first, sha256(sha256(first), scramble.subarray(0, 20))));
  expect(login(Buffer.from([3]))).toBeNull();
});

test('on a private channel the whole password is sent when the server requests it, in a buffer that is wiped', () => {
  const owned: Buffer[] = [];
  const login = loginOver({ kind: 'private' }, 'pässword', (bytes) => {
    owned.push(bytes);
    return bytes;
  });
  login(scramble);
  const sent = login(fullLoginWanted);
  expect(sent?.toString()).toBe('pässword\0');
  expect(owned).toEqual([sent]);
});

test('with a pinned key it is sent encrypted to that key, which the server is not asked for', () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const serverKeyPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const login = loginOver({ kind: 'pinned', serverKeyPem });
  login(scramble);
  const sent = login(fullLoginWanted) ?? Buffer.alloc(0);
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const masked = privateDecrypt({ key: privateKey, padding, oaepHash: 'sha1' }, sent);
  expect(xor(masked, scramble.subarray(0, 20)).toString()).toBe('pässword\0');
});

test('on an open channel it is refused, whatever the server sends next', () => {
  const login = loginOver(open);
  login(scramble);
  const refused = expect.objectContaining({
    code: 'database_login_insecure',
    message: expect.stringContaining('db:3306'),
  });
  expect(() => login(fullLoginWanted)).toThrow(refused);
  expect(() => login(Buffer.from('-----BEGIN PUBLIC KEY-----'))).toThrow('unknown step');
  expect(() => login(fullLoginWanted)).toThrow(refused);
});

test('no password is an empty answer', () => {
  const login = loginOver(open, null);
  expect(login(scramble)).toHaveLength(0);
  expect(login(fullLoginWanted)).toHaveLength(0);
});

test('an unknown step is refused', () => {
  const login = loginOver({ kind: 'private' });
  login(scramble);
  expect(() => login(Buffer.from([9]))).toThrow('unknown step');
  expect(() => login(Buffer.from([4, 4]))).toThrow('unknown step');
});

test('the native login needs the SHA-1 of the password alone', () => {
  expect(passwordSha1(secret('x')).toString('hex')).toBe('11f6ad8ec52a2984abaafd7c3b516503785c2072');
});
