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
  return {
    add: (piece) => {
      if (length + piece.length > answerBytesMax) throw new BrokenAnswer('answer_too_long');
      copySecret(piece, room, length);
      length += piece.length;
      head ??= readHead(text.subarray(0, length));
      return head !== null && isComplete(text.subarray(0, length), head);
    },
    answer: () => {
      if (head === null) throw new BrokenAnswer('answer_cut_off');
      return { status: head.status, headers: head.headers, body: bodyOf(text.subarray(0, length), head) };
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

function isComplete(bytes: Buffer, { framing, bodyAt }: Head): boolean {
  if (framing === 'until_end') return false;
  if (framing === 'chunked') return lastChunk(bytes, bodyAt) !== null;
  return bytes.length >= bodyAt + framing;
}

/** Joins the chunks in place. */
function bodyOf(bytes: Buffer, head: Head): Uint8Array {
  const { framing, bodyAt } = head;
  if (framing === 'until_end') return bytes.subarray(bodyAt);
  if (!isComplete(bytes, head)) throw new BrokenAnswer('answer_cut_off');
  if (framing !== 'chunked') return bytes.subarray(bodyAt, bodyAt + framing);
  let to = bodyAt;
  for (const chunk of chunks(bytes, bodyAt)) {
    copySecret(chunk, bytes, to);
    to += chunk.length;
  }
  return bytes.subarray(bodyAt, to);
}

/** The empty chunk at the end; null: it has not come yet. Its trailer is not waited for. */
function lastChunk(bytes: Buffer, bodyAt: number): Uint8Array | null {
  for (const chunk of chunks(bytes, bodyAt)) if (chunk.length === 0) return chunk;
  return null;
}

/** Complete chunks (RFC 9112 section 7.1), the empty one at the end included. */
function* chunks(bytes: Buffer, bodyAt: number): Iterable<Uint8Array> {
  let at = bodyAt;
  for (;;) {
    const end = bytes.indexOf('\r\n', at);
    if (end < 0 && bytes.length - at <= chunkLineBytesMax) return;
    const [, digits] = /^([0-9a-f]{1,6})[ \t]*(?:;.*)?$/i.exec(bytes.toString('latin1', at, Math.max(at, end))) ?? [];
    if (digits === undefined) throw new BrokenAnswer('wrong_chunk');
    const size = Number.parseInt(digits, 16);
    const from = end + 2;
    if (size === 0) {
      yield bytes.subarray(from, from);
      return;
    }
    if (from + size + 2 > bytes.length) return;
    if (bytes.toString('latin1', from + size, from + size + 2) !== '\r\n') throw new BrokenAnswer('wrong_chunk');
    // A copy of the chunk moves to lower addresses only, so that the next one is not overwritten before it was read.
    yield bytes.subarray(from, from + size);
    at = from + size + 2;
  }
}

const chunkLineBytesMax = 128;
