/**
 * Thread keys of a message: the Message-IDs that it references (RFC 5322 section 3.6.4), reply tokens, and ticket
 * references in subject and text.
 *
 * A ticket reference in brackets, `[#261124-7KQ3MX]`, is a tag; without brackets it is a mention. Keys are what the
 * sender claims: `match.ts` decides which of them count. Bounded: 21 referenced ids, 20 tokens, 5 references of each
 * kind; tags are read in the first 65,536 characters of the text, mentions in the first 2,000. Pure; never fails.
 */
import type { ParsedMessage } from '../message.ts';
import { isForward } from '../quote/forward.ts';
import { type CopyContent, copyContentOf, repeatKey } from './copies.ts';
import { type ReplyToken, tokenInMessageId, tokensInAddresses } from './reply-token.ts';

export type ThreadKeys = {
  readonly messageId: string;
  /** Each once: of the report, then In-Reply-To, then References from the nearest on. */
  readonly referencedIds: readonly ReferencedId[];
  /** The token in its own Message-ID: a message that the helpdesk sent and that came back. */
  readonly ownToken: ReplyToken | null;
  readonly recipientTokens: readonly ReplyToken[];
  /** References of tickets, in upper case, each once. */
  readonly subjectTags: readonly string[];
  readonly textTags: readonly string[];
  /** Tags and mentions in the subject and at the beginning of the text. */
  readonly mentions: readonly string[];
  /** Address of From, lower-case; empty where there is none. */
  readonly sender: string;
  readonly isForward: boolean;
  /** Marked as written by a program (RFC 3834 section 5, and the older `Precedence`). */
  readonly isAutomatic: boolean;
  /** What copies of it are compared by. */
  readonly content: CopyContent;
  /** The same for a notice that is sent again (copies.ts); null: no repeat follows it. */
  readonly repeatKey: string | null;
};

type ReferencedId = {
  readonly id: string;
  readonly rule: 'reported' | 'in_reply_to' | 'references';
  /** True for the message that is answered: In-Reply-To, and the last of References. */
  readonly isParent: boolean;
};

/** Of a long References field: the nearest ids, and the first, which began the conversation. */
const referencesMax = 20;
const tagsMax = 5;
const tagTextMax = 65_536;
const mentionTextMax = 2_000;

const tag = /\[#(\d{6}-[0-9a-hjkmnp-tv-z]{6})\]/giu;
const mention = /(?<![\w-])(\d{6}-[0-9a-hjkmnp-tv-z]{6})(?![\w-])/giu;
/** Part of every mention, and found much faster. */
const mentionStart = /\d{6}-/;
/** Fields in which servers write the address that the message was delivered to; none is standardised. */
const deliveryFields: ReadonlySet<string> = new Set(['delivered-to', 'x-original-to', 'envelope-to', 'x-envelope-to']);

export function threadKeysOf(parsed: ParsedMessage): ThreadKeys {
  const { messageId, subject, text } = parsed;
  const mentioning = `${subject}\n${text.slice(0, mentionTextMax)}`;
  return {
    messageId,
    referencedIds: referencedIdsOf(parsed),
    ownToken: tokenInMessageId(messageId),
    recipientTokens: recipientTokensOf(parsed),
    subjectTags: subject.includes('[#') ? refsIn(subject, tag) : [],
    textTags: text.includes('[#') ? refsIn(text.slice(0, tagTextMax), tag) : [],
    mentions: mentionStart.test(mentioning) ? refsIn(mentioning, mention) : [],
    sender: (parsed.from?.address ?? '').toLowerCase(),
    // A reply with a new subject may quote a forward.
    isForward: isForward(subject, text),
    isAutomatic: isAutomatic(parsed),
    content: copyContentOf(parsed),
    repeatKey: repeatKey(parsed),
  };
}

/** What the handling of a message depends on, beside its content. */
export type HandlingFields = Pick<ParsedMessage, 'headers' | 'kind' | 'to' | 'cc'>;

/** Marked as written by a program (RFC 3834 section 5, and the older `Precedence`). */
export function isAutomatic({ headers, kind }: HandlingFields): boolean {
  const says = (name: string, words: RegExp) => headers.some((header) => header[0] === name && words.test(header[1]));
  return says('auto-submitted', /^\s*auto-/iu) || (kind !== 'list' && says('precedence', /^\s*(?:bulk|junk)\b/iu));
}

function referencedIdsOf({ reportedMessageId, inReplyTo, references }: ParsedMessage): readonly ReferencedId[] {
  const nearest =
    references.length > referencesMax ? [...references.slice(0, 1), ...references.slice(-referencesMax)] : references;
  const all: readonly ReferencedId[] = [
    ...(reportedMessageId === null ? [] : [{ id: reportedMessageId, rule: 'reported' as const, isParent: true }]),
    ...inReplyTo.slice(0, referencesMax).map((id) => ({ id, rule: 'in_reply_to' as const, isParent: true })),
    ...nearest.toReversed().map((id, distance) => ({ id, rule: 'references' as const, isParent: distance === 0 })),
  ];
  const seen = new Set<string>();
  return all.filter(({ id }) => !seen.has(id) && seen.add(id));
}

/** Reply tokens in the addresses of the recipients, and in those that servers delivered to; each once. */
export function recipientTokensOf({ to, cc, headers }: HandlingFields): readonly ReplyToken[] {
  const fields = headers.flatMap(([name, value]) => (deliveryFields.has(name) ? [value] : []));
  return tokensInAddresses([...fields, ...to.map(({ address }) => address), ...cc.map(({ address }) => address)]);
}

function refsIn(text: string, form: RegExp): readonly string[] {
  const refs = new Set<string>();
  for (const [, ref = ''] of text.matchAll(form)) {
    if (refs.size === tagsMax) break;
    refs.add(ref.toUpperCase());
  }
  return [...refs];
}
