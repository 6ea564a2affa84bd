/**
 * Reads one mail: bytes in, plain data out.
 *
 * Takes any bytes, as mail servers do: what is missing or unreadable is null or empty, a missing Message-ID is made
 * up from the content. Throws `parse_failed` only when the MIME parser itself gives up (a header block over 1 MiB,
 * more parts than `partsMax`). The only importer of mailparser, which never sees a mail inside a mail: those stay
 * attachments, so that nothing is lost. The time it takes is for the caller to limit.
 */
import {
  type ParsedMail,
  type Attachment as ParserPart,
  parseAddressHeader,
  type SimpleParserOptions,
  simpleParser,
} from 'mailparser';
import { Failure } from '../errors.ts';
import { makeAttachment, shownContentIds } from './attachment.ts';
import { classify } from './classify.ts';
import {
  declaredCharset,
  decodeField,
  firstRaw,
  keep,
  plainLine,
  type RawHeader,
  splitMail,
  unfold,
} from './headers.ts';
import { contentHash, madeUpMessageId, wholeHash } from './identity.ts';
import type { Address, Attachment, ParsedMessage } from './message.ts';
import { readMessageId, readMessageIds } from './message-id.ts';
import { reportedMessageId } from './report.ts';
import { betterContentType } from './second-reading.ts';
import { readSentAt } from './sent-at.ts';
import { storable, textOfHtml } from './text.ts';

const partsMax = 10_000;

/** As little work as the parser can do: text is made, hashed and named by us. */
const parserOptions: SimpleParserOptions = {
  skipHtmlToText: true,
  skipTextToHtml: true,
  skipImageLinks: true,
  skipTextLinks: true,
  keepCidLinks: true,
  keepDeliveryStatus: true,
  ignoreEmbedded: true,
  checksumAlgo: false,
  maxChildNodes: partsMax,
};

/** Everything of one mail. `source` is only read, and nothing of the result refers to it. */
export async function parseMessage(source: Uint8Array<ArrayBuffer>): Promise<ParsedMessage> {
  const mail = splitMail(source);
  const { headers } = mail;
  const charset = declaredCharset(mail);
  const raw = (name: string) => firstRaw(headers, name) ?? '';
  const addresses = (name: string) => readAddresses(headers, name, charset);

  const { text, html, attachments } = await readBody(source, headers);
  const messageId = readMessageId(unfold(raw('message-id'), charset));
  const hash = messageId === null ? wholeHash(source) : contentHash(mail);
  const from = addresses('from')[0] ?? null;
  const kept = keep(headers, charset);
  const partTypes = attachments.map((attachment) => attachment.type);
  const kind = classify({ headers: kept, fromAddress: from?.address || (from?.name ?? ''), partTypes });
  return {
    messageId: messageId ?? madeUpMessageId(hash),
    messageIdMissing: messageId === null,
    inReplyTo: readMessageIds(unfold(raw('in-reply-to'), charset)),
    references: readMessageIds(unfold(raw('references'), charset)),
    from,
    replyTo: addresses('reply-to'),
    to: addresses('to'),
    cc: addresses('cc'),
    subject: decodeField(raw('subject'), charset),
    sentAtMs: readSentAt(unfold(raw('date'), charset)),
    text,
    html,
    headers: kept,
    kind,
    reportedMessageId: kind === 'bounce' ? reportedMessageId(attachments) : null,
    attachments,
    contentHash: hash,
  };
}

type Parts = Pick<ParsedMessage, 'text' | 'html' | 'attachments'>;

/** Reads the body as declared; what comes out empty or garbled is read once more under a better Content-Type. */
async function readBody(source: Uint8Array<ArrayBuffer>, headers: readonly RawHeader[]): Promise<Parts> {
  const parts = readParts(await parseParts(source));
  const contentType = betterContentType(unfold(firstRaw(headers, 'content-type') ?? '', null), parts);
  if (contentType === null) return parts;
  // The first Content-Type counts where there are several.
  return readParts(await parseParts(Buffer.concat([Buffer.from(`Content-Type: ${contentType}\r\n`), source])));
}

async function parseParts(source: Uint8Array<ArrayBuffer>): Promise<ParsedMail> {
  try {
    return await simpleParser(Buffer.from(source.buffer, source.byteOffset, source.byteLength), parserOptions);
  } catch (cause) {
    throw new Failure('parse_failed', 'the MIME parser could not read the message', { cause });
  }
}

function readParts(mail: ParsedMail): Parts {
  const html = storable(mail.html || '') || null;
  const plain = storable(mail.text ?? '');
  const shownIds = shownContentIds(html);
  return {
    text: html !== null && plain.trim() === '' ? textOfHtml(html) : plain,
    html,
    attachments: mail.attachments.map((part, index) => readAttachment(part, index + 1, shownIds)),
  };
}

function readAttachment(part: ParserPart, position: number, shownIds: ReadonlySet<string>): Attachment {
  // The parser guesses a type from the name of untyped parts; what was sent is in the part's own fields.
  const sent = part.headers.get('content-type');
  const type =
    typeof sent === 'object' && 'value' in sent && typeof sent.value === 'string' ? sent.value : part.contentType;
  return makeAttachment(
    {
      name: part.filename ?? '',
      type,
      disposition: part.contentDisposition ?? '',
      contentId: part.contentId ?? null,
      content: part.content,
    },
    position,
    shownIds,
  );
}

/** All addresses of every field of that name; those with neither name nor address are left out. */
function readAddresses(headers: readonly RawHeader[], name: string, charset: string | null): readonly Address[] {
  const values = headers.filter((header) => header[0] === name).map(([, rawValue]) => unfold(rawValue, charset));
  if (values.length === 0) return [];
  return parseAddressHeader(values, { flatten: true, decodePunycode: false })
    .value.map((one) => ({ name: plainLine(one.name), address: plainLine(one.address ?? '') }))
    .filter((one) => one.name !== '' || one.address !== '');
}
