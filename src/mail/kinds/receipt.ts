/**
 * Confirmations of reading: RFC 8098 reports, whatever they say (displayed, deleted, failed), and Exchange's own.
 */
import { type Facts, field, has, hasPart, isSuppressed, type Signs } from './signs.ts';

/** How Outlook and Exchange begin the subject, with what the text says then. */
const receiptSubject =
  /^(?:read|not read|deleted|gelesen|nicht gelesen|ungelesen gelöscht|lu|non lu|le[ií]d[oa]|no le[ií]do|não lida|lida|letto|non letto|gelezen|niet gelezen|läst|inte läst|læst|lest|luettu|přečteno|przeczytano|olvasva|citit|прочтено|прочитано|okundu|開封済み|已读|已讀|읽음|return receipt(?: \(displayed\))?)\s{0,2}[:：-]/iu;
const receiptText =
  /(?:was|were) (?:read|deleted without being read|displayed) on|wurde(?: am [^\n]{1,60})? (?:gelesen|angezeigt)|gelesen am|a été lu|se leyó|fue leíd[oa]|è stato letto|foi lida|werd gelezen|is gelezen|lästes|blev læst|ble lest|has been (?:displayed|read|opened)|прочитано|прочтено|は[^\n]{0,40}開封されました/iu;

/** Exchange's own form: `Your message`, then `To:` and `Subject:` in lines of their own, then what became of it. */
const receiptForm =
  /^\s{0,40}(?:your message|ihre nachricht|votre message|su mensaje|el mensaje|il messaggio|sua mensagem|a sua mensagem|uw bericht|ditt meddelande|din meddelelse|meldingen|viestisi|vaše zpráva|twoja wiadomość|ваше сообщение|您的(?:邮件|郵件))[^\n]{0,60}\n\s{0,40}[^\n:：]{1,30}[:：][^\n]{0,300}\n\s{0,40}[^\n:：]{1,30}[:：][^\n]{0,1000}\n/iu;

/** What Exchange, Outlook, and programs that nobody answers to write. */
const machineFields = [
  'x-ms-has-attach',
  'x-ms-tnef-correlator',
  'x-ms-exchange-organization-authas',
  'x-ms-exchange-crosstenant-id',
  'x-ms-exchange-transport-crosstenantheadersstamped',
  'x-ms-publictraffictype',
  'x-mimeole',
] as const;

export function isReceipt(facts: Facts, signs: Signs): boolean {
  const { reportType, contentType } = signs;
  if (reportType === 'disposition-notification') return true;
  if (reportType !== null) return hasPart(facts, 'message/disposition-notification');
  if (contentType.startsWith('message/disposition-notification')) return true;
  if (!receiptSubject.test(facts.subject)) return false;
  if (/\bmdn\b/iu.test(field(facts, 'content-class'))) return true;
  const start = facts.text.slice(0, 1500);
  return isMachine(facts, signs) && receiptForm.test(start) && receiptText.test(start);
}

function isMachine(facts: Facts, { autoSubmitted, hasNullPath }: Signs): boolean {
  if (autoSubmitted !== '' || hasNullPath || isSuppressed(facts)) return true;
  return machineFields.some((name) => has(facts, name));
}
