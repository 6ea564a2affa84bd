/**
 * Failures of IMAP logins and sessions by access token: the error challenge (RFC 7628 section 3.2.2), refusals, and the
 * end of the token.
 *
 * The words of the server only select a failure and a hint of this program; none is shown. A refused token is no wrong
 * password: it carries the field `credential`, by which logins are not suspended (ingest/poll/backoff.ts).
 */
import { Failure, type FailureCode } from '../../errors.ts';
import { hints } from '../../text/hints.ts';
import { imapDisabled, notConnected, type ServerRefusal } from './throttling.ts';
import type { ConnectionStage } from './transport.ts';

/** What the server says of a token before it refuses it: too little scope, or anything else. */
export type TokenChallenge = 'insufficient_scope' | 'other';

/** A login by token, and how long its session may last. */
export type TokenLogin = {
  readonly lengthBytes: number;
  /** The token was sent, or a part of it. */
  readonly isSent: boolean;
  /** null: the server sent none. */
  readonly challenge: TokenChallenge | null;
  /** The life time of the token is over, or nearly. */
  readonly isEnding: boolean;
  /** Since the connection was begun. */
  readonly ageMs: number;
};

/** Some servers limit a whole authentication response to 4 or 8 KiB in base64. */
const tokenBytesUsual = 4096;
/** A session that ends sooner with the words of an ended token is a failure: repeating it would be a busy loop. */
const sessionMsMin = 5000;

const tooLong = /\b(too (long|large|big)|buffer full)\b/i;
/** Exchange: "Session invalidated - AccessTokenExpired"; Gmail: "Session expired, please login again." */
const ended = /AccessTokenExpired|\b(session|token) (has |is )?expired\b/i;

/** Reads a challenge in base64. */
export function readChallenge(challenge: string): TokenChallenge {
  try {
    const { status } = JSON.parse(Buffer.from(challenge, 'base64').toString());
    return status === 'insufficient_scope' || `${status}` === '403' ? 'insufficient_scope' : 'other';
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return 'other';
    throw error;
  }
}

export type TokenRefusal = {
  readonly code: FailureCode;
  readonly message: string;
  readonly hint?: string;
  readonly fields: { readonly credential: 'token' };
};

const fields = { credential: 'token' } as const;

/** The meaning of a NO or BAD to a token, where it differs from that to a password, `code`; null: it does not. */
export function tokenRefusal(refusal: ServerRefusal, code: FailureCode, token: TokenLogin): TokenRefusal | null {
  const isOther = refusal.code === 'AUTHORIZATIONFAILED' && code === 'login_refused';
  if (isOther || notConnected.test(refusal.text))
    return {
      code: 'mailbox_not_permitted',
      message: 'The server took the token, but does not open this mailbox.',
      fields,
    };
  if (code !== 'login_refused') return null;
  const message = 'The server refused the access token for this user.';
  if (imapDisabled.words.test(refusal.text)) return { code, message, hint: imapDisabled.hint, fields };
  const hint = token.challenge === 'insufficient_scope' ? hints.tokenLacksScope : hints.tokenRefused;
  return { code, message, hint, fields };
}

/** `goodbye`: the text of the server's BYE; null: none. */
type LostConnection = {
  readonly stage: ConnectionStage;
  readonly isLoggedIn: boolean;
  readonly doing: string;
  readonly goodbye: string | null;
};

/** The failure of a connection that was lost because of its token; null: that is not the cause. */
export function tokenLost(token: TokenLogin, { stage, isLoggedIn, doing, goodbye }: LostConnection): Failure | null {
  const isSaid = goodbye !== null && ended.test(goodbye);
  if (isLoggedIn && (token.isEnding || (isSaid && token.ageMs >= sessionMsMin)))
    return new Failure('session_expired', `The access token ended while ${doing}, and the session with it.`);
  if (isSaid && stage === 'login')
    return new Failure('login_refused', 'The server refused the access token as expired.', {
      ...{ fields, hint: hints.tokenRefused },
    });
  const isUnanswered = stage === 'login' && token.isSent && !isLoggedIn && token.challenge === null;
  if (!isUnanswered || token.lengthBytes <= tokenBytesUsual || (goodbye !== null && !tooLong.test(goodbye)))
    return null;
  return new Failure(
    'connection_lost',
    `The server closed the connection without an answer to an access token of ${token.lengthBytes} bytes.`,
    { hint: hints.tokenTooLong, fields: { ...fields, stage, token_bytes: token.lengthBytes } },
  );
}
