/**
 * Mail that landed in a ticket where it did not belong, or missed its own, in what others used.
 */
import { expect, test } from 'vitest';
import { outcomesOf, rowsOf } from '../support/outcomes.ts';
import { boxWith, mail, poll, sceneOfFile, sql, ticketsOf } from './scene.ts';

const at = sceneOfFile();

const ada = 'Ada <ada@customer.test>';

/** A mailbox with one ticket, opened by Ada, and its reference. */
async function startedTicket() {
  const { user, mailbox } = await boxWith(at, [
    mail({ id: `first-${Math.random()}@customer.test`, from: ada, subject: 'The printer' }),
  ]);
  await poll(at, mailbox);
  const [ticket] = await ticketsOf(at, mailbox);
  const [row] = await rowsOf(at.on, mailbox);
  if (ticket === undefined || row?.message == null) throw new Error('there is no ticket');
  const { ref } = ticket;
  return {
    mailbox,
    ref,
    id: row.message.messageId,
    arrive: (...messages: Buffer[]) => arrive(user, mailbox, messages),
  };
}

type Box = Parameters<typeof poll>[1];

/** What became of the messages that arrive now: outcome, ticket, rule. */
async function arrive(user: string, mailbox: Box, messages: readonly Buffer[]) {
  const before = (await rowsOf(at.on, mailbox)).length;
  await at.dovecot.append(user, 'INBOX', messages);
  await poll(at, mailbox);
  return (await rowsOf(at.on, mailbox)).slice(before);
}

/** Why two tickets have to do with each other, seen from `ref`. */
async function links(ref: string | null): Promise<string> {
  return await sql(
    at,
    `SELECT other.ref, reason FROM ticket_link JOIN ticket AS one ON one.id = ticket_id JOIN ticket AS other ON other.id = other_id WHERE one.ref = '${ref}'
     UNION SELECT one.ref, reason FROM ticket_link JOIN ticket AS one ON one.id = ticket_id JOIN ticket AS other ON other.id = other_id WHERE other.ref = '${ref}'`,
  );
}

test('case 88 (ZA#4965): a message forwarded with "WG:" opens a ticket of its own, whatever it refers to', async () => {
  const { mailbox, ref, id, arrive } = await startedTicket();
  const forwards = ['WG: The printer', 'Fwd: The printer', `FW: [#${ref}] The printer`, 'TR: The printer'];
  const body =
    'Please see below.\n\n-----Ursprüngliche Nachricht-----\nVon: Ada <ada@customer.test>\nBetreff: The printer\n\nIt does not print.';
  const headers = [`References: <${id}>`, `In-Reply-To: <${id}>`, 'Content-Type: text/plain; charset=utf-8'];
  const rows = await arrive(...forwards.map((subject) => mail({ from: ada, subject, headers, body })));
  expect(rows.map(({ outcome }) => outcome)).toEqual(forwards.map(() => 'ticket_opened'));
  expect(rows.every(({ ticket }) => ticket !== ref)).toBe(true);
  for (const { ticket } of rows) expect(await links(ticket)).toContain(`${ref}\tforward`);
  // An answer to it, with a forward further in, is an answer all the same.
  const [answer] = await arrive(mail({ from: ada, subject: 'AW: WG: The printer', headers }));
  expect(answer).toMatchObject({ outcome: 'reply_added', ticket: ref });
  expect(await ticketsOf(at, mailbox)).toHaveLength(forwards.length + 1);
});

test('case 89 (ZA#2444, ZA#5064): a stranger with the ticket number in the subject gets an own ticket, with a link', async () => {
  const { mailbox, ref, arrive } = await startedTicket();
  const stranger = 'Mallory <mallory@stranger.test>';
  const [first, second] = await arrive(
    mail({ from: stranger, subject: `Re: [#${ref}] The printer` }),
    mail({
      from: 'Ada <mallory@stranger.test>',
      subject: `Re: The printer [#${ref}]`,
      headers: ['Reply-To: ada@customer.test'],
    }),
  );
  for (const row of [first, second]) {
    expect(row?.outcome).toBe('ticket_opened');
    expect(await links(row?.ticket ?? null)).toContain(`${ref}\tmentions`);
  }
  // Who takes part is let in by it.
  const [own] = await arrive(mail({ from: ada, subject: `Re: [#${ref}] The printer` }));
  expect(own).toMatchObject({ outcome: 'reply_added', ticket: ref });
  expect(own?.message?.threadRule).toBe('subject_tag');
  expect(await ticketsOf(at, mailbox)).toHaveLength(3);
});

test('case 91 (ZA#3894): a ticket number in the plain text of a message is found, where its sender takes part', async () => {
  const { mailbox, ref, arrive } = await startedTicket();
  const rows = await arrive(
    mail({ from: ada, subject: 'One more thing', body: `About my ticket [#${ref}]: it is the second printer too.` }),
    mail({
      from: 'Mallory <mallory@stranger.test>',
      subject: 'One more thing',
      body: `About the ticket [#${ref}]: let me in.`,
    }),
  );
  expect(rows.map(({ outcome, ticket }) => [outcome, ticket === ref])).toEqual([
    ['reply_added', true],
    ['ticket_opened', false],
  ]);
  expect(rows[0]?.message?.threadRule).toBe('body_tag');
  expect(await outcomesOf(at.on, mailbox)).toHaveLength(3);
});
