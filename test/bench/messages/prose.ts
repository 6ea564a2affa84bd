/**
 * The words of the generated messages, and the sentences, paragraphs and HTML made of them.
 *
 * Nothing here means anything: the texts have the lengths, the line breaks and the share of letters outside ASCII
 * that messages to a helpdesk have. Sizes are bytes in UTF-8.
 */
import type { SeededRandom } from '../../support/random.ts';

const words =
  'the printer on floor three does not answer since this morning we tried to restart it and the error code stays on screen please advise invoice order delivery customer account password login reset request update server backup network cable monitor license expired contract renewal thank you for your help kind regards our team cannot open the attached document because version is not supported could somebody call me back today application crashes when I export report to spreadsheet after the last upgrade several colleagues have same problem shipment number tracking missing'.split(
    ' ',
  );

const foreignWords = [
  'Müller',
  'café',
  'naïve',
  'Überprüfung',
  'straße',
  '“quoted”',
  'prix 12 €',
  'añadir',
  '日本語',
  'Здравствуйте',
  '👍',
] as const;

export const firstNames = [
  'Anna',
  'Jürgen',
  'Maria',
  'José',
  'Pat',
  'Li',
  'Olga',
  'Sam',
  'Zoë',
  'Björn',
  'Priya',
  'Ken',
] as const;

export const lastNames = [
  'Smith',
  'Müller',
  'García',
  'Nguyen',
  'Okafor',
  'Ivanova',
  'Lindström',
  'Tanaka',
  'Dubois',
  'Kowalski',
] as const;

export const subjects = [
  'Printer does not work',
  'Invoice question',
  'Cannot log in',
  'Order status',
  'Password reset',
  'Rückfrage zur Bestellung',
  'VPN drops every hour',
  'Licence renewal',
  'Bug in export',
  'Problème de connexion',
  'Delivery damaged',
  'New laptop request',
] as const;

/** `ascii` draws from the English words alone; `any` puts in a foreign word now and then. */
export type Letters = 'ascii' | 'any';

const foreignShare = 0.04;
const lineColumnsMax = 74;
const paragraphShare = 0.7;
const paragraphOrTableShare = 0.85;

const htmlHead =
  '<html><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8"><style>p{margin:0 0 1em} .q{color:#555;font-family:Calibri,sans-serif}</style></head><body>\n';

/** Wrapped paragraphs until there are at least `bytesMin` bytes. */
export function plainText(random: SeededRandom, bytesMin: number, letters: Letters): string {
  let text = '';
  while (Buffer.byteLength(text) < bytesMin) text += `${wrapped(paragraph(random, letters))}\n\n`;
  return text;
}

/** An HTML document of paragraphs, small tables and linked pictures, until there are at least `bytesMin` bytes. */
export function htmlText(random: SeededRandom, bytesMin: number): string {
  let html = htmlHead;
  while (Buffer.byteLength(html) < bytesMin) html += htmlBlock(random);
  return `${html}</body></html>\n`;
}

function htmlBlock(random: SeededRandom): string {
  const share = random.fraction();
  if (share < paragraphShare) return htmlParagraph(random);
  return share < paragraphOrTableShare ? htmlTable(random) : htmlLink(random);
}

function htmlParagraph(random: SeededRandom): string {
  const content = paragraph(random, 'any').replace(/&/g, '&amp;');
  return `<p class="q" style="font-size:11pt;line-height:1.4">${content}</p>\n`;
}

function htmlTable(random: SeededRandom): string {
  const label = sentence(random, 'ascii');
  const figure = random.between(1, 9999);
  return `<table border="0" cellpadding="2"><tr><td>${label}</td><td><b>${figure}</b></td></tr></table>\n`;
}

function htmlLink(random: SeededRandom): string {
  const order = random.between(1e5, 1e6);
  const label = sentence(random, 'ascii');
  const picture = random.between(1, 500);
  return `<div><a href="https://shop.bench.test/o/${order}?utm_source=mail">${label}</a><img src="https://cdn.bench.test/p/${picture}.png" width="1" height="1" alt=""></div>\n`;
}

function paragraph(random: SeededRandom, letters: Letters): string {
  const count = random.between(2, 6);
  return Array.from({ length: count }, () => sentence(random, letters)).join(' ');
}

function sentence(random: SeededRandom, letters: Letters): string {
  const count = random.between(6, 18);
  const text = Array.from({ length: count }, () => word(random, letters)).join(' ');
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function word(random: SeededRandom, letters: Letters): string {
  if (letters === 'any' && random.chance(foreignShare)) return random.pick(foreignWords);
  return random.pick(words);
}

function wrapped(text: string): string {
  const line = new RegExp(`(.{1,${lineColumnsMax}})(?: |$)`, 'g');
  return text.replace(line, '$1\n').trimEnd();
}
