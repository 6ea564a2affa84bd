/**
 * Row mapper of `mailboxes` and `mailbox_state`: rows to and from the types of the workflows, with validation.
 *
 * Other programs write rows too, so every value is checked: an unknown keyword, an empty host, an impossible port or a
 * text that is too long is `mailbox_invalid`, a failure that names mailbox and column. Such a row is still listed, as
 * paused, so that an operator can correct it. An empty text counts as NULL where NULL is allowed. Errors never quote a
 * value: it may be a password in the wrong column.
 */
import type { RawBuilder } from 'kysely';
import { Failure, failureHint, hintOf } from '../../../errors.ts';
import type {
  Connection,
  Cursor,
  Mailbox,
  MailboxHealth,
  PostAction,
  StartPoint,
  TlsMode,
} from '../../../ingest/model.ts';
import { providerHint } from '../../../oauth/provider-errors.ts';
import { knownHint } from '../../../text/hints.ts';
import { fromForeignTime, fromOptionalTime, type MailboxStateRow, toDatabaseTime } from '../sql/tables.ts';
import {
  foreignColumn,
  type ListedMailboxRow,
  type SettingColumn,
  settingColumns,
  tooLongText,
} from './mailbox-columns.ts';

const portMax = 65_535;
const intervalMsMin = 1000;
const intervalMsMax = 86_400_000;

/** Throws `mailbox_invalid`. */
export function toMailbox(row: ListedMailboxRow): Mailbox {
  const foreign = foreignColumn(row);
  if (foreign !== null)
    throw invalid({ name: shownText(row.name) }, foreign, 'is NULL, or its column has another type');
  assertName(row, 'id');
  passwordForm(row);
  const tooLong = tooLongText(row);
  if (tooLong !== null) throw invalid(row, tooLong.column, `has more than ${tooLong.charactersMax} characters`);
  for (const column of settingColumns) checks[column](row);
  return {
    id: row.id,
    name: row.name,
    connection: { ...rowConnection(row), tls: toTlsMode(row), folder: row.folder },
    start: toStartPoint(row),
    postAction: toPostAction(row),
    pollIntervalMs: toInterval(row),
    grant: toGrant(row),
    addresses: toAddresses(row),
    state: toState(row),
  };
}

/** Checks of the columns that a command sets: each throws `mailbox_invalid`. A column without one does not compile. */
const checks: { readonly [C in SettingColumn]: (row: ListedMailboxRow) => unknown } = {
  name: (row) => assertName(row, 'name'),
  host: (row) => assertName(row, 'host'),
  port: assertPort,
  tls_mode: toTlsMode,
  ca_pem: anyValue,
  fingerprint: assertFingerprint,
  allow_plaintext: anyValue,
  username: (row) => assertName(row, 'username'),
  folder: (row) => assertName(row, 'folder'),
  since_kind: toStartPoint,
  since_at: toStartPoint,
  on_success: toPostAction,
  on_success_folder: toPostAction,
  poll_interval_ms: toInterval,
  addresses: anyValue,
  auth: toGrant,
  grant_name: toGrant,
  state: toState,
};

function anyValue(): void {
  // What it cannot mean is ignored.
}

function assertName(row: ListedMailboxRow, column: 'id' | 'name' | 'host' | 'username' | 'folder'): void {
  if (row[column].trim() === '') throw invalid(row, column, 'is empty');
  if (/\p{Cc}/u.test(row[column])) throw invalid(row, column, 'has a control character');
}

function assertPort(row: ListedMailboxRow): void {
  if (!isWithin(row.port, 1, portMax)) throw invalid(row, 'port', `is not 1 to ${portMax}`);
}

function assertFingerprint(row: ListedMailboxRow): void {
  const { fingerprint } = rowConnection(row);
  if (fingerprint !== null && !/^[0-9a-f]{64}$/.test(fingerprint))
    throw invalid(row, 'fingerprint', 'is not 64 hex digits');
}

function toTlsMode(row: ListedMailboxRow): TlsMode {
  return keyword(row, 'tls_mode', tlsModes);
}

/** The name of the grant that opens the mailbox; null: its password does. */
function toGrant(row: ListedMailboxRow): string | null {
  if (keyword(row, 'auth', authKinds) === 'password') return null;
  const name = row.grant_name ?? '';
  if (name === '') throw invalid(row, 'grant_name', 'is empty, and auth is oauth');
  return name;
}

function toState(row: ListedMailboxRow): Mailbox['state'] {
  return keyword(row, 'state', states);
}

/** The addresses of the column in lower case, else the user name where it is an address. */
export function toAddresses({
  addresses,
  username,
}: Pick<ListedMailboxRow, 'addresses' | 'username'>): readonly string[] {
  const listed = (addresses ?? '').split(/[\s,]+/u).filter((address) => address.includes('@'));
  const own = listed.length > 0 ? listed : [username.trim()].filter((name) => /^[^\s@]+@[^\s@]+$/u.test(name));
  return [...new Set(own.map((address) => address.toLowerCase()))];
}

type ConnectionRow = Pick<
  ListedMailboxRow,
  'host' | 'port' | 'tls_mode' | 'ca_pem' | 'fingerprint' | 'allow_plaintext' | 'username'
>;

/** The connection that a password is bound to; unchecked. */
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

/** The form is the column, never guessed from the bytes. Throws `mailbox_invalid`. */
export function passwordForm(row: Pick<ListedMailboxRow, 'name' | 'password_form'>): 'plain' | 'sealed' {
  return keyword(row, 'password_form', passwordForms);
}

/** null: the row is invalid. */
export function mailboxOrNull(row: ListedMailboxRow): Mailbox | null {
  const read = readMailbox(row);
  return read instanceof Failure ? null : read;
}

function readMailbox(row: ListedMailboxRow): Mailbox | Failure {
  try {
    return toMailbox(row);
  } catch (error) {
    if (error instanceof Failure && error.code === 'mailbox_invalid') return error;
    throw error;
  }
}

const resultColumns = [
  'last_success_at',
  'last_error_code',
  'last_error_message',
  'last_error_hint',
  'last_error_at',
] as const satisfies readonly (keyof MailboxStateRow)[];

const healthColumns = [
  'cursor_folder_epoch',
  'cursor_uid',
  'next_poll_at',
  'failures',
  'failing_since',
  'login_failures',
  ...resultColumns,
] as const satisfies readonly (keyof MailboxStateRow)[];

type HealthColumn = (typeof healthColumns)[number];

/** The selection of `HealthRow`. */
export const healthSelection = healthColumns.map((column) => `mailbox_state.${column}` as const);

/** All null for a mailbox without a state. */
type HealthRow = { readonly [C in HealthColumn]: MailboxStateRow[C] | null };

/** An invalid row is listed as paused, with the reason as its last error. `now` is the clock of the database. */
export function toListedMailbox(
  row: ListedMailboxRow & HealthRow & { readonly now: string },
): Mailbox & { readonly health: MailboxHealth } {
  const read = readMailbox(row);
  const health = toHealth(row);
  if (!(read instanceof Failure)) return { ...read, health };
  const { code, message, hint } = read;
  const lastError = { code, message, hint, atMs: fromForeignTime(row.now) ?? 0 };
  return { ...pausedMailbox(row), health: { ...health, failures: Math.max(1, health.failures), lastError } };
}

/** The displayable part of an invalid row; it is never polled. */
function pausedMailbox(row: ListedMailboxRow): Mailbox {
  return {
    id: shownText(row.id),
    name: shownText(row.name),
    connection: pausedConnection(row),
    start: { from: 'time', atMs: fromForeignTime(row.created_at) ?? 0 },
    postAction: { kind: 'leave' },
    pollIntervalMs: null,
    grant: null,
    addresses: [],
    state: row.state === 'removing' ? 'removing' : 'paused',
  };
}

function pausedConnection(row: ListedMailboxRow): Connection {
  const text = {
    host: shownText(row.host),
    username: shownText(row.username),
    fingerprint: shownText(row.fingerprint),
  };
  return { ...rowConnection({ ...row, ...text }), tls: 'implicit', folder: shownText(row.folder) };
}

/** A value of a column that may have any type by now. */
function shownText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** A row to insert, but for the password columns. */
export function mailboxRow(mailbox: Mailbox, now: RawBuilder<string>) {
  return { id: mailbox.id, ...settingsRow(mailbox), created_at: now };
}

/** Every column that a command sets. */
export function settingsRow(mailbox: Mailbox) {
  const { connection, start, postAction } = mailbox;
  return {
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
    on_success: postAction.kind,
    on_success_folder: postActionFolder(postAction),
    poll_interval_ms: mailbox.pollIntervalMs === null ? null : Math.round(mailbox.pollIntervalMs),
    auth: mailbox.grant === null ? 'password' : 'oauth',
    grant_name: mailbox.grant,
    addresses: mailbox.addresses.length === 0 ? null : mailbox.addresses.join(','),
    state: mailbox.state,
  } satisfies Record<SettingColumn, unknown>;
}

/** A new action does not compile until its parameter has a column here. */
function postActionFolder(action: PostAction): string | null {
  switch (action.kind) {
    case 'move':
      return action.folder;
    case 'seen':
    case 'delete':
    case 'leave':
      return null;
  }
}

type SecretColumns = Pick<ListedMailboxRow, 'password_form' | 'password_key_id' | 'settings_seal'>;

function toHealth(row: HealthRow & SecretColumns): MailboxHealth {
  return {
    nextPollAtMs: fromOptionalTime(row.next_poll_at),
    failures: row.failures ?? 0,
    failingSinceMs: fromOptionalTime(row.failing_since),
    loginFailures: row.login_failures ?? 0,
    ...toLastResults(row),
    cursor: toCursor(row),
    password: { form: row.password_form === 'sealed' ? 'sealed' : 'plain', keyId: row.password_key_id },
    settingsSeal: row.settings_seal,
  };
}

/** The selection of `toLastResults`. */
export const resultSelection = resultColumns.map((column) => `mailbox_state.${column}` as const);

export function toLastResults(
  row: Pick<HealthRow, (typeof resultColumns)[number]>,
): Pick<MailboxHealth, 'lastSuccessAtMs' | 'lastError'> {
  const lastSuccessAtMs = fromOptionalTime(row.last_success_at);
  if (row.last_error_code === null) return { lastSuccessAtMs, lastError: null };
  const hint = storedHint(row.last_error_hint, row.last_error_code);
  const atMs = fromOptionalTime(row.last_error_at) ?? 0;
  const message = row.last_error_message ?? '';
  return { lastSuccessAtMs, lastError: { code: row.last_error_code, message, hint, atMs } };
}

/** A hint of this program alone: people run what a hint says, and a writer of the database may have set the column. */
function storedHint(hint: string | null, code: string): string {
  return failureHint(hint) ?? knownHint(hint) ?? providerHint(hint) ?? hintOf(code) ?? '';
}

export function toCursor(row: {
  readonly cursor_folder_epoch: number | null;
  readonly cursor_uid: number | null;
}): Cursor | null {
  if (row.cursor_folder_epoch === null || row.cursor_uid === null) return null;
  return { folderEpoch: row.cursor_folder_epoch, uid: row.cursor_uid };
}

/** Without a time the row counts from its creation: older messages are not imported by accident. */
function toStartPoint(row: ListedMailboxRow): StartPoint {
  const from = keyword(row, 'since_kind', startKinds);
  if (from === 'all') return { from };
  const atMs = fromForeignTime(row.since_at ?? row.created_at);
  if (atMs === null) throw invalid(row, 'since_at', 'is no time of the form YYYY-MM-DD HH:MM:SS (UTC)');
  return { from, atMs };
}

function toPostAction(row: ListedMailboxRow): PostAction {
  const kind = keyword(row, 'on_success', postActions);
  if (kind !== 'move') return { kind };
  const folder = row.on_success_folder ?? '';
  if (folder === '') throw invalid(row, 'on_success_folder', 'is empty, and on_success is move');
  return { kind, folder };
}

function toInterval({ poll_interval_ms: intervalMs, ...row }: ListedMailboxRow): number | null {
  if (intervalMs === null || isWithin(intervalMs, intervalMsMin, intervalMsMax)) return intervalMs;
  throw invalid(row, 'poll_interval_ms', `is not ${intervalMsMin} to ${intervalMsMax}`);
}

/** The drivers return an integer beyond 2^53 as a text. */
function isWithin(value: unknown, least: number, most: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
}

/** Keywords of the columns. A new member of one of these types does not compile until it is listed. */
const tlsModes: Record<TlsMode, true> = { implicit: true, starttls: true, none: true };
const states: Record<Mailbox['state'], true> = { active: true, paused: true, removing: true };
const authKinds: Record<'password' | 'oauth', true> = { password: true, oauth: true };
const startKinds: Record<StartPoint['from'], true> = { all: true, time: true };
const postActions: Record<PostAction['kind'], true> = { seen: true, move: true, delete: true, leave: true };
const passwordForms: Record<'plain' | 'sealed', true> = { plain: true, sealed: true };

function keyword<K extends string>(
  row: Pick<ListedMailboxRow, 'name'> & Partial<ListedMailboxRow>,
  column: keyof ListedMailboxRow,
  keywords: Readonly<Record<K, true>>,
): K {
  const known = Object.keys(keywords) as K[];
  const found = known.find((one) => one === row[column]);
  if (found !== undefined) return found;
  throw invalid(row, column, `has an invalid value; known are ${known.join(', ')}`);
}

function invalid({ name }: Pick<ListedMailboxRow, 'name'>, column: string, what: string): Failure {
  const message = `The row of mailbox ${JSON.stringify(name)} cannot be used: ${column} ${what}.`;
  return new Failure('mailbox_invalid', message, { fields: { mailbox: name, column } });
}
