/**
 * Throttling and refusals of large providers, classified by response code (RFC 5530) and, where there is none, by
 * words.
 *
 * The matched words only select a failure, a delay and a hint of this program; none is shown. A specific response code
 * wins over words: AUTHENTICATIONFAILED is always a refused login, and words can only add a delay.
 *
 * Only known response codes are shown (responses/response-codes.ts), without arguments.
 */

import { hints } from '../../text/hints.ts';
import { hintOfResponseCode, knownResponseCodes } from './responses/response-codes.ts';
import type { ConnectionStage } from './transport.ts';

/**
 * A NO or BAD of the server. `code`: the response code in brackets, upper case. Code and text are untrusted: to be
 * matched, never shown.
 */
export type ServerRefusal = { readonly status: 'NO' | 'BAD'; readonly code: string | null; readonly text: string };

/** `retryAfterMs`: the delay that the server states or the kind of limit implies; null: neither. */
export type RefusalMeaning = {
  readonly code: 'server_busy' | 'login_refused';
  readonly retryAfterMs: number | null;
  readonly hint: string | null;
};

/** The meaning of a NO or BAD: a limit, or a login refused for a known reason; null: neither. */
export function meaningOfRefusal(refusal: ServerRefusal, stage: ConnectionStage): RefusalMeaning | null {
  const text = refusal.text.slice(0, textLengthMax);
  const { code } = refusal;
  if (stage === 'login' && code === 'AUTHENTICATIONFAILED') return meaningOfFailedLogin(text);
  if (code !== null && knownResponseCodes.has(code) && !ambiguousCodes.has(code)) return null;
  const rules = stage === 'login' ? [...busyRules, ...loginRules] : busyRules;
  const rule = rules.find(({ words }) => words.test(text));
  if (rule !== undefined) return meaningByRule(rule, text);
  if (stage === 'login' && code === 'WEBALERT') return meaningByRule(loginRules[0] as WordingRule, text);
  return code === null ? null : meaningByCode(code, text, stage);
}

/** The meaning of the text of a BYE; null: none known. */
export function meaningOfBye(words: string): RefusalMeaning | null {
  const text = words.slice(0, textLengthMax);
  const rule = busyRules.find(({ words: pattern }) => pattern.test(text));
  return rule === undefined ? null : meaningByRule(rule, text);
}

function meaningOfFailedLogin(text: string): RefusalMeaning {
  const rule = [...loginRules, ...busyRules].find(({ words }) => words.test(text));
  const verdict = rule === undefined ? null : meaningByRule(rule, text);
  const hint = verdict?.code === 'login_refused' ? verdict.hint : null;
  return { code: 'login_refused', retryAfterMs: verdict?.retryAfterMs ?? null, hint };
}

function meaningByCode(code: string, text: string, stage: ConnectionStage): RefusalMeaning | null {
  const ms = Object.hasOwn(busyCodes, code) ? busyCodes[code] : undefined;
  // OVERQUOTA is a full mailbox when storing, and a traffic limit otherwise.
  if (ms === undefined || (code === 'OVERQUOTA' && stage === 'act')) return null;
  const statedMs = retryAfterInWords(text) ?? ms;
  const retryAfterMs = statedMs === null ? null : bounded(statedMs);
  return { code: 'server_busy', retryAfterMs, hint: hintOfResponseCode(code) };
}

function meaningByRule(rule: WordingRule, text: string): RefusalMeaning {
  const statedMs = retryAfterInWords(text);
  const implied = rule.retryAfterMs ?? null;
  // The provider decides when a lockout ends; an earlier retry would only prolong it.
  const ms =
    rule.code === 'login_refused' && implied !== null ? Math.max(implied, statedMs ?? 0) : (statedMs ?? implied);
  return { code: rule.code, retryAfterMs: ms === null ? null : bounded(ms), hint: rule.hint ?? null };
}

/** The delay in the text of the server; null: none. */
function retryAfterInWords(text: string): number | null {
  const backoff = /backoff time[:=\s]+(\d{1,9})\b/i.exec(text);
  if (backoff !== null) return Number(backoff[1]);
  const again = /\b(?:again|retry|wait)\b\D{0,30}(\d{1,4}) ?(second|minute|hour)/i.exec(text);
  return again === null ? null : Number(again[1]) * (unitMs[again[2]?.toLowerCase() ?? ''] ?? 0);
}

function bounded(ms: number): number {
  return Math.min(retryAfterMsMax, Math.max(retryAfterMsMin, ms));
}

type WordingRule = {
  readonly words: RegExp;
  readonly code: RefusalMeaning['code'];
  readonly retryAfterMs?: number;
  readonly hint?: string;
};

const second = 1000;
const minute = 60 * second;
const retryAfterMsMin = second;
const retryAfterMsMax = 24 * 60 * minute;
const textLengthMax = 1000;

/** Exchange, of a mailbox that the user has no permission for, or that it cannot open now. */
export const notConnected = /\buser is authenticated but not connected\b/i;

/** For any response, and a BYE. The first match wins. */
const busyRules: readonly WordingRule[] = [
  // Microsoft 365, with the time to wait
  { words: /request is throttled|suggested backoff time/i, code: 'server_busy', retryAfterMs: 5 * minute },
  // Gmail, with OVERQUOTA
  { words: /command or bandwidth limits|exceeded bandwidth limits/i, code: 'server_busy', retryAfterMs: 15 * minute },
  // Gmail with ALERT, Dovecot with UNAVAILABLE, others without a code
  { words: /(too many|maximum number of)\b.{0,40}\bconnections/i, code: 'server_busy', retryAfterMs: minute },
  // Yahoo, with LIMIT
  { words: /\brate limit/i, code: 'server_busy', retryAfterMs: 5 * minute },
  // Gmail, an overused account
  { words: /\blockdown in sector\b/i, code: 'server_busy', retryAfterMs: 15 * minute },
  // Gmail and Exchange, an internal error
  { words: /\b(temporary system error|server unavailable)\b/i, code: 'server_busy', retryAfterMs: minute },
  {
    words: notConnected,
    code: 'server_busy',
    retryAfterMs: 5 * minute,
    hint: hints.microsoftMailboxClosed,
  },
];

export const imapDisabled = {
  words: /\bIMAP( access)? is disabled\b|\bnot enabled for IMAP\b|\benable IMAP\b/i,
  code: 'login_refused',
  hint: hints.imapDisabled,
} as const satisfies WordingRule;

/** For the response to a login only. */
const loginRules: readonly WordingRule[] = [
  {
    words: /\b(via your web browser|web login required)\b/i,
    code: 'login_refused',
    hint: hints.webLoginNeeded,
  },
  {
    words: /\bapplication-specific password\b/i,
    code: 'login_refused',
    hint: hints.appPasswordNeeded,
  },
  {
    words: /\bbasic ?auth(entication)? (is )?(disabled|blocked)\b|BasicAuthBlocked/i,
    code: 'login_refused',
    hint: hints.microsoftPasswords,
  },
  {
    words: /^(AUTHENTICATE|LOGIN) failed\.?$/i,
    code: 'login_refused',
    hint: hints.microsoftWrongPassword,
  },
  imapDisabled,
  {
    words:
      /\btoo many\b.{0,40}\b(fail|attempt|login|bad |invalid|incorrect|wrong)|\b(temporarily|account( is)?) locked\b/i,
    code: 'login_refused',
    retryAfterMs: 15 * minute,
    hint: hints.accountLocked,
  },
];

/** Codes without a definite meaning, like every unknown code. */
const ambiguousCodes: ReadonlySet<string> = new Set([
  'ALERT',
  'WEBALERT',
  'UNAVAILABLE',
  'INUSE',
  'LIMIT',
  'OVERQUOTA',
  'THROTTLED',
  'SERVERBUG',
  'CONTACTADMIN',
  'CANNOT',
]);

/** Codes that mean busy: the delay in milliseconds, or null: unknown. */
const busyCodes: Readonly<Record<string, number | null>> = {
  UNAVAILABLE: null,
  INUSE: null,
  LIMIT: minute,
  THROTTLED: minute,
  OVERQUOTA: 15 * minute,
};

const unitMs: Readonly<Record<string, number>> = { second, minute, hour: 60 * minute };
