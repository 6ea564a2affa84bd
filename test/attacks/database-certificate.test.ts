/**
 * A program takes the port of a database whose certificate is pinned, and offers TLS with another certificate: it gets
 * no user name, no challenge response and no byte of the password, also after a failover, a reload and a reconnect.
 */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase } from '../../src/adapters/database/database.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { failureOf } from '../support/promises.ts';
import { type CertificateKind, makeCertificates, readCertificates } from '../support/servers/authority.ts';
import { type FakeMysqlPlan, isTlsRequest, startFakeMysql } from '../support/servers/fake-mysql.ts';
import type { MysqlConfig } from '../support/servers/mariadb.ts';
import { certificatesTemplate } from '../support/servers/templates.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts';

const password = 'correct-horse-battery-staple';
const user = 'keeper-of-the-helpdesk';
const stack = new AsyncDisposableStack();
let folder: TemporaryFolder;

beforeAll(async () => {
  folder = stack.use(await temporaryFolder('other-authority'));
  await makeCertificates(folder.path);
});
afterAll(() => stack.disposeAsync());

type Host = { readonly host: string; readonly port: number };

function configOf(fingerprint: string, ...hosts: readonly Host[]): MysqlConfig {
  return {
    ...{ kind: 'mysql', hosts: hosts.map(({ host, port }) => ({ host, port })), socketPath: null, user },
    ...{ database: 'helpdesk_mail', password: SecretBytes.take(Buffer.from(password)), connectionsMax: 1 },
    ...{ tls: 'verify', caPem: null, fingerprint, serverKeyPem: null },
  };
}

/** The server that is pinned, of any kind of certificate. */
async function genuine(kind: CertificateKind = 'good') {
  const { certificateFile, keyFile, fingerprint, caPem } = await readCertificates(await certificatesTemplate(), kind);
  const tls = { cert: await readFile(certificateFile), key: await readFile(keyFile) };
  return { tls, caPem, pin: fingerprint.replaceAll(':', '').toLowerCase() };
}

/** A listener with a certificate of its own, for the same names. */
async function startListener(more: Partial<FakeMysqlPlan> = {}, port?: number) {
  const { certificateFile, keyFile, fingerprint } = await readCertificates(folder.path);
  const tls = { cert: await readFile(certificateFile), key: await readFile(keyFile) };
  const fake = await startFakeMysql({ switchTo: 'caching_sha2_password', tls, ...more }, port ? { port } : {});
  const expectNothingLearned = async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(fake.logins()).toBeGreaterThan(0);
    expect(fake.received().filter((payload) => !isTlsRequest(payload))).toEqual([]);
    expect(fake.learned(password)).toBe(false);
    expect(fake.learned(user)).toBe(false);
  };
  return Object.assign(fake, { shown: fingerprint.replaceAll(':', '').toLowerCase(), expectNothingLearned });
}

describe('another certificate than the pinned one', () => {
  test('gets nothing but the request for TLS; the error names both, its hint how to compare', async () => {
    await using listener = await startListener();
    const { pin } = await genuine();
    await using db = await openDatabase(configOf(pin, listener));
    const failure = await failureOf(db.ping());
    expect(failure).toMatchObject({
      code: 'database_pin_mismatch',
      message: `The database at 127.0.0.1:${listener.port} presents another certificate than the pinned one.`,
      fields: { pinned: pin, shown: listener.shown },
    });
    expect(failure.hint).toContain(listener.shown);
    expect(failure.hint).toContain('openssl x509 -in /var/lib/mysql/server-cert.pem -noout -fingerprint -sha256');
    await listener.expectNothingLearned();
  });

  test.each(['caching_sha2_password', 'mysql_native_password', 'mysql_clear_password'])(
    'gets nothing by asking for %s in plain text before TLS',
    async (switchBeforeTls) => {
      await using listener = await startListener({ switchBeforeTls });
      await using db = await openDatabase(configOf((await genuine()).pin, listener));
      expect((await failureOf(db.ping())).domain).toBe('database');
      await listener.expectNothingLearned();
    },
  );

  test('packets in plain text before TLS end the connection, also where the certificate is the pinned one', async () => {
    const { tls, pin } = await genuine();
    await using fake = await startFakeMysql({ switchTo: null, tls, switchBeforeTls: 'caching_sha2_password' });
    await using db = await openDatabase(configOf(pin, fake));
    expect(await failureOf(db.ping())).toMatchObject({
      code: 'database_unavailable',
      message: expect.stringContaining('A packet arrived before TLS'),
    });
    expect(fake.received().filter((payload) => !isTlsRequest(payload))).toEqual([]);
  });

  test('is skipped for the next host, and refused there too after a failover', async () => {
    const { tls, pin } = await genuine();
    await using listener = await startListener();
    await using honest = await startFakeMysql({ switchTo: 'caching_sha2_password', tls });
    await using db = await openDatabase(configOf(pin, listener, honest));
    await db.ping();
    await listener.expectNothingLearned();
    expect(honest.learned(password)).toBe(true);
    await using other = await openDatabase(configOf(pin, { host: '127.0.0.1', port: 1 }, listener));
    const failure = await failureOf(other.ping());
    expect(failure.message).toContain(`127.0.0.1:${listener.port} (tls_pin_mismatch)`);
    await listener.expectNothingLearned();
  });

  test('gets nothing at a reconnect on the port of the genuine one', async () => {
    const { tls, pin } = await genuine();
    const honest = await startFakeMysql({ switchTo: 'caching_sha2_password', tls });
    await using db = await openDatabase(configOf(pin, honest));
    await db.ping();
    const { port } = honest;
    await honest[Symbol.asyncDispose]();
    await using listener = await startListener({}, port);
    await expect.poll(async () => (await failureOf(db.ping())).code).toBe('database_pin_mismatch');
    await listener.expectNothingLearned();
  });
});

test('a reload with another fingerprint lets go of the open connection, and the next one is refused', async () => {
  const { tls, pin } = await genuine();
  await using honest = await startFakeMysql({ switchTo: 'caching_sha2_password', tls });
  const config = configOf(pin, honest);
  await using db = await openDatabase(config);
  await db.ping();
  const sent = honest.received().length;
  db.useLogin({ ...config, fingerprint: '0'.repeat(64) });
  expect((await failureOf(db.ping())).code).toBe('database_pin_mismatch');
  db.useLogin(config);
  await db.ping();
  expect(honest.received().length).toBeGreaterThan(sent);
});

test.each(['good', 'expired', 'other_name'] as const)(
  'the pinned certificate (%s) is trusted without its authority, and gets the whole password',
  async (kind) => {
    const { tls, pin } = await genuine(kind);
    await using honest = await startFakeMysql({ switchTo: 'caching_sha2_password', tls });
    await using db = await openDatabase(configOf(pin, honest));
    await db.ping();
    expect(honest.learned(password)).toBe(true);
  },
);

test('without TLS a pinned server gets no login', async () => {
  await using fake = await startFakeMysql({ switchTo: 'caching_sha2_password' });
  await using db = await openDatabase(configOf('0'.repeat(64), fake));
  expect((await failureOf(db.ping())).fields.cause).toBe('HANDSHAKE_NO_SSL_SUPPORT');
  expect(fake.received()).toEqual([]);
});

test('an untrusted certificate without a pin: the hint names its fingerprint and the key; not for an expired one', async () => {
  await using listener = await startListener();
  const verified = { ...configOf('', listener), fingerprint: null };
  await using db = await openDatabase(verified);
  const failure = await failureOf(db.ping());
  expect(failure).toMatchObject({ code: 'database_unavailable', fields: { shown: listener.shown } });
  expect(failure.hint).toContain(listener.shown);
  expect(failure.hint).toContain('set fingerprint in [database]');
  await listener.expectNothingLearned();
  const { tls, caPem } = await genuine('expired');
  await using late = await startFakeMysql({ switchTo: null, tls });
  await using other = await openDatabase({ ...configOf('', late), fingerprint: null, caPem });
  expect((await failureOf(other.ping())).hint).not.toContain('fingerprint');
});
