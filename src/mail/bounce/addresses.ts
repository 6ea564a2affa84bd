/**
 * Address scanner: finds mail addresses in prose, as people and servers write them; no full parser of RFC 5321.
 *
 * Scans outwards from each @, so that the cost is linear in the text. A local part has at most 128 characters, a domain
 * 255.
 */

/** An address and its position in the text. */
export type AddressMatch = { readonly address: string; readonly start: number; readonly end: number };

const localMax = 128;
const domainMax = 255;
/** Non-ASCII letters (RFC 6531) only of scripts that separate words by blanks, so that no sentence is swallowed. */
const localPart = /[\w!#$%&'*+/=?^`{|}~.\u00c0-\u024f\u0370-\u052f-]/u;
const domainPart = /[\w.\u00c0-\u024f\u0370-\u052f-]/u;

/** All addresses of a text, in order. */
export function addressesIn(text: string): readonly AddressMatch[] {
  const found: AddressMatch[] = [];
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) {
    const start = localStart(text, at);
    const end = domainEnd(text, at + 1);
    const address = text.slice(start, end);
    if (start < at && /@[^@]*[^@.]$/u.test(address) && end > at + 1) found.push({ address, start, end });
  }
  return found;
}

function localStart(text: string, at: number): number {
  const quote = text[at - 1] === '"' ? text.lastIndexOf('"', at - 2) : -1;
  if (quote >= 0 && at - quote <= localMax && !text.slice(quote, at).includes('\n')) return quote;
  let start = at;
  while (start > 0 && at - start < localMax && localPart.test(text[start - 1] ?? '')) start -= 1;
  // Quotation marks and markup around an address do not belong to it.
  while (start < at && /['`*=|{}/&~]/u.test(text[start] ?? '') && !text.startsWith('=?', start)) start += 1;
  return start;
}

function domainEnd(text: string, from: number): number {
  let end = from;
  while (end < text.length && end - from < domainMax && domainPart.test(text[end] ?? '')) end += 1;
  while (end > from && /[.\-_]/u.test(text[end - 1] ?? '')) end -= 1;
  return end;
}

/** True for `local@domain`, whatever the two parts are. */
export function isAddress(text: string): boolean {
  return /^[^\s<>]{1,256}@[^\s<>@]{1,255}$/u.test(text);
}
