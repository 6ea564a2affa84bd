/**
 * Attachments: gives each decoded part a safe file name, a valid media type (RFC 6838), a SHA-256 and bytes of its own.
 *
 * A part without a name is called after its subject, its description or its type; `file-name.ts` makes any name safe.
 * libmime maps extensions to types and back, corrected by `extensions`. Never fails.
 */
import { hash } from 'node:crypto';
import { lazyRequire } from '../lazy-require.ts';
import type { Attachment } from '../message.ts';
import { safeName } from './file-name.ts';
import { declaredCharset, decodeField, firstRaw, splitMessage, withoutEscapes } from './headers.ts';

/** A decoded part. `type`, `name` and `description` are as sent. */
export type AttachmentPart = {
  readonly name: string;
  readonly type: string;
  readonly disposition: string;
  readonly contentId: string | null;
  readonly description?: string;
  readonly content: Uint8Array;
};

const libmime = lazyRequire((require) => require('libmime') as typeof import('libmime').default);

/** Media type names are up to 127 of these characters (RFC 6838 section 4.2). */
const mediaType = /^[a-z0-9][\w!#$&^.+-]{0,126}\/[a-z0-9][\w!#$&^.+-]{0,126}$/u;

/** All attachments of one message, in order; `shownIds` are the Content-IDs that the HTML refers to. */
export function makeAttachments(
  parts: readonly AttachmentPart[],
  shownIds: ReadonlySet<string>,
): readonly Attachment[] {
  const sentNames = new Set(parts.flatMap(({ name }) => safeName(name) ?? []));
  const generateName = nameGenerator(sentNames);
  return parts.map((part) => makeAttachment(part, generateName, shownIds));
}

function makeAttachment(part: AttachmentPart, generateName: NameGenerator, shownIds: ReadonlySet<string>): Attachment {
  const sentName = safeName(part.name);
  const type = readType(part.type, sentName);
  const content = ownBytes(part.content);
  const contentId = part.contentId === null ? null : withoutBrackets(part.contentId) || null;
  return {
    name: sentName ?? generateName({ description: part.description ?? '', type, content }),
    type,
    sizeBytes: content.length,
    sha256: hash('sha256', content),
    contentId,
    inline: part.disposition === 'inline' || (contentId !== null && shownIds.has(contentId)),
    content,
  };
}

/** Strips white space and angle brackets in one pass: a pattern that tries every start takes quadratic time. */
function withoutBrackets(sent: string): string {
  let start = 0;
  let end = sent.length;
  while (start < end && /[\s<]/u.test(sent.charAt(start))) start += 1;
  while (end > start && /[\s>]/u.test(sent.charAt(end - 1))) end -= 1;
  return sent.slice(start, end);
}

/** The Content-IDs that the HTML shows inline (`cid:` URLs, RFC 2392). */
export function shownContentIds(html: string | null): ReadonlySet<string> {
  if (html === null) return new Set();
  const ids = html.matchAll(/\bcid:([^\s"'<>)]{1,500})/giu);
  return new Set(Array.from(ids, ([, id = '']) => withoutEscapes(id, /%([0-9a-f]{2})/giu)));
}

/** The type as sent where it is valid; derived from the file name where it is missing. */
function readType(sent: string, name: string | null): string {
  const type = (sent.split(';')[0] ?? '').trim().toLowerCase();
  if (mediaType.test(type)) return type;
  return type === '' && name !== null ? typeOfName(name) : 'application/octet-stream';
}

/** The bytes in an ArrayBuffer of exactly their size: small buffers of Node are slices of a shared pool. */
function ownBytes(content: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = content;
  if (buffer instanceof ArrayBuffer && byteOffset === 0 && buffer.byteLength === byteLength)
    return new Uint8Array(buffer);
  return new Uint8Array(content);
}

// Names

/** Of a subject; `safeName` cuts the whole. */
const subjectLengthMax = 255;
/** Longer descriptions (RFC 2045 section 8) are sentences. */
const descriptionLengthMax = 80;

/** A part without a name. `type` is valid, `content` decoded. */
type UnnamedPart = Pick<Attachment, 'type' | 'content'> & { readonly description: string };

/** Makes a name for a part, different from all names it has made before. */
type NameGenerator = (part: UnnamedPart) => string;

/** `sent` are the safe names that other parts were sent with; they are not made again. */
function nameGenerator(sent: ReadonlySet<string>): NameGenerator {
  const counts = new Map<string, number>();
  return (part) => {
    const own = safeName(subjectName(part)) ?? safeName(describedName(part));
    if (own !== null) return own;
    const word = wordFor(part.type);
    const extension = extensionOf(part.type);
    let count = counts.get(word) ?? 0;
    let name: string;
    do {
      count += 1;
      name = count === 1 ? `${word}.${extension}` : `${word}-${count}.${extension}`;
    } while (sent.has(name));
    counts.set(word, count);
    return name;
  };
}

/** The subject of an attached message, as its name; empty for other types, and without a subject. */
function subjectName({ type, content }: UnnamedPart): string {
  if (type !== 'message/rfc822' && type !== 'message/global') return '';
  const inner = splitMessage(content);
  const subject = decodeField(firstRaw(inner.headers, 'subject') ?? '', declaredCharset(inner));
  return subject === '' ? '' : `${subject.slice(0, subjectLengthMax)}.eml`;
}

/** The description with an extension; empty where it cannot be a name. */
function describedName({ description, type }: UnnamedPart): string {
  const text = description.slice(0, 2 * descriptionLengthMax).replace(/[\s.]+$/u, '');
  if (text.length > descriptionLengthMax || !/[\p{L}\p{N}]/u.test(text)) return '';
  const extension = extensionOf(type);
  return /\.[a-z][a-z0-9]{1,4}$/iu.test(text) || extension === unknownExtension ? text : `${text}.${extension}`;
}

function wordFor(type: string): string {
  for (const [pattern, word] of words) {
    const found = pattern.exec(type);
    if (found !== null) return word || found[0];
  }
  return 'attachment';
}

/** Words that say more than `attachment`; the first row that matches counts. An empty word means the match itself. */
const words: readonly (readonly [type: RegExp, word: string])[] = [
  [/^(?:image|audio|video)(?=\/)/u, ''],
  [/^message(?=\/(?:rfc822|global)$)/u, ''],
  [/^message\/(?:global-)?delivery-status$/u, 'delivery-status'],
  [/^message\/(?:global-)?disposition-notification$/u, 'disposition-notification'],
  [/^(?:text\/rfc822|message\/global)-headers$/u, 'headers'],
  [/^application\/(?:pgp|pkcs7|x-pkcs7)-signature$/u, 'signature'],
];

export function typeOfName(name: string): string {
  return libmime().detectMimeType(name);
}

function extensionOf(type: string): string {
  const extension = extensions.get(type) ?? libmime().detectExtension(type);
  return extension === unknownExtension && /^(?:text|message)\//u.test(type) ? 'txt' : extension;
}

const unknownExtension = 'bin';

/** Extensions of types that libmime does not know, or maps to a rare one. */
const extensionRows: readonly (readonly [extension: string, types: string])[] = [
  ['jpg', 'image/jpeg image/jpg image/pjpeg'],
  ['png', 'image/x-png'],
  ['tif', 'image/tiff'],
  ['mp3', 'audio/mpeg audio/mp3'],
  ['m4a', 'audio/mp4'],
  ['ogg', 'audio/ogg'],
  ['amr', 'audio/amr'],
  ['eml', 'message/rfc822 message/global'],
  ['vcf', 'text/vcard'],
  ['rtf', 'text/rtf'],
  ['asc', 'application/pgp-signature'],
  ['p7m', 'application/pkcs7-mime application/x-pkcs7-mime'],
];
const extensions: ReadonlyMap<string, string> = new Map(
  extensionRows.flatMap(([extension, types]) => types.split(' ').map((type) => [type, extension] as const)),
);
