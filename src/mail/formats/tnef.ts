/**
 * TNEF, the winmail.dat of Outlook and Exchange (MS-OXTNEF): extracts the body and the attachments of a message.
 *
 * Own code, since it is one pass over untrusted bytes that trusts no length and no count. Bytes that are no TNEF give
 * null; a truncated stream gives what can be read of it. At most 1,000 attachments, 8,000,000 bytes of RTF in all,
 * three levels of embedded messages, which become message/rfc822. Form data, recipients and Outlook signatures are left
 * out. Contents are views of the bytes read.
 */
import { hash } from 'node:crypto';
import { bufferOf, decodeWholeText } from '../charset/decode.ts';
import type { AttachmentPart } from '../mime/attachments.ts';
import { safeName } from '../mime/file-name.ts';
import { plainLine } from '../mime/headers.ts';
import { type RtfBody, readRtf } from './rtf.ts';
import {
  decompressRtf,
  type MapiProperties,
  numberIn,
  readAttributes,
  readProperties,
  textIn,
  timeIn,
  unlessEmpty,
  untilNul,
} from './tnef-properties.ts';

/** MessageAttributes of a TNEF stream. `text` and `html` are as written, null where there is none. */
type TnefContent = {
  readonly text: string | null;
  readonly html: string | null;
  readonly attachments: readonly AttachmentPart[];
  /** False when something was left out, for a limit or because the stream is broken. */
  readonly isWhole: boolean;
};

const attachmentsMax = 1000;
const rtfBytesMax = 8_000_000;
const depthMax = 3;
const defaultCodePage = 1252;

/** Attribute ids (MS-OXTNEF section 2.1.3.3). */
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

/** MAPI property ids (MS-OXPROPS). */
const propertyIds = {
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
  // Of an embedded message, in order of preference: the represented sender before the actual one
  subject: 0x0037,
  senderNames: [0x0042, 0x0c1a],
  senderAddresses: [0x5d02, 0x5d01, 0x0065, 0x0c1f],
  to: 0x0e04,
  cc: 0x0e03,
  messageId: 0x1035,
  times: [0x0039, 0x0e06],
} as const;

/** What is left of the limits; shared with embedded messages. */
type RemainingLimits = { rtfBytes: number; attachments: number; isWhole: boolean };

type AttachmentAttributes = { title: Uint8Array | null; data: Uint8Array | null; properties: MapiProperties };

/** The attributes of one message, not decoded yet. */
class MessageAttributes {
  codePage = defaultCodePage;
  subject: Uint8Array | null = null;
  body: Uint8Array | null = null;
  properties: MapiProperties = new Map();
  readonly attachments: AttachmentAttributes[] = [];
}

/** Everything readable of a TNEF stream; null for other bytes. */
export function readTnef(bytes: Uint8Array): TnefContent | null {
  const limits: RemainingLimits = { rtfBytes: rtfBytesMax, attachments: attachmentsMax, isWhole: true };
  const content = collectAttributes(bytes, limits);
  if (content === null) return null;
  const decoded = decode(content, limits, 0);
  return { ...decoded, isWhole: limits.isWhole };
}

function collectAttributes(bytes: Uint8Array, limits: RemainingLimits): MessageAttributes | null {
  const attributes = readAttributes(bytes, () => {
    limits.isWhole = false;
  });
  if (attributes === null) return null;
  const content = new MessageAttributes();
  for (const { level, id, value } of attributes) {
    if (level === 2) collectAttachmentAttribute(content, id, value, limits);
    else if (id === attributeIds.codePage) content.codePage = numberIn(value) || defaultCodePage;
    else if (id === attributeIds.subject) content.subject = value;
    else if (id === attributeIds.body) content.body ??= value;
    else if (id === attributeIds.messageProperties && content.properties.size === 0)
      content.properties = readProperties(value);
  }
  return content;
}

function collectAttachmentAttribute(
  content: MessageAttributes,
  id: number,
  value: Uint8Array,
  limits: RemainingLimits,
): void {
  let attachment = content.attachments.at(-1);
  if (id === attributeIds.attachmentStart || attachment === undefined) {
    if (limits.attachments <= 0) limits.isWhole = false;
    if (limits.attachments <= 0) return;
    limits.attachments -= 1;
    attachment = { title: null, data: null, properties: new Map() };
    content.attachments.push(attachment);
  }
  if (id === attributeIds.attachmentTitle) attachment.title = value;
  else if (id === attributeIds.attachmentData) attachment.data = value;
  else if (id === attributeIds.attachmentProperties && attachment.properties.size === 0)
    attachment.properties = readProperties(value);
}

function decode(content: MessageAttributes, limits: RemainingLimits, depth: number): Omit<TnefContent, 'isWhole'> {
  const attachments = content.attachments.flatMap((attachment) =>
    attachmentPartOf(attachment, content.codePage, limits, depth),
  );
  return { ...readBody(content, limits), attachments };
}

/** HTML, else the HTML encapsulated in RTF; and text, else the text of the RTF. */
function readBody(
  { codePage, body, properties }: MessageAttributes,
  limits: RemainingLimits,
): Pick<TnefContent, 'text' | 'html'> {
  const htmlCodePage = numberIn(properties.get(propertyIds.internetCodePage)?.value) || codePage;
  const html = unlessEmpty(textIn(properties.get(propertyIds.html), htmlCodePage));
  const legacy = body === null ? null : decodeWholeText(untilNul(body), codePage);
  const text = unlessEmpty(textIn(properties.get(propertyIds.body), codePage)) ?? unlessEmpty(legacy);
  if (html !== null) return { text, html };
  const rtf = readCompressed(properties.get(propertyIds.rtf)?.value, limits);
  return { text: text ?? unlessEmpty(rtf?.text ?? null), html: unlessEmpty(rtf?.html ?? null) };
}

function readCompressed(value: Uint8Array | undefined, limits: RemainingLimits): RtfBody | null {
  if (value === undefined) return null;
  const rtf = decompressRtf(value, limits.rtfBytes);
  if (rtf === null || rtf.length >= limits.rtfBytes) limits.isWhole = false;
  if (rtf === null) return null;
  limits.rtfBytes -= rtf.length;
  return readRtf(rtf);
}

/** An attachment; none where it has neither a name nor content. */
function attachmentPartOf(
  { title, data, properties }: AttachmentAttributes,
  codePage: number,
  limits: RemainingLimits,
  depth: number,
): readonly AttachmentPart[] {
  const read = (tag: number): string | null => unlessEmpty(textIn(properties.get(tag), codePage));
  const legacyName = title === null ? null : unlessEmpty(decodeWholeText(untilNul(title), codePage));
  const name =
    read(propertyIds.longFileName) ?? read(propertyIds.fileName) ?? legacyName ?? read(propertyIds.displayName);
  const stored = properties.get(propertyIds.data);
  const content = stored?.value ?? data;
  if (content === null && name === null) return [];
  if (stored?.type === objectType)
    return [embeddedObject(read(propertyIds.displayName) ?? name ?? '', stored.value, limits, depth)];
  const contentId = read(propertyIds.contentId);
  const number = (tag: number): number => numberIn(properties.get(tag)?.value);
  // The HTML refers to it (ATT_MHTML_REF), or it is not to be listed.
  const isShown = contentId !== null && ((number(propertyIds.flags) & 4) !== 0 || number(propertyIds.isHidden) !== 0);
  return [
    {
      name: name ?? '',
      type: read(propertyIds.mimeType) ?? '',
      disposition: isShown ? 'inline' : 'attachment',
      contentId,
      content: content ?? new Uint8Array(0),
    },
  ];
}

const objectType = 0x000d;
const interfaceBytes = 16;

/** An embedded object, after its interface id: a message is a TNEF stream again, other objects stay as they are. */
function embeddedObject(name: string, value: Uint8Array, limits: RemainingLimits, depth: number): AttachmentPart {
  const content = value.subarray(interfaceBytes);
  const part = { disposition: 'attachment', contentId: null };
  const message = collectAttributes(content, limits);
  if (message === null) return { ...part, name, type: 'application/octet-stream', content };
  if (depth >= depthMax) return { ...part, name: withExtension(name, '.tnef'), type: 'application/ms-tnef', content };
  const { codePage, subject, properties } = message;
  const mail = messageOfTnef({
    ...decode(message, limits, depth + 1),
    subject: subject === null ? '' : decodeWholeText(untilNul(subject), codePage),
    properties,
    codePage,
  });
  return { ...part, name: withExtension(name, '.eml'), type: 'message/rfc822', content: mail };
}

/** The name with that extension; an empty name stays empty, since a message is later called after its subject. */
function withExtension(name: string, extension: string): string {
  return name === '' || name.toLowerCase().endsWith(extension) ? name : name + extension;
}

// An embedded message as a MIME message (RFC 5322, RFC 2045), which any program can open: subject, sender, recipients
// by name and time become header fields, its body and its attachments become parts. Each part is base64, so that
// nothing in it can be taken for a boundary.

type TnefMessage = Omit<TnefContent, 'isWhole'> &
  Pick<MessageAttributes, 'properties' | 'codePage'> & { readonly subject: string };

/** The bytes of the MIME message, all ASCII. */
function messageOfTnef(message: TnefMessage): Uint8Array {
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
  const sender = read(...propertyIds.senderNames);
  const address = read(...propertyIds.senderAddresses);
  const sentAtMs = propertyIds.times.map((number) => timeIn(properties.get(number))).find((time) => time !== null);
  const messageId = read(propertyIds.messageId);
  return [
    ...(sender === '' && address === ''
      ? []
      : [`From: ${encodedWords(sender)} <${isAddress(address) ? address : ''}>`]),
    ...[propertyIds.to, propertyIds.cc].flatMap((number, index) => recipients(index === 0 ? 'To' : 'Cc', read(number))),
    `Subject: ${encodedWords(read(propertyIds.subject) || plainLine(subject).slice(0, 1000))}`,
    ...(sentAtMs === undefined ? [] : [`Date: ${new Date(sentAtMs).toUTCString().replace('GMT', '+0000')}`]),
    ...(/^<[\x21-\x7e]{1,500}>$/u.test(messageId) ? [`Message-ID: ${messageId}`] : []),
  ];
}

/** Recipients have names without addresses: written as a group without members (RFC 5322 section 3.4). */
function recipients(field: string, names: string): readonly string[] {
  return names === '' ? [] : [`${field}: ${encodedWords(names)}:;`];
}

/** True for an internet address; X.500 addresses within an organisation are left out. */
function isAddress(text: string): boolean {
  return /^[\x21-\x3b\x3d\x3f-\x7e]{1,320}$/u.test(text) && text.includes('@');
}

/** Text as encoded words (RFC 2047) of at most 75 characters, folded. */
function encodedWords(text: string): string {
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
        // A message may not be base64 (RFC 2046 section 5.2.1), and is opened by its name just as well.
        `Content-Type: ${/^[\w.+-]{1,100}\/[\w.+-]{1,100}$/u.test(type) && !type.startsWith('message/') ? type : 'application/octet-stream'}`,
        `Content-Disposition: ${disposition}; filename*=${extendedValue(name)}`,
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
  const base64 = bufferOf(content).toString('base64');
  return [...fields, 'Content-Transfer-Encoding: base64', '', base64.replace(/.{76}/gu, '$&\r\n')].join('\r\n');
}

/** A file name as an RFC 2231 value; of a long name the end stays. */
function extendedValue(name: string): string {
  const safe = Array.from(safeName(name) ?? 'attachment')
    .slice(-80)
    .join('');
  return `utf-8''${encodeURIComponent(safe.toWellFormed()).replace(/['()*!]/gu, (sign) => `%${sign.charCodeAt(0).toString(16)}`)}`;
}
