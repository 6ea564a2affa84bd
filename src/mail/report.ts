/**
 * Reads which mail a delivery report (RFC 3464) is about.
 *
 * A report carries the mail that came back, or its header block, as a part; its Message-ID leads to the ticket.
 * Where the report carries neither, or that mail had no id, the answer is null.
 */
import { firstRaw, splitMail, unfold } from './headers.ts';
import type { Attachment } from './message.ts';
import { readMessageId } from './message-id.ts';

/** RFC 3462 section 2 (text/rfc822-headers) and RFC 6533 (the internationalised forms). */
const returnedTypes: ReadonlySet<string> = new Set([
  'message/rfc822',
  'message/rfc822-headers',
  'text/rfc822-headers',
  'message/global',
  'message/global-headers',
]);

export function reportedMessageId(attachments: readonly Attachment[]): string | null {
  for (const { type, content } of attachments) {
    if (!returnedTypes.has(type)) continue;
    const id = readMessageId(unfold(firstRaw(splitMail(content).headers, 'message-id') ?? '', null));
    if (id !== null) return id;
  }
  return null;
}
