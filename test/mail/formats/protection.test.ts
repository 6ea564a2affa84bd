/** Signed and encrypted messages by their form, and the content of opaque signatures. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { clearTextOf, protectionOf, readOpaqueSigned } from '../../../src/mail/formats/protection.ts';

/** 5 MB take under half a second on an idle machine; tests may run on a busy one. */
const limitMs = 3000;

const part = (type: string, params: Readonly<Record<string, string>> = {}, name = '') => ({
  type,
  params: new Map(Object.entries(params)),
  name,
});
const fixture = (name: string) => readFileSync(join(import.meta.dirname, '../../fixtures/special', name));
const content = 'Content-Type: text/plain; charset=utf-8\r\n\r\nThe meeting room is booked.\r\n';

describe('by its parts', () => {
  test.each([
    ['pgp_signed', part('multipart/signed', { protocol: 'application/pgp-signature', micalg: 'pgp-sha256' })],
    ['smime_signed', part('multipart/signed', { protocol: 'application/x-pkcs7-signature' })],
    ['pgp_encrypted', part('multipart/encrypted', { protocol: 'application/pgp-encrypted' })],
    ['pgp_encrypted', part('application/pgp-encrypted')],
    ['smime_signed', part('application/pkcs7-signature', {}, 'smime.p7s')],
    ['smime_signed', part('application/pkcs7-mime', { 'smime-type': 'signed-data' }, 'smime.p7m')],
    ['smime_encrypted', part('application/x-pkcs7-mime', { 'smime-type': 'enveloped-data' }, 'smime.p7m')],
    ['smime_encrypted', part('application/pkcs7-mime', { 'smime-type': 'authEnveloped-data' })],
    ['smime_encrypted', part('application/x-pkcs7-mime', {}, 'smime.p7m')],
    ['smime_encrypted', part('application/octet-stream', {}, 'smime.p7m')],
    ['pgp_signed', part('application/pgp', { 'x-action': 'sign', format: 'text' })],
    [null, part('application/pkcs7-mime', { 'smime-type': 'certs-only' }, 'smime.p7c')],
    [null, part('application/pkcs7-mime', {}, 'contract.pdf.p7m')],
    [null, part('application/pkcs7-signature', {}, 'contract.pdf.p7s')],
    [null, part('application/pgp-keys', {}, 'key.asc')],
    [null, part('multipart/signed', { protocol: 'application/x-other' })],
    [null, part('text/plain')],
  ])('%s for %o', (expected, one) => {
    expect(protectionOf([part('multipart/mixed'), one], 'hello')).toBe(expected);
  });

  test('encrypted takes precedence over signed', () => {
    const signed = part('multipart/signed', { protocol: 'application/pgp-signature' });
    const encrypted = part('application/pkcs7-mime', { 'smime-type': 'enveloped-data' });
    expect(protectionOf([signed, encrypted], '')).toBe('smime_encrypted');
    expect(protectionOf([signed], '-----BEGIN PGP MESSAGE-----\n\nx\n-----END PGP MESSAGE-----')).toBe('pgp_encrypted');
  });
});

const signedText = [
  'Before.',
  '-----BEGIN PGP SIGNED MESSAGE-----',
  'Hash: SHA256',
  '',
  'Hello,',
  '- -- ',
  '- - one',
  '',
  '-----BEGIN PGP SIGNATURE-----',
  '',
  'iQEzBAEBCAAdFiEE',
  '-----END PGP SIGNATURE-----',
  'After.',
].join('\n');

describe('by its text', () => {
  test.each([
    ['pgp_signed', signedText],
    ['pgp_encrypted', 'Hi\n-----BEGIN PGP MESSAGE-----\nVersion: 1\n\nhQEM\n-----END PGP MESSAGE-----\n'],
    ['pgp_encrypted', '-----BEGIN PGP MESSAGE, PART 1/2-----\n'],
    ['pgp_encrypted', '-----BEGIN PGP MESSAGE-----\u00a0\nhQEM'],
    ['pgp_encrypted', `See -----BEGIN PGP MESSAGE----- ${'hQEM'.repeat(16)} ${'hQEM'.repeat(16)}`],
    [null, `> -----BEGIN PGP MESSAGE----- ${'hQEM'.repeat(16)}`],
    [null, '> -----BEGIN PGP MESSAGE-----\n> hQEM'],
    [null, 'What does -----BEGIN PGP MESSAGE----- mean?'],
    [null, '-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQEN\n-----END PGP PUBLIC KEY BLOCK-----'],
    [null, ''],
  ])('%s for %j', (expected, text) => {
    expect(protectionOf([], text)).toBe(expected);
  });

  test('a cleartext signature is readable without the armour', () => {
    expect(clearTextOf(signedText)).toBe('Before.\nHello,\n-- \n- one\n\nAfter.');
    expect(clearTextOf(`${signedText}\n${signedText}`)).toContain('After.\nBefore.');
  });

  test('armour without an end stays', () => {
    expect(clearTextOf(signedText.replace('-----END PGP SIGNATURE-----', ''))).toBeNull();
    expect(clearTextOf('hello')).toBeNull();
  });

  test.each([
    ['starts of armour without an end', '-----BEGIN PGP SIGNED MESSAGE-----\n'],
    ['almost armour', '-----BEGIN PGP MESSAGE'],
    ['white space', '-----BEGIN PGP MESSAGE-----                    x\n'],
    ['signed texts', `${signedText}\n`],
  ])('is searched within the limit: %s', (_, piece) => {
    const text = piece.repeat(5_000_000 / piece.length);
    const startedAtMs = performance.now();
    protectionOf([], text);
    clearTextOf(text);
    expect(performance.now() - startedAtMs).toBeLessThan(limitMs);
  });
});

/** An element with its length; in the indefinite form without, but with an end mark. */
function element(tag: number, ...inner: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(inner);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([Buffer.of(tag), body.length < 128 ? Buffer.of(body.length) : Buffer.of(0x84, ...length), body]);
}

function endless(tag: number, ...inner: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.of(tag, 0x80), ...inner, Buffer.of(0, 0)]);
}

const signedDataId = Buffer.from('06092a864886f70d010702', 'hex');
const dataId = Buffer.from('06092a864886f70d010701', 'hex');

function signed(octets: Uint8Array): Buffer {
  const what = element(0x30, dataId, element(0xa0, octets));
  return element(0x30, signedDataId, element(0xa0, element(0x30, Buffer.of(2, 1, 1), element(0x31), what)));
}

describe('an opaque signature', () => {
  test.each(['signed-definite.p7m', 'signed-indefinite.p7m'])('%s gives the message within', (name) => {
    expect(Buffer.from(readOpaqueSigned(fixture(name)) ?? []).toString()).toBe(content);
  });

  test.each(['enveloped.p7m', 'detached.p7s'])('%s holds nothing to read', (name) => {
    expect(readOpaqueSigned(fixture(name))).toBeNull();
  });

  test('may be constructed of pieces, and pieces of pieces', () => {
    const octet = (text: string) => element(4, Buffer.from(text));
    const read = (octets: Uint8Array) => Buffer.from(readOpaqueSigned(signed(octets)) ?? []).toString();
    expect(read(octet('abc'))).toBe('abc');
    expect(read(octet('x'.repeat(70_000)))).toHaveLength(70_000);
    expect(read(element(0x24, octet('ab'), octet('c')))).toBe('abc');
    expect(read(endless(0x24, octet('a'), endless(0x24, octet('b'), octet('')), octet('c')))).toBe('abc');
    expect(read(element(0x24, octet('a'), element(2)))).toBe('');
  });

  test('is null wherever it breaks off, and never fails', () => {
    for (const name of ['signed-definite.p7m', 'signed-indefinite.p7m']) {
      const whole = fixture(name);
      for (let length = 0; length < whole.length; length++)
        expect(readOpaqueSigned(whole.subarray(0, length))).toBeNull();
    }
    const whole = fixture('signed-indefinite.p7m');
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.uint8Array({ minLength: 1, maxLength: 6 }), (at, bytes) => {
        const changed = Buffer.from(whole);
        changed.set(bytes.subarray(0, whole.length - at), at);
        readOpaqueSigned(changed);
      }),
      { numRuns: 2000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => void readOpaqueSigned(signed(bytes))));
  });

  const size = 5_000_000;
  test.each([
    ['open elements', Buffer.alloc(size, Buffer.of(0x30, 0x80))],
    ['open pieces', signed(Buffer.alloc(size, Buffer.of(0x24, 0x80)))],
    ['empty pieces', signed(element(0x24, Buffer.alloc(size, Buffer.of(4, 0))))],
    ['open empty pieces', signed(endless(0x24, Buffer.alloc(size, endless(0x24))))],
    ['an endless length', Buffer.concat([Buffer.of(0x30, 0x86, 255, 255, 255, 255, 255, 255), Buffer.alloc(size)])],
    ['zeros', Buffer.alloc(size)],
  ])('is read within the limit: %s', (_, bytes) => {
    const startedAtMs = performance.now();
    readOpaqueSigned(bytes);
    expect(performance.now() - startedAtMs).toBeLessThan(limitMs);
  });
});
