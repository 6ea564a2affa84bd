/**
 * TNEF, the winmail.dat of Outlook and Exchange (MS-OXTNEF): extracts the body and the attachments of a message.
 *
 * Own code, since it is one pass over untrusted bytes that trusts no length and no count. Bytes that are no TNEF give null;
 * a truncated stream gives what can be read of it. At most 1,000 attachments, 8,000,000 bytes of RTF in all, three levels
 * of embedded messages, which become message/rfc822. Form data, recipients and Outlook signatures are left out. Contents
 * are views of the bytes read.
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
  const legacy = body === null ? null : decodeWholeText(untilNul(body), codePage);
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
  const legacyName = title === null ? null : unlessEmpty(decodeWholeText(untilNul(title), codePage));
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
  const mail = messageOfTnef({
    ...decode(message, limits, depth + 1),
    subject: subject === null ? '' : decodeWholeText(untilNul(subject), codePage),
    properties,
    codePage,
  });
  return { ...part, name: ending(name, '.eml'), type: 'message/rfc822', content: mail };
}

/** Without a name of its own, a mail is called after its subject later on. */
function ending(name: string, extension: string): string {
  return name === '' || name.toLowerCase().endsWith(extension) ? name : name + extension;
}
