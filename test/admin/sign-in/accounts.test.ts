/**
 * Names of admins, and what attempts are counted under.
 */
import { describe, expect, test } from 'vitest';
import { readAdminName } from '../../../src/admin/sign-in/accounts.ts';
import { addressBucket, addressGroup, nameBucket } from '../../../src/admin/sign-in/limits.ts';

describe('the name of an admin', () => {
  test.each([
    'a',
    'x-1',
    'Ada',
    'ada.l@desk.example',
    "O'Neil 2",
    'Jürgen Groß',
    '石川',
    'x'.repeat(64),
    '🙂'.repeat(64),
  ])('may be %s', (name) => expect(readAdminName(name)).toBe(name));

  test('is stored composed, as a browser sends it', () => {
    expect(readAdminName('Ju\u0308rgen')).toBe('J\u00fcrgen');
  });

  test.each([
    ['nothing', ''],
    ['a space', ' '],
    ['a space before it', ' Ada'],
    ['a space behind it', 'Ada '],
    ['too many characters', 'x'.repeat(65)],
    ['a NUL', 'A\0da'],
    ['a line feed', 'Ada\n'],
    ['an escape sequence', '\x1b[31mAda'],
    ['a direction', 'Ada\u202e'],
    ['a space without a width', 'A\u200bda'],
    ['a space that is not U+0020', 'Ada\u00a0L'],
    ['half a character', 'Ada\ud800'],
    ['the word for a client without an account', 'Unknown'],
    ['what a command takes for an option', '-x'],
    ['the mark of an option', '-'],
  ])('is not %s', (_title, name) => {
    expect(() => readAdminName(name)).toThrow(expect.objectContaining({ code: 'usage' }));
  });
});

describe('attempts are counted', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:0DB8:0000:0000:ffff::', '2001:db8:0:0::/64'],
    ['2001:db8:0:1:2:3:4:5', '2001:db8:0:1::/64'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['0:0:0:0:0:FFFF:192.0.2.1', '192.0.2.1'],
    ['127.0.0.1', 'loopback'],
    ['127.200.3.4', 'loopback'],
    ['::ffff:127.9.9.9', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['::1', 'loopback'],
    ['0:0:0:0:0:0:0:1', 'loopback'],
    ['128.0.0.1', '128.0.0.1'],
    ['::2', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['1:2:3::', '1:2:3:0::/64'],
    ['1::2:3:4:5:6:7', '1:0:2:3::/64'],
    ['unknown', 'unknown'],
  ])('from %s under %s', (address, group) => expect(addressGroup(address)).toBe(group));

  test('under a name in any case and form, which cannot be had from the bucket', () => {
    const key = new Uint8Array(32).fill(7);
    const of = (name: string) => nameBucket(key, name, 5);
    expect(of('J\u00fcrgen')).toBe(of('JU\u0308RGEN'));
    expect(of('Ada')).not.toBe(of('Ada '));
    expect(of('192.0.2.1')).not.toBe(addressBucket('192.0.2.1'));
    expect(of('\ud800'.repeat(10))).toMatch(/^[0-9a-f]{64}$/);
    // A reader of the database who guesses the name learns nothing, and a new password starts from zero.
    expect(of('Ada')).not.toBe(nameBucket(new Uint8Array(32), 'Ada', 5));
    expect(of('Ada')).not.toBe(nameBucket(key, 'Ada', 6));
  });
});
