/**
 * What there is to read in a mail, and what is attached to it, from the tree of its parts.
 *
 * Text parts without a name are read, in their order; of alternatives the text and the HTML are one piece. All else is
 * attached, a mail within the mail as a whole. winmail.dat and signed envelopes are opened, invitations described.
 * Nothing of a part is lost for being of an unknown kind; it never fails.
 */
import { makeAttachments, type Part, shownContentIds } from './attachment.ts';
import { typeOfName } from './attachment-names.ts';
import { hasWords, joinAlternatives, joinPieces, type Piece, readableText } from './body-pieces.ts';
import { describeInvite } from './calendar.ts';
import { decodeField, firstRaw, readPartHead, unfold } from './headers.ts';
import type { Attachment, Protection } from './message.ts';
import type { MimePart } from './mime-part.ts';
import { readTree } from './mime-tree.ts';
import {
  clearTextOf,
  type DescribedPart,
  envelopeWork,
  isEnvelope,
  protectionOf,
  readOpaqueSigned,
} from './protection.ts';
import { type HtmlBudget, htmlBudget } from './text.ts';
import { readHtmlPart, readPlainPart } from './text-part.ts';
import { readTnef } from './tnef.ts';
import { decodeTransfer } from './transfer-encoding.ts';

/** `text` is readable whatever form it was sent in; `html` as sent. */
export type Body = {
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
  readonly attached: Part[];
  readonly invites: Set<string>;
  /** How many calendars were looked at. */
  calendars: number;
  /** Of winmail.dat: read only where the mail has no other text. */
  readonly hidden: { readonly piece: Piece; readonly file: Part }[];
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
    const invite = describeInvite(readPlainPart({ ...part, type: 'text/plain' }).text);
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
