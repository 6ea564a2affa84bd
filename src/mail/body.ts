/**
 * Body and attachments of a message, from its MIME tree.
 *
 * Text parts without a file name are read in order, those with one only where there is no other text; the plain text
 * and the HTML of alternatives are one piece. Everything else is attached, an embedded message as a whole. winmail.dat
 * and opaque S/MIME signatures are opened, invitations are described. A part of an unknown type is attached. Bounded:
 * three nested signatures, 20 invitations. Never fails.
 */
import { describeInvitation } from './formats/invitation.ts';
import {
  clearTextOf,
  type DescribedPart,
  envelopeWork,
  isEnvelope,
  protectionOf,
  readOpaqueSigned,
} from './formats/protection.ts';
import { readTnef } from './formats/tnef.ts';
import type { ParsedMessage } from './message.ts';
import { type AttachmentPart, makeAttachments, shownContentIds, typeOfName } from './mime/attachments.ts';
import { decodeField, firstRaw, readPartHead, unfold } from './mime/headers.ts';
import { type HtmlBudget, htmlBudget, textOfHtml } from './mime/html.ts';
import type { MimePart } from './mime/part.ts';
import { readHtmlPart, readPlainPart } from './mime/text.ts';
import { decodeTransfer } from './mime/transfer-encoding.ts';
import { readTree } from './mime/tree.ts';

type Body = Pick<ParsedMessage, 'text' | 'html' | 'protection' | 'attachments'>;

/** Text, HTML, or both where the message gives them as alternatives. */
type Piece = { readonly text: string | null; readonly html: string | null };

/** Levels of opaque signatures, as of a message signed again in transit. Each level is attached, and so in memory. */
const openedDepthMax = 3;
const inviteName = 'invite.ics';
/** Calendars of one message that are described; all of them are attached. */
const invitesMax = 20;

/** Collected on the way through the tree, in order. */
class Findings {
  readonly charset: string | null;
  readonly described: DescribedPart[] = [];
  readonly attached: AttachmentPart[] = [];
  /** Texts with a file name that are not declared as attachments: read only where the message has no other text. */
  readonly named: MimePart[] = [];
  readonly invites = new Set<string>();
  describedCalendars = 0;
  /** Bodies of winmail.dat: read only where the message has no other text. */
  readonly hidden: { readonly piece: Piece; readonly file: AttachmentPart }[] = [];
  readonly budget = htmlBudget();
  readonly work = envelopeWork();
  openedDepth = 0;

  constructor(charset: string | null) {
    this.charset = charset;
  }
}

/** Reads the tree of a whole message. `charset` is for raw bytes in the fields of signed envelopes. */
export function readBody(tree: MimePart, charset: string | null): Body {
  const findings = new Findings(charset);
  const { budget } = findings;
  const read = readPart(tree, findings, true).filter(isFilled);
  const hidden = findings.hidden.map((one) => one.piece);
  const shown = [read, hidden, findings.named.map(readNamed).filter(isFilled)].find((pieces) => pieces.length > 0);
  const piece = joinPieces(shown ?? [], budget) ?? { text: '', html: null };
  const text = readableText(piece, budget);
  if (read.length > 0) attachUnshownTnef(text, findings);
  const shownIds = shownContentIds(piece.html);
  return {
    text: withInvites(clearTextOf(text) ?? text, findings.invites),
    html: piece.html === '' ? null : piece.html,
    protection: protectionOf(findings.described, text),
    attachments: makeAttachments(findings.attached, shownIds),
  };
}

/** Attaches a winmail.dat whose body has words that the text of the message lacks; otherwise they would be lost. */
function attachUnshownTnef(text: string, findings: Findings): void {
  for (const { piece, file } of findings.hidden) {
    if (!findings.attached.includes(file) && !hasWords(text, readableText(piece, findings.budget)))
      findings.attached.push(file);
  }
}

function withInvites(text: string, invites: ReadonlySet<string>): string {
  if (invites.size === 0) return text;
  const summary = [...invites].join('\n\n');
  return text.trim() === '' ? summary : `${text.trimEnd()}\n\n${summary}`;
}

// Parts

/** The readable pieces of a part; its other contents are added to `findings`. */
function readPart(part: MimePart, findings: Findings, isRoot: boolean): readonly Piece[] {
  findings.described.push({ type: part.type, params: part.parameters, name: part.name });
  if (part.parts.length > 0) return readMultipart(part, findings);
  if (!isReadable(part, isRoot)) {
    if (isReadable({ ...part, name: '' }, false)) findings.named.push(part);
    return attach(part, findings);
  }
  if (part.type === 'text/html') return [{ text: null, html: readHtmlPart(part) }];
  const { text, files } = readPlainPart(part);
  for (const { name, content } of files)
    findings.attached.push({ name, type: typeOfName(name), disposition: 'attachment', contentId: null, content });
  return [{ text, html: null }];
}

function readMultipart({ type, parts, parameters }: MimePart, findings: Findings): readonly Piece[] {
  if (type === 'multipart/alternative') {
    const isPlainThere = parts.some((child) => child.type === 'text/plain');
    const piece = joinAlternatives(
      parts.map((child) =>
        isPlainThere && isEnriched(child) ? attach(child, findings) : readPart(child, findings, false),
      ),
      findings.budget,
    );
    return piece === null ? [] : [piece];
  }
  if (type !== 'multipart/related') return parts.flatMap((child) => readPart(child, findings, false));
  const start = parameters.get('start');
  const root = start === undefined ? parts[0] : (parts.find((part) => contentIdOf(part) === start) ?? parts[0]);
  return parts.flatMap((child) => (child === root ? readPart(child, findings, false) : readRelated(child, findings)));
}

/** text/enriched repeats the plain text beside it. */
const isEnriched = ({ type }: MimePart) => type === 'text/enriched' || type === 'text/richtext';

/** A related part that the HTML can refer to is attached, inline unless declared otherwise; any other is read. */
function readRelated(part: MimePart, findings: Findings): readonly Piece[] {
  const hasId = contentIdOf(part) !== null;
  const isReferred = hasId || firstRaw(part.headers, 'content-location') !== null;
  if (!isReferred || part.parts.length > 0) return readPart(part, findings, false);
  findings.described.push({ type: part.type, params: part.parameters, name: part.name });
  return attach(hasId && part.disposition === '' ? { ...part, disposition: 'inline' } : part, findings);
}

const readableTypes: ReadonlySet<string> = new Set(['text/plain', 'text/html', 'text/enriched', 'text/richtext']);

/** Text with a file name, or attached, is a file; the only part of a message is its text even so. */
function isReadable({ type, name, disposition }: MimePart, isRoot: boolean): boolean {
  return readableTypes.has(type) && disposition !== 'attachment' && (name === '' || isRoot);
}

/** It stays attached, under its name. */
function readNamed(part: MimePart): Piece {
  return part.type === 'text/html'
    ? { text: null, html: readHtmlPart(part) }
    : { text: readPlainPart(part).text, html: null };
}

function attach(part: MimePart, findings: Findings): readonly Piece[] {
  const content = decodeTransfer(part.raw, part.encoding);
  if (isTnef(part) && openTnef(part, content, findings)) return [];
  const isInvite = part.type === 'text/calendar';
  if (isInvite && findings.describedCalendars < invitesMax) {
    findings.describedCalendars += 1;
    const invite = describeInvitation(readPlainPart({ ...part, type: 'text/plain' }).text);
    if (invite !== null) findings.invites.add(invite);
  }
  findings.attached.push({
    name: part.name === '' && isInvite ? inviteName : part.name,
    type: part.type,
    disposition: part.disposition,
    contentId: contentIdOf(part),
    description:
      part.name === '' ? decodeField(firstRaw(part.headers, 'content-description') ?? '', findings.charset) : '',
    content,
  });
  return isEnvelope({ ...part, params: part.parameters }) ? openSigned(content, findings) : [];
}

function contentIdOf({ headers }: MimePart): string | null {
  const raw = firstRaw(headers, 'content-id');
  return raw === null ? null : unfold(raw, null);
}

const isTnef = ({ type, name }: MimePart) =>
  type === 'application/ms-tnef' || type === 'application/vnd.ms-tnef' || /^winmail\.dat$/iu.test(name);

function openTnef({ name, type }: MimePart, content: Uint8Array<ArrayBuffer>, findings: Findings): boolean {
  const tnef = readTnef(content);
  // Some hold form data only, as meeting requests do: an odd file is better than none.
  if (tnef === null || (tnef.attachments.length === 0 && tnef.text === null && tnef.html === null)) return false;
  findings.attached.push(...tnef.attachments);
  const file = { name, type, disposition: 'attachment', contentId: null, content };
  if (!tnef.isWhole) findings.attached.push(file);
  if (tnef.text !== null || tnef.html !== null)
    findings.hidden.push({ piece: { text: tnef.text, html: tnef.html }, file });
  return true;
}

/** Reads the message within an opaque signature instead of the envelope, which stays attached as the proof. */
function openSigned(content: Uint8Array, findings: Findings): readonly Piece[] {
  if (findings.openedDepth >= openedDepthMax) return [];
  const signed = readOpaqueSigned(content, findings.work);
  if (signed === null) return [];
  findings.described[findings.described.length - 1] = openedEnvelope;
  const bytes = Buffer.from(signed.buffer, signed.byteOffset, signed.byteLength);
  const { headers, bodyStart } = readPartHead(bytes, 0);
  findings.openedDepth += 1;
  const pieces = readPart(readTree(bytes, headers, bodyStart, findings.charset), findings, true);
  findings.openedDepth -= 1;
  return pieces;
}

/** An opened envelope is signed, whatever its fields declare. */
const openedEnvelope: DescribedPart = {
  type: 'application/pkcs7-mime',
  params: new Map([['smime-type', 'signed-data']]),
  name: '',
};

// Pieces of readable text, and how they become one text and one HTML; a single piece stays as it was sent

const isBlank = (text: string | null) => text === null || text.trim() === '';
const isFilled = ({ text, html }: Piece) => !isBlank(text) || !isBlank(html);

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
  const pieces = withoutRepeats(sent.filter(isFilled), budget);
  if (pieces.length < 2) return pieces[0] ?? first;
  const hasHtml = pieces.some(({ html }) => html !== null);
  const isMixed = hasHtml && pieces.some(({ text }) => !isBlank(text));
  const texts = pieces
    .map((piece) => (isMixed || !hasHtml ? readableText(piece, budget) : ''))
    .filter((text) => text !== '');
  return { text: texts.length === 0 ? null : joinTexts(texts), html: hasHtml ? joinHtml(pieces) : null };
}

/** Text of the HTML of a piece: it is needed more than once, and conversion is slow. */
const textsOfHtml = new WeakMap<Piece, string>();

/** The text of a piece, else the text of its HTML. */
function readableText(piece: Piece, budget: HtmlBudget): string {
  const { text, html } = piece;
  if (html === null || !isBlank(text)) return text ?? '';
  const converted = textsOfHtml.get(piece) ?? textOfHtml(html, budget);
  textsOfHtml.set(piece, converted);
  return converted;
}

/** Joins a text and the HTML after it that repeats it, as of programs that write no alternatives. */
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

/** True when every word of `part` is in `text` too; false for a very long part. */
function hasWords(text: string, part: string): boolean {
  if (part.length > comparedLengthMax) return false;
  const wordsOf = (one: string) => one.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const textWords = new Set(wordsOf(text.slice(0, 2 * comparedLengthMax)));
  return wordsOf(part).every((word) => textWords.has(word));
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
