/**
 * The MariaDB that tests run against does what it says: its own data, a crash and a return, TLS.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Mariadb, startMariadb } from './mariadb.ts';

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

test('durable means that every commit is synced', async () => {
  expect(await mariadb.query('SELECT @@innodb_flush_log_at_trx_commit, @@have_ssl')).toBe('1\tYES\n');
});
