/**
 * Near-duplicate detection: the copy of a message through a mailing list, and a notice that a machine sends again.
 *
 * A list adds a tag to the subject, a footer to the text and fields of its own, and may send in its own name (DMARC);
 * Message-ID and Date stay. Message-ID, From and Date can be forged, so a copy counts only where the people of both are
 * the same: then it lets no person see more than before. A repeat has another Message-ID, and equal people, subject,
 * texts and attachments: what differs by one letter is another message. Pure, and linear in the texts: senders choose
 * them, and how many messages have one Message-ID.
 */
import { hash } from 'node:crypto';
import type { ParsedMessage } from '../message.ts';
import { areAllCounted, countedAddresses, everyoneOf, type MessagePeople } from './people.ts';

/** What two copies are compared by. */
export type CopyContent = {
  readonly sentAtMs: number | null;
  /** Subject without tags, and lines of the text, without white space; null: there is no text, or too much of it. */
  readonly said: { readonly subject: string; readonly text: string } | null;
};

/** A longer text or subject is compared with nothing. */
export const comparedMax = { text: 65_536, subject: 1_000 };

/** Of the messages with one Message-ID and Date, the oldest: a sender may send any number, and a list sends one. */
export const comparedCopiesMax = 5;

/** Linear in the length of the text: made once of each message, in the parse thread, or when a row is read. */
export function copyContentOf({ sentAtMs, subject, text }: CopySource): CopyContent {
  const isCompared = text.length <= comparedMax.text && subject.length <= comparedMax.subject;
  const lines = isCompared ? linesOf(text) : '';
  return { sentAtMs, said: lines === '' ? null : { subject: withoutTags(subject), text: lines } };
}

type CopySource = Pick<ParsedMessage, 'sentAtMs' | 'subject' | 'text'>;

/** `[tag] Subject` is `Subject`, and so are `EXTERNAL: Subject`, `***SPAM*** Subject` and `Bug#1: Subject`. */
function withoutTags(subject: string): string {
  const words = subject.toWellFormed().replaceAll(/\[[^[\]]{0,100}\]|\s+/gu, '');
  return words.replace(/^(?:EXT(?:ERN(?:AL)?)?:|\*+[A-Z]+\*+|\w+#\d+:)/u, '');
}

/** Lines without white space; none is empty. */
function linesOf(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(/[^\S\n]+/gu, '')
    .replaceAll(/\n{2,}/gu, '\n')
    .trim();
}

/** True for the same Date. Of two messages with one Message-ID: a copy, unless one of them is forged. */
export function isSameDate(a: CopyContent, b: CopyContent): boolean {
  return a.sentAtMs !== null && a.sentAtMs === b.sentAtMs;
}

type Copy = readonly [CopyContent, MessagePeople];

/** True when two messages with one Message-ID have the same people, and one of them is the other with additions. */
export function isCopy(a: Copy, b: Copy, isOurs: (address: string) => boolean): boolean {
  const [{ said: here }, { said: there }] = [a[0], b[0]];
  if (here === null || there === null || here.subject !== there.subject || !isSameDate(a[0], b[0])) return false;
  const isShorter = here.text.length <= there.text.length;
  const [shorter, longer] = isShorter ? [here.text, there.text] : [there.text, here.text];
  const isOfList = (isShorter ? b : a)[1].kind === 'list';
  return hasLines(longer, shorter, isOfList) && areSamePeople(a[1], b[1], isOurs);
}

/** What a list or a mail server adds to a text: characters in all, and lines above it. */
const addedMax = { characters: 2_000, linesAbove: 10 };

/**
 * True when `longer` is the lines of `shorter` with a note above and a footer below. Only a list adds more than there
 * was: else the greeting of a message would be its copy. A note has few lines, each of which costs one comparison of
 * bytes.
 */
function hasLines(longer: string, shorter: string, isOfList: boolean): boolean {
  const added = longer.length - shorter.length;
  if (added > Math.min(addedMax.characters, isOfList ? added : shorter.length)) return false;
  for (let start = 0, lines = 0; start <= added && lines <= addedMax.linesAbove; lines += 1) {
    const end = start + shorter.length;
    if ((end === longer.length || longer[end] === '\n') && longer.slice(start, end) === shorter) return true;
    start = longer.indexOf('\n', start) + 1;
    if (start === 0) return false;
  }
  return false;
}

/**
 * The same sender, or a list that sends in its own name; and every address of the one is in the other. Of a message to
 * more people than are counted that is not known.
 */
function areSamePeople(a: MessagePeople, b: MessagePeople, isOurs: (address: string) => boolean): boolean {
  if (!a.areAllCounted || !b.areAllCounted) return false;
  const isSameSender = a.from === b.from || a.replyTo.includes(b.from) || b.replyTo.includes(a.from);
  const areIn = (some: ReadonlySet<string>, others: ReadonlySet<string>) =>
    some.values().every((address) => others.has(address) || isOurs(address));
  const [here, there] = [everyoneOf(a), everyoneOf(b)];
  return isSameSender && areIn(here, there) && areIn(there, here);
}

/**
 * SHA-256 of all that a reader sees of a message, white space collapsed: people, subject, texts, attachments. null for
 * a message that no repeat follows: an answer, what has neither text nor attachments, and what has more people than are
 * counted.
 */
export function repeatKey(parsed: ParsedMessage): string | null {
  const { kind, inReplyTo, references, from, replyTo, to, cc, subject, text, html, attachments } = parsed;
  if ((kind !== 'human' && kind !== 'list') || inReplyTo.length + references.length > 0) return null;
  if (text.trim() === '' && html === null && attachments.length === 0) return null;
  const people = [from === null ? [] : [from], replyTo, to, cc].map((list) => countedAddresses(list));
  if (!people.every(areAllCounted)) return null;
  const files = attachments.map(({ name, sha256 }) => [name, sha256]);
  return hash('sha256', JSON.stringify([people, ...[subject, text, html ?? ''].map(collapsed), files]), 'hex');
}

function collapsed(text: string): string {
  return text.toWellFormed().replaceAll(/\s+/gu, ' ').trim();
}
