/**
 * A thousand simulated conversations in the shapes that reach a helpdesk, with a fixed seed: one customer, several
 * people, colleagues who take over, lists, forwards, forms, other addresses, circulars, messages out of order.
 */
import { type SeededRandom, seededRandom } from '../../support/random.ts';
import { Conversation, type Delivery, type Person, type Sent, sales, support } from './conversation.ts';

const firstNames = ['Ada', 'Bob', 'Cy', 'Dora', 'Emil', 'Finn', 'Gita', 'Hugo', 'Ines', 'Juan', 'Kim', 'Lena', 'Mia'];
const lastNames = ['Lovelace', 'Babbage', 'Turing', 'Hopper', 'Shannon', 'Knuth', 'Noether', 'Gauss', 'Euler', 'Curie'];
const publicDomains = ['gmail.com', 'gmx.de', 'outlook.com', 'web.de', 'yahoo.com', 'icloud.com'];

/** People of one conversation, each with a name and an address of his own. */
class Crowd {
  readonly #random: SeededRandom;
  readonly #number: number;
  #people = 0;

  constructor(random: SeededRandom, number: number) {
    this.#random = random;
    this.#number = number;
  }

  /** `domain` undefined: a company of his own, or a public one. */
  person(domain?: string): Person {
    this.#people += 1;
    const name = `${this.#random.pick(firstNames)} ${this.#random.pick(lastNames)}`;
    const own = this.#random.chance(0.4)
      ? this.#random.pick(publicDomains)
      : `company-${this.#number}-${this.#people}.test`;
    return {
      name,
      address: `${name.toLowerCase().replace(' ', '.')}.${this.#number}.${this.#people}@${domain ?? own}`,
    };
  }

  /** Colleagues in a company, or friends at public domains. */
  group(size: number): readonly Person[] {
    const domain = this.#random.chance(0.75) ? `company-${this.#number}.test` : undefined;
    return Array.from({ length: size }, () => this.person(domain));
  }
}

type Scene = { readonly talk: Conversation; readonly crowd: Crowd; readonly random: SeededRandom };
type Shape = { readonly name: string; readonly count: number; readonly make: (scene: Scene) => void };

const ways = ['token', 'token', 'tag', 'plain'] as const;

/** One customer and the helpdesk in turn. */
function customer({ talk, crowd, random }: Scene): void {
  const ada = crowd.person();
  const way = random.pick(ways);
  let last = talk.say({ from: ada, to: [support] }, { isRoot: true });
  for (let turn = random.between(1, 4); turn > 0; turn -= 1)
    last = talk.say(talk.reply(ada, talk.answer(last, way), { toAll: random.chance(0.5) }));
}

/** Further messages before the helpdesk answered, as replies to one's own message. */
function followUp({ talk, crowd, random }: Scene): void {
  const [ada, bob] = crowd.group(2) as [Person, Person];
  const cc = random.chance(0.4) ? [bob] : [];
  let last = talk.say({ from: ada, to: [support], cc }, { isRoot: true });
  for (let turn = random.between(1, 3); turn > 0; turn -= 1)
    last = talk.say(talk.reply(ada, last, { toAll: random.chance(0.7) }));
}

/** Several people in Cc who answer each other, mostly to all; the helpdesk answers in between. */
function several({ talk, crowd, random }: Scene): void {
  const people = crowd.group(random.between(2, 4));
  const [ada, ...others] = people as [Person, ...Person[]];
  const way = random.pick(ways);
  let last = talk.say({ from: ada, to: [support], cc: others }, { isRoot: true });
  for (let turn = random.between(2, 6); turn > 0; turn -= 1) {
    const isAnswer = random.chance(0.35) && last.from !== support;
    const from = random.pick(people);
    if (isAnswer) last = talk.answer(last, way);
    else last = talk.say(talk.reply(from, last, { toAll: random.chance(0.85) }));
  }
}

/** A colleague who was not addressed answers: the conversation was forwarded to him, or he reads the same mailbox. */
function colleague({ talk, crowd, random }: Scene): void {
  const domain = random.chance(0.8) ? 'company.test' : undefined;
  const [ada, dan] = [crowd.person(domain), crowd.person(domain)];
  const first = talk.say({ from: ada, to: [support] }, { isRoot: true });
  const answer = talk.answer(first, random.pick(ways));
  const within = talk.write({
    from: ada,
    to: [dan],
    parent: answer,
    subject: (tickets) => `FW: ${answer.subject(tickets)}`,
  }).sent;
  const cc = random.chance(0.6) ? [ada] : [];
  const to = answer.replyTo ?? support;
  talk.say({ from: dan, to: [to], cc, parent: random.chance(0.5) ? within : answer });
}

/** A form of another service: From is the service, Reply-To the person. */
function form({ talk, crowd, random }: Scene): void {
  const ada = crowd.person();
  const service: Person = { name: 'Contact form', address: 'no-reply@forms.example' };
  const first = talk.say({ from: service, to: [support], replyTo: ada, client: 'bare' }, { isRoot: true });
  let last = talk.answer(first, random.pick(ways));
  for (let turn = random.between(1, 3); turn > 0; turn -= 1)
    last = talk.answer(talk.say(talk.reply(ada, last)), random.pick(ways));
}

/** A mailing list that the helpdesk is subscribed to; members answer to all, or to the list alone. */
function list({ talk, crowd, random }: Scene): void {
  const name: Person = { name: 'Users', address: `users-${talk.key}@lists.example` };
  const headers = [`List-Id: <users-${talk.key}.lists.example>`, 'Precedence: list'];
  const members = Array.from({ length: random.between(2, 5) }, () => crowd.person());
  let last: Sent | null = null;
  for (let turn = random.between(2, 6); turn > 0; turn -= 1) {
    const from = random.pick(members);
    const draft = last === null ? { from, to: [name] } : talk.reply(from, last);
    const isToAll = random.chance(0.5);
    const { sent, source }: ReturnType<Conversation['write']> = talk.write({
      ...draft,
      ...(isToAll || last === null ? {} : { to: [name], cc: [] }),
      headers,
    });
    talk.deliver('support', talk.key, last === null, source);
    last = sent;
  }
}

/** A forward is a ticket of its own; the answers to it belong there. */
function forward({ talk, crowd, random }: Scene): void {
  const [ada, bob] = crowd.group(2) as [Person, Person];
  const first = talk.say({ from: ada, to: [support], cc: [bob] }, { isRoot: true });
  const from = random.chance(0.5) ? bob : ada;
  const key = `${talk.key}:forward`;
  const body = `Please see below.\r\n\r\n-----Original Message-----\r\nFrom: ${ada.name}\r\nSubject: The order\r\n\r\nIt is late.`;
  const third = crowd.person();
  const draft = { from, to: [support], cc: [third], parent: first, body } as const;
  const sent = talk.say({ ...draft, subject: random.pick(['FW: The order', 'WG: The order']) }, { key, isRoot: true });
  talk.say(talk.reply(third, sent), { key });
  talk.say(talk.reply(ada, first));
}

/** The same person from another address: a private one, a telephone, an alias. */
function otherAddress({ talk, crowd, random }: Scene): void {
  const ada = crowd.person();
  const address = ada.address as string;
  const domain = address.slice(address.indexOf('@'));
  const others = [
    { name: ada.name, address: `private.${talk.key}@gmail.com` },
    { name: ada.name, address: `private.${talk.key}@gmail.com` },
    { name: ada.name, address: address.replace('@', '+desk@') },
    { name: 'ada', address: `a.${talk.key}${domain}` },
  ];
  const other = random.pick(others);
  const first = talk.say({ from: ada, to: [support] }, { isRoot: true });
  const answer = talk.answer(first, random.pick(ways));
  const draft = talk.reply(other, answer);
  const last = talk.say({ ...draft, cc: random.chance(0.3) ? [ada] : [] });
  talk.say(talk.reply(random.pick([ada, other]), talk.answer(last, random.pick(ways))));
}

/** People who answer each other to all, and arrive in another order. */
function outOfOrder({ talk, crowd, random }: Scene): void {
  const people = crowd.group(random.between(2, 3));
  let last = talk.say({ from: people[0] as Person, to: [support], cc: people.slice(1) }, { isRoot: true });
  for (let turn = random.between(2, 4); turn > 0; turn -= 1) last = talk.say(talk.reply(random.pick(people), last));
  const { deliveries } = talk;
  if (random.chance(0.3)) deliveries.reverse();
  else {
    const at = random.between(0, deliveries.length - 2);
    deliveries.splice(at, 2, ...deliveries.slice(at, at + 2).toReversed());
  }
}

/** To two mailboxes of the helpdesk; answers to all go to both. */
function twoMailboxes({ talk, crowd, random }: Scene): void {
  const [ada, bob] = crowd.group(2) as [Person, Person];
  const first = talk.say({ from: ada, to: [support, sales], cc: [bob] }, { isRoot: true });
  const second = talk.say(talk.reply(random.pick([ada, bob]), first));
  talk.say(talk.reply(ada, second));
}

/** Absence notes, and answers without any reference but the tag in the subject. */
function machines({ talk, crowd, random }: Scene): void {
  const ada = crowd.person();
  const first = talk.say({ from: ada, to: [support] }, { isRoot: true });
  const answer = talk.answer(first, random.pick(['token', 'token', 'tag']));
  const note = talk.reply(ada, answer, { subject: 'Automatic reply: The order' });
  talk.say({ ...note, headers: ['Auto-Submitted: auto-replied'] });
  talk.say(talk.reply(ada, answer, { client: 'bare' }));
}

/** An agent who answers in a mail program, with the mailbox in Cc. */
function agent({ talk, crowd, random }: Scene): void {
  const [ada, bob] = crowd.group(2) as [Person, Person];
  const first = talk.say({ from: ada, to: [support], cc: random.chance(0.4) ? [bob] : [] }, { isRoot: true });
  const answer = talk.say({ ...talk.reply(support, first), cc: [...first.cc, support] });
  const last = talk.say(talk.reply(ada, answer, { toAll: random.chance(0.5) }));
  if (first.cc.includes(bob)) talk.say(talk.reply(bob, last));
}

/** A circular that reached the helpdesk, or did not: the answers of its readers have nothing to do with each other. */
function circular({ talk, crowd, random }: Scene): void {
  const news: Person = { name: 'News', address: `news-${talk.key}@company.example` };
  const draft = { from: news, replyTo: support, client: 'outlook' } as const;
  const isSeen = random.chance(0.5);
  const first = isSeen
    ? talk.say({ ...draft, to: [support] }, { isRoot: true })
    : talk.write({ ...draft, to: [news] }).sent;
  for (let reader = 1; reader <= 6; reader += 1) {
    const key = `${talk.key}:${reader}`;
    const from = crowd.person();
    const sent = talk.say(talk.reply(from, first, { toAll: false }), { key, isRoot: true });
    talk.say(talk.reply(from, sent), { key });
  }
}

const shapes: readonly Shape[] = [
  { name: 'one customer', count: 300, make: customer },
  { name: 'follow-ups', count: 80, make: followUp },
  { name: 'several people', count: 200, make: several },
  { name: 'colleague takes over', count: 50, make: colleague },
  { name: 'contact form', count: 60, make: form },
  { name: 'mailing list', count: 60, make: list },
  { name: 'forwards', count: 40, make: forward },
  { name: 'other address', count: 50, make: otherAddress },
  { name: 'out of order', count: 60, make: outOfOrder },
  { name: 'two mailboxes', count: 30, make: twoMailboxes },
  { name: 'machines, tag alone', count: 30, make: machines },
  { name: 'agent with a mail program', count: 30, make: agent },
  { name: 'circulars', count: 10, make: circular },
];

/** The deliveries of each conversation, in the order of arrival. */
export function generateThreads(seed: number): readonly (readonly Delivery[])[] {
  const random = seededRandom(seed);
  let number = 0;
  return shapes.flatMap(({ name, count, make }) =>
    Array.from({ length: count }, () => {
      number += 1;
      const talk = new Conversation(random, name, number);
      make({ talk, crowd: new Crowd(random, number), random });
      return talk.deliveries;
    }),
  );
}
