/**
 * What there is to read in a mail, and what is attached to it, from the tree of its parts.
 *
 * Text parts without a name are read, in their order; of alternatives the text and the HTML are one piece. All else is
 * attached, a mail within the mail as a whole. winmail.dat and signed envelopes are opened, invitations described.
 * Nothing of a part is lost for being of an unknown kind; it never fails.
 */

import { envelopeWork, isEnvelope, readOpaqueSigned } from './formats/cms.ts';
import { describeInvitation } from './formats/invitation.ts';
import { clearTextOf, type DescribedPart, protectionOf } from './formats/protection.ts';
import { readTnef } from './formats/tnef.ts';
import type { Attachment, Protection } from './message.ts';
import { type AttachmentPart, makeAttachments, shownContentIds, typeOfName } from './mime/attachments.ts';
import { decodeField, firstRaw, readPartHead, unfold } from './mime/headers.ts';
import { type HtmlBudget, htmlBudget, textOfHtml } from './mime/html.ts';
import type { MimePart } from './mime/part.ts';
import { readHtmlPart, readPlainPart } from './mime/text.ts';
import { decodeTransfer } from './mime/transfer-encoding.ts';
import { readTree } from './mime/tree.ts';

/** `text` is readable whatever form it was sent in; `html` as sent. */
type Body = {
  readonly text: string;
  readonly html: string | null;
  readonly protection: Protection | null;
  readonly attachments: readonly Attachment[];
};

/** Signed, and signed again on the way. Each level is attached, so that all of them are in memory. */
const openedDepthMax = 3;
const inviteName = 'invite.ics';
/** Calendars of one mail that are described; all of them are attached. */
const invitesMax = 20;

/** What is found on the way through the tree, in order. */
type Findings = {
  readonly charset: string | null;
  readonly described: DescribedPart[];
  readonly attached: AttachmentPart[];
  readonly invites: Set<string>;
  /** How many calendars were looked at. */
  calendars: number;
  /** Of winmail.dat: read only where the mail has no other text. */
  readonly hidden: { readonly piece: Piece; readonly file: AttachmentPart }[];
  readonly budget: HtmlBudget;
  readonly work: ReturnType<typeof envelopeWork>;
  openedDepth: number;
};

/** Reads the tree of a whole mail. `charset` is for raw bytes in the fields of signed envelopes. */
export function readBody(tree: MimePart, charset: string | null): Body {
  const budget = htmlBudget();
  const found: Findings = {
    charset,
    described: [],
    attached: [],
    invites: new Set(),
    calendars: 0,
    hidden: [],
    budget,
    work: envelopeWork(),
    openedDepth: 0,
  };
  const read = readPart(tree, found, true).filter((piece) => !isEmpty(piece));
  const hidden = found.hidden.map((one) => one.piece);
  const piece = joinPieces(read.length > 0 ? read : hidden, budget) ?? { text: '', html: null };
  const text = readableText(piece, budget);
  if (read.length > 0) keepUntold(text, found);
  const shownIds = shownContentIds(piece.html);
  return {
    text: withInvites(clearTextOf(text) ?? text, found.invites),
    html: piece.html === '' ? null : piece.html,
    protection: protectionOf(found.described, text),
    attachments: makeAttachments(found.attached, shownIds),
  };
}

/** What a winmail.dat says is the same as the mail nearly always; where it is not, nobody would see it. */
function keepUntold(text: string, found: Findings): void {
  for (const { piece, file } of found.hidden) {
    if (!found.attached.includes(file) && !hasWords(text, readableText(piece, found.budget))) found.attached.push(file);
  }
}

const isEmpty = ({ text, html }: Piece) => (text ?? '').trim() === '' && (html ?? '').trim() === '';

function withInvites(text: string, invites: ReadonlySet<string>): string {
  if (invites.size === 0) return text;
  const summary = [...invites].join('\n\n');
  return text.trim() === '' ? summary : `${text.trimEnd()}\n\n${summary}`;
}

/** The pieces of a part to be read; its other contents are added to `found`. */
function readPart(part: MimePart, found: Findings, isRoot: boolean): readonly Piece[] {
  found.described.push({ type: part.type, params: part.parameters, name: part.name });
  if (part.parts.length > 0) return readMultipart(part, found);
  if (!isReadable(part, isRoot)) return attach(part, found);
  if (part.type === 'text/html') return [{ text: null, html: readHtmlPart(part) }];
  const { text, files } = readPlainPart(part);
  for (const { name, content } of files)
    found.attached.push({ name, type: typeOfName(name), disposition: 'attachment', contentId: null, content });
  return [{ text, html: null }];
}

function readMultipart({ type, parts, parameters }: MimePart, found: Findings): readonly Piece[] {
  if (type === 'multipart/alternative') {
    const isPlainThere = parts.some((child) => child.type === 'text/plain');
    const piece = joinAlternatives(
      parts.map((child) => (isPlainThere && isEnriched(child) ? attach(child, found) : readPart(child, found, false))),
      found.budget,
    );
    return piece === null ? [] : [piece];
  }
  if (type !== 'multipart/related') return parts.flatMap((child) => readPart(child, found, false));
  const start = parameters.get('start');
  const root = start === undefined ? parts[0] : (parts.find((part) => contentIdOf(part) === start) ?? parts[0]);
  return parts.flatMap((child) => (child === root ? readPart(child, found, false) : readRelated(child, found)));
}

/** The same once more, in a form that nobody writes today. */
const isEnriched = ({ type }: MimePart) => type === 'text/enriched' || type === 'text/richtext';

/** What belongs to a page is no text of its own, unless nothing could refer to it; it is shown there unless it says no. */
function readRelated(part: MimePart, found: Findings): readonly Piece[] {
  const hasId = contentIdOf(part) !== null;
  const isReferred = hasId || firstRaw(part.headers, 'content-location') !== null;
  if (!isReferred || part.parts.length > 0) return readPart(part, found, false);
  found.described.push({ type: part.type, params: part.parameters, name: part.name });
  return attach(hasId && part.disposition === '' ? { ...part, disposition: 'inline' } : part, found);
}

const readableTypes: ReadonlySet<string> = new Set(['text/plain', 'text/html', 'text/enriched', 'text/richtext']);

/** Text that somebody named, or attached, is a file; the only part of a mail is its text even so. */
function isReadable({ type, name, disposition }: MimePart, isRoot: boolean): boolean {
  return readableTypes.has(type) && disposition !== 'attachment' && (name === '' || isRoot);
}

function attach(part: MimePart, found: Findings): readonly Piece[] {
  const content = decodeTransfer(part.raw, part.encoding);
  if (isTnef(part) && openTnef(part, content, found)) return [];
  const isInvite = part.type === 'text/calendar';
  if (isInvite && found.calendars < invitesMax) {
    found.calendars += 1;
    const invite = describeInvitation(readPlainPart({ ...part, type: 'text/plain' }).text);
    if (invite !== null) found.invites.add(invite);
  }
  found.attached.push({
    name: part.name === '' && isInvite ? inviteName : part.name,
    type: part.type,
    disposition: part.disposition,
    contentId: contentIdOf(part),
    description:
      part.name === '' ? decodeField(firstRaw(part.headers, 'content-description') ?? '', found.charset) : '',
    content,
  });
  return isEnvelope({ ...part, params: part.parameters }) ? openSigned(content, found) : [];
}

function contentIdOf({ headers }: MimePart): string | null {
  const raw = firstRaw(headers, 'content-id');
  return raw === null ? null : unfold(raw, null);
}

const isTnef = ({ type, name }: MimePart) =>
  type === 'application/ms-tnef' || type === 'application/vnd.ms-tnef' || /^winmail\.dat$/iu.test(name);

function openTnef({ name, type }: MimePart, content: Uint8Array<ArrayBuffer>, found: Findings): boolean {
  const tnef = readTnef(content);
  // Some hold form data alone, as meeting requests do: better an odd file than none.
  if (tnef === null || (tnef.attachments.length === 0 && tnef.text === null && tnef.html === null)) return false;
  found.attached.push(...tnef.attachments);
  const file = { name, type, disposition: 'attachment', contentId: null, content };
  if (!tnef.isWhole) found.attached.push(file);
  if (tnef.text !== null || tnef.html !== null)
    found.hidden.push({ piece: { text: tnef.text, html: tnef.html }, file });
  return true;
}

/** The mail within a signature, read as if it stood in its place. The envelope stays attached, as the proof. */
function openSigned(content: Uint8Array, found: Findings): readonly Piece[] {
  if (found.openedDepth >= openedDepthMax) return [];
  const signed = readOpaqueSigned(content, found.work);
  if (signed === null) return [];
  found.described[found.described.length - 1] = openedEnvelope;
  const bytes = Buffer.from(signed.buffer, signed.byteOffset, signed.byteLength);
  const { headers, bodyStart } = readPartHead(bytes, 0);
  found.openedDepth += 1;
  const pieces = readPart(readTree(bytes, headers, bodyStart, found.charset), found, true);
  found.openedDepth -= 1;
  return pieces;
}

/** What was opened is signed, whatever its fields say, and however few they are. */
const openedEnvelope: DescribedPart = {
  type: 'application/pkcs7-mime',
  params: new Map([['smime-type', 'signed-data']]),
  name: '',
};

/**
 * The stretches of readable text of a mail, and how they become one text and one HTML.
 *
 * A piece is text, HTML, or both when the mail gives them as alternatives of each other. Pieces are joined in order; a
 * single piece stays as it was sent. What HTML says is asked for within the budget of the mail.
 */

/** At least one of the two is there. */
type Piece = { readonly text: string | null; readonly html: string | null };

const isBlank = (text: string | null) => text === null || text.trim() === '';

/** All children of an alternative as one piece: their texts, each once, and the best (last) HTML; null for nothing. */
function joinAlternatives(children: readonly (readonly Piece[])[], budget: HtmlBudget): Piece | null {
  const joined = children.map((pieces) => joinPieces(pieces, budget)).filter((piece) => piece !== null);
  if (joined.length < 2) return joined[0] ?? null;
  const plain = joined.filter(({ text, html }) => html === null && !isBlank(text)).map(({ text }) => text ?? '');
  const both = joined.find(({ text, html }) => html !== null && !isBlank(text))?.text ?? null;
  const texts = [...new Map(plain.map((text) => [text.trim(), text])).values()];
  const html = joined.findLast((piece) => !isBlank(piece.html))?.html ?? null;
  return { text: texts.length > 0 ? joinTexts(texts) : both, html };
}

/** All pieces as one, in order; null when there are none. */
function joinPieces(sent: readonly Piece[], budget: HtmlBudget): Piece | null {
  const [first] = sent;
  if (first === undefined) return null;
  if (sent.length === 1) return first;
  const filled = sent.filter(({ text, html }) => !isBlank(text) || !isBlank(html));
  const pieces = withoutRepeats(filled, budget);
  if (pieces.length < 2) return pieces[0] ?? first;
  const hasHtml = pieces.some(({ html }) => html !== null);
  const isMixed = hasHtml && pieces.some(({ text }) => !isBlank(text));
  const texts = pieces
    .map((piece) => (isMixed || !hasHtml ? readableText(piece, budget) : ''))
    .filter((text) => text !== '');
  return { text: texts.length === 0 ? null : joinTexts(texts), html: hasHtml ? joinHtml(pieces) : null };
}

/** What the HTML of a piece says: it is asked for more than once, and takes long. */
const told = new WeakMap<Piece, string>();

/** What is to be read of a piece: its text, else what its HTML says. */
function readableText(piece: Piece, budget: HtmlBudget): string {
  const { text, html } = piece;
  if (html === null || !isBlank(text)) return text ?? '';
  const known = told.get(piece) ?? textOfHtml(html, budget);
  told.set(piece, known);
  return known;
}

/** Text, and the same as HTML beside it where it should be an alternative: some programs know no other form. */
function withoutRepeats(pieces: readonly Piece[], budget: HtmlBudget): readonly Piece[] {
  const kept: Piece[] = [];
  for (const piece of pieces) {
    const previous = kept.at(-1);
    const isRepeat =
      previous !== undefined &&
      previous.html === null &&
      isBlank(piece.text) &&
      sameWords(previous.text ?? '', readableText(piece, budget));
    if (isRepeat) kept[kept.length - 1] = { text: previous.text, html: piece.html };
    else kept.push(piece);
  }
  return kept;
}

function sameWords(left: string, right: string): boolean {
  const words = (text: string) => text.replace(/[^\p{L}\p{N}]+/gu, '');
  return words(left) === words(right);
}

const comparedLengthMax = 200_000;

/** True when every word of `part` is in `text` too; a very long part is taken for something else. */
function hasWords(text: string, part: string): boolean {
  if (part.length > comparedLengthMax) return false;
  const wordsOf = (one: string) => one.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const known = new Set(wordsOf(text.slice(0, 2 * comparedLengthMax)));
  return wordsOf(part).every((word) => known.has(word));
}

function joinTexts(texts: readonly string[]): string {
  return texts.map((text, at) => (at === texts.length - 1 || text.endsWith('\n') ? text : `${text}\n`)).join('');
}

function joinHtml(pieces: readonly Piece[]): string {
  return pieces
    .map(({ text, html }) => html ?? `<div style="white-space: pre-wrap">${escaped(text ?? '')}</div>`)
    .join('\n');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
