/**
 * Tells when a body was declared wrongly, and under which Content-Type it can be read.
 *
 * Two cases: a multipart whose boundary never appears leaves nothing at all, so that its source is shown as text; and
 * a single part whose charset is missing or wrong comes out garbled. Parts of a working multipart stay as they are.
 */
import type { ParsedMessage } from './message.ts';

/** The Content-Type to read the mail under once more, or null when the reading is good. */
export function betterContentType(
  sent: string,
  { text, html, attachments }: Pick<ParsedMessage, 'text' | 'html' | 'attachments'>,
): string | null {
  const isMultipart = /^multipart\//iu.test(sent);
  if (isMultipart) return text === '' && html === null && attachments.length === 0 ? 'text/plain' : null;
  const charset = betterCharset(html ?? text);
  if (charset === null) return null;
  const type = html === null ? 'text/plain' : 'text/html';
  const flowed = (sent.match(/;\s*(?:format|delsp)\s*=\s*"?\w+"?/giu) ?? []).join('');
  return `${type}; charset=${charset}${flowed}`;
}

/** Escape sequences of RFC 1468 mean ISO-2022-JP; mostly replacement characters mean bytes that are no UTF-8. */
function betterCharset(text: string): string | null {
  if (/\u001b\$[@B]/u.test(text)) return 'iso-2022-jp';
  if (!text.includes('\ufffd')) return null;
  const unreadable = text.match(/\ufffd/gu)?.length ?? 0;
  const readable = text.match(/[\u0080-\ufffc]/gu)?.length ?? 0;
  return unreadable > readable ? 'windows-1252' : null;
}
