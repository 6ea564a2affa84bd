/**
 * Simulated mail conversation: who writes to whom with which mail program, and which of the messages reach the
 * helpdesk.
 *
 * Message-IDs, addresses and subjects may depend on tickets that exist only once an earlier message was polled; the
 * source of a message is therefore made when it is delivered. No message is sent anywhere.
 */
import type { SeededRandom } from '../../support/random.ts';

/** What replies need to know of a ticket; all of them fail for one that does not exist yet. */
export type Tickets = {
  readonly ref: (key: string) => string;
  readonly replyAddress: (key: string) => string;
  /** Without angle brackets. */
  readonly messageId: (key: string, number: number) => string;
};

type OfTickets<T> = (tickets: Tickets) => T;

export type Person = { readonly name: string; readonly address: string | OfTickets<string> };

/** Header habits: which of In-Reply-To and References a mail program writes. */
export type Client = 'gmail' | 'outlook' | 'apple' | 'phone' | 'web' | 'bare';

export type Sent = {
  readonly id: OfTickets<string>;
  readonly from: Person;
  readonly to: readonly Person[];
  readonly cc: readonly Person[];
  readonly replyTo: Person | null;
  readonly subject: OfTickets<string>;
  /** Answered messages, the first one of the conversation first. */
  readonly chain: readonly Sent[];
};

export type MailboxName = 'support' | 'sales';

/** One message that arrives in a mailbox. Messages of one `key` belong into one ticket, which the root opens. */
export type Delivery = {
  readonly shape: string;
  readonly key: string;
  readonly isRoot: boolean;
  readonly mailbox: MailboxName;
  readonly source: OfTickets<Buffer>;
};

type Draft = {
  readonly from: Person;
  readonly to: readonly Person[];
  readonly cc?: readonly Person[];
  readonly replyTo?: Person | null;
  readonly subject?: string | OfTickets<string>;
  readonly parent?: Sent | null;
  readonly client?: Client;
  readonly headers?: readonly string[];
  readonly id?: OfTickets<string>;
  readonly body?: string;
};

export const support: Person = { name: 'Support', address: 'support@desk.test' };
export const sales: Person = { name: 'Sales', address: 'sales@desk.test' };

const prefixes: Readonly<Record<Client, readonly string[]>> = {
  gmail: ['Re: '],
  outlook: ['RE: ', 'AW: ', 'Re: ', 'Antw: '],
  apple: ['Re: ', 'Aw: '],
  phone: ['Re: ', 'SV: '],
  web: ['Re: '],
  bare: ['Re: ', 'AW: '],
};

const idDomains: Readonly<Record<Client, string>> = {
  gmail: 'mail.gmail.com',
  outlook: 'EURPRD03.prod.outlook.com',
  apple: 'customer.test',
  phone: 'email.android.com',
  web: 'web.test',
  bare: 'form.test',
};

export class Conversation {
  readonly deliveries: Delivery[] = [];
  readonly key: string;
  readonly #random: SeededRandom;
  readonly #shape: string;
  #messages = 0;

  constructor(random: SeededRandom, shape: string, number: number) {
    this.#random = random;
    this.#shape = shape;
    this.key = `${number}`;
  }

  /** Writes a message and delivers it where the helpdesk is a recipient. */
  say(
    draft: Draft,
    { key = this.key, isRoot = false }: { readonly key?: string; readonly isRoot?: boolean } = {},
  ): Sent {
    const { sent, source } = this.write(draft);
    const people = [...sent.to, ...sent.cc];
    // Addresses that depend on tickets are reply addresses of that mailbox.
    const isDesk = people.some(({ address }) => address === support.address || typeof address === 'function');
    if (isDesk) this.deliver('support', key, isRoot, source);
    if (people.includes(sales)) this.deliver('sales', `${key}:sales`, isRoot, source);
    return sent;
  }

  deliver(mailbox: MailboxName, key: string, isRoot: boolean, source: OfTickets<Buffer>): void {
    this.deliveries.push({ shape: this.#shape, key, isRoot, mailbox, source });
  }

  /** Answers to all, or to the author alone; a message of one's own is followed up to its recipients. */
  reply(from: Person, parent: Sent, more: Partial<Draft> & { readonly toAll?: boolean } = {}): Draft {
    const { toAll = true, ...draft } = more;
    const isOwn = parent.from === from;
    const to = isOwn ? parent.to : [parent.replyTo ?? parent.from];
    const others = isOwn
      ? parent.cc
      : [...parent.to, ...parent.cc].filter((person) => person !== from && !to.includes(person));
    return { from, to, cc: toAll ? others : [], parent, ...draft };
  }

  /** What the helpdesk sends: with token and tag, with a tag in the subject, or without any trace of its ticket. */
  answer(parent: Sent, way: 'token' | 'tag' | 'plain', key = this.key): Sent {
    this.#messages += 1;
    const number = this.#messages;
    const draft = this.reply(support, parent);
    const subject = replied(parent.subject, 'Re: ');
    const id = `${this.key}.${number}.${this.#random.between(1, 1e9)}@helpdesk.desk.test`;
    return this.write({
      ...draft,
      to: draft.to.filter((person) => person !== support),
      replyTo: way === 'token' ? { name: 'Support', address: (tickets) => tickets.replyAddress(key) } : null,
      id: way === 'token' ? (tickets) => tickets.messageId(key, number) : () => id,
      subject: way === 'plain' ? subject : (tickets) => `${subject(tickets)} [#${tickets.ref(key)}]`,
    }).sent;
  }

  /** A message that is not delivered. */
  write(draft: Draft): { readonly sent: Sent; readonly source: OfTickets<Buffer> } {
    const { from, to, cc = [], replyTo = null, parent = null, client = this.client(), headers = [] } = draft;
    this.#messages += 1;
    const number = this.#messages;
    const id = `${this.key}.${number}.${this.#random.between(1, 1e9)}@${idDomains[client]}`;
    const prefix = this.#random.pick(prefixes[client]);
    const given = draft.subject;
    const subject =
      typeof given === 'function'
        ? given
        : given === undefined && parent !== null
          ? replied(parent.subject, prefix)
          : () => given ?? 'The order';
    const chain = parent === null ? [] : [...parent.chain, parent];
    const sent: Sent = { id: draft.id ?? (() => id), from, to, cc, replyTo, subject, chain };
    const body = draft.body ?? `This is message ${number} of ${this.key}.\r\n\r\nRegards\r\n${from.name}`;
    const sentAt = new Date(Date.UTC(2026, 10, 2) + Number(this.key) * 60_000 + number * 3_600_000).toUTCString();
    const source = (tickets: Tickets) =>
      Buffer.from(
        `${[...lines(sent, client, tickets), `Date: ${sentAt}`, ...headers].join('\r\n')}\r\n\r\n${body}\r\n`,
      );
    return { sent, source };
  }

  /** As mail programs are spread among those who write to a helpdesk. */
  client(): Client {
    return this.#random.pick([
      ...Array<Client>(12).fill('outlook'),
      ...Array<Client>(10).fill('gmail'),
      ...Array<Client>(6).fill('apple'),
      ...Array<Client>(2).fill('phone'),
      'web',
    ]);
  }
}

function replied(subject: OfTickets<string>, prefix: string): OfTickets<string> {
  return (tickets) => {
    const written = subject(tickets);
    return /^(?:re|aw|sv|antw): /iu.test(written) ? written : `${prefix}${written}`;
  };
}

function lines(sent: Sent, client: Client, tickets: Tickets): string[] {
  const written = ({ name, address }: Person) =>
    `"${name}" <${typeof address === 'string' ? address : address(tickets)}>`;
  const list = (people: readonly Person[]) => people.map(written).join(', ');
  const ids = sent.chain.map(({ id }) => `<${id(tickets)}>`);
  const parent = ids.at(-1);
  return [
    `From: ${written(sent.from)}`,
    `To: ${list(sent.to)}`,
    ...(sent.cc.length === 0 ? [] : [`Cc: ${list(sent.cc)}`]),
    ...(sent.replyTo === null ? [] : [`Reply-To: ${written(sent.replyTo)}`]),
    `Subject: ${sent.subject(tickets)}`,
    `Message-ID: <${sent.id(tickets)}>`,
    ...(parent === undefined || client === 'bare' || client === 'web' ? [] : [`In-Reply-To: ${parent}`]),
    ...(parent === undefined || client === 'bare' || client === 'phone' ? [] : [`References: ${ids.join('\r\n ')}`]),
    ...(client === 'outlook' ? ['Thread-Topic: The order', 'Thread-Index: Adkd0000ABCDEFGHIJKLMNOPQRSTUV=='] : []),
  ];
}
