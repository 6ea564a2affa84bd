/** Messages of attackers and victims in one mailbox, one batch each, and where they end up. */
import { DatabaseSync } from 'node:sqlite';
import type { TicketRules } from '../../../src/ingest/decide/batch-context.ts';
import { threadProgram } from './thread-program.ts';

/** A message as header lines; addresses without names will do. */
export type Letter = {
  readonly from: string;
  readonly to?: string;
  readonly cc?: string;
  readonly replyTo?: string;
  readonly id?: string;
  readonly subject?: string;
  readonly inReplyTo?: string;
  readonly references?: string;
  /** Further header lines, and the text instead of one that names the number. */
  readonly fields?: readonly string[];
  readonly text?: string;
};

export type Place = {
  readonly ticketId: string | null;
  readonly ref: string | null;
  readonly outcome: string;
  readonly reason: string | null;
};

export type ThreadScene = {
  /** Where each of the messages is stored in the end; they arrive in one batch, a second apart. */
  arrive(...letters: readonly Letter[]): Promise<readonly Place[]>;
  /** Where the message of that number, from 1 on, is by now. */
  placeOf(number: number): Place;
  /** Links between tickets, as reasons. */
  links(ticketId: string | null, otherId: string | null): readonly string[];
  replyAddress(ref: string | null): string;
  /** Writes a row of `sent_message`, as a helpdesk does. */
  noteSent(ticketId: string | null, messageId: string): void;
  /** Status and requester of a ticket; `close` first closes it, as a helpdesk would. */
  ticket(ticketId: string | null, close?: 'close'): unknown;
};

/** Everything is undone with `stack`. */
export async function threadScene(stack: AsyncDisposableStack, rules?: TicketRules): Promise<ThreadScene> {
  const program = await threadProgram(stack, rules);
  let last = 0;
  const placeOf = (number: number): Place => {
    const place = program.stored('support').find(({ uid }) => uid === number);
    if (place === undefined) throw new Error(`There is no message ${number}.`);
    return place;
  };
  return {
    placeOf,
    arrive: async (...letters) => {
      const startMs = Date.now() + 60_000;
      const arrivals = letters.map((letter) => {
        last += 1;
        return { uid: last, source: sourceOf(letter, last), receivedAtMs: startMs + last * 1000 };
      });
      await program.commit('support', arrivals);
      return arrivals.map(({ uid }) => placeOf(uid));
    },
    links: (ticketId, otherId) => {
      using database = new DatabaseSync(program.path, { readOnly: true });
      const rows = database
        .prepare('select reason from ticket_link where ticket_id = ? and other_id = ?')
        .all(ticketId, otherId) as { reason: string }[];
      return rows.map(({ reason }) => reason);
    },
    ticket: (ticketId, close) => {
      using database = new DatabaseSync(program.path);
      if (close !== undefined) database.prepare("update ticket set status = 'closed' where id = ?").run(ticketId);
      return { ...database.prepare('select status, requester_address from ticket where id = ?').get(ticketId) };
    },
    noteSent: (ticketId, messageId) => {
      using database = new DatabaseSync(program.path);
      database.prepare('insert into sent_message (message_id, ticket_id) values (?, ?)').run(messageId, ticketId);
    },
    replyAddress: (ref) => program.replyAddress(ref ?? '', 'support@desk.test'),
  };
}

export function sourceOf(letter: Letter, number: number): Buffer {
  const { from, to = 'support@desk.test', subject = 'Maintenance', id = `${number}.letter@sender.test` } = letter;
  const ids = (list: string) =>
    list
      .split(' ')
      .map((one) => `<${one}>`)
      .join(' ');
  const lines = [
    ...[`From: ${from}`, `To: ${to}`, `Subject: ${subject}`, `Message-ID: <${id}>`],
    ...(letter.cc === undefined ? [] : [`Cc: ${letter.cc}`]),
    ...(letter.replyTo === undefined ? [] : [`Reply-To: ${letter.replyTo}`]),
    ...(letter.inReplyTo === undefined ? [] : [`In-Reply-To: ${ids(letter.inReplyTo)}`]),
    ...(letter.references === undefined ? [] : [`References: ${ids(letter.references)}`]),
    ...(letter.fields ?? []),
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${letter.text ?? `This is message ${number}.`}\r\n`);
}
