/**
 * What imapflow has and its types do not show, in one place. login.ts, idle.ts, pace.ts and announcements.ts build on it.
 *
 * Relied upon: `exec` with `onPlusTag`, whose tagged answer holds the reader until `next`; one command on the wire at
 * a time; `setAuthenticationState`, `writeSocket`, `expectCapabilityUpdate`; a handler in `untaggedHandlers` hears every
 * line of its kind that the command in flight does not take for itself; of the parser, a Transform that calls back once it
 * has taken a chunk, what `ImapParser` names, where a literal may be filled from outside. library.test.ts checks each.
 */
import type { Transform, Writable } from 'node:stream';
import type { ImapFlow } from 'imapflow';

export type CommandToken = { readonly type: 'ATOM' | 'TEXT'; readonly value: string };

/** The tagged OK of a command; nothing more is read until `next` is called. A NO or BAD is a rejection instead. */
type TaggedResponse = { next(): void };

type ImapFlowInternals = {
  readonly exec: (
    command: string,
    tokens: readonly CommandToken[],
    options: { onPlusTag(): Promise<void> },
  ) => Promise<TaggedResponse>;
  readonly setAuthenticationState: () => Promise<void>;
  /** null once the client is closed. */
  readonly writeSocket: Writable | null;
  readonly untaggedHandlers: Record<string, (line: { readonly command: string }) => Promise<void>>;
  expectCapabilityUpdate: boolean;
  readonly streamer: ImapParser;
};

/** Cuts what arrives into lines and literals. */
export type ImapParser = Transform & {
  /** One of `parserState`. */
  state: number;
  /** How much of the literal that has begun is still to come, and the pieces that have come. */
  literalWaiting: number;
  literalBuffer: readonly Buffer[];
  /** Those of the line under way that are whole. */
  readonly literals: Buffer[];
  /** All that it got, for `stats()`. */
  readBytesCounter: number;
};

const parserState = { line: 1, literal: 2 } as const;

export function internals(imap: ImapFlow): ImapFlowInternals {
  return imap as unknown as ImapFlowInternals;
}

/**
 * Stands before the parser of imapflow: mails go past it into memory of ours, and the rest in turns.
 *
 * A literal (RFC 9051 section 4.3) is copied from what the socket gives into the one place where it stays; the parser would
 * collect its pieces and join them. What is not a literal costs a thousand times as much: imapflow takes whatever the socket
 * holds in one go, half a megabyte and more, thousands of short lines, during which no other mailbox is heard. So it gets
 * little at a time, and the event loop turns in between. Relied upon: what inside.ts names of the parser. Only for a
 * connection on which TLS is settled: what somebody puts behind the answer to STARTTLS is found by its place in the same chunk.
 */

/** What is looked at between two glances at the clock: fifty short lines. */
const sliceBytes = 8 * 1024;
/** After so long the others have their turn. */
const parseSliceMs = 2;

/** From now on literals of `parser` lie in what `take` gives for their length, and it gets the rest slice by slice. */
export function readLiteralsInPlace(parser: ImapParser, take: (lengthBytes: number) => Buffer): void {
  const parse = parser._transform.bind(parser);
  let turnedAtMs = 0;
  let literal: { readonly bytes: Buffer; filled: number } | null = null;

  /** Puts what belongs to the literal that has begun into its place; returns where the rest of the chunk begins. */
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
  /** With what the parser has of it already. */
  const begin = () => {
    const pieces = parser.literalBuffer;
    const filled = pieces.reduce((sum, piece) => sum + piece.length, 0);
    const bytes = take(filled + parser.literalWaiting);
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
      parse(chunk.subarray(from, to), encoding, () => afterTurn(() => step(to)));
    };
    step(0);
  };
  const afterTurn = (next: () => void): void => {
    if (performance.now() - turnedAtMs < parseSliceMs) {
      next();
      return;
    }
    setImmediate(() => {
      turnedAtMs = performance.now();
      next();
    });
  };
}
