/**
 * Unpacks winmail.dat, the TNEF of Outlook and Exchange (MS-OXTNEF): the body and the attachments that it hides.
 *
 * Takes any bytes. What is no TNEF is null; a stream that breaks off gives what can be read of it. Contents are views
 * of the bytes read, at most `attachmentsMax` of them; compressed text is expanded up to `rtfBytesMax` in all; messages
 * within are turned into mails, down to `depthMax`. Form data, recipients and signatures of Outlook are left out.
 */

import { hash } from 'node:crypto';
import { decodeWhole } from '../charset/code-pages.ts';
import { type AttachmentPart, safeName } from '../mime/attachments.ts';
import { plainLine } from '../mime/headers.ts';
import { type RtfBody, readRtf } from './rtf.ts';
import {
  isWholeStream,
  type MapiProperties,
  numberIn,
  readAttributes,
  readProperties,
  textIn,
  timeIn,
  unlessEmpty,
  untilNul,
} from './tnef-properties.ts';

/** What a TNEF stream holds. `text` and `html` are as written, null where there is none. */
type Tnef = {
  readonly text: string | null;
  readonly html: string | null;
  readonly attachments: readonly AttachmentPart[];
  /** False when something of it is left out here, for a limit or because the stream is broken. */
  readonly isWhole: boolean;
};

const attachmentsMax = 1000;
const rtfBytesMax = 8_000_000;
const depthMax = 3;
const defaultCodePage = 1252;

/** Attributes, by their whole number (MS-OXTNEF section 2.1.3.3). */
const attributeIds = {
  codePage: 0x00069007,
  subject: 0x00018004,
  body: 0x0002800c,
  messageProperties: 0x00069003,
  attachmentStart: 0x00069002,
  attachmentTitle: 0x00018010,
  attachmentData: 0x0006800f,
  attachmentProperties: 0x00069005,
} as const;

/** MAPI properties, by their number (MS-OXPROPS). */
const tags = {
  body: 0x1000,
  rtf: 0x1009,
  html: 0x1013,
  internetCodePage: 0x3fde,
  displayName: 0x3001,
  data: 0x3701,
  fileName: 0x3704,
  longFileName: 0x3707,
  mimeType: 0x370e,
  contentId: 0x3712,
  flags: 0x3714,
  isHidden: 0x7ffe,
} as const;

/** What is left of the limits; shared by a message and those within it. */
type Limits = { rtfBytes: number; attachments: number; isWhole: boolean };

type Draft = { title: Uint8Array | null; data: Uint8Array | null; properties: MapiProperties };

/** One message as its attributes tell, nothing decoded yet. */
type Content = {
  codePage: number;
  subject: Uint8Array | null;
  body: Uint8Array | null;
  properties: MapiProperties;
  readonly drafts: Draft[];
};

/** Everything readable of a TNEF stream; null when the bytes are none. */
export function readTnef(bytes: Uint8Array): Tnef | null {
  const limits: Limits = { rtfBytes: rtfBytesMax, attachments: attachmentsMax, isWhole: true };
  const content = collect(bytes, limits);
  if (content === null) return null;
  const decoded = decode(content, limits, 0);
  return { ...decoded, isWhole: limits.isWhole };
}

function collect(bytes: Uint8Array, limits: Limits): Content | null {
  const attributes = readAttributes(bytes);
  if (attributes === null) return null;
  if (!isWholeStream(bytes)) limits.isWhole = false;
  const content: Content = {
    codePage: defaultCodePage,
    subject: null,
    body: null,
    properties: new Map(),
    drafts: [],
  };
  for (const { level, id, value } of attributes) {
    if (level === 2) collectAttachment(content, id, value, limits);
    else if (id === attributeIds.codePage) content.codePage = numberIn(value) || defaultCodePage;
    else if (id === attributeIds.subject) content.subject = value;
    else if (id === attributeIds.body) content.body ??= value;
    else if (id === attributeIds.messageProperties && content.properties.size === 0)
      content.properties = readProperties(value);
  }
  return content;
}

function collectAttachment(content: Content, id: number, value: Uint8Array, limits: Limits): void {
  let draft = content.drafts.at(-1);
  if (id === attributeIds.attachmentStart || draft === undefined) {
    if (limits.attachments <= 0) limits.isWhole = false;
    if (limits.attachments <= 0) return;
    limits.attachments -= 1;
    draft = { title: null, data: null, properties: new Map() };
    content.drafts.push(draft);
  }
  if (id === attributeIds.attachmentTitle) draft.title = value;
  else if (id === attributeIds.attachmentData) draft.data = value;
  else if (id === attributeIds.attachmentProperties && draft.properties.size === 0)
    draft.properties = readProperties(value);
}

function decode(content: Content, limits: Limits, depth: number): Omit<Tnef, 'isWhole'> {
  const attachments = content.drafts.flatMap((draft) => finish(draft, content.codePage, limits, depth));
  return { ...readBody(content, limits), attachments };
}

/** The body in the richest form that is there: HTML, else RTF that wraps it; and text, else the text of the RTF. */
function readBody({ codePage, body, properties }: Content, limits: Limits): Pick<Tnef, 'text' | 'html'> {
  const htmlCodePage = numberIn(properties.get(tags.internetCodePage)?.value) || codePage;
  const html = unlessEmpty(textIn(properties.get(tags.html), htmlCodePage));
  const legacy = body === null ? null : decodeWhole(untilNul(body), codePage);
  const text = unlessEmpty(textIn(properties.get(tags.body), codePage)) ?? unlessEmpty(legacy);
  if (html !== null) return { text, html };
  const rtf = readCompressed(properties.get(tags.rtf)?.value, limits);
  return { text: text ?? unlessEmpty(rtf?.text ?? null), html: unlessEmpty(rtf?.html ?? null) };
}

function readCompressed(value: Uint8Array | undefined, limits: Limits): RtfBody | null {
  const rtf = value === undefined ? null : decompressRtf(value, limits.rtfBytes);
  if (rtf === null) {
    if (value !== undefined) limits.isWhole = false;
    return null;
  }
  if (rtf.length >= limits.rtfBytes) limits.isWhole = false;
  limits.rtfBytes -= rtf.length;
  return readRtf(rtf);
}

/** An attachment; none where it has neither a name nor content. */
function finish(
  { title, data, properties }: Draft,
  codePage: number,
  limits: Limits,
  depth: number,
): readonly AttachmentPart[] {
  const read = (tag: number): string | null => unlessEmpty(textIn(properties.get(tag), codePage));
  const legacyName = title === null ? null : unlessEmpty(decodeWhole(untilNul(title), codePage));
  const name = read(tags.longFileName) ?? read(tags.fileName) ?? legacyName ?? read(tags.displayName);
  const stored = properties.get(tags.data);
  const content = stored?.value ?? data;
  if (content === null && name === null) return [];
  if (stored?.type === objectType) return [embedded(read(tags.displayName) ?? name ?? '', stored.value, limits, depth)];
  const contentId = read(tags.contentId);
  const isShown = contentId !== null && isShownInPlace(properties);
  return [
    {
      name: name ?? '',
      type: read(tags.mimeType) ?? '',
      disposition: isShown ? 'inline' : 'attachment',
      contentId,
      content: content ?? new Uint8Array(0),
    },
  ];
}

/** Referred to by the HTML (ATT_MHTML_REF), or not to be listed. */
function isShownInPlace(properties: MapiProperties): boolean {
  return (
    (numberIn(properties.get(tags.flags)?.value) & 4) !== 0 || numberIn(properties.get(tags.isHidden)?.value) !== 0
  );
}

const objectType = 0x000d;
const interfaceBytes = 16;

/** An object starts with the number of its interface; a message is a TNEF stream again, all else stays as it is. */
function embedded(name: string, value: Uint8Array, limits: Limits, depth: number): AttachmentPart {
  const content = value.subarray(interfaceBytes);
  const part = { disposition: 'attachment', contentId: null };
  const message = collect(content, limits);
  if (message === null) return { ...part, name, type: 'application/octet-stream', content };
  if (depth >= depthMax) return { ...part, name: ending(name, '.tnef'), type: 'application/ms-tnef', content };
  const { codePage, subject, properties } = message;
  const mail = mailOfTnef({
    ...decode(message, limits, depth + 1),
    subject: subject === null ? '' : decodeWhole(untilNul(subject), codePage),
    properties,
    codePage,
  });
  return { ...part, name: ending(name, '.eml'), type: 'message/rfc822', content: mail };
}

/** Without a name of its own, a mail is called after its subject later on. */
function ending(name: string, extension: string): string {
  return name === '' || name.toLowerCase().endsWith(extension) ? name : name + extension;
}

/**
 * Writes a message that lay within a TNEF stream as a mail (RFC 5322, RFC 2045), so that any program can open it.
 *
 * What it says of itself (subject, sender, recipients by name, time) goes in the header fields, its body and its
 * attachments become parts. Every part is base64, so that nothing of it can be taken for a boundary. It never fails.
 */

/** A message within: its decoded body and attachments, and what its properties tell. */
type TnefMessage = {
  readonly text: string | null;
  readonly html: string | null;
  readonly attachments: readonly AttachmentPart[];
  readonly subject: string;
  readonly properties: MapiProperties;
  readonly codePage: number;
};

/** MAPI properties, by their number; the sender is who it was sent for, else who sent it. */
const messageTags = {
  subject: 0x0037,
  senderNames: [0x0042, 0x0c1a],
  senderAddresses: [0x5d02, 0x5d01, 0x0065, 0x0c1f],
  to: 0x0e04,
  cc: 0x0e03,
  messageId: 0x1035,
  times: [0x0039, 0x0e06],
} as const;

/** The bytes of the mail, all ASCII. */
function mailOfTnef(message: TnefMessage): Uint8Array {
  const parts = partsOf(message);
  const boundary = `=_${hash('sha256', parts.join('\n')).slice(0, 32)}`;
  const lines = [
    ...fieldsOf(message),
    'MIME-Version: 1.0',
    `Content-Type: multipart/mixed; boundary="${boundary}"`,
    '',
    ...parts.flatMap((part) => [`--${boundary}`, part]),
    `--${boundary}--`,
    '',
  ];
  return Buffer.from(lines.join('\r\n'), 'latin1');
}

function fieldsOf({ subject, properties, codePage }: TnefMessage): readonly string[] {
  const read = (...numbers: readonly number[]): string => {
    const texts = numbers.map((number) => unlessEmpty(textIn(properties.get(number), codePage)));
    return plainLine(texts.find((text) => text !== null) ?? '').slice(0, 1000);
  };
  const sender = read(...messageTags.senderNames);
  const address = read(...messageTags.senderAddresses);
  const sentAtMs = messageTags.times.map((number) => timeIn(properties.get(number))).find((time) => time !== null);
  const messageId = read(messageTags.messageId);
  return [
    ...(sender === '' && address === '' ? [] : [`From: ${encoded(sender)} <${isAddress(address) ? address : ''}>`]),
    ...[messageTags.to, messageTags.cc].flatMap((number, index) => recipients(index === 0 ? 'To' : 'Cc', read(number))),
    `Subject: ${encoded(read(messageTags.subject) || plainLine(subject).slice(0, 1000))}`,
    ...(sentAtMs === undefined ? [] : [`Date: ${new Date(sentAtMs).toUTCString().replace('GMT', '+0000')}`]),
    ...(/^<[\x21-\x7e]{1,500}>$/u.test(messageId) ? [`Message-ID: ${messageId}`] : []),
  ];
}

/** Names without addresses: a group without members (RFC 5322 section 3.4) says just that. */
function recipients(field: string, names: string): readonly string[] {
  return names === '' ? [] : [`${field}: ${encoded(names)}:;`];
}

/** Addresses within an organisation are not of the internet, and are left out. */
function isAddress(text: string): boolean {
  return /^[\x21-\x3b\x3d\x3f-\x7e]{1,320}$/u.test(text) && text.includes('@');
}

/** Text as encoded words (RFC 2047) of at most 75 characters, folded. */
function encoded(text: string): string {
  if (text === '') return '';
  const words: string[] = [];
  let word = '';
  for (const character of text) {
    if (Buffer.byteLength(word + character) > 42) {
      words.push(word);
      word = '';
    }
    word += character;
  }
  return [...words, word].map((part) => `=?UTF-8?B?${Buffer.from(part).toString('base64')}?=`).join('\r\n ');
}

function partsOf({ text, html, attachments }: TnefMessage): readonly string[] {
  return [
    ...(html === null && text === null ? [] : [bodyPart(text, html)]),
    ...attachments.map(({ name, type, disposition, contentId, content }) =>
      makePart(content, [
        // A mail may not be base64 (RFC 2046 section 5.2.1), and is opened by its name just as well.
        `Content-Type: ${/^[\w.+-]{1,100}\/[\w.+-]{1,100}$/u.test(type) && !type.startsWith('message/') ? type : 'application/octet-stream'}`,
        `Content-Disposition: ${disposition}; filename*=${parameter(name)}`,
        ...(contentId !== null && /^[\x21-\x7e]{1,500}$/u.test(contentId) ? [`Content-ID: <${contentId}>`] : []),
      ]),
    ),
  ];
}

/** The HTML where there is one, since readers show all parts of multipart/mixed. */
function bodyPart(text: string | null, html: string | null): string {
  const type = html === null ? 'plain' : 'html';
  return makePart(Buffer.from(html ?? text ?? ''), [`Content-Type: text/${type}; charset=utf-8`]);
}

function makePart(content: Uint8Array, fields: readonly string[]): string {
  const base64 = Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString('base64');
  return [...fields, 'Content-Transfer-Encoding: base64', '', base64.replace(/.{76}/gu, '$&\r\n')].join('\r\n');
}

/** A value in the form of RFC 2231; the end of a long name is kept. */
function parameter(name: string): string {
  const safe = Array.from(safeName(name) ?? 'attachment')
    .slice(-80)
    .join('');
  return `utf-8''${encodeURIComponent(safe.toWellFormed()).replace(/['()*!]/gu, (sign) => `%${sign.charCodeAt(0).toString(16)}`)}`;
}

/**
 * Decompresses the RTF that Outlook stores with a message (MS-OXRTFCP): LZFu, or stored as it is (MELA).
 *
 * Takes any bytes. What is no compressed RTF is null; a stream that breaks off gives what came before. The sizes in
 * its header are never trusted: the result has at most `lengthMax` bytes, and at most nine for each one read.
 */

const compressedMark = 0x75465a4c;
const storedMark = 0x414c454d;
const headerBytes = 16;
const dictionaryBytes = 4096;

/** What the dictionary holds before the first byte (MS-OXRTFCP section 2.1.2.1). */
const initialDictionary =
  '{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans ' +
  'SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx';

/** Null for what is neither compressed nor stored. */
export function decompressRtf(bytes: Uint8Array, lengthMax: number): Uint8Array | null {
  if (bytes.length < headerBytes) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const statedLength = view.getUint32(4, true);
  const mark = view.getUint32(8, true);
  const body = bytes.subarray(headerBytes);
  if (mark === storedMark) return body.subarray(0, Math.min(statedLength, lengthMax));
  return mark === compressedMark ? inflate(body, Math.min(statedLength, lengthMax, body.length * 9)) : null;
}

/** Flag bytes, each for eight tokens: a byte as it is, or offset (12 bits) and length (4 bits) in the dictionary. */
function inflate(body: Uint8Array, lengthMax: number): Uint8Array {
  const dictionary = new Uint8Array(dictionaryBytes);
  dictionary.set(Buffer.from(initialDictionary, 'latin1'));
  let writeAt = initialDictionary.length;
  const output = new Uint8Array(lengthMax);
  let length = 0;
  const put = (byte: number): void => {
    output[length++] = byte;
    dictionary[writeAt] = byte;
    writeAt = (writeAt + 1) % dictionaryBytes;
  };

  let flags = 1;
  for (let readAt = 0; readAt < body.length && length < lengthMax; ) {
    // The bit above the eight flags tells when all of them are used.
    if (flags === 1) flags = 0x100 | (body[readAt++] ?? 0);
    const isReference = (flags & 1) === 1;
    flags >>= 1;
    const byte = body[readAt++] ?? 0;
    if (!isReference) {
      put(byte);
      continue;
    }
    const reference = (byte << 8) | (body[readAt++] ?? 0);
    const offset = reference >> 4;
    // A reference to the place that is written next is the end mark.
    if (offset === writeAt) break;
    const end = Math.min(lengthMax, length + (reference & 15) + 2);
    for (let from = offset; length < end; from++) put(dictionary[from % dictionaryBytes] ?? 0);
  }
  return output.subarray(0, length);
}
