/**
 * A pinned certificate of a real server: MariaDB with one of an authority, MySQL with the one that it makes for itself.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase } from '../../../../src/adapters/database/database.ts';
import { openCommandLine } from '../../../commands/command-line.ts';
import { failureOf } from '../../../support/promises.ts';
import { readCertificates } from '../../../support/servers/authority.ts';
import { type Mariadb, type MysqlConfig, startMariadb } from '../../../support/servers/mariadb.ts';
import { startMysql, whyNoMysql } from '../../../support/servers/mysql.ts';
import { certificatesTemplate } from '../../../support/servers/templates.ts';
import { startChunkProxy } from './hosts-scene.ts';

const stack = new AsyncDisposableStack();
let mariadb: Mariadb;
let fingerprint: string;
let config: MysqlConfig;
let url: string;

beforeAll(async () => {
  mariadb = stack.use(await startMariadb());
  ({ fingerprint } = await readCertificates(await certificatesTemplate()));
  ({ config, url } = await mariadb.createDatabase());
});
afterAll(() => stack.disposeAsync());

function digits(text: string): string {
  return text.replaceAll(':', '').toLowerCase();
}

const tlsRequestLength = 36;

/**
 * The records of TLS (RFC 8446) that a client sent after its request for TLS, of type application data and longer than
 * Finished and an alert: a handshake response of MySQL is.
 */
function longRecords(sent: Buffer): number {
  let found = 0;
  for (let at = tlsRequestLength; at + 5 <= sent.length; at += 5 + sent.readUInt16BE(at + 3))
    if (sent[at] === 23 && sent.readUInt16BE(at + 3) > 100) found += 1;
  return found;
}

const wrong = '0'.repeat(64);

test('the right pin connects without an authority, prepares and commits; a wrong one sends no login', async () => {
  await using db = await openDatabase({ ...config, tls: 'verify', fingerprint: digits(fingerprint) });
  await db.migrations.apply();
  await db.ping();
  const toServer: Buffer[] = [];
  await using proxy = await startChunkProxy(mariadb.port, () => ({
    toServer: (chunk, pass) => {
      toServer.push(chunk);
      pass();
    },
  }));
  const through = { ...config, hosts: [{ host: proxy.host, port: proxy.port }], tls: 'verify' as const };
  await using other = await openDatabase({ ...through, fingerprint: wrong });
  const failure = await failureOf(other.ping());
  expect(failure).toMatchObject({
    code: 'database_pin_mismatch',
    fields: { pinned: wrong, shown: digits(fingerprint) },
  });
  expect(longRecords(Buffer.concat(toServer))).toBe(0);
  await using trusted = await openDatabase({ ...through, fingerprint: digits(fingerprint) });
  toServer.splice(0);
  await trusted.ping();
  expect(longRecords(Buffer.concat(toServer))).toBeGreaterThan(0);
});

test('check shows the pin; with another one its hint has the fingerprint that the server shows', async () => {
  const environment = (pin: string) => ({ TICKETMAILD_DATABASE_URL: url, TICKETMAILD_DATABASE_FINGERPRINT: pin });
  await using line = await openCommandLine(environment(fingerprint));
  await line.run(['migrate']);
  const checked = await line.run(['check']);
  expect(checked.code, checked.out).toBe(0);
  expect(checked.out).toContain(`TLS verify, certificate pinned sha256 ${digits(fingerprint)}`);
  expect(checked.out).not.toContain('nothing proves');
  await using pinned = await openCommandLine(environment(wrong));
  const refused = await pinned.run(['check']);
  expect(refused.code).toBe(1);
  expect(refused.out + refused.err).toContain('presents another certificate than the pinned one');
  expect((refused.out + refused.err).replaceAll(/\s/g, '')).toContain(digits(fingerprint));
});

const why = whyNoMysql();

describe.skipIf(why !== null)(`MySQL${why === null ? '' : ` (left out: ${why})`}`, { tags: ['long'] }, () => {
  test('its own certificate, which names no host: untrusted, then pinned', { timeout: 600_000 }, async () => {
    await using mysql = await startMysql({ ownCertificate: true });
    const database = await mysql.createDatabase();
    const pin = digits(mysql.fingerprint);
    await using verified = await openDatabase({ ...database.config, caPem: null });
    const untrusted = await failureOf(verified.ping());
    expect(untrusted).toMatchObject({ code: 'database_unavailable', fields: { cause: 'HANDSHAKE_SSL_ERROR' } });
    expect(untrusted.hint).toContain(pin);
    await using db = await openDatabase({ ...database.config, caPem: null, fingerprint: pin });
    await db.migrations.apply();
    await db.ping();
    await mysql.restart();
    await expect
      .poll(() =>
        db.ping().then(
          () => true,
          () => false,
        ),
      )
      .toBe(true);
    await using other = await openDatabase({ ...database.config, caPem: null, fingerprint: wrong });
    expect((await failureOf(other.ping())).code).toBe('database_pin_mismatch');
    expect(await mysql.query('show status like "Aborted_clients"')).toMatch(/^Aborted_clients\t0$/m);
  });
});
