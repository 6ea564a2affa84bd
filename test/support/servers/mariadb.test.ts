/**
 * The MariaDB and the MySQL that tests run against do what they say: its own data, a crash and a return, TLS.
 */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Mariadb, startMariadb } from './mariadb.ts';
import { startMysql, whyNoMysql } from './mysql.ts';

let mariadb: Mariadb;

beforeAll(async () => {
  mariadb = await startMariadb({ durable: true });
});

afterAll(() => mariadb[Symbol.asyncDispose]());

test('each database is a new one', async () => {
  const [one, other] = [await mariadb.createDatabase(), await mariadb.createDatabase({ characterSet: 'latin1' })];
  await mariadb.query(`CREATE TABLE ${one.name}.tickets (id INT)`);
  expect(await mariadb.query(`SHOW TABLES FROM ${one.name}`)).toBe('tickets\n');
  expect(await mariadb.query(`SHOW TABLES FROM ${other.name}`)).toBe('');
  expect(await mariadb.query(`SHOW CREATE DATABASE ${other.name}`)).toContain('latin1');
});

test('what was committed is there again after a crash, at the same port', async () => {
  const { name, config } = await mariadb.createDatabase();
  await mariadb.query(`CREATE TABLE ${name}.tickets (id INT); INSERT INTO ${name}.tickets VALUES (7)`);
  await mariadb.kill();
  await expect(mariadb.query('SELECT 1')).rejects.toThrow(/Can't connect/);
  await mariadb.restart();
  expect(await mariadb.query(`SELECT id, @@port FROM ${name}.tickets`)).toBe(`7\t${config.hosts[0]?.port}\n`);
});

test('an error in SQL fails with the words of the server', async () => {
  await expect(mariadb.query('SELECT nothing')).rejects.toThrow(/Unknown column/);
});

describe.skipIf(whyNoMysql() !== null)(`MySQL${leftOut(whyNoMysql())}`, { tags: ['long'] }, () => {
  test('has its own data, survives a crash at the same port, and shows its certificate', async () => {
    await using mysql = await startMysql({ binaryLog: true, redoCapacityMb: 64, ownCertificate: true });
    const { name, config } = await mysql.createDatabase();
    await mysql.query(`CREATE TABLE ${name}.tickets (id INT); INSERT INTO ${name}.tickets VALUES (7)`);
    await mysql.kill();
    await expect(mysql.query('SELECT 1')).rejects.toThrow(/Can't connect/);
    await mysql.restart();
    const columns = 'id, @@port, @@log_bin, @@innodb_redo_log_capacity';
    expect(await mysql.query(`SELECT ${columns} FROM ${name}.tickets`)).toBe(
      `7\t${config.hosts[0]?.port}\t1\t${64 * 1024 ** 2}\n`,
    );
    const certificate = new X509Certificate(await readFile(join(mysql.dataFolder, 'server-cert.pem')));
    expect(mysql.fingerprint).toBe(certificate.fingerprint256);
    await expect(mysql.query('SELECT nothing')).rejects.toThrow(/Unknown column/);
  }, 300_000);
});

function leftOut(why: string | null): string {
  return why === null ? '' : ` (left out: ${why})`;
}

test('durable means that every commit is synced', async () => {
  expect(await mariadb.query('SELECT @@innodb_flush_log_at_trx_commit, @@have_ssl')).toBe('1\tYES\n');
});
