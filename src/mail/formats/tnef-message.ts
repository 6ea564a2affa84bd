/**
 * Conversion of a message embedded in a TNEF stream to a MIME message (RFC 5322, RFC 2045), which any program can open.
 *
 * Subject, sender, recipients by name and time become header fields, its body and its attachments become parts. Each
 * part is base64, so that nothing in it can be taken for a boundary. Never fails.
 */
import { hash } from 'node:crypto';
import { type AttachmentPart, safeName } from '../mime/attachments.ts';
import { plainLine } from '../mime/headers.ts';
import { type MapiProperties, textIn, timeIn, unlessEmpty } from './tnef-properties.ts';

/** An embedded message: its decoded body and attachments, and its properties. */
export type TnefMessage = {
  readonly text: string | null;
  readonly html: string | null;
  readonly attachments: readonly AttachmentPart[];
  readonly subject: string;
  readonly properties: MapiProperties;
  readonly codePage: number;
};

/** MAPI property ids (MS-OXPROPS), in order of preference: the represented sender before the actual one. */
const propertyIds = {
  subject: 0x0037,
  senderNames: [0x0042, 0x0c1a],
  senderAddresses: [0x5d02, 0x5d01, 0x0065, 0x0c1f],
  to: 0x0e04,
  cc: 0x0e03,
  messageId: 0x1035,
  times: [0x0039, 0x0e06],
} as const;

/** The bytes of the MIME message, all ASCII. */
export function messageOfTnef(message: TnefMessage): Uint8Array {
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
  const base64 = Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString('base64');
  return [...fields, 'Content-Transfer-Encoding: base64', '', base64.replace(/.{76}/gu, '$&\r\n')].join('\r\n');
}

/** A file name as an RFC 2231 value; of a long name the end stays. */
function extendedValue(name: string): string {
  const safe = Array.from(safeName(name) ?? 'attachment')
    .slice(-80)
    .join('');
  return `utf-8''${encodeURIComponent(safe.toWellFormed()).replace(/['()*!]/gu, (sign) => `%${sign.charCodeAt(0).toString(16)}`)}`;
}
