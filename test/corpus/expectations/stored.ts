/**
 * One line of `message list --full --json`, as far as it is compared; and the same of a message that was only parsed.
 */
import { messageJson } from '../../../src/commands/ticket/ticket.ts';
import type { ParsedMessage } from '../../../src/mail/message.ts';

export type Person = { readonly name: string; readonly address: string };

export type StoredAttachment = {
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly sha256: string;
  readonly content_id: string | null;
  readonly inline: boolean;
};

export type Stored = {
  readonly message_id: string;
  readonly from: Person | null;
  readonly reply_to: readonly Person[];
  readonly to: readonly Person[];
  readonly cc: readonly Person[];
  readonly subject: string;
  readonly sent_at: string | null;
  readonly kind: string;
  readonly auto_submitted: string | null;
  readonly bounce: {
    readonly recipients: readonly string[];
    readonly status: string | null;
    readonly hard: boolean;
    readonly details: readonly { readonly address: string; readonly status: string | null; readonly hard: boolean }[];
  } | null;
  readonly text: string;
  readonly reply_text: string;
  readonly html: string | null;
  readonly in_reply_to: readonly string[];
  readonly references: readonly string[];
  readonly attachments: readonly StoredAttachment[];
};

/** Where it was put; null for a message that was only parsed. */
export type Placed = { readonly outcome: string; readonly ticket: string | null };

/** As the command would print it, had it been stored. */
export function asStored(parsed: ParsedMessage): Stored {
  const autoSubmitted = parsed.headers.find(([name]) => name === 'auto-submitted')?.[1] ?? null;
  const message = { ...parsed, id: '', receivedAtMs: 0, threadRule: null, autoSubmitted };
  return JSON.parse(JSON.stringify(messageJson(message))) as Stored;
}
