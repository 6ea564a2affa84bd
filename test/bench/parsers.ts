/**
 * Measures our own MIME reader beside mailparser and postal-mime, in one run: CPU seconds for 1,000
 * generated messages, and agreement with the corpus of public messages. Prints a table and then one JSON object.
 *
 *   node test/bench/parsers.ts FOLDER [--rounds 5]
 *
 * FOLDER holds the generator's .eml files. The corpus is looked for as `test/mail/corpus.ts` says; where it is
 * missing the figures of correctness are left out and the place is named. Exit code 2 when FOLDER is not given.
 */
import { hash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AddressObject, type ParsedMail, type SimpleParserOptions, simpleParser } from 'mailparser';
import PostalMime, { type Address, type Email } from 'postal-mime';
import { parseMessage } from '../../src/mail/parse.ts';
import { compare, count, type ParsedFields, parsedFieldsOf, type Tally } from '../mail/agreement.ts';
import { corpusFolder, corpusPresent, crlf, readExpectations, readMail, readManifest } from '../mail/corpus.ts';

type Parser = {
  readonly name: string;
  readonly parse: (source: Uint8Array<ArrayBuffer>) => Promise<unknown>;
  readonly read: (source: Uint8Array<ArrayBuffer>) => Promise<ParsedFields>;
};

const parseDeadlineMs = 10_000;
const leanOptions: SimpleParserOptions = {
  skipHtmlToText: true,
  skipTextToHtml: true,
  skipImageLinks: true,
  skipTextLinks: true,
  keepCidLinks: true,
  ignoreEmbedded: true,
  checksumAlgo: false,
};

const withMailparser = (options: SimpleParserOptions) => (source: Uint8Array<ArrayBuffer>) =>
  simpleParser(Buffer.from(source.buffer, source.byteOffset, source.length), options);
const withPostalMime = (source: Uint8Array<ArrayBuffer>) => PostalMime.parse(source, { forceRfc822Attachments: true });

const parsers: readonly Parser[] = [
  { name: 'ours', parse: parseMessage, read: async (source) => parsedFieldsOf(await parseMessage(source)) },
  { name: 'mailparser lean', parse: withMailparser(leanOptions), read: readWithMailparser(leanOptions) },
  { name: 'mailparser', parse: withMailparser({}), read: readWithMailparser({}) },
  { name: 'postal-mime', parse: withPostalMime, read: async (source) => fromPostalMime(await withPostalMime(source)) },
];

function readWithMailparser(options: SimpleParserOptions) {
  const parse = withMailparser(options);
  return async (source: Uint8Array<ArrayBuffer>) => fromMailparser(await parse(source));
}

function fromMailparser(mail: ParsedMail): ParsedFields {
  const from = mail.from?.value[0];
  return {
    subject: mail.subject ?? '',
    fromAddress: from?.address ?? '',
    fromName: from?.name ?? '',
    toAddresses: [mail.to ?? []]
      .flat()
      .flatMap((header: AddressObject) => header.value.map((one) => one.address ?? '')),
    messageId: (mail.messageId ?? '').replace(/^<|>$/g, ''),
    sentAtMs: mail.date?.getTime() ?? null,
    text: mail.text ?? '',
    html: mail.html || '',
    attachments: mail.attachments.map((part) => ({
      name: part.filename ?? '',
      type: part.contentType,
      size: part.content.length,
      sha256: hash('sha256', part.content),
    })),
  };
}

function fromPostalMime(mail: Email): ParsedFields {
  const flat = (list: readonly Address[]) => list.flatMap((one) => one.group ?? [one]);
  const from = flat(mail.from === undefined ? [] : [mail.from])[0];
  const sentAtMs = Date.parse(mail.date ?? '');
  return {
    subject: mail.subject ?? '',
    fromAddress: from?.address ?? '',
    fromName: from?.name ?? '',
    toAddresses: flat(mail.to ?? []).map((one) => one.address ?? ''),
    messageId: (mail.messageId ?? '').replace(/^<|>$/g, ''),
    sentAtMs: Number.isNaN(sentAtMs) ? null : sentAtMs,
    text: mail.text ?? '',
    html: mail.html ?? '',
    attachments: mail.attachments.map((part) => {
      const content = typeof part.content === 'string' ? Buffer.from(part.content) : new Uint8Array(part.content);
      return { name: part.filename ?? '', type: part.mimeType, size: content.length, sha256: hash('sha256', content) };
    }),
  };
}

/** Median CPU seconds (user and system) for 1,000 messages; one round of warming up, parsers take turns. */
async function measureCpu(messages: readonly Uint8Array<ArrayBuffer>[], rounds: number): Promise<Map<string, number>> {
  const seconds = new Map<string, number[]>(parsers.map(({ name }) => [name, []]));
  for (let round = -1; round < rounds; round++) {
    for (const { name, parse } of parsers) {
      const before = process.cpuUsage();
      for (const mail of messages) await parse(mail);
      const { user, system } = process.cpuUsage(before);
      if (round >= 0) seconds.get(name)?.push((((user + system) / 1e6) * 1000) / messages.length);
    }
  }
  return new Map([...seconds].map(([name, list]) => [name, list.toSorted((a, b) => a - b)[rounds >> 1] ?? Number.NaN]));
}

/** Transfer encodings under which an attachment of text comes out with the very bytes that were sent. */
async function identicalBytes({ read }: Parser): Promise<readonly string[]> {
  const sent = Buffer.from('id;sum\r\n1;20  \r\n\r\n');
  const encoded: Readonly<Record<string, string>> = {
    '7bit': sent.toString('latin1'),
    '8bit': sent.toString('latin1'),
    binary: sent.toString('latin1'),
    'quoted-printable': 'id;sum\r\n1;20=20=20\r\n\r\n',
    base64: sent.toString('base64'),
  };
  const identical: string[] = [];
  for (const [encoding, body] of Object.entries(encoded)) {
    const head = `Content-Type: text/csv\r\nContent-Transfer-Encoding: ${encoding}\r\nContent-Disposition: attachment`;
    const mail = `Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n${head}\r\n\r\n${body}\r\n--b--\r\n`;
    const { attachments } = await read(new Uint8Array(Buffer.from(mail)));
    if (attachments[0]?.sha256 === hash('sha256', sent)) identical.push(encoding);
  }
  return identical;
}

type Agreement = { readonly crashed: string[]; readonly timedOut: string[]; readonly tally: Tally };

/** Every message of the corpus through one parser. */
async function measureAgreement({ read }: Parser): Promise<Agreement> {
  const expectations = new Map(readExpectations().map((one) => [one.file, one]));
  const result: Agreement = { crashed: [], timedOut: [], tally: new Map() };
  for (const { path, tags } of readManifest()) {
    const reading = await Promise.race([
      read(readMail(path, tags)).catch((cause: unknown) => ({ cause })),
      sleep(parseDeadlineMs, null, { ref: false }),
    ]);
    if (reading === null) result.timedOut.push(path);
    else if ('cause' in reading) result.crashed.push(`${path}: ${String(reading.cause)}`);
    else {
      const expected = expectations.get(path);
      if (expected !== undefined) count(result.tally, compare(expected, reading));
    }
  }
  return result;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function printAgreement(agreements: ReadonlyMap<string, Agreement>): void {
  const names = [...agreements.keys()];
  print(`\n${'agreed/stated'.padEnd(20)}${names.map((name) => name.padStart(18)).join('')}`);
  const fields = [...(agreements.get(names[0] ?? '')?.tally.keys() ?? [])];
  for (const field of fields) {
    const cells = names.map((name) => {
      const { agreed, disagreed } = agreements.get(name)?.tally.get(field) ?? { agreed: 0, disagreed: 0 };
      return `${agreed}/${agreed + disagreed}`.padStart(18);
    });
    print(field.padEnd(20) + cells.join(''));
  }
  for (const key of ['crashed', 'timedOut'] as const)
    print(key.padEnd(20) + names.map((name) => String(agreements.get(name)?.[key].length).padStart(18)).join(''));
}

async function main(): Promise<void> {
  const folder = process.argv[2];
  if (folder === undefined) {
    print('usage: node test/bench/parsers.ts FOLDER [--rounds 5], FOLDER as the mail generator wrote it');
    process.exitCode = 2;
    return;
  }
  const at = process.argv.indexOf('--rounds');
  const rounds = at < 0 ? 5 : Number(process.argv[at + 1]);
  const files = readdirSync(folder).filter((file) => file.endsWith('.eml'));
  const cpu = await measureCpu(
    files.map((file) => crlf(readFileSync(join(folder, file)))),
    rounds,
  );
  print(`CPU seconds per 1,000 messages, median of ${rounds}, ${files.length} messages`);
  for (const [name, seconds] of cpu) print(`${name.padEnd(20)}${seconds.toFixed(3).padStart(18)}`);

  const identical: Record<string, readonly string[]> = {};
  print('\nAttachments byte-identical when sent as');
  for (const parser of parsers) {
    identical[parser.name] = await identicalBytes(parser);
    print(`${parser.name.padEnd(20)} ${identical[parser.name]?.join(', ')}`);
  }

  const agreements = new Map<string, Agreement>();
  if (corpusPresent) for (const parser of parsers) agreements.set(parser.name, await measureAgreement(parser));
  else print(`The corpus is left out: there is none at ${corpusFolder} (TICKETMAILD_CORPUS).`);
  if (corpusPresent) printAgreement(agreements);
  const correctness = [...agreements].map(([name, one]) => [name, { ...one, tally: Object.fromEntries(one.tally) }]);
  const figures = {
    cpuSecondsPer1000: Object.fromEntries(cpu),
    identical,
    correctness: Object.fromEntries(correctness),
  };
  print(JSON.stringify(figures));
}

await main();
