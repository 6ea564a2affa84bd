import { argon2Sync, randomBytes, randomFillSync } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import {
  adminPasswordProblem,
  decoyHash,
  hashAdminPassword,
  verifyAdminPassword,
} from '../../src/secret/admin-password.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';

const secret = (text: string): SecretBytes => SecretBytes.take(Buffer.from(text));
const random = (bytes: Uint8Array): Uint8Array => randomFillSync(bytes);

/** A hash with any parameters, as an attacker could write it into a row. */
function forged(m: string | number, t: string | number, p: string | number, salt = 'c29tc2FsdHNvbWVzYWx0aA'): string {
  return `$argon2id$v=19$m=${m},t=${t},p=${p}$${salt}$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc`;
}

describe('a password of an admin', () => {
  test('is hashed under the parameters of now, which stand in the hash, and is the one that fits', async () => {
    using password = secret('Regen im Mai, 7 Tage');
    const hash = await hashAdminPassword(password, Buffer.alloc(16, 5));
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=65536,t=3,p=4\$BQUFBQUFBQUFBQUFBQUFBQ\$[A-Za-z0-9+/]{43}$/);
    expect(await verifyAdminPassword(password, hash)).toEqual({ ok: true, isOutdated: false });
    using other = secret('Regen im Mai, 7 Tage ');
    expect(await verifyAdminPassword(other, hash)).toEqual({ ok: false, isOutdated: false });
    expect(await hashAdminPassword(password, randomBytes(16))).not.toBe(hash);
  });

  test('is the one of the reference implementation, whose hash of lower parameters is outdated', async () => {
    using password = secret('password');
    const reference = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc';
    expect(await verifyAdminPassword(password, reference)).toEqual({ ok: true, isOutdated: true });
  });

  test('with higher parameters never matches: its writer would choose the cost of verifying it', async () => {
    using password = secret('password');
    const parameters = { message: 'password', nonce: 'somesaltsomesalt', parallelism: 4, tagLength: 32, passes: 3 };
    const of = (memory: number): string => {
      const tag = argon2Sync('argon2id', { ...parameters, memory })
        .toString('base64')
        .replace('=', '');
      return `$argon2id$v=19$m=${memory},t=3,p=4$c29tZXNhbHRzb21lc2FsdA$${tag}`;
    };
    expect(await verifyAdminPassword(password, of(65_536))).toEqual({ ok: true, isOutdated: false });
    expect(await verifyAdminPassword(password, of(65_537))).toEqual({ ok: false, isOutdated: false });
  });

  test('may be any bytes, and is counted in bytes', () => {
    expect(adminPasswordProblem(SecretBytes.take(Buffer.from('a'.repeat(11))))).toMatch(/too short: at least 12/);
    expect(adminPasswordProblem(SecretBytes.take(Buffer.alloc(12, 0xff)))).toBe(null);
    expect(adminPasswordProblem(SecretBytes.take(Buffer.from('ä'.repeat(6))))).toBe(null);
    expect(adminPasswordProblem(SecretBytes.take(Buffer.alloc(1024, 1)))).toBe(null);
    expect(adminPasswordProblem(SecretBytes.take(Buffer.alloc(1025, 1)))).toMatch(/too long/);
  });

  test('is checked without blocking anything else', async () => {
    using password = secret('Regen im Mai, 7 Tage');
    let isDone = false;
    const verified = verifyAdminPassword(password, decoyHash(random)).finally(() => {
      isDone = true;
    });
    let turns = 0;
    for (; !isDone; turns += 1) await turn();
    expect(await verified).toEqual({ ok: false, isOutdated: false });
    expect(turns).toBeGreaterThan(100);
  });

  test('is not in what is thrown for a salt of another length', async () => {
    using password = secret('Regen im Mai, 7 Tage');
    await expect(hashAdminPassword(password, Buffer.alloc(8))).rejects.toThrow(/^a salt has 16 bytes$/);
  });
});

describe('a hash that is not ours', () => {
  test.each([
    ['nothing', ''],
    ['a password', 'Regen im Mai, 7 Tage'],
    ['more memory than one of now', forged(65_537, 3, 4)],
    ['more of everything than one of now', forged(262_144, 10, 16)],
    ['memory beyond all numbers', forged('9'.repeat(30), 3, 4)],
    ['more passes', forged(65_536, 4, 4)],
    ['more lanes', forged(65_536, 3, 5)],
    ['less memory than its lanes need', forged(31, 3, 4)],
    ['no passes', forged(65_536, 0, 4)],
    ['a number with a zero in front', forged(65_536, '03', 4)],
    ['a number with a sign', forged('+65536', 3, 4)],
    ['a negative number', forged(65_536, -3, 4)],
    ['a number with an exponent', forged('6e4', 3, 4)],
    ['a salt that is too short', forged(65_536, 3, 4, 'c29tc2Fs')],
    ['a salt that is too long', forged(65_536, 3, 4, 'c29t'.repeat(30))],
    ['a salt with bits that hang over', forged(65_536, 3, 4, 'c29tc2FsdHNvbWVzYWx0aB')],
    ['padding', `${forged(65_536, 3, 4)}=`],
    ['base64url', forged(65_536, 3, 4, 'c29tc2FsdHNvbWVzYWx0_A')],
    ['a tag that is too short to be hard to meet', forged(64, 1, 1).slice(0, -20)],
    ['another version', forged(64, 1, 1).replace('v=19', 'v=16')],
    ['another kind', forged(64, 1, 1).replace('argon2id', 'argon2i')],
    ['a line after it', `${forged(64, 1, 1)}\n`],
    ['a text before it', ` ${forged(64, 1, 1)}`],
    ['more parameters', forged(64, 1, '1,keyid=AA')],
    ['parameters in another order', forged(64, 1, 1).replace('m=64,t=1', 't=1,m=64')],
  ])('matches no password, at once: %s', async (_title, hash) => {
    using password = secret('Regen im Mai, 7 Tage');
    let isLater = false;
    setImmediate(() => {
      isLater = true;
    });
    expect(await verifyAdminPassword(password, hash)).toEqual({ ok: false, isOutdated: false });
    // Nothing was computed: that would have ended in a later turn.
    expect(isLater).toBe(false);
  });

  test('has parameters within the bounds: it costs no more than those', async () => {
    using password = secret('Regen im Mai, 7 Tage');
    expect(await verifyAdminPassword(password, forged(128, 3, 4))).toEqual({ ok: false, isOutdated: true });
  });
});

test('a decoy has the parameters of now, is another each time, and fits no password', async () => {
  const [one, two] = [decoyHash(random), decoyHash(random)];
  expect(one).toMatch(/^\$argon2id\$v=19\$m=65536,t=3,p=4\$/);
  expect(one).not.toBe(two);
  using password = secret('');
  expect(await verifyAdminPassword(password, one)).toEqual({ ok: false, isOutdated: false });
});
