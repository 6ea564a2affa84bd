/**
 * What in a mail may lead to a ticket: Message-IDs, reply tokens, references in its subject and text. Pure.
 *
 * A reference is written `[#261124-7KQ3MX]` where it is a tag; without the brackets it is only a mention. Nothing here is
 * believed: who may use a tag, and whether a token is ours, is decided in thread.ts.
 */
import { isForward } from './forward.ts';
import type { ParsedMessage } from './message.ts';
import { type ReplyToken, tokenInMessageId, tokensInAddresses } from './reply-token.ts';
import { subjectKind } from './subject.ts';

/** A Message-ID that the mail names, in the order of how much it tells. */
export type NamedId = { readonly id: string; readonly rule: 'reported' | 'in_reply_to' | 'references' };

export type Clues = {
  readonly ownId: string;
  /** Each once: of the report, In-Reply-To, then References from the nearest on. */
  readonly named: readonly NamedId[];
  /** The token of its own Message-ID: a mail of the helpdesk that came back. */
  readonly ownToken: ReplyToken | null;
  readonly recipientTokens: readonly ReplyToken[];
  /** References of tickets, in upper case, each once. */
  readonly subjectTags: readonly string[];
  readonly textTags: readonly string[];
  /** Tags and mere mentions in the subject and at the beginning of the text. */
  readonly mentions: readonly string[];
  /** Address of From, lower-case; empty where there is none. */
  readonly sender: string;
  readonly isForward: boolean;
  /** A machine says of itself that it wrote this (RFC 3834 section 5, and `Precedence` before it). */
  readonly isAutomatic: boolean;
};

/** Of a long chain of References: the nearest ones, and the first, which began it. */
const referencesMax = 20;
const tagsMax = 5;
const tagTextMax = 65_536;
const mentionTextMax = 2_000;

const tag = /\[#(\d{6}-[0-9a-hjkmnp-tv-z]{6})\]/giu;
const mention = /(?<![\w-])(\d{6}-[0-9a-hjkmnp-tv-z]{6})(?![\w-])/giu;
/** Found much faster than a mention, and in every mention. */
const mentionStart = /\d{6}-/;
/** Fields in which servers say which address a mail came to; there is no standard for any of them. */
const deliveryFields: ReadonlySet<string> = new Set(['delivered-to', 'x-original-to', 'envelope-to', 'x-envelope-to']);

export function cluesOf(parsed: ParsedMessage): Clues {
  const { messageId, subject, text } = parsed;
  const mentioning = `${subject}\n${text.slice(0, mentionTextMax)}`;
  return {
    ownId: messageId,
    named: namedIds(parsed),
    ownToken: tokenInMessageId(messageId),
    recipientTokens: tokensInAddresses(recipientTexts(parsed)),
    subjectTags: subject.includes('[#') ? refsIn(subject, tag) : [],
    textTags: text.includes('[#') ? refsIn(text.slice(0, tagTextMax), tag) : [],
    mentions: mentionStart.test(mentioning) ? refsIn(mentioning, mention) : [],
    sender: (parsed.from?.address ?? '').toLowerCase(),
    isForward: forwards(subject, text),
    isAutomatic: isAutomatic(parsed),
  };
}

/** Only a prefix that may be either is looked up in the text: a reply with a new subject may quote a forward. */
function forwards(subject: string, text: string): boolean {
  const kind = subjectKind(subject);
  return kind === 'forward' || (kind === 'either' && isForward(subject, text));
}

function isAutomatic({ headers, kind }: ParsedMessage): boolean {
  const says = (name: string, words: RegExp) => headers.some((header) => header[0] === name && words.test(header[1]));
  return says('auto-submitted', /^\s*auto-/iu) || (kind !== 'list' && says('precedence', /^\s*(?:bulk|junk)\b/iu));
}

function namedIds({ reportedMessageId, inReplyTo, references }: ParsedMessage): readonly NamedId[] {
  const nearest =
    references.length > referencesMax ? [...references.slice(0, 1), ...references.slice(-referencesMax)] : references;
  const all: readonly NamedId[] = [
    ...(reportedMessageId === null ? [] : [{ id: reportedMessageId, rule: 'reported' as const }]),
    ...inReplyTo.slice(0, referencesMax).map((id) => ({ id, rule: 'in_reply_to' as const })),
    ...nearest.toReversed().map((id) => ({ id, rule: 'references' as const })),
  ];
  const seen = new Set<string>();
  return all.filter(({ id }) => !seen.has(id) && seen.add(id));
}

function recipientTexts({ to, cc, headers }: ParsedMessage): readonly string[] {
  const fields = headers.flatMap(([name, value]) => (deliveryFields.has(name) ? [value] : []));
  return [...fields, ...to.map(({ address }) => address), ...cc.map(({ address }) => address)];
}

function refsIn(text: string, form: RegExp): readonly string[] {
  const refs = new Set<string>();
  for (const [, ref = ''] of text.matchAll(form)) {
    if (refs.size === tagsMax) break;
    refs.add(ref.toUpperCase());
  }
  return [...refs];
}
