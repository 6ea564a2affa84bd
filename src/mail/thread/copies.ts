/**
 * Near-duplicate detection: the copy of a message through a mailing list, and a notice that a machine sends again.
 *
 * A list adds a tag to the subject, a footer to the text and fields of its own, and may send in its own name (DMARC);
 * Message-ID and Date stay. Message-ID, From and Date can be forged, so a copy counts only where the people of both are
 * the same: then it lets no person see more than before. A repeat has another Message-ID, and equal people, subject,
 * texts and attachments: what differs by one letter is another message. Pure; bounded by the text that is compared.
 */
import { hash } from 'node:crypto';
import type { ParsedMessage } from '../message.ts';
import { countedAddresses, everyoneIn, type MessagePeople } from './people.ts';

/** What two copies are compared by. `subject` and `text` may be cut to `comparedTextMax`. */
export type CopyContent = { readonly sentAtMs: number | null; readonly subject: string; readonly text: string };

/** Of each text, the characters that are compared. */
export const comparedTextMax = 65_536;

export function copyContentOf({ sentAtMs, subject, text }: ParsedMessage): CopyContent {
  return { sentAtMs, subject: subject.slice(0, comparedTextMax), text: text.slice(0, comparedTextMax) };
}

/** True for the same Date. Of two messages with one Message-ID: a copy, unless one of them is forged. */
export function isSameDate(a: CopyContent, b: CopyContent): boolean {
  return a.sentAtMs !== null && a.sentAtMs === b.sentAtMs;
}

/** True when two messages with one Message-ID have the same people, and one of them is the other with additions. */
export function isCopy(
  [a, aPeople]: readonly [CopyContent, MessagePeople],
  [b, bPeople]: readonly [CopyContent, MessagePeople],
  isOurs: (address: string) => boolean,
): boolean {
  return isSameDate(a, b) && areSamePeople(aPeople, bPeople, isOurs) && isSameSubject(a, b) && isSameText(a, b);
}

/** The same sender, or a list that sends in its own name; and every address of the one is in the other. */
function areSamePeople(a: MessagePeople, b: MessagePeople, isOurs: (address: string) => boolean): boolean {
  const isSameSender = a.from === b.from || a.replyTo.includes(b.from) || b.replyTo.includes(a.from);
  const [here, there] = [a, b].map((people) => new Set(everyoneIn(people).filter((address) => !isOurs(address))));
  return isSameSender && here !== undefined && there !== undefined && here.symmetricDifference(there).size === 0;
}

/** `[tag] Subject` is `Subject`, and so is `EXTERNAL: Subject`. */
function isSameSubject(a: CopyContent, b: CopyContent): boolean {
  const [shorter, longer] = byLength(withoutTags(a.subject), withoutTags(b.subject));
  return longer.endsWith(shorter);
}

function withoutTags(subject: string): string {
  return withoutSpace(subject.replaceAll(/\[[^[\]]{0,100}\]/gu, ''));
}

/** The one text has the other within it: a footer below, a note above. An empty text proves nothing. */
function isSameText(a: CopyContent, b: CopyContent): boolean {
  const [shorter, longer] = byLength(withoutSpace(a.text), withoutSpace(b.text));
  return shorter !== '' && longer.includes(shorter);
}

function byLength(a: string, b: string): readonly [string, string] {
  return a.length <= b.length ? [a, b] : [b, a];
}

function withoutSpace(text: string): string {
  return text.replaceAll(/\s+/gu, '');
}

/**
 * SHA-256 of all that a reader sees of a message, white space collapsed: people, subject, texts, attachments. null for
 * a message that no repeat follows: an answer, and what has neither text nor attachments.
 */
export function repeatKey(parsed: ParsedMessage): string | null {
  const { kind, inReplyTo, references, from, replyTo, to, cc, subject, text, html, attachments } = parsed;
  if ((kind !== 'human' && kind !== 'list') || inReplyTo.length + references.length > 0) return null;
  if (text.trim() === '' && html === null && attachments.length === 0) return null;
  const people = [from === null ? [] : [from], replyTo, to, cc].map((list) => countedAddresses(list));
  const files = attachments.map(({ name, sha256 }) => [name, sha256]);
  return hash('sha256', JSON.stringify([people, ...[subject, text, html ?? ''].map(collapsed), files]), 'hex');
}

function collapsed(text: string): string {
  return text.toWellFormed().replaceAll(/\s+/gu, ' ').trim();
}
