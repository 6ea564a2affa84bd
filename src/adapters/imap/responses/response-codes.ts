/**
 * Response codes (RFC 5530, RFC 9051 section 7.1): those that are shown, and what an operator can do about them.
 *
 * All others are left out of messages, and so are arguments: a server chooses the text in the brackets, and it could be
 * the password that was sent to it.
 */
import { hints } from '../../../text/hints.ts';

/** Codes whose cause the operator of the mailbox, or of the mail server, can remove. */
const hintsByCode: Readonly<Record<string, string>> = {
  ALERT: hints.serverAlert,
  ALREADYEXISTS: hints.folderInvisible,
  AUTHORIZATIONFAILED: hints.loginUnauthorized,
  CANNOT: hints.neverAllowed,
  CLIENTBUG: hints.commandWrong,
  CONTACTADMIN: hints.contactOperator,
  CORRUPTION: hints.mailboxCorrupt,
  EXPIRED: hints.passwordExpired,
  EXPUNGEISSUED: hints.messagesExpunged,
  INUSE: hints.mailboxInUse,
  LIMIT: hints.serverLimit,
  NONEXISTENT: hints.folderNamedMissing,
  NOPERM: hints.rightMissing,
  OVERQUOTA: hints.overQuota,
  PRIVACYREQUIRED: hints.loginNeedsTls,
  'READ-ONLY': hints.folderReadOnly,
  SERVERBUG: hints.serverBug,
  TRYCREATE: hints.folderNamedMissing,
  UNAVAILABLE: hints.serverPartDown,
  WEBALERT: hints.serverAlert,
};

/** One sentence on what to do; null: the code alone tells nothing that helps. */
export function hintOfResponseCode(code: string): string | null {
  return Object.hasOwn(hintsByCode, code) ? (hintsByCode[code] ?? null) : null;
}

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
