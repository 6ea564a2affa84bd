/**
 * Participant check of threading: decides from From, Reply-To, To and Cc whether a message belongs to the people of one
 * that it references.
 *
 * A Message-ID (RFC 5322 section 3.6.4) is known to all recipients and proves no identity: the first message that
 * claims it need not be the original. A reply is therefore expected to be from, or to, the author of the referenced
 * message or the requester of its ticket. Being named by that author is weak evidence, because an attacker can name
 * any address: it counts for an older id of the References field, and for the direct parent only within one domain.
 * From is not authenticated: a sender that forges it passes this check. Pure; addresses are in lower case and without
 * subaddress (RFC 5233).
 */
import type { Address, MessageKind, ParsedMessage } from '../message.ts';
import { withoutSubaddress } from './reply-token.ts';

/** The people of one message. `failed`: the recipients of a delivery report. */
export type MessagePeople = {
  readonly kind: MessageKind;
  /** Empty where there is none. */
  readonly from: string;
  readonly fromName: string;
  readonly replyTo: readonly string[];
  /** To and Cc. */
  readonly recipients: readonly string[];
  readonly failed: readonly string[];
  /** False for a message that may have more people than are counted. */
  readonly areAllCounted: boolean;
};

/** People of a message that are not known. */
export const unknownPeople: MessagePeople = {
  ...{ kind: 'human', from: '', fromName: '', replyTo: [], recipients: [], failed: [], areAllCounted: true },
};

export type PeopleSource = Pick<ParsedMessage, 'kind' | 'from' | 'replyTo' | 'to' | 'cc' | 'bounce'>;

export function peopleOf({ kind, from, replyTo, to, cc, bounce }: PeopleSource): MessagePeople {
  const [answered, recipients] = [countedAddresses(replyTo), countedAddresses([...to, ...cc])];
  return {
    kind,
    from: withoutSubaddress(from?.address ?? ''),
    fromName: from?.name ?? '',
    replyTo: answered.map(withoutSubaddress),
    recipients: recipients.map(withoutSubaddress),
    failed: countedAddresses(bounce?.recipients ?? []).map(withoutSubaddress),
    areAllCounted: areAllCounted(answered) && areAllCounted(recipients),
  };
}

const addressesMax = 500;
const addressCharactersMax = 320;
/** Of all addresses of a list: in JSON they fit a column of 65,535 bytes. */
const listCharactersMax = 16_000;

/**
 * Addresses of a list that count as people, in lower case: the first 500, of 16,000 characters in all. More of them are
 * a circular, which proves nothing, and would be read again for each message that refers to it.
 */
export function countedAddresses(list: readonly Pick<Address, 'address'>[]): readonly string[] {
  const counted: string[] = [];
  let characters = 0;
  for (const { address } of list) {
    if (address === '' || address.length > addressCharactersMax) continue;
    characters += address.length;
    if (counted.length === addressesMax || characters > listCharactersMax) break;
    counted.push(address.toLowerCase());
  }
  return counted;
}

/** False for counted addresses of a list that had room for no further one: there may be more. */
export function areAllCounted(counted: readonly string[]): boolean {
  const characters = counted.reduce((sum, { length }) => sum + length, 0);
  return counted.length < addressesMax && characters + addressCharactersMax <= listCharactersMax;
}

/** Every address of the message, the failed recipients of a report excepted. */
export function everyoneIn({ from, replyTo, recipients }: MessagePeople): readonly string[] {
  return [from, ...replyTo, ...recipients].filter((address) => address !== '');
}

/** Everyone, as a set. */
export const everyoneOf = setPerMessage(everyoneIn);

/** How well a message fits one that it references: not at all, by weak evidence, by its ticket, by its author. */
export type Fit = 0 | 1 | 2 | 3;

type Reference = {
  /** Requester of the ticket of the referenced message; empty: none. */
  readonly requester: string;
  /** True for the message that is answered, false for an older one of the conversation. */
  readonly isParent: boolean;
  /** True when the message has a tag of that ticket, which an attacker cannot put into the mail of others. */
  readonly isTagged: boolean;
  /** True for an address of the helpdesk. */
  readonly isOurs: (address: string) => boolean;
};

/** The fit of `message` to `named`, which it references. */
export function fitOf(message: MessagePeople, named: MessagePeople, reference: Reference): Fit {
  const { requester, isParent, isTagged, isOurs } = reference;
  const involves = (address: string) =>
    (sendersOf(message).includes(address) || writesTo(message, address)) && canParticipate(address) && !isOurs(address);
  if (involves(named.from)) return 3;
  if (involves(withoutSubaddress(requester)) || isSameList(message, named, isOurs)) return 2;
  // An agent with a mail program, and another mailbox of the helpdesk.
  if (isTagged || isOurs(message.from)) return 1;
  if (isReport(message.kind)) return isOurs(named.from) || isNamed(message, named) ? 1 : 0;
  if (isParent) return isNamed(message, named) && isSameOrganisation(message, named) ? 1 : 0;
  return isNamed(message, named) || isSameOrganisation(message, named) || isSameName(message, named) ? 1 : 0;
}

/** True when `message` fits one of the helpdesk whose recipients are not known; a report about it always does. */
export function fitsHelpdesk(message: MessagePeople, reference: Omit<Reference, 'isParent'>): boolean {
  return isReport(message.kind) || fitOf(message, unknownPeople, { ...reference, isParent: true }) > 0;
}

/**
 * True when `message` and a stored one, which references it or the same missing message, know each other: each is from
 * the other's author, or names it. What one of them claims alone is no proof.
 */
export function knowEachOther(
  message: MessagePeople,
  stored: MessagePeople,
  isOurs: (address: string) => boolean,
): boolean {
  if (isSameList(message, stored, isOurs)) return true;
  const { from } = message;
  if (from === '' || stored.from === '') return false;
  if (from === stored.from) return true;
  return writesTo(stored, from) && (writesTo(message, stored.from) || isSameOrganisation(message, stored));
}

/** Local parts of mail servers (RFC 2142 section 5, and what most of them send their reports from). */
const serverNames: ReadonlySet<string> = new Set(['mailer-daemon', 'postmaster']);

/** False for addresses of mail servers, which never are participants. `address` in lower case. */
export function canParticipate(address: string): boolean {
  const [name = ''] = address.slice(0, Math.max(address.lastIndexOf('@'), 0)).split('+');
  return address !== '' && !serverNames.has(name);
}

function sendersOf({ from, replyTo, failed }: MessagePeople): readonly string[] {
  return [from, ...replyTo, ...failed];
}

const recipientsOf = setPerMessage(({ recipients }) => recipients);

function writesTo(message: MessagePeople, address: string): boolean {
  return recipientsOf(message).has(address);
}

/** Written by a program about another message: they belong to the conversation of the reported message alone. */
export const reportKinds: readonly MessageKind[] = ['bounce', 'feedback_report', 'read_receipt'];

export function isReport(kind: MessageKind): boolean {
  return reportKinds.includes(kind);
}

/** True when the sender is a recipient of the other message, or where its author wants replies to go. */
function isNamed(message: MessagePeople, other: MessagePeople): boolean {
  return sendersOf(message).some((address) => namedBy(other).has(address) && canParticipate(address));
}

const namedBy = setPerMessage(({ recipients, replyTo }) => [...recipients, ...replyTo]);

/** A stored message is compared with every message of a batch that refers to it: each set of addresses is made once. */
function setPerMessage(addressesOf: (people: MessagePeople) => readonly string[]) {
  const sets = new WeakMap<MessagePeople, ReadonlySet<string>>();
  return (people: MessagePeople): ReadonlySet<string> => {
    const known = sets.get(people) ?? new Set(addressesOf(people));
    sets.set(people, known);
    return known;
  };
}

/** Both went to one mailing list (RFC 2919), whose members answer to the list alone. */
function isSameList(message: MessagePeople, other: MessagePeople, isOurs: (address: string) => boolean): boolean {
  if (message.kind !== 'list' || other.kind !== 'list') return false;
  return other.recipients.some((address) => !isOurs(address) && writesTo(message, address));
}

/** Mail domains that give an address to the public, so that two addresses there have nothing in common. */
const publicDomains: ReadonlySet<string> = new Set(
  (
    'gmail.com googlemail.com outlook.com outlook.de outlook.fr hotmail.com hotmail.de hotmail.fr hotmail.co.uk live.com ' +
    'msn.com yahoo.com yahoo.de yahoo.fr yahoo.co.uk yahoo.co.jp ymail.com aol.com icloud.com me.com mac.com gmx.de ' +
    'gmx.net gmx.com gmx.at gmx.ch web.de t-online.de freenet.de arcor.de posteo.de mailbox.org proton.me protonmail.com ' +
    'pm.me tutanota.com tuta.io fastmail.com zoho.com mail.com mail.ru yandex.ru yandex.com qq.com 163.com 126.com sina.com ' +
    'naver.com daum.net orange.fr wanadoo.fr free.fr laposte.net sfr.fr libero.it tiscali.it virgilio.it alice.it ' +
    'bluewin.ch seznam.cz wp.pl o2.pl onet.pl interia.pl ziggo.nl kpnmail.nl telenet.be skynet.be comcast.net ' +
    'verizon.net att.net sbcglobal.net btinternet.com sky.com rediffmail.com uol.com.br bol.com.br terra.com.br'
  ).split(' '),
);

/** Providers with a domain in many countries, as hotmail.it and yahoo.co.in. */
const publicProvider =
  /^(?:aol|email|fastmail|gmail|gmx|googlemail|hotmail|icloud|inbox|live|mail|msn|outlook|proton|protonmail|rocketmail|tutanota|yahoo|yandex|ymail|zoho)(?:\.com?)?\.[a-z]{2,4}$/;

function isPublic(domain: string): boolean {
  return publicDomains.has(domain) || publicProvider.test(domain);
}

/** A colleague: the same domain, unless it is a public one. */
function isSameOrganisation({ from }: MessagePeople, other: MessagePeople): boolean {
  const domain = domainOf(from);
  return domain !== '' && domain === domainOf(other.from) && !isPublic(domain);
}

function domainOf(address: string): string {
  return address.includes('@') ? address.slice(address.lastIndexOf('@') + 1) : '';
}

/** The same person at another address: the same display name, of two words at least. */
function isSameName({ fromName }: MessagePeople, other: MessagePeople): boolean {
  const name = wordsOf(fromName);
  return name.includes(' ') && name === wordsOf(other.fromName);
}

/** `Lovelace, Ada` is `ada lovelace`. */
function wordsOf(name: string): string {
  const [last = '', first] = name.toLowerCase().split(',');
  return `${first ?? ''} ${last}`.replaceAll(/\s+/gu, ' ').trim();
}
