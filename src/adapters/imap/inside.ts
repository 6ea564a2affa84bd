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

export type Token = { readonly type: 'ATOM' | 'TEXT'; readonly value: string };

/** The tagged OK of a command; nothing more is read until `next` is called. A NO or BAD is a rejection instead. */
export type Tagged = { next(): void };

export type Inside = {
  readonly exec: (
    command: string,
    tokens: readonly Token[],
    options: { onPlusTag(): Promise<void> },
  ) => Promise<Tagged>;
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

export const parserState = { line: 1, literal: 2 } as const;

export function inside(imap: ImapFlow): Inside {
  return imap as unknown as Inside;
}
