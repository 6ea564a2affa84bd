/**
 * Ticket changes over whole polls: reopened, continued, merged, logged; messages between two
 * mailboxes.
 */
import { expect, test } from 'vitest';
import { boxWith, mail, poll, sceneOfFile, sql, ticketsOf } from '../cases/scene.ts';
import { rowsOf } from '../support/outcomes.ts';

const at = sceneOfFile({ TICKETMAILD_TICKETS_REOPEN_DAYS: '30' });

const told = (event: string, ticket: string | undefined) =>
  at.on.lines.filter((line) => line['event'] === event && line['ticket'] === ticket);

const close = (ref: string | undefined, days: number) =>
  sql(
    at,
    `UPDATE ticket SET status = 'closed', closed_at = utc_timestamp(3) - interval ${days} day WHERE ref = '${ref}'`,
  );

test('a closed ticket is opened again, later continued once, and all answers go there', async () => {
  const answer = () => mail({ from: 'ada@changes.test', headers: ['In-Reply-To: <begin@changes.test>'] });
  const { user, mailbox } = await boxWith(at, [mail({ from: 'ada@changes.test', id: 'begin@changes.test' })]);
  await poll(at, mailbox);
  const arrives = async () => {
    const before = (await rowsOf(at.on, mailbox)).length;
    await at.dovecot.append(user, 'INBOX', [answer()]);
    await poll(at, mailbox);
    return (await rowsOf(at.on, mailbox)).slice(before)[0];
  };
  const [old] = await ticketsOf(at, mailbox);
  await close(old?.ref, 3);
  expect(await arrives()).toMatchObject({ outcome: 'reply_added', ticket: old?.ref });
  expect(told('ticket.reopened', old?.ref)).toMatchObject([{ level: 'info', mailbox: mailbox.name }]);
  await close(old?.ref, 40);
  const next = await arrives();
  expect(next?.outcome).toBe('ticket_opened');
  for (let round = 0; round < 2; round += 1)
    expect(await arrives()).toMatchObject({ outcome: 'reply_added', ticket: next?.ticket });
  await close(next?.ticket ?? '', 2);
  expect(await arrives()).toMatchObject({ outcome: 'reply_added', ticket: next?.ticket });
  expect(told('ticket.reopened', next?.ticket ?? '')).toHaveLength(1);
  await close(next?.ticket ?? '', 35);
  const last = await arrives();
  expect(last?.outcome).toBe('ticket_opened');
  expect(await arrives()).toMatchObject({ outcome: 'reply_added', ticket: last?.ticket });
  expect(await ticketsOf(at, mailbox)).toHaveLength(3);
});

test('a merge of two tickets is logged', async () => {
  const people = { to: 'ann@merge.test' };
  const { mailbox } = await boxWith(at, [
    mail({ ...people, from: 'bob@merge.test', id: 'c@merge.test', headers: ['References: <b@merge.test>'] }),
    mail({ ...people, from: 'bob@merge.test', id: 'e@merge.test', headers: ['References: <d@merge.test>'] }),
    mail({ from: 'ann@merge.test', to: 'bob@merge.test', id: 'd@merge.test', headers: ['References: <c@merge.test>'] }),
  ]);
  await poll(at, mailbox);
  const tickets = await ticketsOf(at, mailbox);
  const merged = tickets.find(({ status }) => status === 'merged');
  expect(told('ticket.merged', merged?.ref)).toMatchObject([{ into: merged?.mergedInto, mailbox: mailbox.name }]);
});

test('what one of our mailboxes sends or forwards to another is a ticket there, for the one that sent it', async () => {
  const billing = await boxWith(at, [], { addresses: ['billing@own.test'] });
  const support = await boxWith(
    at,
    [
      mail({ from: 'Billing <billing@own.test>', subject: 'Fwd: a question' }),
      mail({ from: 'support@own.test', subject: 'from itself' }),
    ],
    { addresses: ['support@own.test'] },
  );
  await poll(at, billing.mailbox);
  await poll(at, support.mailbox);
  expect((await rowsOf(at.on, support.mailbox)).map(({ outcome, reason }) => reason ?? outcome)).toEqual([
    'ticket_opened',
    'own_address',
  ]);
  expect(await ticketsOf(at, support.mailbox)).toMatchObject([{ requester: { address: 'billing@own.test' } }]);
});
