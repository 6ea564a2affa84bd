/**
 * Row mapper of `oauth_grant` and `oauth_access`: rows to the types of the workflows, with validation; token columns.
 *
 * Other programs write rows too, so every value is checked: an unknown keyword, an empty name or a text that is too
 * long is `grant_invalid`, a failure that names grant and column. Such a row is still listed, as refused. Errors never
 * quote a value: it may be a token in the wrong column. Token columns are bytes, in buffers that the caller wipes.
 */
import { type RawBuilder, type SqlBool, sql } from 'kysely';
import type { NewToken } from '../../../encryption/tokens.ts';
import { Failure } from '../../../errors.ts';
import type { Grant, GrantState, OAuthFlow, StoredToken } from '../../../oauth/model.ts';
import { sealedTokenBytesMax, tokenBytesMax } from '../../../secret/sealed-token.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import { fromForeignTime, truncate } from '../sql/tables.ts';

/** Limits of the texts, in characters. Keywords and times: no valid one is as long. */
const textCharactersMax = {
  ...{ name: 255, provider: 64, account: 320, scope: 4096, consented_by: 255 },
  ...{ flow: 64, state: 64, state_since: 64, error_code: 64, error_message: 10_000 },
  ...{ retry_at: 64, asked_at: 64, consented_at: 64 },
} as const;

type TextColumn = keyof typeof textCharactersMax;

/** Texts that another program writes freely; a keyword that is too long is an unknown one. */
const freeTexts = ['name', 'provider', 'account'] as const;

const textColumns = Object.keys(textCharactersMax) as readonly TextColumn[];

/** The selection of `GrantRow`: texts up to one character beyond their limits. */
export const grantColumns = [
  'oauth_grant.id' as const,
  ...textColumns.map((column) =>
    sql<string | null>`substr(${sql.ref(`oauth_grant.${column}`)}, 1, ${sql.lit(textCharactersMax[column] + 1)})`.as(
      column,
    ),
  ),
];

/** `now` is the clock of the database. */
export type GrantRow = { readonly id: string; readonly now: string } & { readonly [C in TextColumn]: string | null };

/** Throws `grant_invalid`. */
export function toGrant(row: GrantRow): Grant {
  const altered = textColumns.find((column) => row[column] !== null && typeof row[column] !== 'string');
  if (altered !== undefined) throw invalid(row, altered, 'has another type');
  for (const column of freeTexts) assertText(row, column);
  const retryInMs = (fromForeignTime(row.retry_at) ?? 0) - (fromForeignTime(row.now) ?? 0);
  return {
    id: row.id,
    name: row.name ?? '',
    provider: row.provider ?? '',
    flow: keyword(row, 'flow', flows),
    account: row.account === '' ? null : row.account,
    state: keyword(row, 'state', states),
    stateSinceMs: fromForeignTime(row.state_since) ?? 0,
    errorCode: row.error_code === '' ? null : row.error_code,
    errorMessage: row.error_message === '' ? null : row.error_message,
    retryInMs: retryInMs > 0 ? retryInMs : null,
    cutOffAtMs: fromForeignTime(row.asked_at),
  };
}

/** An invalid row is listed as refused, with the reason as its error. */
export function toListedGrant(row: GrantRow): Grant {
  try {
    return toGrant(row);
  } catch (error) {
    if (!(error instanceof Failure && error.code === 'grant_invalid')) throw error;
    const { code: errorCode, message: errorMessage } = error;
    return {
      ...{ id: row.id, name: shownText(row.name), provider: shownText(row.provider), flow: 'person', account: null },
      ...{ state: 'refused', stateSinceMs: fromForeignTime(shownText(row.state_since)) ?? 0, errorCode, errorMessage },
      ...{ retryInMs: null, cutOffAtMs: null },
    };
  }
}

function assertText(row: GrantRow, column: (typeof freeTexts)[number]): void {
  const text = row[column] ?? '';
  if (column !== 'account' && text.trim() === '') throw invalid(row, column, 'is empty');
  if (/\p{Cc}/u.test(text)) throw invalid(row, column, 'has a control character');
  const charactersMax = textCharactersMax[column];
  // A character takes two UTF-16 units at most.
  if (text.length > charactersMax && [...text].length > charactersMax)
    throw invalid(row, column, `has more than ${charactersMax} characters`);
}

/** Keywords of the columns. A new member of one of these types does not compile until it is listed. */
const flows: Record<OAuthFlow, true> = { application: true, service_account: true, person: true };
const states: Record<GrantState, true> = { ready: true, needs_consent: true, refused: true };

function keyword<K extends string>(row: GrantRow, column: TextColumn, keywords: Readonly<Record<K, true>>): K {
  const known = Object.keys(keywords) as K[];
  const found = known.find((one) => one === row[column]);
  if (found !== undefined) return found;
  throw invalid(row, column, `has an invalid value; known are ${known.join(', ')}`);
}

function invalid(row: GrantRow, column: string, what: string): Failure {
  const grant = shownText(row.name);
  const message = `The row of grant ${JSON.stringify(grant)} cannot be used: ${column} ${what}.`;
  return new Failure('grant_invalid', message, { fields: { grant, column } });
}

/** A value of a column that another program may have altered. */
function shownText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** The column as bytes, cut one byte beyond the limit. */
export function tokenBytes(column: 'refresh' | 'access', dialect: SqlDialect): RawBuilder<Uint8Array | null> {
  const reference = sql.ref(column === 'refresh' ? 'oauth_grant.refresh' : 'oauth_access.access');
  return dialect.kind === 'mysql'
    ? sql<Uint8Array | null>`${reference}`
    : sql<Uint8Array | null>`substr(cast(${reference} as blob), 1, ${sql.lit(sealedTokenBytesMax + 1)})`;
}

/** True for a token in plain text whose length can be sealed. */
export function isSealableToken(kind: 'refresh' | 'access'): RawBuilder<SqlBool> {
  const table = kind === 'refresh' ? 'oauth_grant' : 'oauth_access';
  const [form, bytes] = [sql.ref(`${table}.${kind}_form`), sql.ref(`${table}.${kind}`)];
  return sql<SqlBool>`(${form} = 'plain' and octet_length(${bytes}) between 1 and ${sql.lit(tokenBytesMax)})`;
}

export type TokenRow = {
  readonly token: Uint8Array | null;
  readonly form: string | null;
  readonly revision: number | null;
  /** Times of an access token, and the clock of the database; null: a refresh token. */
  readonly times: { readonly until: string | null; readonly renewAt: string | null; readonly now: string } | null;
};

/** null: the column is empty. Throws `token_damaged` for an unknown form, and wipes the bytes then. */
export function toStoredToken({ token, form, revision, times }: TokenRow): StoredToken | null {
  if (token === null || token.length === 0) return null;
  if (form !== 'plain' && form !== 'sealed') {
    token.fill(0);
    throw new Failure('token_damaged', 'A stored token has an unknown form; known are plain, sealed.');
  }
  const untilMs = (text: string | null) => (fromForeignTime(text) ?? 0) - (fromForeignTime(times?.now ?? null) ?? 0);
  return {
    ...{ form, bytes: token, switchRevision: revision },
    remainingMs: times === null ? null : untilMs(times.until),
    renewInMs: times === null ? null : untilMs(times.renewAt),
  };
}

type TokenColumns = { readonly bytes: Uint8Array; readonly form: 'plain' | 'sealed'; readonly keyId: string | null };

/** Calls `use` with the columns of a new token, which borrow its bytes. */
export function withTokenColumns<T>(token: NewToken, use: (columns: TokenColumns) => T): T {
  if (token.form === 'sealed') return use({ bytes: token.sealed, form: 'sealed', keyId: token.keyId });
  return token.token.use((bytes) => use({ bytes, form: 'plain', keyId: null }));
}

/** `retry_at` of a grant that waits for a person: no token is requested before. */
export const never = '9999-12-31 23:59:59.999';

/** A code of a provider: printable ASCII, at most as long as the column. */
export function errorCodeColumn(code: string | null): string | null {
  return code?.slice(0, textCharactersMax.error_code).replace(/[^\x20-\x7e]/g, '?') ?? null;
}

export function errorMessageColumn(message: string | null): string | null {
  return message === null ? null : truncate(message, textCharactersMax.error_message);
}

export function scopeColumn(scope: string | null): string | null {
  return scope === null ? null : truncate(scope, textCharactersMax.scope);
}

/** Columns of a grant that gives tokens. */
export function readyColumns(wasReady: boolean, { now }: SqlDialect) {
  return {
    state: 'ready',
    ...(wasReady ? {} : { state_since: now }),
    ...{ error_code: null, error_message: null, retry_at: null, asked_at: null },
  };
}

/** Throws `refused` for a text that the column does not take. */
export function assertStorable(column: 'name' | 'provider' | 'account', text: string): void {
  const charactersMax = textCharactersMax[column];
  const isStorable = text.trim() === text && text !== '' && !/\p{Cc}/u.test(text) && [...text].length <= charactersMax;
  if (isStorable) return;
  const rule = `must have 1 to ${charactersMax} characters, no control characters, and no space at its ends`;
  throw new Failure('refused', `the ${column} of a grant ${rule}`, { hint: 'Nothing was stored.' });
}
