/**
 * Session variables that an administrator set for everyone to values that break statements: the session sets what it
 * relies on, on MariaDB and MySQL, from the migration to a disabled encryption.
 */
import { expect, test } from 'vitest';
import { enabled, openSetting } from '../../../support/encryption-setting.ts';
import { named } from '../../../support/processes/daemon.ts';
import { startDovecot } from '../../../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../../../support/servers/mariadb.ts';
import { startMysql, whyNoMysql } from '../../../support/servers/mysql.ts';

const hostile: readonly string[] = [
  'sql_safe_updates = 1',
  'completion_type = 2',
  'autocommit = 0',
  `sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'`,
  'sql_select_limit = 1',
  'max_join_size = 1',
  'sql_big_selects = 0',
  'sql_auto_is_null = 1',
  'foreign_key_checks = 0',
  'unique_checks = 0',
  'net_read_timeout = 1',
  'net_write_timeout = 1',
  'wait_timeout = 1',
  'innodb_lock_wait_timeout = 1',
  'lock_wait_timeout = 1',
  `init_connect = 'set names latin1'`,
  'character_set_server = latin1',
  'default_storage_engine = MyISAM',
  `time_zone = '+05:00'`,
  'group_concat_max_len = 4',
  'div_precision_increment = 0',
  'max_sort_length = 64',
  'tmp_table_size = 1024',
  'sql_quote_show_create = 0',
];

/** Those that the other product lacks, or names otherwise. */
const ofMariadb: readonly string[] = [
  `tx_isolation = 'SERIALIZABLE'`,
  'tx_read_only = 1',
  'max_statement_time = 0.05',
  'check_constraint_checks = 0',
  `alter_algorithm = 'INSTANT'`,
  'idle_readonly_transaction_timeout = 1',
  'idle_write_transaction_timeout = 1',
  'old_passwords = 1',
];
const ofMysql: readonly string[] = [
  `transaction_isolation = 'SERIALIZABLE'`,
  'transaction_read_only = 1',
  'max_execution_time = 1',
  'sql_require_primary_key = 1',
  'sql_generate_invisible_primary_key = 1',
];

async function livesWith(server: Mariadb, variables: readonly string[]): Promise<void> {
  await using dovecot = await startDovecot();
  const database = await server.createDatabase();
  await server.query(variables.map((variable) => `SET GLOBAL ${variable};`).join('\n'));
  await using setting = await openSetting({ ...server, createDatabase: async () => database }, dovecot);
  const deliver = (subject: string) =>
    dovecot.append(setting.user, 'INBOX', [Buffer.from(`Subject: ${subject} 😀 \\'\r\n\r\nHello\r\n`)]);
  await deliver('before');
  await using daemon = setting.start();
  await daemon.waitFor(named('message.ticket_opened'));
  await enabled(setting);
  for (const [at, args] of [['rotate'], ['disable', '--yes']].entries()) {
    await deliver(`${at}`);
    const isNext = (): boolean => daemon.lines.filter(named('message.ticket_opened')).length === at + 2;
    await daemon.waitFor(isNext);
    const { code, stderr } = await setting.command(['encryption', ...args]);
    expect(`${code} ${stderr}`, args.join()).toMatch(/^0 /);
  }
  const subjects = await server.query(
    `SET sql_select_limit = 100, sql_big_selects = 1; SET NAMES utf8mb4; SELECT subject FROM ${setting.database}.ticket`,
  );
  expect(subjects).toContain('before 😀');
  const troubles = ['poll.failed', 'database.unavailable', 'database.failed', 'heartbeat.failed'];
  expect(daemon.lines.filter(({ event }) => troubles.includes(String(event)))).toEqual([]);
  expect(await setting.command(['mailbox', 'remove', setting.user, '--yes'])).toMatchObject({ code: 0 });
}

test('MariaDB', { timeout: 120_000 }, async () => {
  await using server = await startMariadb();
  await livesWith(server, [...hostile, ...ofMariadb]);
});

const why = whyNoMysql();

test.skipIf(why !== null)(
  `MySQL${why === null ? '' : ` (left out: ${why})`}`,
  { tags: ['long'], timeout: 300_000 },
  async () => {
    await using server = await startMysql();
    await livesWith(server, [...hostile, ...ofMysql]);
  },
);
