import { Decipheriv } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Failure } from '../../src/errors.ts';
import { importKey, type KeySet } from '../../src/secret/key.ts';
import { type SealContext, sealPassword, unsealPassword } from '../../src/secret/sealed-password.ts';
import {
  keyIdOfSealedToken,
  resealToken,
  sealToken,
  type TokenContext,
  unsealToken,
} from '../../src/secret/sealed-token.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';

const counting = (first: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, at) => first + at);
const key = importKey(counting(1));
const otherKey = importKey(counting(2));
const context: TokenContext = {
  grantId: '0198c0de-0000-7000-8000-000000000001',
  binding: ['m365', 'microsoft', 'person', '', 'https://login.example.test/token', 'client'],
  account: 'support@example.test',
  kind: 'refresh',
  username: '',
};
const token = '1//0canary-refresh-token';
/** Test vector, sealed with the key of the bytes 1 to 32: every later version must open it. */
const stored =
  'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiZmI2YTBhYWYzYTk0NWQ4YyIsImN0eCI6ImhXMEwyd09IYUllVnI2ejNhTUdEdl9QT0hXSkwxS3ZLR0xjbGo4cVNIZmcifQ..UzjJ_swq5h_Cv7m5.QJmGHF5khl5gjBeEvyNH-HA2_y06pYdK.vk81VGkXACy-GObcQAhhcw';

const secret = (text: string | Uint8Array): SecretBytes => SecretBytes.take(Buffer.from(text as string));
const textOf = (opened: SecretBytes): string => opened.use((bytes) => Buffer.from(bytes).toString('latin1'));
const seal = (text: string | Uint8Array, under = key, to = context): Uint8Array => sealToken(secret(text), under, to);
const open = (sealed: Uint8Array, keys: KeySet = [key], to = context): string => textOf(unsealToken(sealed, keys, to));

/** The failure of `task`, once nothing of the token can be seen of it; null: it succeeded. */
function failure(task: () => unknown): Failure | null {
  try {
    task();
    return null;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const shown = inspect(error, { depth: null, showHidden: true, getters: true }) + error.stack + error.hint;
    for (const form of [token, Buffer.from(token).toString('base64url')]) expect(shown).not.toContain(form);
    return error;
  }
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('a sealed token', () => {
  test('opens to the same bytes, for any printable token', () => {
    const printable = fc.array(fc.integer({ min: 0x20, max: 0x7e }), { minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(printable, (codes) => {
        const text = String.fromCharCode(...codes);
        expect(open(seal(text))).toBe(text);
      }),
    );
  });

  test('opens as a token that an earlier version sealed', () => {
    expect(open(Buffer.from(stored))).toBe(token);
  });

  test('fits its column at the longest', () => {
    const longest = 'x'.repeat(12_000);
    const sealed = seal(longest);
    expect(sealed.length).toBeLessThanOrEqual(16_384);
    expect(open(sealed)).toBe(longest);
  });

  test('names its key', () => {
    expect(keyIdOfSealedToken(seal(token, otherKey))).toBe(otherKey.id);
  });

  test('is refused without its key, with the id of the key', () => {
    const refused = failure(() => open(seal(token, otherKey)));
    expect(refused).toMatchObject({ code: 'key_unknown', fields: { key_id: otherKey.id } });
  });

  test.each<[string, Partial<TokenContext>]>([
    ['grant', { grantId: '0198c0de-0000-7000-8000-000000000002' }],
    ['endpoint', { binding: [...context.binding.slice(0, 4), 'https://elsewhere.example.test/token', 'client'] }],
    [
      'binding of other parts',
      { binding: ['m365', 'microsoft,person', '', 'https://login.example.test/token', 'client'] },
    ],
    ['account', { account: 'boss@example.test' }],
    ['unknown account', { account: null }],
    ['kind', { kind: 'access' }],
    ['user', { username: 'boss@example.test' }],
  ])('does not open for another %s', (_, other) => {
    expect(failure(() => open(seal(token), [key], { ...context, ...other }))?.code).toBe('token_bound_elsewhere');
  });

  test('is refused for any change of any character', () => {
    const sealed = seal('short');
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = Uint8Array.from(sealed);
      changed[at] = changed[at] === 0x41 ? 0x42 : 0x41;
      expect(failure(() => open(changed))?.code).toMatch(/^(token_damaged|token_bound_elsewhere|key_unknown)$/);
    }
  });

  test.each([
    ['empty', ''],
    ['a byte too long', 'x'.repeat(12_001)],
    ['with a line end', 'abc\n'],
    ['with a NUL', 'a\0b'],
    ['beyond ASCII', 'tökén'],
  ])('is not made of a token that is %s', (_, text) => {
    expect(failure(() => seal(text))?.code).toBe('token_damaged');
  });

  test('larger than the column is refused', () => {
    expect(failure(() => open(Buffer.alloc(16_385, 0x41)))?.code).toBe('token_damaged');
  });
});

describe('tokens and passwords', () => {
  const server = { host: 'mail.example.test', port: 993, tls: 'implicit', user: 'desk' };
  const mailbox: SealContext = {
    mailboxId: context.grantId,
    connection: { ...server, caPem: null, fingerprint: null, allowPlaintext: false },
  };

  test('do not open as each other', () => {
    const password = sealPassword(secret(token), key, mailbox);
    expect(failure(() => open(password))?.code).toBe('token_bound_elsewhere');
    expect(failure(() => unsealPassword(seal(token), [key], mailbox))?.code).toBe('password_binding_mismatch');
  });

  test('are not made into each other by resealing', () => {
    const password = resealToken(sealPassword(secret(token), key, mailbox), [key], otherKey);
    expect(failure(() => open(password, [otherKey]))?.code).toBe('token_bound_elsewhere');
  });
});

describe('resealing', () => {
  test('retains token and context under another key', () => {
    const resealed = resealToken(seal(token), [otherKey, key], otherKey);
    expect(keyIdOfSealedToken(resealed)).toBe(otherKey.id);
    expect(open(resealed, [otherKey])).toBe(token);
    const elsewhere = { ...context, grantId: '2' };
    expect(failure(() => open(resealed, [otherKey], elsewhere))?.code).toBe('token_bound_elsewhere');
  });

  test('does not give a token another context: the tag authenticates the one in the header', () => {
    const [, ...rest] = Buffer.from(seal(token)).toString().split('.');
    const [header] = Buffer.from(seal(token, key, { ...context, grantId: '2' }))
      .toString()
      .split('.');
    const moved = Buffer.from([header, ...rest].join('.'));
    expect(failure(() => resealToken(moved, [key], otherKey))?.code).toBe('token_damaged');
  });

  test('needs the key', () => {
    expect(failure(() => resealToken(seal(token), [otherKey], otherKey))?.code).toBe('key_unknown');
  });

  test('wipes the token', () => {
    const plaintexts: Uint8Array[] = [];
    const { update } = Decipheriv.prototype;
    vi.spyOn(Decipheriv.prototype, 'update').mockImplementation(function spy(this: Decipheriv, data: unknown) {
      const plaintext = Reflect.apply(update, this, [data]);
      plaintexts.push(plaintext);
      return plaintext;
    });
    resealToken(seal(token), [key], otherKey);
    expect(plaintexts.map((bytes) => bytes.every((byte) => byte === 0))).toEqual([true]);
  });
});
