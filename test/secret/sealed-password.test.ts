import { execFile } from 'node:child_process';
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  Decipheriv,
  generateKeyPairSync,
  randomFillSync,
} from 'node:crypto';
import { inspect, promisify } from 'node:util';
import fc from 'fast-check';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Failure, type FailureCode } from '../../src/errors.ts';
import { importKey, type Key, type KeySet } from '../../src/secret/key.ts';
import { keyIdOfSealed, type SealContext, sealPassword, unsealPassword } from '../../src/secret/sealed-password.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';

const counting = (first: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, at) => first + at);
const key = importKey(counting(1));
const otherKey = importKey(counting(2));
const context: SealContext = {
  mailboxId: '0198c0de-0000-7000-8000-000000000001',
  connection: {
    host: 'imap.example.test',
    port: 993,
    tls: 'implicit',
    caPem: null,
    fingerprint: null,
    allowPlaintext: false,
    user: 'support@example.test',
  },
};
const password = 'correct horse';
/** Test vector, sealed with the key of the bytes 1 to 32: every later version must open it. */
const stored =
  'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwia2lkIjoiZmI2YTBhYWYzYTk0NWQ4YyIsImN0eCI6IjhnNHdaTlJnMGtxcWt3TFk0M1RLTmxOaVdyOEtfanlCVnl2bXQ5Yy1YMHcifQ..lJWEtTD6nD2lxQuB.aagMWOSWIPhDNfVydA.g0LvSHyapMp8Za-kmUccFQ';
const header = { alg: 'dir', enc: 'A256GCM', kid: key.id, ctx: '8g4wZNRg0kqqkwLY43TKNlNiWr8K_jyBVyvmt9c-X0w' };

const ascii = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const secret = (bytes: string | Uint8Array): SecretBytes => SecretBytes.take(Buffer.from(bytes as string));
const contentOf = (opened: SecretBytes): Buffer => opened.use((bytes) => Buffer.from(bytes));
const seal = async (bytes: string | Uint8Array, under = key, to = context): Promise<string> =>
  Buffer.from(sealPassword(secret(bytes), under, to)).toString('latin1');
const open = async (sealed: string, keys: KeySet = [key], to = context): Promise<Buffer> =>
  contentOf(unsealPassword(ascii(sealed), keys, to));

/** Everything that could be seen of a failure. */
function shown(failure: Failure): string {
  const deep = inspect(failure, { depth: null, showHidden: true, getters: true });
  return [deep, JSON.stringify(failure), failure.stack, failure.message, failure.hint, String(failure)].join('\n');
}

const forms = [password, Buffer.from(password).toString('base64url'), Buffer.from(password).toString('hex'), '99, 111'];

/** Failures that were searched: all that differs between two of one kind is where they were thrown. */
const searched = new Set<string>();

/** Throws when anything of the password or of the cipher can be seen of the failure. */
function expectNothingShown(failure: Failure): void {
  const { code, message, hint, fields } = failure;
  const kind = JSON.stringify([code, message, hint, fields, Reflect.ownKeys(failure).map(String)]);
  if (searched.has(kind)) return;
  searched.add(kind);
  const text = shown(failure);
  const traces = [...forms, 'Unsupported state', 'authenticate data'].filter((form) => text.includes(form));
  if (traces.length > 0 || failure.cause !== undefined) {
    throw new Error('a failure shows too much', { cause: failure });
  }
}

function thrown(task: () => unknown): unknown {
  try {
    task();
    return null;
  } catch (error) {
    return error;
  }
}

/** The code with which `sealed` is refused, once nothing of the password and of the cipher was found in the failure. */
async function refusal(sealed: string | Uint8Array, keys: KeySet = [key], to = context): Promise<FailureCode | null> {
  const bytes = typeof sealed === 'string' ? ascii(sealed) : sealed;
  try {
    unsealPassword(bytes, keys, to).wipe();
    return null;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    expectNothingShown(error);
    return error.code;
  }
}

const encoded = (text: string | Uint8Array): string => Buffer.from(text as string).toString('base64url');

/** A sealed password with any header and content and a valid tag, which requires the key. */
function forged(headerText: string, content: string | Uint8Array = password, under: Key = key): string {
  const iv = randomFillSync(Buffer.alloc(12));
  const cipher = createCipheriv('aes-256-gcm', under.object, iv).setAAD(ascii(encoded(headerText)));
  const ciphertext = Buffer.concat([cipher.update(content), cipher.final()]);
  return [encoded(headerText), '', encoded(iv), encoded(ciphertext), encoded(cipher.getAuthTag())].join('.');
}

const changedAt = (text: string, at: number, character: string): string =>
  text.slice(0, at) + character + text.slice(at + 1);

/** Parts of the stored vector, some of them replaced. */
function withParts(parts: Readonly<Record<number, string>>): string {
  return stored
    .split('.')
    .map((part, at) => parts[at] ?? part)
    .join('.');
}

/** A password: bytes without NUL. */
const passwords = (maxLength: number): fc.Arbitrary<Uint8Array> =>
  fc.array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength }).map((bytes) => Uint8Array.from(bytes));

afterEach(() => {
  vi.restoreAllMocks();
});

describe('a password that was sealed', () => {
  test('opens to the same bytes, whatever their length', async () => {
    for (let length = 1; length <= 1024; length += 1) {
      const bytes = randomFillSync(Buffer.alloc(length)).map((byte) => byte || 1);
      expect((await open(await seal(bytes))).equals(bytes)).toBe(true);
    }
  });

  test('opens to the same bytes, whatever they are', async () => {
    await fc.assert(
      fc.asyncProperty(passwords(100), async (bytes) => {
        const sealed = await seal(bytes);
        expect(await open(sealed)).toEqual(Buffer.from(bytes));
        expect(keyIdOfSealed(ascii(sealed))).toBe(key.id);
      }),
    );
  });

  test('is a JWE in compact form with exactly four members in its header, and no encrypted key', async () => {
    const parts = (await seal(password)).split('.');
    expect(JSON.parse(Buffer.from(parts[0] ?? '', 'base64url').toString())).toEqual(header);
    expect(parts.map((part) => Buffer.from(part, 'base64url').length).slice(1)).toEqual([0, 12, 13, 16]);
  });

  test('differs each time', async () => {
    const sealed = await Promise.all(Array.from({ length: 100 }, () => seal(password)));
    expect(new Set(sealed.map((text) => text.split('.')[2])).size).toBe(100);
  });

  test('is smaller than the limit, at any length', async () => {
    expect((await seal(Buffer.alloc(1024, 1))).length).toBeLessThan(2048);
  });

  test('opens while a hundred others are opened', async () => {
    const all = Array.from({ length: 100 }, (_, at) => `${password} ${at}`);
    const sealed = await Promise.all(all.map((text) => seal(text)));
    expect((await Promise.all(sealed.map((text) => open(text)))).map(String)).toEqual(all);
  });

  test('opens with the key that it names, wherever that is in the set', async () => {
    const sealed = await seal(password, otherKey);
    expect(keyIdOfSealed(ascii(sealed))).toBe(otherKey.id);
    expect(`${await open(sealed, [key, otherKey])}`).toBe(password);
    expect(`${await open(sealed, [otherKey, key])}`).toBe(password);
  });

  test('opens for a part of a larger buffer', async () => {
    const around = Buffer.concat([Buffer.from('x..'), ascii(stored), Buffer.from('..x')]);
    expect(await refusal(around)).toBe('password_damaged');
    expect(await refusal(around.subarray(3, -3))).toBeNull();
  });

  test.each([
    ['', 'empty'],
    ['a\0b', 'with NUL'],
    ['\0', 'nothing but NUL'],
    ['x'.repeat(1025), 'of 1025 bytes'],
    ['x'.repeat(100_000), 'of 100000 bytes'],
  ])('is never one that is no password (%#)', async (text) => {
    expect(thrown(() => sealPassword(secret(text), key, context))).toMatchObject({
      code: 'password_damaged',
      hint: expect.stringContaining('set-password'),
    });
  });
});

describe('the stored sample', () => {
  test('opens for ever', async () => {
    expect(`${await open(stored)}`).toBe(password);
    expect(keyIdOfSealed(ascii(stored))).toBe(key.id);
  });

  test('is an ordinary JWE: any other implementation opens it with the key', async () => {
    const { plaintext, protectedHeader } = await compactDecrypt(stored, counting(1));
    expect([new TextDecoder().decode(plaintext), protectedHeader]).toEqual([password, header]);
    const [protectedPart = '', , iv = '', ciphertext = '', tag = ''] = stored.split('.');
    const decipher = createDecipheriv('aes-256-gcm', counting(1), Buffer.from(iv, 'base64url'));
    decipher.setAAD(ascii(protectedPart)).setAuthTag(Buffer.from(tag, 'base64url'));
    expect(decipher.update(ciphertext, 'base64url', 'utf8') + decipher.final('utf8')).toBe(password);
  });

  test('is bound by the hash of a JSON array', () => {
    const { mailboxId, connection } = context;
    const bound =
      `["ticketmaild password context 1","${mailboxId}","${connection.host}",993,"implicit",` +
      `null,null,false,"${connection.user}","password"]`;
    expect(createHash('sha256').update(bound).digest('base64url')).toBe(header.ctx);
  });
});

describe('no copy of a password stays', () => {
  test('of what was opened, beside the secret bytes, which alone are the caller’s to wipe', async () => {
    const update = vi.spyOn(Decipheriv.prototype, 'update');
    using opened = unsealPassword(ascii(stored), [key], context);
    for (const content of ['a\0b', 'x'.repeat(1025)]) {
      expect(await refusal(forged(JSON.stringify(header), content))).toBe('password_damaged');
    }
    expect(await refusal(withParts({ 4: 'A'.repeat(22) }))).toBe('password_damaged');
    const plaintexts = update.mock.results.map(({ value }) => value as Buffer);
    vi.restoreAllMocks();
    expect(plaintexts.map(({ length }) => length)).toEqual([password.length, 3, 1025, password.length]);
    expect(plaintexts.flatMap((bytes) => [...bytes]).every((byte) => byte === 0)).toBe(true);
    // Each is a buffer of its own: one that is cut out of another could be copied with it.
    expect(plaintexts.map(({ buffer }) => buffer.byteLength)).toEqual(plaintexts.map(({ length }) => length));
    expect(`${contentOf(opened)}`).toBe(password);
  });

  test('and the caller’s secret bytes are as they were', async () => {
    using given = secret(password);
    sealPassword(given, key, context);
    expect(`${contentOf(given)}`).toBe(password);
  });

  test('of a plain password in place of a sealed one never becomes a string', () => {
    const plain = ascii(password);
    const made = [vi.spyOn(Buffer.prototype, 'toString'), vi.spyOn(TextDecoder.prototype, 'decode')];
    const failure = ((): unknown => {
      try {
        return keyIdOfSealed(plain);
      } catch (error) {
        return error;
      }
    })();
    const calls = made.map(({ mock }) => mock.calls.length);
    keyIdOfSealed(ascii(stored));
    const callsOfSealed = made.map(({ mock }) => mock.calls.length);
    vi.restoreAllMocks();
    expect(failure).toMatchObject({ code: 'password_damaged' });
    expect(calls).toEqual([0, 0]);
    expect(callsOfSealed[0]).toBeGreaterThan(0);
  });

  test('in a string of the heap', async () => {
    const child = new URL('./seal-leak.ts', import.meta.url).pathname;
    const { stdout } = await promisify(execFile)(process.execPath, [child]);
    expect(JSON.parse(stdout)).toEqual({ control: true, password: false });
  });

  test('and none of the key: it is never exported', async () => {
    const fresh = importKey(counting(7));
    const exported = vi.spyOn(fresh.object, 'export');
    for (let count = 0; count < 5; count += 1) await open(await seal(password, fresh), [fresh]);
    expect(exported).not.toHaveBeenCalled();
  });
});

/** The code that RFC and header tell for a text that is not the stored one; null: decide by decrypting. */
function expectedCode(changed: string): FailureCode {
  const text = Buffer.from(changed.split('.')[0] ?? '', 'base64url').toString('latin1');
  const seen = /^\{"alg":"dir","enc":"A256GCM","kid":"([0-9a-f]{16})","ctx":"([\w-]{43})"\}$/.exec(text);
  if (seen === null || !/^[\w-]+\.\.[\w-]{16}\.[\w-]+\.[\w-]{22}$/.test(changed)) return 'password_damaged';
  if (seen[1] !== header.kid) return 'key_unknown';
  return seen[2] === header.ctx ? 'password_damaged' : 'password_binding_mismatch';
}

describe('a sealed password that was changed', () => {
  test('is refused for any change of any byte', async () => {
    const wrong: string[] = [];
    const codes = new Map<FailureCode | null, number>();
    for (let at = 0; at < stored.length; at += 1) {
      for (let byte = 0; byte < 256; byte += 1) {
        const changed = changedAt(stored, at, String.fromCharCode(byte));
        if (changed === stored) continue;
        const code = await refusal(changed);
        codes.set(code, (codes.get(code) ?? 0) + 1);
        if (code !== expectedCode(changed)) wrong.push(`${at} ${byte} ${code}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(codes.get('key_unknown')).toBeGreaterThan(100);
    expect(codes.get('password_binding_mismatch')).toBeGreaterThan(1000);
    expect(codes.get('password_damaged')).toBeGreaterThan(40_000);
  });

  test('is refused in each part with the code of that part', async () => {
    const [first = '', , iv = '', ciphertext = '', tag = ''] = stored.split('.');
    const flip = (part: string): string => changedAt(part, 3, part[3] === 'A' ? 'B' : 'A');
    const withHeader = (change: Partial<typeof header>): string => encoded(JSON.stringify({ ...header, ...change }));
    expect(withHeader({})).toBe(first);
    const codes = await Promise.all(
      [
        withParts({ 0: withHeader({ kid: otherKey.id }) }),
        withParts({ 0: withHeader({ ctx: encoded(counting(1)) }) }),
        withParts({ 1: 'AAAA' }),
        withParts({ 2: flip(iv) }),
        withParts({ 3: flip(ciphertext) }),
        withParts({ 4: flip(tag) }),
      ].map((sealed) => refusal(sealed)),
    );
    const damaged = 'password_damaged';
    expect(codes).toEqual(['key_unknown', 'password_binding_mismatch', damaged, damaged, damaged, damaged]);
  });

  test('is refused when bytes are missing, doubled or put in between', async () => {
    const place = fc.nat(stored.length);
    await fc.assert(
      fc.asyncProperty(place, place, fc.string({ maxLength: 5 }), async (a, b, between) => {
        const changed = stored.slice(0, a) + between + stored.slice(b);
        fc.pre(changed !== stored);
        expect(await refusal(changed)).toBe(expectedCode(changed));
      }),
      { numRuns: 2000 },
    );
  });

  test('is refused when parts of another one take their place', async () => {
    const others = (await seal(password)).split('.');
    for (const at of [2, 3, 4]) expect(await refusal(withParts({ [at]: others[at] ?? '' }))).toBe('password_damaged');
  });
});

describe('a sealed password that is used for something else', () => {
  const authority = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
  const pin = 'ab'.repeat(32);

  test('opens not for another mailbox', async () => {
    const other = { ...context, mailboxId: '0198c0de-0000-7000-8000-000000000002' };
    expect(await refusal(stored, [key], other)).toBe('password_binding_mismatch');
  });

  test.each([
    { host: 'imap.evil.test' },
    { host: 'imap.example.test.' },
    { host: '' },
    { port: 143 },
    { port: 9930 },
    { tls: 'starttls' },
    { tls: 'none' },
    { caPem: authority },
    { caPem: '' },
    { caPem: 'null' },
    { fingerprint: pin },
    { fingerprint: '' },
    { allowPlaintext: true },
    { user: 'Support@example.test' },
    { user: 'support@example.test ' },
    { user: '' },
  ])('opens not for %j', async (change) => {
    const other = { ...context, connection: { ...context.connection, ...change } };
    expect(await refusal(stored, [key], other)).toBe('password_binding_mismatch');
    const back = await seal(password, key, other);
    expect(await refusal(back)).toBe('password_binding_mismatch');
    expect(await refusal(back, [key], other)).toBeNull();
  });

  test('opens not when a certificate or a pin is another one', async () => {
    const to = (change: Partial<SealContext['connection']>): SealContext => ({
      ...context,
      connection: { ...context.connection, ...change },
    });
    const withAuthority = await seal(password, key, to({ caPem: authority }));
    expect(await refusal(withAuthority, [key], to({ caPem: authority }))).toBeNull();
    expect(await refusal(withAuthority, [key], to({ caPem: authority.toLowerCase() }))).toBe(
      'password_binding_mismatch',
    );
    const pinned = await seal(password, key, to({ fingerprint: pin }));
    expect(await refusal(pinned, [key], to({ fingerprint: pin.toUpperCase() }))).toBeNull();
    expect(await refusal(pinned, [key], to({ fingerprint: 'ac'.repeat(32) }))).toBe('password_binding_mismatch');
    expect(await refusal(pinned, [key], to({ caPem: pin }))).toBe('password_binding_mismatch');
  });

  test('opens for the host in other ASCII letters, but not for a name that only folds to it', async () => {
    const at = (host: string): SealContext => ({ ...context, connection: { ...context.connection, host } });
    expect(await refusal(stored, [key], at('IMAP.Example.TEST'))).toBeNull();
    const kiosk = await seal(password, key, at('kiosk.example.test'));
    expect(await refusal(kiosk, [key], at('\u212Aiosk.example.test'))).toBe('password_binding_mismatch');
  });

  test('never opens where any two contexts differ', async () => {
    const text = fc.oneof(
      fc.constantFrom('', 'null', '"', '",', '\\', '\ud800', '\\ud800'),
      fc.string({ maxLength: 5 }),
    );
    const contexts = fc.record({
      mailboxId: text,
      connection: fc.record({
        host: text.map((host) => host.toLowerCase()),
        port: fc.integer({ min: 1, max: 3 }),
        tls: text,
        caPem: fc.option(text),
        fingerprint: fc.option(text.map((digits) => digits.toLowerCase())),
        allowPlaintext: fc.boolean(),
        user: text,
      }),
    });
    const same = contexts.map((one) => [one, structuredClone(one)] as const);
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.tuple(contexts, contexts), same), async ([one, other]) => {
        const isSame = JSON.stringify(one) === JSON.stringify(other);
        expect(await refusal(await seal(password, key, one), [key], other)).toBe(
          isSame ? null : 'password_binding_mismatch',
        );
      }),
      { numRuns: 500 },
    );
  });
});

describe('a key', () => {
  test('that is not open is named', async () => {
    const sealed = await seal(password, otherKey);
    for (const keys of [[], [key]]) {
      expect(thrown(() => unsealPassword(ascii(sealed), keys, context))).toMatchObject({
        code: 'key_unknown',
        fields: { key_id: otherKey.id },
        message: expect.stringContaining(otherKey.id),
      });
      expect(await refusal(sealed, keys)).toBe('key_unknown');
    }
  });

  test('that takes the id of another opens nothing, and what it sealed is refused', async () => {
    const impostor: Key = { ...otherKey, id: key.id };
    expect(await refusal(await seal(password, impostor))).toBe('password_damaged');
    expect(await refusal(stored, [impostor])).toBe('password_damaged');
  });

  test('that is unknown is reported before another context, and that before a wrong tag', async () => {
    const other = { ...context, mailboxId: 'x' };
    const torn = withParts({ 4: 'A'.repeat(22) });
    expect(await refusal(torn, [otherKey], other)).toBe('key_unknown');
    expect(await refusal(torn, [key], other)).toBe('password_binding_mismatch');
    expect(await refusal(torn)).toBe('password_damaged');
    expect(await refusal(`${torn}=`, [otherKey], other)).toBe('password_damaged');
  });

  test.each([
    '',
    'a',
    '0123456789abcde',
    '0123456789abcdef0',
    '0123456789ABCDEF',
    '\u001b[2J0123456789ab',
    '../../etc',
  ])('id of another form is not repeated in a failure (%#)', async (kid) => {
    const sealed = forged(JSON.stringify({ ...header, kid }));
    expect(await refusal(sealed)).toBe('password_damaged');
    expect(() => keyIdOfSealed(ascii(sealed))).toThrow(expect.objectContaining({ code: 'password_damaged' }));
  });
});

/** The header, with these members added or changed. */
const headerWith = (change: Readonly<Record<string, unknown>>): string => JSON.stringify({ ...header, ...change });
const { alg, enc, kid, ctx } = header;

describe('a header', () => {
  test('of the one form is taken', async () => {
    expect(`${await open(forged(JSON.stringify(header)))}`).toBe(password);
  });

  test.each([
    ...[
      'none',
      'A256KW',
      'A256GCMKW',
      'ECDH-ES',
      'ECDH-ES+A256KW',
      'PBES2-HS256+A128KW',
      'RSA-OAEP',
      'DIR',
      '',
      'HS256',
    ].map((name) => headerWith({ alg: name })),
    ...['A128GCM', 'A192GCM', 'A256CBC-HS512', 'A128CBC-HS256', 'a256gcm', 'none', ''].map((name) =>
      headerWith({ enc: name }),
    ),
    headerWith({ zip: 'DEF' }),
    headerWith({ crit: ['exp'], exp: 1 }),
    headerWith({ crit: [] }),
    headerWith({ b64: false, crit: ['b64'] }),
    headerWith({ b64: true }),
    headerWith({ typ: 'JWT' }),
    headerWith({ jku: 'https://evil.test/' }),
    headerWith({ jwk: { kty: 'oct', k: 'AAAA' } }),
    headerWith({ p2c: 1, p2s: 'AAAA' }),
    headerWith({ x: null }),
    ...['command', 'table', '', null, true].map((from) => headerWith({ from })),
    headerWith({ from: 'table', x: 1 }),
    JSON.stringify({ alg, enc, kid, from: 'table', ctx }),
    JSON.stringify({ from: 'table', ...header }),
    `${JSON.stringify(header).slice(0, -1)},"from":"table","from":"table"}`,
    headerWith({ alg: ['dir'] }),
    headerWith({ kid: 1 }),
    headerWith({ kid: null }),
    headerWith({ ctx: null }),
    headerWith({ ctx: [ctx] }),
    headerWith({ ctx: `${ctx}=` }),
    headerWith({ ctx: '' }),
    JSON.stringify({ alg, enc, kid }),
    JSON.stringify({ alg, enc, ctx }),
    JSON.stringify({ alg, kid, ctx }),
    JSON.stringify({ enc, kid, ctx }),
    JSON.stringify({ enc, alg, kid, ctx }),
    JSON.stringify([header]),
    JSON.stringify(JSON.stringify(header)),
    JSON.stringify(header, null, 1),
    `${JSON.stringify(header)}\n`,
    ` ${JSON.stringify(header)}`,
    `\ufeff${JSON.stringify(header)}`,
    `${JSON.stringify(header)}${JSON.stringify(header)}`,
    `{"alg":"none","alg":"${alg}","enc":"${enc}","kid":"${kid}","ctx":"${ctx}"}`,
    `{"alg":"${alg}","enc":"${enc}","kid":"${kid}","kid":"${kid}","ctx":"${ctx}"}`,
    `{"alg":"${alg}","enc":"${enc}","kid":"${kid}","ctx":"${ctx}","ctx":"${ctx}"}`,
    `{"alg":"${alg}","enc":"${enc}","kid":"${kid}","ctx":"${ctx}","al\\u0067":"none"}`,
    `{"al\\u0067":"${alg}","enc":"${enc}","kid":"${kid}","ctx":"${ctx}"}`,
    `{"alg":"${alg}","enc":"${enc}","kid":"${kid}","ctx":"${ctx}","__proto__":{}}`,
    '{}',
    'null',
    '',
    '{"alg":"dir"',
    `{"alg":"${alg}","enc":"${enc}","kid":"${kid}`,
  ])('of any other form is refused before anything is decrypted, although its tag fits: %s', async (text) => {
    const decrypt = vi.spyOn(crypto.subtle, 'decrypt');
    const sealed = forged(text);
    expect(await refusal(sealed)).toBe('password_damaged');
    expect(() => keyIdOfSealed(ascii(sealed))).toThrow(expect.objectContaining({ code: 'password_damaged' }));
    expect(decrypt).not.toHaveBeenCalled();
  });

  test('of another algorithm is refused, when jose itself made it so', async () => {
    const { publicKey } = generateKeyPairSync('x25519');
    const more = { kid, ctx };
    const encrypt = (
      how: { alg: string; enc: string; zip?: string },
      with_: Parameters<CompactEncrypt['encrypt']>[0],
    ) => new CompactEncrypt(Buffer.from(password)).setProtectedHeader({ ...how, ...more }).encrypt(with_);
    const made = await Promise.all([
      encrypt({ alg: 'A256KW', enc }, counting(1)),
      encrypt({ alg: 'A256GCMKW', enc }, counting(1)),
      encrypt({ alg: 'PBES2-HS256+A128KW', enc }, counting(1)),
      encrypt({ alg: 'ECDH-ES', enc }, publicKey),
      encrypt({ alg: 'dir', enc: 'A128GCM' }, counting(1).slice(0, 16)),
      encrypt({ alg: 'dir', enc: 'A256CBC-HS512' }, Buffer.concat([counting(1), counting(1)])),
      encrypt({ alg: 'dir', enc, zip: 'DEF' }, key.object),
    ]);
    const decrypt = vi.spyOn(crypto.subtle, 'decrypt');
    expect(await Promise.all(made.map((sealed) => refusal(sealed)))).toEqual(made.map(() => 'password_damaged'));
    expect(decrypt).not.toHaveBeenCalled();
    expect(await refusal(await encrypt({ alg: 'dir', enc }, key.object))).toBeNull();
  });
});

describe('bytes that only resemble a sealed password', () => {
  const [first = '', , iv = '', ciphertext = '', tag = ''] = stored.split('.');
  /** The same bytes, with a bit set that belongs to none of them. */
  const stray = (part: string): string => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const last = alphabet.indexOf(part.slice(-1));
    return part.slice(0, -1) + (alphabet[last + 1] ?? '');
  };

  test.each([
    '',
    '.',
    '....',
    'eyJ',
    'eyJ…',
    'a.b.c.d.e',
    first,
    `${first}..`,
    `${first}....`,
    `${first}..${iv}.${ciphertext}`,
    `${stored}.`,
    `${stored}.AAAA`,
    `.${stored}`,
    `${stored}=`,
    `${stored}==`,
    `${stored}\n`,
    `${stored} `,
    `${stored}\0`,
    ` ${stored}`,
    `"${stored}"`,
    withParts({ 0: `${first}=` }),
    withParts({ 0: `${first}==` }),
    withParts({ 0: ` ${first}` }),
    withParts({ 0: `${first.slice(0, 60)}\n${first.slice(60)}` }),
    withParts({ 0: stray(first) }),
    withParts({ 2: iv.slice(0, -4) }),
    withParts({ 2: `${iv}AAAA` }),
    withParts({ 2: `${iv.slice(0, -1)}+` }),
    withParts({ 2: `${iv.slice(0, -1)}/` }),
    withParts({ 3: '' }),
    withParts({ 3: 'A' }),
    withParts({ 3: 'AAAAA' }),
    withParts({ 3: `${ciphertext}=` }),
    withParts({ 3: `${ciphertext.slice(0, 4)} ${ciphertext.slice(4)}` }),
    withParts({ 3: stray(ciphertext) }),
    withParts({ 4: stray(tag) }),
    withParts({ 4: `${tag}==` }),
    withParts({ 4: tag.slice(0, 20) }),
    withParts({ 4: `${tag}AA` }),
    withParts({ 4: tag.slice(0, 16) }),
    password,
    `eyJ${password}`,
    'x'.repeat(4096),
    'x'.repeat(5000),
    '.'.repeat(4096),
    `${first}..${iv}.${'A'.repeat(4096)}.${tag}`,
    'A'.repeat(1_000_000),
  ])('is refused before anything is decrypted (%#)', async (text) => {
    const decrypt = vi.spyOn(crypto.subtle, 'decrypt');
    expect(await refusal(text)).toBe('password_damaged');
    expect(() => keyIdOfSealed(ascii(text))).toThrow(expect.objectContaining({ code: 'password_damaged' }));
    expect(decrypt).not.toHaveBeenCalled();
  });

  test('the last bits of the parts above do stray', () => {
    for (const part of [first, ciphertext, tag])
      expect(Buffer.from(stray(part), 'base64url')).toEqual(Buffer.from(part, 'base64url'));
  });

  test('any bytes at all are refused', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 5000 }), async (bytes) => {
        expect(await refusal(bytes)).toBe('password_damaged');
      }),
    );
  });

  test('is refused when it holds no password, although it was sealed with the key', async () => {
    for (const content of ['', '\0', 'a\0', '\0a', 'x'.repeat(1025), 'x'.repeat(2500)]) {
      expect(await refusal(forged(JSON.stringify(header), content))).toBe('password_damaged');
    }
    for (const content of ['x', 'x'.repeat(1024), Buffer.from([255])]) {
      expect(await refusal(forged(JSON.stringify(header), content))).toBeNull();
    }
  });
});

test('contains only the code of a cipher error', () => {
  const failure = thrown(() => unsealPassword(ascii(withParts({ 4: 'A'.repeat(22) })), [key], context));
  expect(failure).toMatchObject({ code: 'password_damaged', fields: { cause: expect.any(String) } });
  expect((failure as Failure).cause).toBeUndefined();
});
