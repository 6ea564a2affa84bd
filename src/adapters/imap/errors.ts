/**
 * Error mapping: turns errors of imapflow and Node into failures, by error code, response code (RFC 5530) and stage.
 *
 * throttling.ts also matches words. A server may echo the password in any text, in clear or encoded, so no text of a
 * server is shown: a failure contains the status (NO, BAD) and the response code if it is a known one, and its cause is
 * reduced to name and code. It contains no command, no response object and no message content. The host of a login
 * referral is such a text: a hostile server could write the password of another mailbox there.
 */
import { Failure, type FailureCode, type FailureFields } from '../../errors.ts';
import { hints } from '../../text/hints.ts';
import { isoTime } from '../../text/time.ts';
import { hintOfResponseCode, knownResponseCodes } from './responses/response-codes.ts';
import { meaningOfBye, meaningOfRefusal, type RefusalMeaning, type ServerRefusal } from './throttling.ts';
import { type TokenLogin, tokenLost, tokenRefusal } from './token-failures.ts';
import type { ConnectionStage } from './transport.ts';

/** State of the connection when an error occurs. */
export type ErrorContext = {
  readonly stage: ConnectionStage;
  /** The server accepted the login; the stage may still be `login`, until the session is ready. */
  readonly isLoggedIn: boolean;
  /** The activity, for the message: `opening the folder`. */
  readonly doing: string;
  /** Text of the server's BYE, to be matched, never shown; null: none. */
  readonly goodbye: string | null;
  /** True when the server named another host instead of itself. */
  readonly isReferred?: boolean;
  /** TLS from the first byte, without STARTTLS. */
  readonly isImplicitTls?: boolean;
  /** notAfter of the certificate that the server presented, in milliseconds since 1970; null: none seen. */
  readonly certificateEndsAtMs?: number | null;
  /** Of a login by access token; null: by a password. */
  readonly token: TokenLogin | null;
};

/** Maps any error of this adapter to a failure; a failure is returned as it is. */
export function toFailure(error: unknown, context: ErrorContext): Failure {
  if (error instanceof Failure) return error;
  const refusal = refusalIn(error);
  const code = textProperty(error, 'code');
  if (refusal !== null) return refusalFailure(refusal, context);
  const known = code === null ? null : byCode(code, error, context);
  if (known !== null) return known;
  // imapflow marks a refused or missing STARTTLS only by this property.
  if (code === null && typeof error === 'object' && error !== null && 'tlsFailed' in error)
    return new Failure('starttls_missing', 'The server offers no STARTTLS.');
  return new Failure('unexpected', `An unexpected error occurred while ${context.doing}.`, {
    cause: bareCause(error),
    fields: { cause: code },
  });
}

function byCode(code: string, error: unknown, context: ErrorContext): Failure | null {
  const cause = bareCause(error);
  if (lostCodes.has(code) || (networkCodes.has(code) && isConnected(context.stage)))
    return connectionLost(context, error);
  const meaning = Object.hasOwn(meanings, code) ? meanings[code] : undefined;
  if (meaning !== undefined) {
    const hint = Object.hasOwn(codeHints, code) ? codeHints[code] : undefined;
    const more = { cause, fields: { cause: code, ...(isOfCertificate(meaning[0]) ? endOf(context) : {}) } };
    return new Failure(meaning[0], meaning[1], hint === undefined ? more : { ...more, hint });
  }
  if (untrustedCodes.has(code))
    return new Failure('tls_untrusted', 'The certificate of the server is not trusted.', {
      cause,
      fields: { cause: code, ...endOf(context) },
    });
  if (nonsenseCodes.has(code) || code.startsWith('ParserError'))
    return new Failure('server_protocol_error', `The server did not speak IMAP while ${context.doing}.`, {
      cause,
      fields: { cause: code },
    });
  if (code === plainAnswer && context.isImplicitTls === true)
    return new Failure('tls_failed', 'The TLS handshake with the server failed.', {
      ...{ cause, fields: { cause: code } },
      hint: hints.starttlsExpected,
    });
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_'))
    return new Failure('tls_failed', 'The TLS handshake with the server failed.', { cause, fields: { cause: code } });
  return null;
}

function isOfCertificate(code: FailureCode): boolean {
  return code === 'tls_expired' || code === 'tls_name_mismatch';
}

/** The end of the refused certificate, named as in `tls_pin_mismatch`. */
function endOf({ certificateEndsAtMs = null }: ErrorContext): FailureFields {
  return certificateEndsAtMs === null ? {} : { valid_until: isoTime(certificateEndsAtMs) };
}

/** The failure of a NO or BAD. */
export function refusalFailure(refusal: ServerRefusal, { stage, doing, token }: ErrorContext): Failure {
  if (refusal.code === 'REFERRAL' && beforeLogin.has(stage)) return referralFailure();
  if (refusal.code === 'REFERRAL' && stage === 'folder') return folderReferral();
  const found = meaningOfRefusal(refusal, stage);
  const usual = found?.code ?? refusedCode(refusal, stage);
  const ofToken = token === null ? null : tokenRefusal(refusal, usual, token);
  const code = ofToken?.code ?? usual;
  const isKnown = refusal.code !== null && knownResponseCodes.has(refusal.code);
  const more = found === null ? { fields: {}, ...ownHint(refusal, code) } : hintAndDelay(found);
  const hint = ofToken === null ? more.hint : ofToken.hint;
  const shown = isKnown ? `${refusal.status} [${refusal.code}]` : refusal.status;
  const sentence = ofToken?.message ?? refusedSentence(code, doing, refusal.code === 'OVERQUOTA', shown);
  const message = isKnown && !isWorded(refusal.code, code) ? withShown(sentence, shown) : sentence;
  return new Failure(code, message, {
    ...(hint === undefined ? {} : { hint }),
    fields: {
      status: refusal.status,
      ...(isKnown ? { response_code: refusal.code } : {}),
      ...more.fields,
      ...ofToken?.fields,
      ...(code === 'server_busy' ? stageField(stage) : {}),
    },
  });
}

/** The failure of a login that the server refers to another host (RFC 2221). */
function referralFailure(): Failure {
  return new Failure('server_referral', 'The server says that the mailbox is on another host, and refuses the login.', {
    fields: { response_code: 'REFERRAL' },
  });
}

/** The same of a folder (RFC 2193). */
function folderReferral(): Failure {
  const message = 'The server says that the folder is on another host, and does not open it.';
  return new Failure('server_referral', message, { fields: { response_code: 'REFERRAL' } });
}

/**
 * The failure of a lost connection. A BYE before the login means that the server is busy; one between login and session
 * without a known limit, that the server cannot serve this user.
 */
export function connectionLost(context: ErrorContext, cause?: unknown): Failure {
  const { stage, isLoggedIn, doing, goodbye, isReferred = false } = context;
  const more = cause === undefined ? {} : { cause: bareCause(cause) };
  if (stage === 'tls')
    return new Failure('tls_failed', 'The server aborted the TLS handshake.', { ...more, fields: stageField(stage) });
  const byToken = context.token === null ? null : tokenLost(context.token, context);
  if (byToken !== null) return byToken;
  if (goodbye !== null && isReferred && beforeLogin.has(stage) && !isLoggedIn) return referralFailure();
  const found = goodbye === null ? null : meaningOfBye(goodbye);
  const busy = found === null ? { fields: {} } : hintAndDelay(found);
  const fields = { ...busy.fields, ...stageField(stage) };
  if (goodbye !== null && beforeLogin.has(stage) && !isLoggedIn)
    return new Failure('server_busy', 'The server closed the connection before the login.', {
      ...more,
      ...busy,
      fields,
    });
  if (found !== null)
    return new Failure('server_busy', `The server is too busy for ${doing}.`, { ...more, ...busy, fields });
  if (goodbye !== null && isLoggedIn && stage === 'login')
    return new Failure('session_closed', 'The server accepted the login, then closed the session.', {
      ...more,
      fields,
    });
  return new Failure('connection_lost', `The connection was lost while ${doing}.`, { ...more, fields });
}

/** The NO or BAD in an error of imapflow; null: none. */
export function refusalIn(error: unknown): ServerRefusal | null {
  const status = textProperty(error, 'responseStatus');
  // Exchange: accepts the login, and refuses the first command after it.
  if (status === null && typeof error === 'object' && error !== null && 'authenticationFailed' in error)
    return { status: 'BAD', code: null, text: textProperty(error, 'response') ?? '' };
  if (status !== 'NO' && status !== 'BAD') return null;
  const response: unknown = Reflect.get(Object(error), 'response');
  const first =
    typeof response === 'object' ? (response as { attributes?: { section?: { value?: unknown }[] }[] }) : null;
  const inBrackets = first?.attributes?.[0]?.section?.[0]?.value;
  const inWords = isThrottled(error) ? 'THROTTLED' : null;
  const code =
    inWords ?? textProperty(error, 'serverResponseCode') ?? (typeof inBrackets === 'string' ? inBrackets : null);
  return { status, code: code?.toUpperCase() ?? null, text: textProperty(error, 'responseText') ?? '' };
}

/** True when imapflow classified the NO or BAD as throttling, and is about to wait. */
export function isThrottled(error: unknown): boolean {
  return textProperty(error, 'code') === 'ETHROTTLE';
}

function refusedCode({ status, code }: ServerRefusal, stage: ConnectionStage): FailureCode {
  if (stage === 'login') {
    if (code === 'PRIVACYREQUIRED') return 'login_unsupported';
    return status === 'NO' && !(code !== null && otherLoginCodes.has(code)) ? 'login_refused' : 'server_refused';
  }
  if (stage === 'folder' && code === 'NONEXISTENT') return 'folder_missing';
  return 'server_refused';
}

/** One sentence, whether the server sends NONEXISTENT or its list of folders says so. */
export const folderMissing = 'The folder does not exist.';

/** `shown`: status and known response code. */
function refusedSentence(code: FailureCode, doing: string, isOverQuota: boolean, shown: string): string {
  if (code === 'login_refused') return 'The server refused user or password.';
  if (code === 'folder_missing') return folderMissing;
  if (code === 'server_busy' && isOverQuota) return 'The account is over its quota.';
  return code === 'server_busy' ? `The server is too busy for ${doing}.` : `The server refused ${doing} (${shown}).`;
}

/** The hint of the response code; that of a missing folder lists the folders. */
function ownHint({ code }: ServerRefusal, failure: FailureCode): { readonly hint?: string } {
  const hint = code === null || failure === 'folder_missing' ? null : hintOfResponseCode(code);
  return hint === null ? {} : { hint };
}

/** True where the sentence of the failure says what the response code means. */
function isWorded(code: string | null, failure: FailureCode): boolean {
  const isUsual = failure === 'login_refused' && code === 'AUTHENTICATIONFAILED';
  return isUsual || failure === 'folder_missing' || failure === 'mailbox_not_permitted';
}

function withShown(sentence: string, shown: string): string {
  return sentence.includes(shown) ? sentence : sentence.replace(/\.$/, ` (${shown}).`);
}

const beforeLogin: ReadonlySet<ConnectionStage> = new Set<ConnectionStage>([
  'name',
  'connect',
  'tls',
  'greeting',
  'greeted',
  'login',
]);

/** The stage, before the login: distinguishes problems of the host from those of one user. */
export function stageField(stage: ConnectionStage): FailureFields {
  return beforeLogin.has(stage) ? { stage: stage === 'greeted' ? 'greeting' : stage } : {};
}

function hintAndDelay(found: RefusalMeaning): { fields: FailureFields; hint?: string } {
  const fields = found.retryAfterMs === null ? {} : { retry_after_ms: found.retryAfterMs };
  return found.hint === null ? { fields } : { fields, hint: found.hint };
}

function isConnected(stage: ConnectionStage): boolean {
  return stage !== 'name' && stage !== 'connect';
}

function textProperty(error: unknown, name: string): string | null {
  if (typeof error !== 'object' || error === null || !(name in error)) return null;
  const value: unknown = Reflect.get(error, name);
  return typeof value === 'string' ? value : null;
}

/** Stack without the message, which may quote server data, as in "Unknown encoding: …". */
function framesOf(error: Error): string | null {
  const head = `${error.name}: ${error.message}`;
  return error.stack?.startsWith(head) === true ? `${error.name}${error.stack.slice(head.length)}` : null;
}

/** A new error with only name and code: errors of imapflow contain commands and responses. */
function bareCause(error: unknown): Error {
  const code = textProperty(error, 'code');
  const bare = new Error(code ?? 'no code');
  bare.name = error instanceof Error ? error.name : typeof error;
  // These are bugs, which are found by their stack.
  if (error instanceof TypeError || error instanceof RangeError) bare.stack = framesOf(error) ?? bare.name;
  return code === null ? bare : Object.assign(bare, { code });
}

/** Codes of a refused login that say nothing about user and password. */
const otherLoginCodes: ReadonlySet<string> = new Set([
  'SERVERBUG',
  'CONTACTADMIN',
  'CLIENTBUG',
  'CANNOT',
  'BADCHARSET',
]);

const meanings: Readonly<Record<string, readonly [FailureCode, string]>> = {
  ENOTFOUND: ['name_not_found', 'The host name does not resolve.'],
  EAI_AGAIN: ['name_not_found', 'The name server does not answer.'],
  EAI_NODATA: ['name_not_found', 'The host name has no address.'],
  EAI_NONAME: ['name_not_found', 'The host name does not resolve.'],
  EAI_ADDRFAMILY: ['name_not_found', 'The host name has no address of a usable kind.'],
  EAI_FAIL: ['name_not_found', 'The name server failed.'],
  EAI_SYSTEM: ['name_not_found', 'This machine could not ask a name server.'],
  EAI_MEMORY: ['name_not_found', 'This machine has no memory left to ask a name server.'],
  ENODATA: ['name_not_found', 'The host name has no address.'],
  ECONNREFUSED: ['connect_refused', 'The server refuses the connection.'],
  ETIMEDOUT: ['connect_timeout', 'The server does not answer.'],
  ENETUNREACH: ['connect_timeout', 'There is no route to the network of the server.'],
  EHOSTUNREACH: ['connect_timeout', 'There is no route to the server.'],
  EHOSTDOWN: ['connect_timeout', 'The server does not answer.'],
  ENETDOWN: ['connect_timeout', 'The network is down.'],
  EADDRNOTAVAIL: ['connect_timeout', 'No local address is available for the connection.'],
  ENONET: ['connect_timeout', 'The network is down.'],
  ERR_SOCKET_CONNECTION_TIMEOUT: ['connect_timeout', 'The server does not answer.'],
  EMFILE: ['connect_refused', 'This process has no free file handle for a connection.'],
  ENFILE: ['connect_refused', 'This machine has no free file handle for a connection.'],
  ENOBUFS: ['connect_refused', 'This machine has no memory left for a connection.'],
  ENOMEM: ['connect_refused', 'This machine has no memory left for a connection.'],
  EACCES: ['connect_refused', 'This machine forbids the connection.'],
  EPERM: ['connect_refused', 'This machine forbids the connection.'],
  CONNECT_TIMEOUT: ['connect_timeout', 'The connection was not established in time.'],
  GREETING_TIMEOUT: ['connect_timeout', 'The server accepted the connection and sent no greeting.'],
  UPGRADE_TIMEOUT: ['tls_failed', 'The server did not finish the TLS handshake in time.'],
  STARTTLS_INJECTION: ['tls_failed', 'Data was injected between STARTTLS and the TLS handshake.'],
  CERT_HAS_EXPIRED: ['tls_expired', 'The certificate of the server has expired.'],
  CERT_NOT_YET_VALID: ['tls_expired', 'The certificate of the server is not valid yet.'],
  ERR_TLS_CERT_ALTNAME_INVALID: ['tls_name_mismatch', 'The certificate is for another host name.'],
  HOSTNAME_MISMATCH: ['tls_name_mismatch', 'The certificate is for another host name.'],
  ETIMEOUT: ['server_timeout', 'The server stopped responding.'],
};

/** OpenSSL: what answered is no TLS record. */
const plainAnswer = 'ERR_SSL_WRONG_VERSION_NUMBER';

/** Hints for codes that are more specific than their failure. */
const codeHints: Readonly<Record<string, string>> = {
  GREETING_TIMEOUT: hints.implicitTlsExpected,
  CERT_NOT_YET_VALID: hints.certificateNotYetValid,
  EAI_AGAIN: hints.dnsFailing,
  EMFILE: hints.openFilesOfService,
  ENFILE: hints.openFilesOfMachine,
  ENOBUFS: hints.memoryShort,
  ENOMEM: hints.memoryShort,
};

/** Node's codes for an untrusted chain (X509_V_ERR names without the prefix). */
const untrustedCodes: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_UNTRUSTED',
  'CERT_REVOKED',
  'CERT_REJECTED',
  'CERT_SIGNATURE_FAILURE',
  'CERT_CHAIN_TOO_LONG',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
]);

const lostCodes: ReadonlySet<string> = new Set([
  'NoConnection',
  'EConnectionClosed',
  'StateLogout',
  'ClosedAfterConnectText',
  'ClosedAfterConnectTLS',
  'NoMailboxSelected',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

/** On an established connection these mean that it is lost. */
const networkCodes: ReadonlySet<string> = new Set([
  'ETIMEDOUT',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'ENONET',
]);

const nonsenseCodes: ReadonlySet<string> = new Set([
  'UnexpectedTag',
  'MissingTag',
  'InvalidResponse',
  'ResponseProcessingFailed',
  'LineTooLarge',
  'LiteralTooLarge',
  'ResponseTooLarge',
  'TooManyTokens',
  'TooManyResponses',
  'MAX_IMAP_NESTING_REACHED',
  'COMPRESS_TRAILING_DATA',
]);
