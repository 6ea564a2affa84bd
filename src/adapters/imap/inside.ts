/**
 * What imapflow has and its types do not show, in one place. login.ts, idle.ts, pace.ts and announcements.ts build on it.
 *
 * Relied upon: `exec` with `onPlusTag`, whose tagged answer holds the reader until `next`; one command on the wire at
 * a time; `setAuthenticationState`, `writeSocket`, `expectCapabilityUpdate`; a handler in `untaggedHandlers` hears every
 * line of its kind that the command in flight does not take for itself. library.test.ts checks each.
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
  /** Cuts what arrives into lines and literals. */
  readonly streamer: Transform;
};

export function inside(imap: ImapFlow): Inside {
  return imap as unknown as Inside;
}
