/**
 * Error translation: the only place that converts errors of mysql2 and node:sqlite into a Failure.
 *
 * The text of a server error can quote values of the statement, and mysql2 attaches the whole statement to its errors.
 * Neither is passed on, except the texts of the codes below that concern the connection or the schema alone; the code
 * itself is in the fields `cause` and `errno`.
 */
import { causeCode, Failure, type FailureCode, type FailureFields, isFailure } from '../../../errors.ts';
import { hints, withFingerprint } from '../../../text/hints.ts';

type Entry = readonly [code: FailureCode, numbers: readonly number[]];

/** Error numbers of MySQL 8.4 to 9 and MariaDB 10.6 to 12; a number that only one of them has means the same. */
const mysqlNumbers = new Map<number, FailureCode>(
  (
    [
      // Starting, stopping, full, blocked, killed, read-only (a replica after a fail-over), no quorum (Galera).
      [
        'database_unavailable',
        [
          1040, 1042, 1043, 1047, 1049, 1053, 1129, 1152, 1158, 1159, 1160, 1161, 1180, 1203, 1226, 1290, 1317, 1792,
          1836, 1927, 1969, 3024, 3032, 3100, 3169, 4031,
        ],
      ],
      ['database_denied', [1044, 1045, 1130, 1131, 1142, 1143, 1227, 1251, 1370, 1410, 1698, 1820, 1862, 3118, 3159]],
      ['database_outdated', [1054, 1146]],
      ['database_conflict', [1020, 1205, 1213]],
      // Too large, out of range, of another type or character set; NOT NULL (1048, 1364), CHECK (3819, 4025).
      ['row_refused', [1048, 1118, 1153, 1264, 1265, 1292, 1300, 1301, 1364, 1366, 1406, 1977, 3819, 4025]],
      ['disk_full', [1021, 1114]],
    ] satisfies readonly Entry[]
  ).flatMap(([code, numbers]) => numbers.map((number): [number, FailureCode] => [number, code])),
);

/** Primary result codes of SQLite (the low byte of the extended ones). */
const sqliteNumbers = new Map<number, FailureCode>([
  [3, 'database_denied'],
  [5, 'database_conflict'],
  [6, 'database_conflict'],
  [8, 'database_denied'],
  [10, 'database_unavailable'],
  [13, 'disk_full'],
  [14, 'database_unavailable'],
  [18, 'row_refused'],
  [20, 'row_refused'],
  [23, 'database_denied'],
]);

/** Extended result codes of SQLite for a row: CHECK, NOT NULL, the type of a STRICT column. */
const sqliteConstraints: ReadonlySet<number> = new Set([275, 1299, 3091]);

/** Meanings of duplicate keys; any other key is `row_refused`. MySQL names the key, SQLite the column. */
const uniqueKeys = new Map<string, readonly [FailureCode, string]>([
  ['mailboxes_name', ['already_exists', 'A mailbox of this name exists already.']],
  ['mailboxes.name', ['already_exists', 'A mailbox of this name exists already.']],
  ['oauth_grant_name', ['already_exists', 'A grant of this name exists already.']],
  ['oauth_grant.name', ['already_exists', 'A grant of this name exists already.']],
  ['admin_account_name_key', ['already_exists', 'An admin of this name exists already.']],
  ['admin_account.name_key', ['already_exists', 'An admin of this name exists already.']],
  ['ticket_ref', ['database_conflict', 'A ticket of this reference exists already.']],
  ['ticket.ref', ['database_conflict', 'A ticket of this reference exists already.']],
]);

const sentences: Partial<Record<FailureCode, string>> = {
  database_unavailable: 'The database cannot be used right now',
  database_denied: 'The database refuses access',
  database_outdated: 'The database does not have the tables that this program needs',
  database_conflict: 'A concurrent write conflicts',
  row_refused: 'The database refused the content of a row',
  disk_full: 'The disk of the database is full',
};

const name = "['`][\\w.$@%:/-]{0,160}['`]";
const account = `${name}@${name}`;
const privileges = '(?:(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|INDEX|DROP|REFERENCES)(?:, )?)+';
/**
 * Texts that are passed on, in the wording of MySQL and MariaDB: they name users, hosts, databases, tables and columns,
 * never values. Any other text may come from a program in place of the server, and is not.
 */
const safeTexts: ReadonlyMap<number, RegExp> = new Map(
  (
    [
      [1040, 'Too many connections'],
      [1044, `Access denied for user ${account} to database ${name}`],
      [1045, `Access denied for user ${account}( \\(using password: (YES|NO)\\))?`],
      [1047, 'WSREP has not yet prepared node for application use'],
      [1049, `Unknown database ${name}`],
      [1053, 'Server shutdown in progress'],
      [1054, `Unknown column ${name} in '[\\w ]{1,30}'`],
      [
        1129,
        `Host ${name} is blocked because of many connection errors; unblock with '(mysqladmin|mariadb-admin) flush-hosts'`,
      ],
      [1130, `Host ${name} is not allowed to connect to this (MySQL|MariaDB) server`],
      [1142, `${privileges} command denied to user ${account} for table (${name}\\.)?${name}`],
      [1146, `Table ${name} doesn't exist`],
      [1227, 'Access denied; you need \\(at least one of\\) the [A-Z_, ]{1,80} privilege\\(s\\) for this operation'],
      [
        1290,
        'The (MySQL|MariaDB) server is running with the --[a-z-]{1,40}(=[A-Z-]{1,20})? option so it cannot execute this statement',
      ],
      [1698, `Access denied for user ${account}`],
      [1836, 'Running in read-only mode'],
    ] as const
  ).map(([number, text]) => [number, new RegExp(`^${text}$`)]),
);

const duplicateEntry = 1062;
const sqliteUnique = new Set([1555, 2067, 2579]);

/** `where` is `host:port` or the path of the socket. */
export function mysqlFailure(error: unknown, where: string): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof Error && error.cause instanceof Failure) return error.cause;
  const number = numberOf(error, 'errno');
  const shown = shownFingerprint(error);
  const fields: FailureFields = {
    cause: causeCode(error),
    ...(number === null ? {} : { errno: number }),
    ...(shown === null ? {} : { shown }),
  };
  const text = error instanceof Error ? error.message : '';
  if (number === null) {
    const refused = requestRefused(causeCode(error), text, where);
    if (refused !== null) return refused;
  }
  if (number === duplicateEntry) return duplicate(/for key '(?:[^'.]*\.)?(\w{1,64})'$/.exec(text)?.[1], fields);
  const code =
    number === null || number < 1000 ? connectionCode(error) : (mysqlNumbers.get(number) ?? 'database_failed');
  const sentence = sentences[code] ?? 'The database reported an error';
  const detail = safeText(error, number) ?? causeCode(error);
  const message = code === 'row_refused' ? `${sentence} (${detail}).` : `${sentence} at ${where}: ${detail}.`;
  return new Failure(code, message, { fields, ...hintOf(code, error) });
}

/** The text of an error where it may be shown: one of Node.js or the driver, or a known one of the server. */
function safeText(error: unknown, number: number | null): string | null {
  if (!(error instanceof Error) || error.message === '') return null;
  const text = withoutNodeAdvice(error.message).replace(/\.$/, '');
  const isFromServer = number !== null || 'sqlMessage' in error;
  return !isFromServer || (number !== null && safeTexts.get(number)?.test(text)) ? text : null;
}

/** Node.js ends the reason of an untrusted certificate with an option of its command line, which no setting reaches. */
function withoutNodeAdvice(message: string): string {
  return message.replace(/; if the root CA is installed locally, try running Node\.js with --use-system-ca\b/, '');
}

/** Requests of a server that mysql2 refuses with a text that repeats names from the server, which are not shown. */
function requestRefused(cause: string, text: string, where: string): Failure | null {
  if (cause === 'AUTH_SWITCH_PLUGIN_ERROR') {
    const message = `The database at ${where} asks for a login by a method that is not supported.`;
    return new Failure('database_login_unsupported', message, { fields: { cause } });
  }
  if (!text.startsWith('As a result of LOCAL INFILE')) return null;
  const message = `The database at ${where} asks for a file of this machine (LOAD DATA LOCAL), which is never sent.`;
  return new Failure('database_unavailable', message, {
    ...{ fields: { cause: 'LOCAL_INFILE' }, hint: hints.databaseFileRequest },
  });
}

function hintOf(code: FailureCode, error: unknown): { hint?: string } {
  if (code === 'disk_full') return { hint: hints.databaseDiskFull };
  const cause = causeCode(error);
  const shown = shownFingerprint(error);
  if (shown !== null) return { hint: withFingerprint(hints.databaseCertificateShown, shown) };
  if (cause === 'HANDSHAKE_SSL_ERROR') return { hint: hints.databaseCertificateUntrusted };
  if (cause === 'HANDSHAKE_NO_SSL_SUPPORT') return { hint: hints.databaseTlsMissing };
  const number = numberOf(error, 'errno');
  if (number === secureTransportRequired) return { hint: hints.databaseTls };
  if (number === accessDenied) return { hint: hints.databaseAccountDenied };
  return {};
}

/** SHA-256 of the certificate that failed the TLS handshake (mysql/certificate.ts); null: another error. */
function shownFingerprint(error: unknown): string | null {
  const shown: unknown = error instanceof Error ? Reflect.get(error, 'shownFingerprint') : null;
  return typeof shown === 'string' ? shown : null;
}

const accessDenied = 1045;
const secureTransportRequired = 3159;

/** Codes for errors of the network and the driver, which have no server number. */
function connectionCode(error: unknown): FailureCode {
  const cause = causeCode(error);
  const isFatal = typeof error === 'object' && error !== null && 'fatal' in error && error.fatal === true;
  const isNamed = /^(E[A-Z]+|PROTOCOL_|HANDSHAKE_|ERR_TLS|ERR_SSL|ERR_STREAM|ERR_SOCKET|CERT_|UNABLE_|DEPTH_)/.test(
    cause,
  );
  return isFatal || (isNamed && cause !== 'Error') ? 'database_unavailable' : 'database_failed';
}

/** `where` is the path of the file. */
export function sqliteFailure(error: unknown, where: string): Failure {
  if (error instanceof Failure) return error;
  const number = numberOf(error, 'errcode');
  const text = error instanceof Error ? error.message : '';
  const fields: FailureFields = { cause: causeCode(error), ...(number === null ? {} : { errno: number }) };
  if (number !== null && sqliteUnique.has(number))
    return duplicate(/failed: ([a-z_]+\.[a-z_]+)/.exec(text)?.[1], fields);
  const code = number === null ? (fileCodes.get(causeCode(error)) ?? 'database_failed') : resultCode(number, text);
  const sentence = sentences[code] ?? 'The database reported an error';
  // SQLite's own texts name tables, columns and files; they quote no value.
  const detail = text === '' ? causeCode(error) : text;
  return new Failure(code, code === 'row_refused' ? `${sentence} (${detail}).` : `${sentence}, ${where}: ${detail}.`, {
    fields,
  });
}

/** SQLite has one number for all errors in a statement; a missing table is recognised by its text alone. */
function resultCode(number: number, text: string): FailureCode {
  if (number === 1 && /^no such (table|column)|has no column/.test(text)) return 'database_outdated';
  if (sqliteConstraints.has(number)) return 'row_refused';
  return sqliteNumbers.get(number & 0xff) ?? 'database_failed';
}

/** A file that cannot be created or opened. */
const fileCodes = new Map<string, FailureCode>([
  ...['EACCES', 'EPERM', 'EROFS'].map((cause) => [cause, 'database_denied'] as const),
  ...['ENOSPC', 'EDQUOT'].map((cause) => [cause, 'disk_full'] as const),
  ...['ENOENT', 'ENOTDIR', 'EISDIR', 'EIO', 'EMFILE'].map((cause) => [cause, 'database_unavailable'] as const),
]);

function duplicate(key: string | undefined, fields: FailureFields): Failure {
  const [code, message] = uniqueKeys.get(key ?? '') ?? ['row_refused', 'A row of this key exists already.'];
  return new Failure(code, message, { fields: { ...fields, key: key ?? null } });
}

function numberOf(error: unknown, property: 'errno' | 'errcode'): number | null {
  if (typeof error !== 'object' || error === null) return null;
  const value: unknown = Reflect.get(error, property);
  return typeof value === 'number' && value > 0 ? value : null;
}

/** True for a second row of one key: in an insert of a single row, another worker inserted it first. */
export function isDuplicateKey(error: unknown): boolean {
  return isFailure(error, 'row_refused') && error.fields['key'] !== undefined;
}

/** True when a retry may succeed: a deadlock, a lock timeout, a certification conflict. */
export function isTransient(failure: Failure): boolean {
  return failure.code === 'database_conflict' && failure.fields.key === undefined && failure.fields.errno !== undefined;
}

const rolledBackNumbers: ReadonlySet<unknown> = new Set([1020, 1213]);

/** True when the server rolled back the whole statement, so that even `n = n + 1` may be sent again. */
export function isRolledBackConflict(failure: Failure): boolean {
  return failure.code === 'database_conflict' && rolledBackNumbers.has(failure.fields.errno);
}
