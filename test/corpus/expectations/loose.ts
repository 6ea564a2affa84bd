/**
 * Comparisons that are loose where upstream suites differ from each other by habit, and nowhere else.
 *
 * Each function says what it lets pass. Numbers, types, hashes, kinds and counts are compared exactly, elsewhere.
 */
import { textOfHtml } from '../../../src/mail/mime/html.ts';
import type { Person } from './stored.ts';

/** White space: suites wrap, trim and join lines as their own printing does; so do fields that were folded. */
export function collapsed(text: string): string {
  return text.replace(/\s+/gu, ' ').trim();
}

/**
 * White space; and what a suite could not read: replacement marks in its statement stand for the one to four characters
 * beyond ASCII that belong there.
 */
export function sameText(stated: string, ours: string): boolean {
  const pieces = collapsed(stated)
    .split(/\ufffd+/u)
    .map((piece) => RegExp.escape(piece));
  return new RegExp(`^${pieces.join('[^\\x00-\\x7f]{1,4}')}$`, 'u').test(collapsed(ours));
}

/** White space at all: a suite that takes the tags out of HTML joins words that were paragraphs. */
export function squeezed(text: string): string {
  return text.replace(/[\s\u00ad\u200b-\u200d\u2060\ufeff]+/gu, '');
}

/** Case: some suites write addresses in small letters. */
export function sameAddress(left: string, right: string): boolean {
  return left.trim().toLowerCase() === right.trim().toLowerCase();
}

/** Order, case and repetition: some suites keep a set. */
export function sameAddresses(left: readonly string[], right: readonly string[]): boolean {
  const sorted = (all: readonly string[]) => [...new Set(all.map((one) => one.trim().toLowerCase()))].sort().join();
  return sorted(left) === sorted(right);
}

/**
 * Punctuation and order within an address field: `"Name" <a@b>`, `Name <a@b>` and `a@b (Name)` are three ways to write
 * one thing, and each suite prints its own. The words are all there, and no other.
 */
export function sameField(stated: string, people: readonly Person[]): boolean {
  const ours = people.map(({ name, address }) => (name === '' ? address : `${name} <${address}>`)).join(', ');
  return words(stated) === words(ours);
}

function words(text: string): string {
  const found = text.toLowerCase().match(/[^\s"'<>(),;\\]+/gu) ?? [];
  return [...new Set(found)].sort().join(' ');
}

/** Markdown: one suite turns HTML into it, and shows pictures of feelings by their names. */
export function sameMarkdown(left: string, right: string): boolean {
  const plain = (text: string) => collapsed(text.replace(/[*_#`]+/gu, '').replaceAll('👍', ':+1:'));
  return plain(left) === plain(right);
}

/** The first line with something to see. */
export function firstLine(text: string): string {
  return text.split('\n').find((line) => squeezed(line) !== '') ?? '';
}

/**
 * What HTML shows, roughly, its title not: suites that state text of HTML messages took out the tags, each its own way.
 */
export function shownText(html: string): string {
  return html
    .replace(/<!--[\s\S]*?-->|<(style|script|title|head)\b[\s\S]*?<\/\1\s*>/giu, '')
    .replace(/<[^>]*>/gu, '')
    .replace(/&nbsp;/giu, ' ')
    .replace(/&lt;/giu, '<')
    .replace(/&gt;/giu, '>')
    .replace(/&quot;/giu, '"')
    .replace(/&#(\d{1,7});/gu, (_, code: string) => String.fromCodePoint(Math.min(Number(code), 0x10ffff)))
    .replace(/&amp;/giu, '&');
}

/** The title of HTML, which one suite takes for its first line. */
export function titleText(html: string): string {
  return textOfHtml(/<title\b[^>]{0,200}>([^<]{1,1000})</iu.exec(html)?.[1] ?? '');
}
