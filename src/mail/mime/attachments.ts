/**
 * Turns decoded parts of a mail into attachments: a safe name, a valid media type, a hash, bytes of their own.
 *
 * What the mail says of a part is believed as far as it has the form that it should have; a missing type is told by
 * the name. It never fails.
 */

import { hash } from 'node:crypto';
import { lazyRequire } from '../lazy-require.ts';
import type { Attachment } from '../message.ts';
import { declaredCharset, decodeField, firstRaw, splitMessage } from './headers.ts';

/** A part as the parser gives it. `type`, `name` and `description` are as sent. */
export type AttachmentPart = {
  readonly name: string;
  readonly type: string;
  readonly disposition: string;
  readonly contentId: string | null;
  readonly description?: string;
  readonly content: Uint8Array;
};

/** RFC 6838 section 4.2: names of types are up to 127 characters of these. */
const mediaType = /^[a-z0-9][\w!#$&^.+-]{0,126}\/[a-z0-9][\w!#$&^.+-]{0,126}$/u;

/** All attachments of one mail, in order; `shownIds` are the Content-IDs that the HTML refers to. */
export function makeAttachments(
  parts: readonly AttachmentPart[],
  shownIds: ReadonlySet<string>,
): readonly Attachment[] {
  const sentNames = new Set(parts.flatMap(({ name }) => safeName(name) ?? []));
  const giveName = nameGiver(sentNames);
  return parts.map((part) => makeAttachment(part, giveName, shownIds));
}

function makeAttachment(part: AttachmentPart, giveName: NameGiver, shownIds: ReadonlySet<string>): Attachment {
  const sentName = safeName(part.name);
  const type = readType(part.type, sentName);
  const content = ownBytes(part.content);
  const contentId = part.contentId === null ? null : withoutBrackets(part.contentId) || null;
  return {
    name: sentName ?? giveName({ description: part.description ?? '', type, content }),
    type,
    sizeBytes: content.length,
    sha256: hash('sha256', content),
    contentId,
    inline: part.disposition === 'inline' || (contentId !== null && shownIds.has(contentId)),
    content,
  };
}

/** Without white space and angle brackets around it, in one pass: a pattern that tries every start takes the square. */
function withoutBrackets(sent: string): string {
  let start = 0;
  let end = sent.length;
  while (start < end && /[\s<]/u.test(sent.charAt(start))) start += 1;
  while (end > start && /[\s>]/u.test(sent.charAt(end - 1))) end -= 1;
  return sent.slice(start, end);
}

/** The Content-IDs that an HTML text shows in place (`cid:` addresses of RFC 2392). */
export function shownContentIds(html: string | null): ReadonlySet<string> {
  if (html === null) return new Set();
  return new Set(Array.from(html.matchAll(/\bcid:([^\s"'<>)]{1,500})/giu), (match) => unescaped(match[1] ?? '')));
}

function unescaped(address: string): string {
  return address.replace(/%([0-9a-f]{2})/giu, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}

/** The type as sent where it is one; by the name where there is none. */
function readType(sent: string, name: string | null): string {
  const type = (sent.split(';')[0] ?? '').trim().toLowerCase();
  if (mediaType.test(type)) return type;
  return type === '' && name !== null ? typeOfName(name) : 'application/octet-stream';
}

/** The bytes in an ArrayBuffer of just that size: small buffers of Node are pieces of a shared pool. */
function ownBytes(content: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = content;
  if (buffer instanceof ArrayBuffer && byteOffset === 0 && buffer.byteLength === byteLength)
    return new Uint8Array(buffer);
  return new Uint8Array(content);
}

/**
 * Names for attachments: what was sent, made safe; else a mail's subject, a description, or a word for the type.
 *
 * A name from a mail is data, never a path: separators and control characters are replaced, and so are the marks
 * that turn the direction of writing, which make `exe.pdf` look like something else. It never fails.
 */

const libmime = lazyRequire((require) => require('libmime') as typeof import('libmime').default);

const nameLengthMax = 255;
const extensionLengthMax = 20;
/** Longer descriptions (RFC 2045 section 8) are sentences. */
const descriptionLengthMax = 80;

const unsafeInNames = /[\u0000-\u001f\u007f-\u009f/\\\u200e\u200f\u2028-\u202e\u2066-\u2069]+/gu;

/** One row for each type whose usual extension the library does not know, or knows as one that nobody uses. */
const extensions: ReadonlyMap<string, string> = new Map([
  ['image/jpeg', 'jpg'],
  ['image/jpg', 'jpg'],
  ['image/pjpeg', 'jpg'],
  ['image/x-png', 'png'],
  ['image/tiff', 'tif'],
  ['audio/mpeg', 'mp3'],
  ['audio/mp3', 'mp3'],
  ['audio/mp4', 'm4a'],
  ['audio/ogg', 'ogg'],
  ['audio/amr', 'amr'],
  ['message/rfc822', 'eml'],
  ['message/global', 'eml'],
  ['text/vcard', 'vcf'],
  ['text/rtf', 'rtf'],
  ['application/pgp-signature', 'asc'],
  ['application/pkcs7-mime', 'p7m'],
  ['application/x-pkcs7-mime', 'p7m'],
]);

/** One row for each word that says more than `attachment`; the first one that fits. */
const words: readonly (readonly [type: RegExp, word: string])[] = [
  [/^(?:image|audio|video)(?=\/)/u, ''],
  [/^message(?=\/(?:rfc822|global)$)/u, ''],
  [/^message\/(?:global-)?delivery-status$/u, 'delivery-status'],
  [/^message\/(?:global-)?disposition-notification$/u, 'disposition-notification'],
  [/^(?:text\/rfc822|message\/global)-headers$/u, 'headers'],
  [/^application\/(?:pgp|pkcs7|x-pkcs7)-signature$/u, 'signature'],
];

/** What a name is made of. `type` is valid, `content` decoded. */
type Nameless = {
  readonly description: string;
  readonly type: string;
  readonly content: Uint8Array<ArrayBuffer>;
};

/** The next name for a part without one, different from all before it. */
type NameGiver = (part: Nameless) => string;

/** `sent` are the safe names that other parts came with: none of them is given a second time. */
function nameGiver(sent: ReadonlySet<string>): NameGiver {
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

/** The description, with an extension; empty where it is none that could be a name. */
function describedName({ description, type }: Nameless): string {
  const text = description.slice(0, 2 * descriptionLengthMax).replace(/[\s.]+$/u, '');
  if (text.length > descriptionLengthMax || !/[\p{L}\p{N}]/u.test(text)) return '';
  const extension = extensionOf(type);
  return /\.[a-z][a-z0-9]{1,4}$/iu.test(text) || extension === unknownExtension ? text : `${text}.${extension}`;
}

/** A mail inside the mail is called after its subject; empty for all else, and where it has none. */
function subjectName({ type, content }: Nameless): string {
  if (type !== 'message/rfc822' && type !== 'message/global') return '';
  const inner = splitMessage(content);
  const subject = decodeField(firstRaw(inner.headers, 'subject') ?? '', declaredCharset(inner));
  return subject === '' ? '' : `${subject.slice(0, nameLengthMax)}.eml`;
}

function wordFor(type: string): string {
  for (const [pattern, word] of words) {
    const found = pattern.exec(type);
    if (found !== null) return word || found[0];
  }
  return 'attachment';
}

const unknownExtension = 'bin';

function extensionOf(type: string): string {
  const extension = extensions.get(type) ?? libmime().detectExtension(type);
  return extension === unknownExtension && /^(?:text|message)\//u.test(type) ? 'txt' : extension;
}

/** The type that a file of that name usually has. */
export function typeOfName(name: string): string {
  return libmime().detectMimeType(name);
}

/** A name that is only a name, or null when nothing is left of it. */
export function safeName(sent: string): string | null {
  const name = sent.toWellFormed().replace(unsafeInNames, '_').trim();
  if (/^[._\s]*$/u.test(name)) return null;
  return name.length <= nameLengthMax ? name : shortened(name);
}

function shortened(name: string): string {
  const dot = name.lastIndexOf('.');
  const extension = dot > 0 && name.length - dot <= extensionLengthMax ? name.slice(dot) : '';
  const stem = name.slice(0, nameLengthMax - extension.length).replace(/[\ud800-\udbff]$/u, '');
  return stem + extension.replace(/^[\udc00-\udfff]/u, '');
}
