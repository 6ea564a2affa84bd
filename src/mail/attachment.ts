/**
 * Turns a decoded part of a mail into an attachment: a safe name, a valid media type, its hash, bytes of its own.
 *
 * A name from a mail is data, never a path: separators and control characters are replaced, and so are the marks
 * that turn the direction of writing, which make `exe.pdf` look like something else. It never fails.
 */
import { hash } from 'node:crypto';
import libmime from 'libmime';
import { declaredCharset, decodeField, firstRaw, splitMail } from './headers.ts';
import type { Attachment } from './message.ts';

/** A part as the parser gives it. `type` and `name` are as sent. */
export type Part = {
  readonly name: string;
  readonly type: string;
  readonly disposition: string;
  readonly contentId: string | null;
  readonly content: Uint8Array;
};

const nameLengthMax = 255;
const extensionLengthMax = 20;

const unsafeInNames = /[\u0000-\u001f\u007f-\u009f/\\\u200e\u200f\u2028-\u202e\u2066-\u2069]+/gu;

/** RFC 6838 section 4.2: names of types are up to 127 characters of these. */
const mediaType = /^[a-z0-9][\w!#$&^.+-]{0,126}\/[a-z0-9][\w!#$&^.+-]{0,126}$/u;

/** `position` counts from 1 and names what has no name; `shownIds` are the Content-IDs that the HTML refers to. */
export function makeAttachment(part: Part, position: number, shownIds: ReadonlySet<string>): Attachment {
  const type = readType(part.type);
  const content = ownBytes(part.content);
  const contentId = part.contentId === null ? null : withoutBrackets(part.contentId) || null;
  return {
    name: safeName(part.name) ?? safeName(nameOf(type, content)) ?? `attachment-${position}.${extensionOf(type)}`,
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

function readType(sent: string): string {
  const type = (sent.split(';')[0] ?? '').trim().toLowerCase();
  return mediaType.test(type) ? type : 'application/octet-stream';
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

function extensionOf(type: string): string {
  const extension = libmime.detectExtension(type);
  return extension === 'bin' && /^(?:text|message)\//u.test(type) ? 'txt' : extension;
}

/** A mail inside the mail is called after its subject. */
function nameOf(type: string, content: Uint8Array<ArrayBuffer>): string {
  if (type !== 'message/rfc822' && type !== 'message/global') return '';
  const inner = splitMail(content);
  const subject = decodeField(firstRaw(inner.headers, 'subject') ?? '', declaredCharset(inner));
  return `${subject.slice(0, nameLengthMax) || 'message'}.eml`;
}

/** The bytes in an ArrayBuffer of just that size: small buffers of Node are pieces of a shared pool. */
function ownBytes(content: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = content;
  if (buffer instanceof ArrayBuffer && byteOffset === 0 && buffer.byteLength === byteLength)
    return new Uint8Array(buffer);
  return new Uint8Array(content);
}
