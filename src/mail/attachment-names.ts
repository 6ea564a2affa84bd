/**
 * Names for attachments: what was sent, made safe; else a mail's subject, a description, or a word for the type.
 *
 * A name from a mail is data, never a path: separators and control characters are replaced, and so are the marks
 * that turn the direction of writing, which make `exe.pdf` look like something else. It never fails.
 */
import { declaredCharset, decodeField, firstRaw, splitMail } from './headers.ts';
import { onDemand } from './on-demand.ts';

const libmime = onDemand((require) => require('libmime') as typeof import('libmime').default);

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
export type Nameless = {
  readonly description: string;
  readonly type: string;
  readonly content: Uint8Array<ArrayBuffer>;
};

/** The next name for a part without one, different from all before it. */
export type NameGiver = (part: Nameless) => string;

/** `sent` are the safe names that other parts came with: none of them is given a second time. */
export function nameGiver(sent: ReadonlySet<string>): NameGiver {
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
  const inner = splitMail(content);
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
