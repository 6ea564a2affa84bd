/**
 * HTTP/1.1 response reader (RFC 9112) over one buffer of secret bytes: head, Content-Length, chunks.
 *
 * At most 256 KiB, of which 16 KiB are the head. What breaks a rule throws `BrokenAnswer`, whose code is shown.
 */
import { copySecret, secretBuffer } from '../../secret/secret-bytes.ts';

const answerBytesMax = 256 * 1024;
const headBytesMax = 16 * 1024;

export class BrokenAnswer extends Error {
  readonly code: string;

  constructor(code: string) {
    super(`the answer cannot be read: ${code}`);
    this.name = 'BrokenAnswer';
    this.code = code;
  }
}

export type HttpAnswer = {
  readonly status: number;
  /** Names in lower case; of a header that comes twice the last one. */
  readonly headers: ReadonlyMap<string, string>;
  /** Borrowed: wiped once the exchange ends. */
  readonly body: Uint8Array;
};

export interface HttpAnswerReader {
  /** Copies a piece. True: the answer is complete. */
  add(piece: Uint8Array): boolean;
  /** Call it once the connection has ended, or the answer is complete. */
  answer(): HttpAnswer;
  wipe(): void;
}

type Head = {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly bodyAt: number;
  readonly framing: 'chunked' | 'until_end' | number;
};

export function createAnswerReader(): HttpAnswerReader {
  const room = secretBuffer(answerBytesMax);
  const text = Buffer.from(room.buffer, 0, room.length);
  let length = 0;
  let head: Head | null = null;
  let body: BodyReader | null = null;
  return {
    add: (piece) => {
      if (length + piece.length > answerBytesMax) throw new BrokenAnswer('answer_too_long');
      copySecret(piece, room, length);
      length += piece.length;
      head ??= readHead(text.subarray(0, length));
      if (head === null) return false;
      body ??= bodyReader(text, head);
      return body.isComplete(length);
    },
    answer: () => {
      if (head === null || body === null) throw new BrokenAnswer('answer_cut_off');
      return { status: head.status, headers: head.headers, body: body.body(length) };
    },
    wipe: () => room.fill(0),
  };
}

/** null: not all of it is here. */
function readHead(bytes: Buffer): Head | null {
  const start = bytes.toString('latin1', 0, Math.min(bytes.length, 5));
  if (start !== 'HTTP/'.slice(0, start.length)) throw new BrokenAnswer('not_http');
  const end = bytes.subarray(0, headBytesMax).indexOf('\r\n\r\n');
  if (end < 0 && bytes.length >= headBytesMax) throw new BrokenAnswer('head_too_long');
  if (end < 0) return null;
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const status = Number(/^HTTP\/1\.[01] ([2-5]\d\d)(?: |$)/.exec(first)?.[1] ?? 0);
  if (status === 0) throw new BrokenAnswer('not_http');
  const headers = new Map(lines.map(readHeader));
  return { status, headers, bodyAt: end + 4, framing: framingOf(status, headers) };
}

function readHeader(line: string): [name: string, value: string] {
  const colon = line.indexOf(':');
  if (colon < 1) throw new BrokenAnswer('not_http');
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
}

function framingOf(status: number, headers: ReadonlyMap<string, string>): Head['framing'] {
  const encoding = headers.get('transfer-encoding');
  const length = headers.get('content-length');
  if (status === 204 || status === 304) return 0;
  if (encoding !== undefined && encoding.toLowerCase() !== 'chunked') throw new BrokenAnswer('unknown_encoding');
  if (encoding !== undefined) return 'chunked';
  if (length === undefined) return 'until_end';
  if (!/^\d{1,9}$/.test(length)) throw new BrokenAnswer('not_http');
  if (Number(length) > answerBytesMax) throw new BrokenAnswer('answer_too_long');
  return Number(length);
}

/** `length` counts the bytes of the answer that are here. */
interface BodyReader {
  isComplete(length: number): boolean;
  body(length: number): Uint8Array;
}

function bodyReader(bytes: Buffer, { framing, bodyAt }: Head): BodyReader {
  if (framing === 'chunked') return chunkedBody(bytes, bodyAt);
  if (framing === 'until_end') return { isComplete: () => false, body: (length) => bytes.subarray(bodyAt, length) };
  const end = bodyAt + framing;
  return {
    isComplete: (length) => length >= end,
    body: (length) => {
      if (length < end) throw new BrokenAnswer('answer_cut_off');
      return bytes.subarray(bodyAt, end);
    },
  };
}

/**
 * Incremental decoder of the chunked coding (RFC 9112 section 7.1), in place; the trailer is not waited for.
 *
 * A chunk is read once, whatever the number of pieces, so that the work grows with the bytes alone.
 */
function chunkedBody(bytes: Buffer, bodyAt: number): BodyReader {
  let at = bodyAt;
  let to = bodyAt;
  let isLast = false;
  return {
    isComplete: (length) => {
      while (!isLast) {
        const chunk = readChunk(bytes.subarray(0, length), at);
        if (chunk === null) return false;
        // A copy of the chunk moves to lower addresses only: what follows it is not overwritten.
        copySecret(chunk.content, bytes, to);
        to += chunk.content.length;
        at = chunk.end;
        isLast = chunk.content.length === 0;
      }
      return true;
    },
    body: () => {
      if (!isLast) throw new BrokenAnswer('answer_cut_off');
      return bytes.subarray(bodyAt, to);
    },
  };
}

const chunkLineBytesMax = 128;

/** null: not all of the chunk is here. The empty chunk is the last one. */
function readChunk(bytes: Buffer, at: number): { readonly content: Uint8Array; readonly end: number } | null {
  const line = bytes.subarray(at, at + chunkLineBytesMax);
  const end = line.indexOf('\r\n');
  if (end < 0 && line.length < chunkLineBytesMax) return null;
  const [, digits] = /^([0-9a-f]{1,6})[ \t]*(?:;.*)?$/i.exec(line.toString('latin1', 0, Math.max(0, end))) ?? [];
  if (digits === undefined) throw new BrokenAnswer('wrong_chunk');
  const size = Number.parseInt(digits, 16);
  const from = at + end + 2;
  if (size === 0) return { content: bytes.subarray(from, from), end: from };
  const after = from + size;
  if (after + 2 > bytes.length) return null;
  if (bytes.toString('latin1', after, after + 2) !== '\r\n') throw new BrokenAnswer('wrong_chunk');
  return { content: bytes.subarray(from, after), end: after + 2 };
}
