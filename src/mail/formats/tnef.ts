/**
 * TNEF, the winmail.dat of Outlook and Exchange (MS-OXTNEF): extracts the body and the attachments of a message.
 *
 * Own code, since it is one pass over untrusted bytes that trusts no length and no count. Bytes that are no TNEF give
 * null; a truncated stream gives what can be read of it. At most 1,000 attachments, 8,000,000 bytes of RTF in all,
 * three levels of embedded messages, which become message/rfc822. Form data, recipients and Outlook signatures are left
 * out. Contents are views of the bytes read.
 */
import { decodeWholeText } from '../charset/code-pages.ts';
import type { AttachmentPart } from '../mime/attachments.ts';
import { type RtfBody, readRtf } from './rtf.ts';
import { messageOfTnef } from './tnef-message.ts';
import {
  decompressRtf,
  isWholeStream,
  type MapiProperties,
  numberIn,
  readAttributes,
  readProperties,
  textIn,
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
} as const;

/** What is left of the limits; shared with embedded messages. */
type RemainingLimits = { rtfBytes: number; attachments: number; isWhole: boolean };

type AttachmentAttributes = { title: Uint8Array | null; data: Uint8Array | null; properties: MapiProperties };

/** The attributes of one message, not decoded yet. */
type MessageAttributes = {
  codePage: number;
  subject: Uint8Array | null;
  body: Uint8Array | null;
  properties: MapiProperties;
  readonly attachments: AttachmentAttributes[];
};

/** Everything readable of a TNEF stream; null for other bytes. */
export function readTnef(bytes: Uint8Array): TnefContent | null {
  const limits: RemainingLimits = { rtfBytes: rtfBytesMax, attachments: attachmentsMax, isWhole: true };
  const content = collectAttributes(bytes, limits);
  if (content === null) return null;
  const decoded = decode(content, limits, 0);
  return { ...decoded, isWhole: limits.isWhole };
}

function collectAttributes(bytes: Uint8Array, limits: RemainingLimits): MessageAttributes | null {
  const attributes = readAttributes(bytes);
  if (attributes === null) return null;
  if (!isWholeStream(bytes)) limits.isWhole = false;
  const content: MessageAttributes = {
    codePage: defaultCodePage,
    subject: null,
    body: null,
    properties: new Map(),
    attachments: [],
  };
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
  const isShown = contentId !== null && isShownInPlace(properties);
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

/** True for an attachment that the HTML refers to (ATT_MHTML_REF), or that is not to be listed. */
function isShownInPlace(properties: MapiProperties): boolean {
  return (
    (numberIn(properties.get(propertyIds.flags)?.value) & 4) !== 0 ||
    numberIn(properties.get(propertyIds.isHidden)?.value) !== 0
  );
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
