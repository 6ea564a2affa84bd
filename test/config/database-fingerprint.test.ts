/** The fingerprint of the database's certificate: accepted forms, TLS with it, and settings that contradict it. */
import { expect, test } from 'vitest';
import { readMailboxChanges } from '../../src/admin/mailboxes/options.ts';
import { loadConfig } from '../../src/config/load.ts';
import { readTargetDatabase, type TargetSettings } from '../../src/config/target-database.ts';
import { Failure } from '../../src/errors.ts';
import { sampleMailbox } from '../adapters/database/samples.ts';

const digits = '0123456789abcdef'.repeat(4);
const colons = digits.toUpperCase().replaceAll(/..(?=.)/g, '$&:');

function readFile(): Uint8Array {
  throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
}

function database(env: Record<string, string>) {
  const settings = { TICKETMAILD_DATA_DIR: '/data', TICKETMAILD_DATABASE_URL: 'mysql://u@127.0.0.1/t', ...env };
  const loaded = loadConfig({
    file: null,
    env: settings,
    cwd: '/srv/app',
    ownFile: null,
    readFile,
  });
  return loaded.database;
}

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof Failure) return error.message;
    throw error;
  }
  throw new Error('it was accepted');
}

const forms = [digits, colons, `SHA256 Fingerprint=${colons}`, `sha256:${digits}`, `sha-256=${digits} `];

test.each(forms)('%s is read as the pin of a mail server is', (text) => {
  const pinned = database({ TICKETMAILD_DATABASE_FINGERPRINT: text });
  expect(pinned).toMatchObject({ fingerprint: digits, caPem: null });
  const sources = { readFile, nowMs: 0 } as unknown as Parameters<typeof readMailboxChanges>[2];
  expect(readMailboxChanges({ fingerprint: text }, sampleMailbox(), sources).connection.fingerprint).toBe(digits);
});

test.each([`${digits}0`, digits.slice(1), `sha1=${digits.slice(24)}`, 'x'.repeat(64), `${digits}, ${digits}`])(
  '%s is no fingerprint, and is not quoted',
  (text) => {
    const told = refusal(() => database({ TICKETMAILD_DATABASE_FINGERPRINT: text }));
    expect(told).toBe(
      'TICKETMAILD_DATABASE_FINGERPRINT must be a SHA-256 fingerprint, 64 hexadecimal digits, colons allowed',
    );
  },
);

test('auto is TLS with a fingerprint, also on this machine; an empty one is none', () => {
  const pin = { TICKETMAILD_DATABASE_FINGERPRINT: digits };
  expect(database({})).toMatchObject({ tls: 'off', fingerprint: null });
  expect(database({ TICKETMAILD_DATABASE_FINGERPRINT: '' })).toMatchObject({ tls: 'off', fingerprint: null });
  expect(database(pin)).toMatchObject({ tls: 'verify', fingerprint: digits });
  expect(database({ ...pin, TICKETMAILD_DATABASE_TLS: 'verify' })).toMatchObject({
    tls: 'verify',
    fingerprint: digits,
  });
  expect(database({ ...pin, TICKETMAILD_DATABASE_URL: 'mysql://u@h,i/t' })).toMatchObject({ fingerprint: digits });
});

const contradictions = [
  [{ TICKETMAILD_DATABASE_TLS: 'off' }, 'must be left out with database.tls "off"'],
  [
    { TICKETMAILD_DATABASE_URL: 'mysql://u@localhost/t?socket=/run/mysqld/mysqld.sock' },
    'must be left out with a unix socket, which has no TLS',
  ],
  [
    { TICKETMAILD_DATABASE_URL: 'mysql://u@localhost/t?socket=/run/s', TICKETMAILD_DATABASE_TLS: 'off' },
    'must be left out with a unix socket, which has no TLS',
  ],
  [
    { TICKETMAILD_DATABASE_URL: 'sqlite:ticketmaild.db' },
    'must be left out with a database that is not MySQL or MariaDB',
  ],
] as const;

test.each(contradictions)('with %o: one line', (env, rule) => {
  const told = refusal(() => database({ ...env, TICKETMAILD_DATABASE_FINGERPRINT: digits }));
  expect(told).toBe(`TICKETMAILD_DATABASE_FINGERPRINT ${rule}`);
});

const target = (more: Partial<TargetSettings>) =>
  readTargetDatabase({ url: 'mysql://u@h/t', fingerprint: colons, ...more }, () => readFile(), '/srv/app');

test('the target of a copy has the same key and the same rules', () => {
  expect(target({})).toMatchObject({ tls: 'verify', fingerprint: digits });
  expect(refusal(() => target({ tls: 'off' }))).toBe('--to-fingerprint must be left out with database.tls "off"');
  expect(refusal(() => target({ ca_file: 'ca.pem' }))).toContain(
    '--to-fingerprint must be left out with database.ca_file: a pinned certificate is the only trusted one',
  );
  expect(refusal(() => target({ fingerprint: 'x' }))).toBe(
    '--to-fingerprint must be a SHA-256 fingerprint, 64 hexadecimal digits, colons allowed',
  );
});
