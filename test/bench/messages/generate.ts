/**
 * Makes the messages of the benchmark and of the crash test: the same seed gives the same bytes on every machine.
 *
 * 60 % plain text of 2 to 8 KB, 25 % HTML of 10 to 40 KB, 10 % with one attachment of 100 to 500 KB, 5 % replies in
 * the thread of an earlier mail. The order of the random calls is part of the format: a change of it changes all
 * the messages, and the test that knows their checksum fails.
 *
 *     node test/bench/messages/generate.ts FOLDER [--count 2000] [--seed 20261124] [--to support@bench.test]
 *
 * writes one file a message, and `manifest.json`. It refuses a folder that exists already.
 */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { wholeNumber } from '../../support/options.ts';
import { itemAt, type SeededRandom, seededRandom } from '../../support/random.ts';
import { base64Lines, encodedWord, fileNameParameter, quotedPrintable } from './encodings.ts';
import { firstNames, htmlText, type Letters, lastNames, plainText, subjects } from './prose.ts';

export const defaultCount = 2000;
const defaultSeed = 20261124;
const defaultTo = 'support@bench.test';

type MailKind = 'plain' | 'html' | 'attach' | 'reply';

export type GeneratedMail = {
  /** File name: the index in five digits, and `.eml`. */
  readonly name: string;
  readonly kind: MailKind;
  /** The whole source, with LF line ends. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** With angle brackets. */
  readonly messageId: string;
  /** Address of the sender. */
  readonly from: string;
  /** Decoded. */
  readonly subject: string;
  /** Message-ID of the message that began the thread, for a reply. */
  readonly replyTo: string | null;
  /** Decoded size of the attachment; 0 where there is none. */
  readonly attachBytes: number;
  /** SHA-256 of the decoded attachment, 64 hex digits. */
  readonly attachmentSha256: string | null;
};

type GenerateOptions = { readonly count?: number; readonly seed?: number; readonly to?: string };

type Person = { readonly first: string; readonly last: string; readonly address: string };
type Thread = { readonly subject: string; readonly person: Person; readonly messageIds: string[] };
type Envelope = { readonly customer: number; readonly to: string; readonly date: string };
type Attached = { readonly sizeBytes: number; readonly sha256: string };
type Body = { readonly fields: readonly string[]; readonly text: string; readonly attached: Attached | null };

const firstMailAtMs = Date.UTC(2026, 9, 1, 6, 0, 0);
const mailGapMs = 97_000;
const peopleCount = 400;
const customerCount = 40;
/** No reply among the first messages: a thread must exist before a reply. */
const firstReplyIndex = 20;
const threadShare = 0.3;
const mailPrograms = ['Outlook 16.0', 'Apple Mail (2.3774)', 'Thunderbird 128.4', 'Gmail'] as const;
const files = [
  ['scan.pdf', 'application/pdf'],
  ['photo.jpg', 'image/jpeg'],
  ['Rechnung März.pdf', 'application/pdf'],
  ['report.xlsx', 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet'],
  ['logs.zip', 'application/zip'],
] as const;

/** The messages one after the other; only one is in memory at a time. */
export function* generateMessages(options: GenerateOptions = {}): Iterable<GeneratedMail> {
  const { count = defaultCount, seed = defaultSeed, to = defaultTo } = options;
  const random = seededRandom(seed);
  const threads: Thread[] = [];
  for (const [index, kind] of mailKinds(random, count).entries()) yield oneMail(random, threads, { index, kind, to });
}

function oneMail(
  random: SeededRandom,
  threads: Thread[],
  mail: { readonly index: number; readonly kind: MailKind; readonly to: string },
): GeneratedMail {
  const { index, kind } = mail;
  const number = random.between(0, peopleCount - 1);
  const customer = number % customerCount;
  const messageId = `<b${digits(index)}.${random.between(1e8, 1e9)}@mail.customer${customer}.test>`;
  const ownSubject = `${random.pick(subjects)} #${random.between(1000, 99999)}`;
  const thread = kind === 'reply' ? random.pick(threads) : null;
  const person = thread?.person ?? personOf(number);
  const subject = thread ? `Re: ${thread.subject}` : ownSubject;
  const date = mailDate(index, random.between(0, 60));
  const fields = [
    ...traceFields(random, person, { customer, to: mail.to, date }),
    `From: ${encodedWord(`${person.first} ${person.last}`)} <${person.address}>`,
    `To: Support <${mail.to}>`,
    `Subject: ${encodedWord(subject)}`,
    `Date: ${date}`,
    `Message-ID: ${messageId}`,
    ...(thread ? threadFields(thread) : []),
    'MIME-Version: 1.0',
    `X-Mailer: ${random.pick(mailPrograms)}`,
  ];
  const boundary = `=_b${index}_${random.between(1e8, 1e9)}`;
  const body = bodyOf(random, kind, boundary);
  thread?.messageIds.push(messageId);
  if (kind !== 'reply' && (random.chance(threadShare) || (index < firstReplyIndex && threads.length === 0))) {
    threads.push({ subject, person, messageIds: [messageId] });
  }
  return {
    name: `${digits(index)}.eml`,
    kind,
    bytes: Buffer.from(`${[...fields, ...body.fields].join('\n')}\n\n${body.text}`),
    messageId,
    from: person.address,
    subject,
    replyTo: thread === null ? null : itemAt(thread.messageIds, 0),
    attachBytes: body.attached?.sizeBytes ?? 0,
    attachmentSha256: body.attached?.sha256 ?? null,
  };
}

/** Exact shares in a shuffled order, the early replies swapped with the last messages that are none. */
function mailKinds(random: SeededRandom, count: number): readonly MailKind[] {
  const kinds = Array.from({ length: count }, (_, index) => kindByShare(index / count));
  for (let index = count - 1; index > 0; index--) swap(kinds, index, random.between(0, index));
  let last = count - 1;
  for (let index = 0; index < Math.min(firstReplyIndex, count); index++) {
    if (kinds[index] !== 'reply') continue;
    while (kinds[last] === 'reply') last--;
    swap(kinds, index, last);
  }
  return kinds;
}

function kindByShare(share: number): MailKind {
  if (share < 0.6) return 'plain';
  if (share < 0.85) return 'html';
  return share < 0.95 ? 'attach' : 'reply';
}

function swap<T>(items: T[], one: number, other: number): void {
  const kept = itemAt(items, one);
  items[one] = itemAt(items, other);
  items[other] = kept;
}

function personOf(number: number): Person {
  return {
    first: itemAt(firstNames, number % firstNames.length),
    last: itemAt(lastNames, (number * 7) % lastNames.length),
    address: `user${number}@customer${number % customerCount}.test`,
  };
}

function mailDate(index: number, delayS: number): string {
  return new Date(firstMailAtMs + index * mailGapMs + delayS * 1000).toUTCString().replace('GMT', '+0000');
}

function digits(index: number): string {
  return String(index).padStart(5, '0');
}

function traceFields(random: SeededRandom, person: Person, { customer, to, date }: Envelope): readonly string[] {
  const signature = (length: number) => random.bytes(length).toString('base64');
  const relay = () => random.between(1, 254);
  return [
    `Return-Path: <${person.address}>`,
    `Delivered-To: ${to}`,
    `Received: from mx${random.between(1, 9)}.customer${customer}.test (mx.customer.test [192.0.2.${relay()}])\n\tby in.bench.test (Postfix) with ESMTPS id ${queueId(random)}\n\tfor <${to}>; ${date}`,
    `Received: from [198.51.100.${relay()}] by mx.customer.test with ESMTPSA; ${date}`,
    `DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=customer${customer}.test; s=s1;\n\th=from:to:subject:date:message-id; bh=${signature(32)};\n\tb=${signature(48)}\n\t ${signature(48)}`,
  ];
}

function queueId(random: SeededRandom): string {
  return random.between(1e8, 1e9).toString(36).toUpperCase();
}

function threadFields({ messageIds }: Thread): readonly string[] {
  return [`In-Reply-To: ${itemAt(messageIds, messageIds.length - 1)}`, `References: ${messageIds.join('\n ')}`];
}

function bodyOf(random: SeededRandom, kind: MailKind, boundary: string): Body {
  switch (kind) {
    case 'plain':
    case 'reply':
      return textBody(random, kind);
    case 'html':
      return htmlBody(random, boundary);
    case 'attach':
      return attachmentBody(random, boundary);
  }
}

function textBody(random: SeededRandom, kind: 'plain' | 'reply'): Body {
  const letters: Letters = random.chance(0.5) ? 'any' : 'ascii';
  // A reply draws a plain text first and drops it; the numbers that follow depend on it.
  const plain = plainText(random, random.between(2048, 7600), letters);
  const text = kind === 'reply' ? replyText(random, letters) : plain;
  if (letters === 'any') return { fields: quotedFields('text/plain'), text: quotedPrintable(text), attached: null };
  const fields = ['Content-Type: text/plain; charset=us-ascii', 'Content-Transfer-Encoding: 7bit'];
  return { fields, text, attached: null };
}

function replyText(random: SeededRandom, letters: Letters): string {
  const answer = plainText(random, random.between(600, 2500), letters);
  const quoted = plainText(random, random.between(600, 3000), 'ascii').replace(/^/gm, '> ');
  return `${answer}\nOn Tue, 20 Oct 2026, Support wrote:\n${quoted}`;
}

function htmlBody(random: SeededRandom, boundary: string): Body {
  const sizeBytes = random.between(10_000, 39_000);
  const plainBytes = Math.floor(sizeBytes * 0.25);
  const parts = [
    part(quotedFields('text/plain'), quotedPrintable(plainText(random, plainBytes, 'any'))),
    part(quotedFields('text/html'), quotedPrintable(htmlText(random, sizeBytes - plainBytes))),
  ];
  const fields = [`Content-Type: multipart/alternative; boundary="${boundary}"`];
  return { fields, text: multipart(boundary, parts), attached: null };
}

function attachmentBody(random: SeededRandom, boundary: string): Body {
  // Whole groups of four bytes, as they come from the random numbers.
  const sizeBytes = random.between(100_000, 500_000) & ~3;
  const [name, type] = random.pick(files);
  const text = quotedPrintable(plainText(random, random.between(1000, 4000), 'any'));
  const content = random.bytes(sizeBytes);
  const fileFields = [
    `Content-Type: ${type}; name="${encodedWord(name)}"`,
    'Content-Transfer-Encoding: base64',
    `Content-Disposition: attachment; ${fileNameParameter(name)}`,
  ];
  return {
    fields: [`Content-Type: multipart/mixed; boundary="${boundary}"`],
    text: multipart(boundary, [part(quotedFields('text/plain'), text), part(fileFields, base64Lines(content))]),
    attached: { sizeBytes, sha256: createHash('sha256').update(content).digest('hex') },
  };
}

function quotedFields(type: string): readonly string[] {
  return [`Content-Type: ${type}; charset=utf-8`, 'Content-Transfer-Encoding: quoted-printable'];
}

function part(fields: readonly string[], text: string): string {
  return `${fields.join('\n')}\n\n${text}`;
}

function multipart(boundary: string, parts: readonly string[]): string {
  return `${parts.map((one) => `--${boundary}\n${one}\n`).join('')}--${boundary}--\n`;
}

async function writeMessages(folder: string, options: GenerateOptions): Promise<string> {
  await mkdir(folder);
  const manifest: Omit<GeneratedMail, 'bytes'>[] = [];
  const checksum = createHash('sha256');
  for (const { bytes, ...described } of generateMessages(options)) {
    await writeFile(join(folder, described.name), bytes);
    checksum.update(bytes);
    manifest.push(described);
  }
  await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
  return `${manifest.length} messages in ${folder}, SHA-256 of all: ${checksum.digest('hex')}\n`;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { count: { type: 'string' }, seed: { type: 'string' }, to: { type: 'string' } },
    allowPositionals: true,
  });
  const [folder] = positionals;
  if (folder === undefined) throw new TypeError('usage: generate.ts FOLDER [--count N] [--seed N] [--to ADDRESS]');
  const count = wholeNumber('--count', values.count ?? String(defaultCount));
  const seed = wholeNumber('--seed', values.seed ?? String(defaultSeed));
  process.stdout.write(await writeMessages(folder, { count, seed, to: values.to ?? defaultTo }));
}

if (import.meta.main) await main();
