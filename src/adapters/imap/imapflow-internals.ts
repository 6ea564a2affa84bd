/**
 * Internals of imapflow that its types do not declare, in one place, and an in-place literal reader built on its
 * parser.
 *
 * Relied upon, and checked by library.test.ts: `exec` with `onPlusTag` and `untagged`, whose tagged response blocks the
 * reader until `next`; one command in flight at a time; `setAuthenticationState`, `writeSocket`,
 * `expectCapabilityUpdate`; a handler in `untaggedHandlers` receives every line of its kind that the command in flight
 * does not consume; every response passes `handleResponse`; the parser is a Transform that calls back once it has
 * consumed a chunk, has the fields of `ImapParser`, and lets a literal be filled from outside.
 */
import type { Transform, Writable } from 'node:stream';
import type { ImapFlow } from 'imapflow';

export type CommandToken = { readonly type: 'ATOM' | 'TEXT' | 'SEQUENCE' | 'STRING'; readonly value: string };

/** An untagged response: its tokens, of which one may be a list. */
export type UntaggedResponse = { readonly attributes?: readonly unknown[] | false };
type UntaggedHandlers = Readonly<Record<string, (response: UntaggedResponse) => Promise<void>>>;

/** A continuation request (`+`); its text is the only token, and an empty one has none. */
export type ContinuationRequest = { readonly attributes?: readonly ({ readonly value?: unknown } | null)[] | false };

/** The tagged OK of a command; nothing more is read until `next` is called. NO and BAD reject instead. */
type TaggedResponse = { next(): void };

type ImapFlowInternals = {
  readonly exec: (
    command: string,
    tokens: readonly CommandToken[],
    options?: { onPlusTag?(request: ContinuationRequest): Promise<void>; readonly untagged?: UntaggedHandlers },
  ) => Promise<TaggedResponse>;
  readonly setAuthenticationState: () => Promise<void>;
  /** null once the client is closed. */
  readonly writeSocket: Writable | null;
  readonly untaggedHandlers: Record<string, (line: { readonly command: string }) => Promise<void>>;
  expectCapabilityUpdate: boolean;
  /** The command in flight; false: none. */
  readonly currentRequest: { readonly command: string } | false;
  /** Parses and handles one response; true: the next one is read. */
  handleResponse: (response: { readonly payload: Buffer }) => Promise<boolean>;
  readonly streamer: ImapParser;
};

/** Parser stream: splits the input into lines and literals. */
export type ImapParser = Transform & {
  /** One of `parserState`. */
  state: number;
  /** Missing bytes of the current literal, and its pieces received so far. */
  literalWaiting: number;
  literalBuffer: readonly Buffer[];
  /** Complete literals of the current line. */
  readonly literals: Buffer[];
  /** Received bytes, for `stats()`. */
  readBytesCounter: number;
};

const parserState = { line: 1, literal: 2 } as const;

export function internals(imap: ImapFlow): ImapFlowInternals {
  return imap as unknown as ImapFlowInternals;
}

/** Runs a command that has no data in its response codes; they are not read. NO and BAD reject. */
export async function execute(
  imap: ImapFlow,
  command: string,
  tokens: readonly CommandToken[],
  untagged: UntaggedHandlers = {},
): Promise<void> {
  (await internals(imap).exec(command, tokens, { untagged })).next();
}

/** Text of a token; null: it is none, or a list. */
export function tokenText(token: unknown): string | null {
  const value: unknown = typeof token === 'object' && token !== null ? Reflect.get(token, 'value') : null;
  return typeof value === 'string' || Buffer.isBuffer(value) ? value.toString() : null;
}

/** Asks `accepts` about each response before it is parsed; one that is not accepted is dropped. */
export function filterResponses(
  imap: ImapFlow,
  accepts: (line: Buffer, command: string | null) => Promise<boolean>,
): void {
  const inner = internals(imap);
  const handle = inner.handleResponse.bind(imap);
  inner.handleResponse = async (response) => {
    const { currentRequest } = inner;
    const isAccepted = await accepts(response.payload, currentRequest ? currentRequest.command.toUpperCase() : null);
    return isAccepted ? await handle(response) : true;
  };
}

/** Text of a continuation request: the challenge of a SASL mechanism, in base64; '' without one. */
export function continuationText({ attributes }: ContinuationRequest): string {
  const value = attributes ? attributes[0]?.value : undefined;
  return typeof value === 'string' ? value : '';
}

/** Input parsed between two checks of the clock: about fifty short lines. */
const sliceBytes = 8 * 1024;
/** Then the parser yields to the event loop. */
const parseSliceMs = 2;

/**
 * Literal reader: copies literals (RFC 9051 section 4.3) past the parser into buffers of `allocate`, and feeds it the
 * rest in slices.
 *
 * The parser would collect the pieces of a literal and concatenate them. Everything else costs a thousand times as
 * much: imapflow parses all that the socket delivers in one go, half a megabyte and more, thousands of short lines, and
 * blocks the other mailboxes. So it gets small slices, and yields to the event loop in between. Only for a connection
 * whose TLS is established: an injection behind the STARTTLS response is detected by its position in the same chunk.
 */
export function readLiteralsInPlace(parser: ImapParser, allocate: (lengthBytes: number) => Buffer): void {
  const parse = parser._transform.bind(parser);
  let yieldedAtMs = 0;
  let literal: { readonly bytes: Buffer; filled: number } | null = null;

  /** Copies the part of the chunk that belongs to the current literal; returns the start of the rest. */
  const fill = (chunk: Buffer, from: number): number => {
    literal ??= begin();
    const { bytes } = literal;
    const count = Math.min(bytes.length - literal.filled, chunk.length - from);
    chunk.copy(bytes, literal.filled, from, from + count);
    literal.filled += count;
    parser.literalWaiting -= count;
    parser.readBytesCounter += count;
    if (parser.literalWaiting === 0) {
      parser.literals.push(bytes);
      parser.state = parserState.line;
      literal = null;
    }
    return from + count;
  };
  /** Starts with the pieces that the parser has already received. */
  const begin = () => {
    const pieces = parser.literalBuffer;
    const filled = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const bytes = allocate(filled + parser.literalWaiting);
    let at = 0;
    for (const piece of pieces) at += piece.copy(bytes, at);
    parser.literalBuffer = [];
    return { bytes, filled };
  };

  parser._transform = (chunk: Buffer, encoding, done) => {
    const step = (start: number): void => {
      const isLiteral = parser.state === parserState.literal && parser.literalWaiting > 0;
      const from = isLiteral && !parser.destroyed ? fill(chunk, start) : start;
      if (from >= chunk.length || parser.destroyed) {
        done();
        return;
      }
      const to = Math.min(from + sliceBytes, chunk.length);
      parse(chunk.subarray(from, to), encoding, () => yieldIfDue(() => step(to)));
    };
    step(0);
  };
  const yieldIfDue = (next: () => void): void => {
    if (performance.now() - yieldedAtMs < parseSliceMs) {
      next();
      return;
    }
    setImmediate(() => {
      yieldedAtMs = performance.now();
      next();
    });
  };
}
