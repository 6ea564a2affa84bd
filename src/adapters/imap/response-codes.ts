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
