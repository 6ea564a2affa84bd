/**
 * Mailbox rows to and from the types of the workflows.
 *
 * Others write rows too, so every value is checked: a row with a word that this program does not know, without a host, or
 * with a port that cannot be is `mailbox_invalid`. Such a row is still listed, paused, so that somebody corrects it. An
 * empty text stands for NULL where NULL is allowed. No value is quoted: it may be in the wrong column. A text that is too
 * long makes a row invalid, too, and only so much of it is read as shows that.
 */
import { type ExpressionBuilder, type RawBuilder, type SqlBool, sql } from 'kysely';
import { Failure } from '../../../errors.ts';
import type {
  Connection,
  Cursor,
  Mailbox,
  MailboxHealth,
  NewPassword,
  PostAction,
  StartPoint,
  StoredPassword,
  TlsMode,
} from '../../../ingest/model.ts';
import { passwordBytesMax } from '../../../secret/sealed-password.ts';
import { fromForeignTime, fromOptionalTime, type SqlDialect, toDatabaseTime } from '../sql/dialect.ts';
import type { MailboxRow, MailboxStateRow, SqlExecutor, Tables } from '../sql/tables.ts';

/** Longer ones are `mailbox_invalid`. In characters. */
const charactersMax = {
  name: 255,
  host: 255,
  ca_pem: 65_536,
  username: 1024,
  folder: 1024,
  on_success_folder: 1024,
  addresses: 4096,
} as const;
/** Of all other texts: dialect, hex digits and times, of which none that is valid is as long. */
const wordCharactersMax = 64;

type TextColumn =
  | keyof typeof charactersMax
  | 'tls_mode'
  | 'fingerprint'
  | 'since_kind'
  | 'since_at'
  | 'on_success'
  | 'state'
  | 'password_form'
  | 'password_key_id'
  | 'created_at'
  | 'plaintext_since'
  | 'plaintext_until'
  | 'changed_at';

function limitOf(column: TextColumn): number {
  return column in charactersMax ? charactersMax[column as keyof typeof charactersMax] : wordCharactersMax;
}

/** A text of a mailbox; of one that is too long, one character more than is allowed. SQLite ends it at a NUL. */
export function shortColumn<C extends TextColumn>(column: C) {
  return sql<MailboxRow[C]>`substr(${sql.ref(`mailboxes.${column}`)}, 1, ${sql.lit(limitOf(column) + 1)})`.as(column);
}

/** What `rowConnection` reads. */
export const connectionColumns = [
  shortColumn('host'),
  'mailboxes.port',
  shortColumn('tls_mode'),
  shortColumn('ca_pem'),
  shortColumn('fingerprint'),
  'mailboxes.allow_plaintext',
  shortColumn('username'),
] as const;

/** All columns of a mailbox but its password: listing mailboxes must not touch passwords. */
export const mailboxColumns = [
  'mailboxes.id',
  shortColumn('name'),
  ...connectionColumns,
  shortColumn('folder'),
  shortColumn('since_kind'),
  shortColumn('since_at'),
  shortColumn('on_success'),
  shortColumn('on_success_folder'),
  'mailboxes.poll_interval_ms',
  shortColumn('addresses'),
  shortColumn('state'),
  shortColumn('password_form'),
  shortColumn('password_key_id'),
  shortColumn('created_at'),
] as const;

type PlainMailboxRow = Omit<MailboxRow, 'password' | 'plaintext_since' | 'plaintext_until' | 'changed_at'>;

const portMax = 65_535;
const intervalMsMin = 1000;
const intervalMsMax = 86_400_000;

/** Throws `mailbox_invalid`. */
export function toMailbox(row: PlainMailboxRow): Mailbox {
  for (const column of ['id', 'name', 'host', 'username', 'folder'] as const)
    if (row[column].trim() === '') throw invalid(row, column, 'is empty');
    else if (/\p{Cc}/u.test(row[column])) throw invalid(row, column, 'has a control character');
  for (const [column, max] of Object.entries(charactersMax) as [keyof typeof charactersMax, number][])
    if (isLonger(row[column], max)) throw invalid(row, column, `has more than ${max} characters`);
  if (!isWithin(row.port, 1, portMax)) throw invalid(row, 'port', `is not 1 to ${portMax}`);
  passwordForm(row);
  const tls = oneOf<TlsMode>(row, 'tls_mode', ['implicit', 'starttls', 'none']);
  const connection = rowConnection(row);
  if (connection.fingerprint !== null && !/^[0-9a-f]{64}$/.test(connection.fingerprint))
    throw invalid(row, 'fingerprint', 'is not 64 hex digits');
  return {
    id: row.id,
    name: row.name,
    connection: { ...connection, tls, folder: row.folder },
    start: toStart(row),
    postAction: toAfterAction(row),
    pollIntervalMs: toInterval(row),
    addresses: toAddresses(row),
    state: oneOf(row, 'state', ['active', 'paused', 'removing']),
  };
}

/** Lower-case; those of the column, else the user name where it is an address. */
export function toAddresses({
  addresses,
  username,
}: Pick<PlainMailboxRow, 'addresses' | 'username'>): readonly string[] {
  const listed = (addresses ?? '').split(/[\s,]+/u).filter((address) => address.includes('@'));
  const own = listed.length > 0 ? listed : [username.trim()].filter((name) => /^[^\s@]+@[^\s@]+$/u.test(name));
  return [...new Set(own.map((address) => address.toLowerCase()))];
}

/** A character is two units at most. */
function isLonger(text: string | null, charactersMax: number): boolean {
  return text !== null && text.length > charactersMax && [...text].length > charactersMax;
}

type ConnectionRow = Pick<
  PlainMailboxRow,
  'host' | 'port' | 'tls_mode' | 'ca_pem' | 'fingerprint' | 'allow_plaintext' | 'username'
>;

/** The server of a row, as far as a password is bound to it; nothing is checked. */
export function rowConnection(row: ConnectionRow): Omit<Connection, 'tls' | 'folder'> & { readonly tls: string } {
  return {
    host: row.host,
    port: row.port,
    tls: row.tls_mode,
    caPem: row.ca_pem === '' ? null : row.ca_pem,
    fingerprint: row.fingerprint === '' ? null : (row.fingerprint?.toLowerCase() ?? null),
    allowPlaintext: row.allow_plaintext === 1,
    user: row.username,
  };
}

/** The form is what the column says. Throws `mailbox_invalid`. */
export function passwordForm(row: Pick<PlainMailboxRow, 'name' | 'password_form'>): 'plain' | 'sealed' {
  return oneOf(row, 'password_form', ['plain', 'sealed']);
}

/** A row that is invalid is null. */
export function mailboxOrNull(row: PlainMailboxRow): Mailbox | null {
  const read = readMailbox(row);
  return read instanceof Failure ? null : read;
}

function readMailbox(row: PlainMailboxRow): Mailbox | Failure {
  try {
    return toMailbox(row);
  } catch (error) {
    if (error instanceof Failure && error.code === 'mailbox_invalid') return error;
    throw error;
  }
}

type StateRow = {
  readonly [K in Exclude<
    keyof MailboxStateRow,
    'mailbox_id' | 'login_failed_version' | 'folder_generation' | 'cursor_start_uid' | 'cursor_folder_hash'
  >]: MailboxStateRow[K] | null;
};

/** A row that is invalid is listed as paused, with what is wrong as its last error. `now` is the database's clock. */
export function toListedMailbox(
  row: PlainMailboxRow & StateRow & { readonly now: string },
): Mailbox & { readonly health: MailboxHealth } {
  const read = readMailbox(row);
  const health = toHealth(row);
  if (!(read instanceof Failure)) return { ...read, health };
  const { code, message, hint } = read;
  const lastError = { code, message, hint, atMs: fromForeignTime(row.now) ?? 0 };
  return { ...stoppedMailbox(row), health: { ...health, failures: Math.max(1, health.failures), lastError } };
}

/** As much of an invalid row as can be shown; nothing visits it. */
function stoppedMailbox(row: PlainMailboxRow): Mailbox {
  return {
    id: row.id,
    name: row.name,
    connection: { ...rowConnection(row), tls: 'implicit', folder: row.folder },
    start: { from: 'time', atMs: fromForeignTime(row.created_at) ?? 0 },
    postAction: { kind: 'leave' },
    pollIntervalMs: null,
    addresses: [],
    state: row.state === 'removing' ? 'removing' : 'paused',
  };
}

export function mailboxRow(mailbox: Mailbox, now: RawBuilder<string>) {
  const { connection, start, postAction: after } = mailbox;
  return {
    id: mailbox.id,
    name: mailbox.name,
    host: connection.host,
    port: connection.port,
    tls_mode: connection.tls,
    ca_pem: connection.caPem,
    fingerprint: connection.fingerprint,
    allow_plaintext: connection.allowPlaintext ? (1 as const) : (0 as const),
    username: connection.user,
    folder: connection.folder,
    since_kind: start.from,
    since_at: start.from === 'time' ? toDatabaseTime(start.atMs) : null,
    on_success: after.kind,
    on_success_folder: after.kind === 'move' ? after.folder : null,
    poll_interval_ms: mailbox.pollIntervalMs === null ? null : Math.round(mailbox.pollIntervalMs),
    addresses: mailbox.addresses.length === 0 ? null : mailbox.addresses.join(','),
    state: mailbox.state,
    created_at: now,
  };
}

function toHealth(row: StateRow & Pick<PlainMailboxRow, 'password_form' | 'password_key_id'>): MailboxHealth {
  return {
    nextPollAtMs: fromOptionalTime(row.next_poll_at),
    failures: row.failures ?? 0,
    failingSinceMs: fromOptionalTime(row.failing_since),
    loginRefusals: row.login_failures ?? 0,
    lastSuccessAtMs: fromOptionalTime(row.last_success_at),
    lastError:
      row.last_error_code === null
        ? null
        : {
            code: row.last_error_code,
            message: row.last_error_message ?? '',
            hint: row.last_error_hint ?? '',
            atMs: fromOptionalTime(row.last_error_at) ?? 0,
          },
    cursor: toCursor(row),
    password: { form: row.password_form === 'sealed' ? 'sealed' : 'plain', keyId: row.password_key_id },
  };
}

export function toCursor(row: {
  readonly cursor_uid_validity: number | null;
  readonly cursor_uid: number | null;
}): Cursor | null {
  if (row.cursor_uid_validity === null || row.cursor_uid === null) return null;
  return { folderEpoch: row.cursor_uid_validity, uid: row.cursor_uid };
}

/** Without a time it is when the row was made: nobody meant all the mails that were there before. */
function toStart(row: PlainMailboxRow): StartPoint {
  const from = oneOf(row, 'since_kind', ['all', 'time']);
  if (from === 'all') return { from };
  const atMs = fromForeignTime(row.since_at ?? row.created_at);
  if (atMs === null) throw invalid(row, 'since_at', 'is no time of the form YYYY-MM-DD HH:MM:SS (UTC)');
  return { from, atMs };
}

function toAfterAction(row: PlainMailboxRow): PostAction {
  const kind = oneOf(row, 'on_success', ['seen', 'move', 'delete', 'leave']);
  if (kind !== 'move') return { kind };
  const folder = row.on_success_folder ?? '';
  if (folder === '') throw invalid(row, 'on_success_folder', 'is empty, and on_success is move');
  return { kind, folder };
}

function toInterval({ poll_interval_ms: intervalMs, ...row }: PlainMailboxRow): number | null {
  if (intervalMs === null || isWithin(intervalMs, intervalMsMin, intervalMsMax)) return intervalMs;
  throw invalid(row, 'poll_interval_ms', `is not ${intervalMsMin} to ${intervalMsMax}`);
}

/** What is larger than any number comes as a text. */
function isWithin(value: unknown, least: number, most: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
}

function oneOf<T extends string>(
  row: Pick<PlainMailboxRow, 'name'> & Partial<PlainMailboxRow>,
  column: keyof PlainMailboxRow,
  words: readonly T[],
): T {
  const found = words.find((word) => word === row[column]);
  if (found !== undefined) return found;
  throw invalid(row, column, `has an unknown word; known are ${words.join(', ')}`);
}

function invalid({ name }: Pick<PlainMailboxRow, 'name'>, column: string, what: string): Failure {
  const message = `The row of mailbox ${JSON.stringify(name)} cannot be used: ${column} ${what}.`;
  return new Failure('mailbox_invalid', message, { fields: { mailbox: name, column } });
}

/**
 * The password columns of a mailbox, as they are read and written: bytes, never text.
 *
 * What is read lies in a buffer of its own, which the reader wipes. On SQLite others may have stored it as text, of any
 * size: no more is read than shows that it is too long. The columns `readable_*` tell between which times the password
 * stood readable in the table.
 */

/** What the column of MySQL takes; a sealed password is no longer. */
const storedBytesMax = 4096;

/** The column as bytes, whatever it holds; of more than 4096 bytes the first 4097. A part of no bytes is NULL in SQLite. */
export function passwordBytes(dialect: SqlDialect): RawBuilder<Uint8Array> {
  return dialect.kind === 'mysql'
    ? sql<Uint8Array>`mailboxes.password`
    : sql<Uint8Array>`coalesce(substr(cast(mailboxes.password as blob), 1, ${sql.lit(storedBytesMax + 1)}), x'')`;
}

/** Its bytes are such that they can be sealed: neither empty nor too long, and without a NUL byte. */
export function isSealable(dialect: SqlDialect): RawBuilder<SqlBool> {
  const max = sql.lit(passwordBytesMax);
  // The length in bytes comes first: SQLite knows it without reading the value.
  return dialect.kind === 'mysql'
    ? sql<SqlBool>`(length(mailboxes.password) between 1 and ${max} and locate(0x00, mailboxes.password) = 0)`
    : sql<SqlBool>`(octet_length(mailboxes.password) between 1 and ${max}
        and instr(cast(mailboxes.password as blob), x'00') = 0)`;
}

/** The password and the revision of the switch in one query. The bytes belong to the caller. */
export async function readPassword(db: SqlExecutor, dialect: SqlDialect, id: string): Promise<StoredPassword | null> {
  const row = await db
    .selectFrom('mailboxes')
    .leftJoin('encryption_switch', (join) => join.on('encryption_switch.id', '=', 1))
    .select([shortColumn('name'), shortColumn('password_form'), ...connectionColumns, 'encryption_switch.revision'])
    .select(passwordBytes(dialect).as('password'))
    .where('mailboxes.id', '=', id)
    .where('mailboxes.state', '<>', 'removing')
    .executeTakeFirst();
  if (row === undefined) return null;
  try {
    const [form, connection] = [passwordForm(row), rowConnection(row)];
    return { form, bytes: row.password, switchRevision: row.revision, connection };
  } catch (error) {
    row.password.fill(0);
    throw error;
  }
}

/** Lends the columns of a new password, which hold its bytes, to `use`. */
export function withPasswordColumns<T>(
  password: NewPassword,
  dialect: SqlDialect,
  use: (columns: PasswordColumns) => T,
): T {
  if (password.form === 'sealed') return use(sealedColumns(password.sealed, password.keyId));
  return password.password.use((bytes) =>
    use({ ...sealedColumns(bytes, null), password_form: 'plain', plaintext_since: dialect.now }),
  );
}

export type PasswordColumns = ReturnType<typeof sealedColumns>;

function sealedColumns(password: Uint8Array, keyId: string | null) {
  return {
    password,
    password_form: 'sealed' as 'plain' | 'sealed',
    password_key_id: keyId,
    plaintext_since: null as RawBuilder<string> | null,
    plaintext_until: null as RawBuilder<string> | null,
  };
}

/**
 * Sealed, but its key is not open: such a password waits. One without a key in its column may be under any key, so it
 * waits only while none is open.
 */
export function lacksOpenKey(where: ExpressionBuilder<Tables, 'mailboxes'>, keyIds: readonly string[]) {
  const isSealed = where('mailboxes.password_form', '=', 'sealed');
  if (keyIds.length === 0) return isSealed;
  const named = where('mailboxes.password_key_id', 'is not', null);
  return where.and([isSealed, named, where('mailboxes.password_key_id', 'not in', keyIds)]);
}
