/**
 * What large providers say when they want us to slow down, or refuse a login for another reason than the password.
 *
 * Few servers have a response code for it (RFC 5530), so this one table looks at words: only to choose among failures,
 * waiting times and hints of ours; none of the words is shown. A definite code wins over words: what is said with
 * AUTHENTICATIONFAILED is a refused login, always, and the words can only add how long to wait.
 */
import type { ConnectionStage } from './transport.ts';

/**
 * A NO or BAD as the server gave it: `code` is the response code in brackets, upper case. Code and text are whatever
 * the server likes: they are there to decide by, not to be shown.
 */
export type ServerRefusal = { readonly status: 'NO' | 'BAD'; readonly code: string | null; readonly text: string };

/** `retryAfterMs`: how long to leave the server alone, if it tells or the kind of limit implies it. */
export type RefusalMeaning = {
  readonly code: 'server_busy' | 'login_refused';
  readonly retryAfterMs: number | null;
  readonly hint: string | null;
};

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

/** In any answer, and in a BYE. The first that matches counts. */
const busyRules: readonly WordingRule[] = [
  // Microsoft 365, with the time to wait
  { words: /request is throttled|suggested backoff time/i, code: 'server_busy', retryAfterMs: 5 * minute },
  // Gmail, with OVERQUOTA
  { words: /command or bandwidth limits|exceeded bandwidth limits/i, code: 'server_busy', retryAfterMs: 15 * minute },
  // Gmail with ALERT, Dovecot with UNAVAILABLE, others without a code
  { words: /(too many|maximum number of)\b.{0,40}\bconnections/i, code: 'server_busy', retryAfterMs: minute },
  // Yahoo, with LIMIT
  { words: /\brate limit/i, code: 'server_busy', retryAfterMs: 5 * minute },
  // Gmail, an account that was used too much
  { words: /\blockdown in sector\b/i, code: 'server_busy', retryAfterMs: 15 * minute },
  // Gmail and Exchange, a fault of theirs
  { words: /\b(temporary system error|server unavailable)\b/i, code: 'server_busy', retryAfterMs: minute },
  {
    words: /\buser is authenticated but not connected\b/i,
    code: 'server_busy',
    retryAfterMs: 5 * minute,
    hint: 'Microsoft took the login and gives no mailbox. If it stays: is IMAP switched on for the mailbox, and is the user its owner?',
  },
];

const lockedOut =
  'The server has locked the login after too many tries. It is tried again later; if the password is wrong, set it anew with mailbox set-password.';

/** Only in the answer to a login. */
const loginRules: readonly WordingRule[] = [
  {
    words: /\b(via your web browser|web login required)\b/i,
    code: 'login_refused',
    hint: 'The provider wants a person to log in to this account with a web browser once; then it takes the password again.',
  },
  {
    words: /\bapplication-specific password\b/i,
    code: 'login_refused',
    hint: 'The account needs an app password: make one at the provider and give it to mailbox set-password.',
  },
  {
    words: /\bbasic ?auth(entication)? (is )?(disabled|blocked)\b|BasicAuthBlocked/i,
    code: 'login_refused',
    hint: 'Microsoft has ended passwords for IMAP: this mailbox cannot be read with a password.',
  },
  {
    words: /^(AUTHENTICATE|LOGIN) failed\.?$/i,
    code: 'login_refused',
    hint: 'The server refused user or password: set it anew with mailbox set-password. Microsoft 365 has ended passwords for IMAP and refuses every one.',
  },
  {
    words: /\bIMAP( access)? is disabled\b|\bnot enabled for IMAP\b|\benable IMAP\b/i,
    code: 'login_refused',
    hint: 'IMAP is switched off for this account: switch it on in its settings at the provider.',
  },
  {
    words:
      /\btoo many\b.{0,40}\b(fail|attempt|login|bad |invalid|incorrect|wrong)|\b(temporarily|account( is)?) locked\b/i,
    code: 'login_refused',
    retryAfterMs: 15 * minute,
    hint: lockedOut,
  },
];

/** Codes that leave open what is meant; also every code that nobody knows. */
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

/** Codes that say it all: milliseconds to wait, or null where it depends. */
const busyCodes: Readonly<Record<string, number | null>> = {
  UNAVAILABLE: null,
  INUSE: null,
  LIMIT: minute,
  THROTTLED: minute,
  OVERQUOTA: 15 * minute,
};

const unitMs: Readonly<Record<string, number>> = { second, minute, hour: 60 * minute };

/** The waiting time in the words of the server; null when it tells none. */
function retryAfterInWords(text: string): number | null {
  const backoff = /backoff time[:=\s]+(\d{1,9})\b/i.exec(text);
  if (backoff !== null) return Number(backoff[1]);
  const again = /\b(?:again|retry|wait)\b\D{0,30}(\d{1,4}) ?(second|minute|hour)/i.exec(text);
  return again === null ? null : Number(again[1]) * (unitMs[again[2]?.toLowerCase() ?? ''] ?? 0);
}

function bounded(ms: number): number {
  return Math.min(retryAfterMsMax, Math.max(retryAfterMsMin, ms));
}

function meaningByRule(rule: WordingRule, text: string): RefusalMeaning {
  const told = retryAfterInWords(text);
  const implied = rule.retryAfterMs ?? null;
  // A lock-out ends when the provider likes; the shorter time of the two would only prolong it.
  const ms = rule.code === 'login_refused' && implied !== null ? Math.max(implied, told ?? 0) : (told ?? implied);
  return { code: rule.code, retryAfterMs: ms === null ? null : bounded(ms), hint: rule.hint ?? null };
}

/** What a BYE means by its words; null when it tells nothing of the kind. */
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
  // Over quota is a full disk when something is to be stored there, and too much traffic otherwise.
  if (ms === undefined || (code === 'OVERQUOTA' && stage === 'act')) return null;
  const told = retryAfterInWords(text) ?? ms;
  return { code: 'server_busy', retryAfterMs: told === null ? null : bounded(told), hint: null };
}

/** What a NO or BAD means if it is a limit, or a login refused for a reason that we know; null when it is neither. */
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

/**
 * The response codes that are shown: those that a standard or a widespread server defines, and no other.
 *
 * What stands in the brackets of an answer is chosen by the server, and it could be a password that was sent to it.
 * So a code is shown only when it is, in upper case, exactly one of these; it never carries its arguments.
 */

export const knownResponseCodes: ReadonlySet<string> = new Set([
  // RFC 5530 section 3
  'UNAVAILABLE',
  'AUTHENTICATIONFAILED',
  'AUTHORIZATIONFAILED',
  'EXPIRED',
  'PRIVACYREQUIRED',
  'CONTACTADMIN',
  'NOPERM',
  'INUSE',
  'EXPUNGEISSUED',
  'CORRUPTION',
  'SERVERBUG',
  'CLIENTBUG',
  'CANNOT',
  'LIMIT',
  'OVERQUOTA',
  'ALREADYEXISTS',
  'NONEXISTENT',
  // RFC 9051 section 7.1
  'ALERT',
  'BADCHARSET',
  'CAPABILITY',
  'CLOSED',
  'HASCHILDREN',
  'NOTSAVED',
  'PARSE',
  'PERMANENTFLAGS',
  'READ-ONLY',
  'READ-WRITE',
  'TRYCREATE',
  'UIDNEXT',
  'UIDVALIDITY',
  'UNKNOWN-CTE',
  // RFC 4315 section 3, also with RFC 6851
  'APPENDUID',
  'COPYUID',
  'UIDNOTSTICKY',
  // RFC 2221, RFC 4467, RFC 4469 (also with RFC 7889), RFC 4978, RFC 5255, RFC 5257, RFC 5464, RFC 5466
  'REFERRAL',
  'URLMECH',
  'BADURL',
  'TOOBIG',
  'COMPRESSIONACTIVE',
  'BADCOMPARATOR',
  'ANNOTATE',
  'ANNOTATIONS',
  'METADATA',
  'UNDEFINED-FILTER',
  // RFC 5465, RFC 7162, RFC 8474, RFC 9586, RFC 9738
  'NOTIFICATIONOVERFLOW',
  'BADEVENT',
  'HIGHESTMODSEQ',
  'MODIFIED',
  'NOMODSEQ',
  'NOUPDATE',
  'MAILBOXID',
  'UIDREQUIRED',
  'MESSAGELIMIT',
  // In no standard: what large providers send
  'THROTTLED',
  'WEBALERT',
]);
