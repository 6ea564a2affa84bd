/**
 * Turns decoded parts of a mail into attachments: a safe name, a valid media type, a hash, bytes of their own.
 *
 * What the mail says of a part is believed as far as it has the form that it should have; a missing type is told by
 * the name. It never fails.
 */
import { hash } from 'node:crypto';
import { type NameGiver, nameGiver, safeName, typeOfName } from './attachment-names.ts';
import type { Attachment } from './message.ts';

/** A part as the parser gives it. `type`, `name` and `description` are as sent. */
export type Part = {
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
export function makeAttachments(parts: readonly Part[], shownIds: ReadonlySet<string>): readonly Attachment[] {
  const sentNames = new Set(parts.flatMap(({ name }) => safeName(name) ?? []));
  const giveName = nameGiver(sentNames);
  return parts.map((part) => makeAttachment(part, giveName, shownIds));
}

function makeAttachment(part: Part, giveName: NameGiver, shownIds: ReadonlySet<string>): Attachment {
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
