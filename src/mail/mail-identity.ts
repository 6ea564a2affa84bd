/** By what a mail is known again in its mailbox even after its ticket and its message were deleted. */
import { hash } from 'node:crypto';
import type { ParsedMessage } from './message.ts';

/** SHA-256 (64 hex digits) of Message-ID and content; the same in every mailbox. */
export function mailIdentity({ messageId, contentHash }: Pick<ParsedMessage, 'messageId' | 'contentHash'>): string {
  return hash('sha256', `${contentHash} ${messageId.toWellFormed()}`, 'hex');
}
