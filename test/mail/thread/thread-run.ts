/**
 * Takes the simulated conversations through parser, lookup, decision and commit on SQLite, round by round, and counts
 * how many messages find their ticket.
 *
 * The ticket of a conversation is the one that holds its root in the end. A message `finds` it, opens a ticket of its
 * own instead (`apart`), or lands in a ticket of another conversation (`wrong`).
 */
import type { Delivery, MailboxName, Tickets } from './conversation.ts';

/** A message that arrived in a mailbox, under the next UID. */
export type Arrival = { readonly uid: number; readonly source: Buffer; readonly receivedAtMs: number };
/** Where a message is stored in the end; null: nowhere. */
export type Stored = {
  readonly uid: number;
  readonly ticketId: string | null;
  readonly ref: string | null;
  readonly outcome: string;
  readonly reason: string | null;
};

/** The program under measurement. */
export type Program = {
  readonly commit: (mailbox: MailboxName, batch: readonly Arrival[]) => Promise<void>;
  readonly stored: (mailbox: MailboxName) => readonly Stored[];
  readonly replyAddress: (ref: string, address: string) => string;
  /** Without angle brackets. */
  readonly replyMessageId: (ref: string, number: number) => string;
};

/** `replies`: messages that are to join a ticket; `found` of them did. `wrong`: all messages in a foreign ticket. */
export type Figures = {
  readonly messages: number;
  readonly replies: number;
  readonly found: number;
  readonly wrong: number;
};

type Delivered = { readonly delivery: Delivery; readonly uid: number };

const batchMax = 100;
const startMs = Date.UTC(2026, 10, 2);
const minuteMs = 60_000;
const mailboxes = ['support', 'sales'] as const;

/** Figures of each shape, and of `all`. */
export async function measureThreads(
  threads: readonly (readonly Delivery[])[],
  program: Program,
): Promise<ReadonlyMap<string, Figures>> {
  const waiting = threads.map((deliveries) => [...deliveries]);
  const delivered: Delivered[] = [];
  for (let round = 0; waiting.some((deliveries) => deliveries.length > 0); round += 1) {
    const tickets = ticketsOf(delivered, program);
    // Two at once in every third round, so that messages of one batch see each other.
    const ready = waiting.flatMap((deliveries) => nextOf(deliveries, tickets, round % 3 === 2 ? 2 : 1));
    if (ready.length === 0) throw new Error('A message waits for a ticket that does not exist.');
    const arrivals = { support: [] as Arrival[], sales: [] as Arrival[] };
    for (const { delivery, source } of ready) {
      const uid = delivered.length + 1;
      arrivals[delivery.mailbox].push({ uid, source, receivedAtMs: startMs + uid * minuteMs });
      delivered.push({ delivery, uid });
    }
    for (const mailbox of mailboxes) await inBatches(arrivals[mailbox], (batch) => program.commit(mailbox, batch));
  }
  return figuresOf(delivered, program);
}

async function inBatches<T>(all: readonly T[], commit: (batch: readonly T[]) => Promise<void>): Promise<void> {
  for (let at = 0; at < all.length; at += batchMax) await commit(all.slice(at, at + batchMax));
}

type Ready = { readonly delivery: Delivery; readonly source: Buffer };

/** Takes out at most `count` deliveries whose tickets exist. */
function nextOf(deliveries: Delivery[], tickets: Tickets, count: number): readonly Ready[] {
  const ready: Ready[] = [];
  while (ready.length < count) {
    const [delivery] = deliveries;
    const source = sourceOf(delivery, tickets);
    if (delivery === undefined || source === null) break;
    deliveries.shift();
    ready.push({ delivery, source });
  }
  return ready;
}

/** null: there is none, or it depends on a ticket that does not exist yet. */
function sourceOf(delivery: Delivery | undefined, tickets: Tickets): Buffer | null {
  try {
    return delivery?.source(tickets) ?? null;
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function ticketsOf(delivered: readonly Delivered[], program: Program): Tickets {
  const stored = storedByUid(program);
  const refs = new Map(
    delivered.flatMap(({ delivery, uid }) => {
      const ref = stored.get(`${delivery.mailbox} ${uid}`)?.ref ?? null;
      return delivery.isRoot && ref !== null ? [[delivery.key, ref] as const] : [];
    }),
  );
  const refOf = (key: string) => {
    const ref = refs.get(key);
    if (ref === undefined) throw new RangeError(`There is no ticket ${key}.`);
    return ref;
  };
  return {
    ref: refOf,
    replyAddress: (key) => program.replyAddress(refOf(key), 'support@desk.test'),
    messageId: (key, number) => program.replyMessageId(refOf(key), number),
  };
}

function storedByUid(program: Program): ReadonlyMap<string, Stored> {
  return new Map(
    mailboxes.flatMap((mailbox) => program.stored(mailbox).map((one) => [`${mailbox} ${one.uid}`, one] as const)),
  );
}

function figuresOf(delivered: readonly Delivered[], program: Program): ReadonlyMap<string, Figures> {
  const stored = storedByUid(program);
  const ticketOf = ({ delivery, uid }: Delivered) => stored.get(`${delivery.mailbox} ${uid}`)?.ticketId ?? null;
  const roots = new Map(delivered.flatMap((one) => (one.delivery.isRoot ? [[one.delivery.key, ticketOf(one)]] : [])));
  // A ticket belongs to the conversation of its root, else to that of its first message.
  const owners = new Map<string | null, string>();
  for (const isRoot of [true, false])
    for (const one of delivered)
      if (one.delivery.isRoot === isRoot && !owners.has(ticketOf(one))) owners.set(ticketOf(one), one.delivery.key);
  const count = (some: readonly Delivered[]): Figures => {
    const replies = some.filter(({ delivery }) => !delivery.isRoot);
    const isWrong = (one: Delivered) => ticketOf(one) !== null && owners.get(ticketOf(one)) !== one.delivery.key;
    const isFound = (one: Delivered) =>
      ticketOf(one) !== null && roots.get(one.delivery.key) === ticketOf(one) && !isWrong(one);
    return {
      ...{ messages: some.length, replies: replies.length },
      ...{ found: replies.filter(isFound).length, wrong: some.filter(isWrong).length },
    };
  };
  const byShape = Map.groupBy(delivered, ({ delivery }) => delivery.shape);
  return new Map([...[...byShape].map(([shape, some]) => [shape, count(some)] as const), ['all', count(delivered)]]);
}

/** A table in Markdown. */
export function figuresText(figures: ReadonlyMap<string, Figures>): string {
  const rows = [...figures].map(
    ([shape, { messages, replies, found, wrong }]) =>
      `| ${shape} | ${messages} | ${found} of ${replies} | ${((100 * found) / Math.max(replies, 1)).toFixed(2)} % | ${wrong} |`,
  );
  return [
    '| shape | messages | replies that find their ticket | share | in a wrong ticket |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
