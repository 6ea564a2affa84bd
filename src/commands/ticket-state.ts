/**
 * `ticket close` and `ticket reopen`: what a helpdesk may also do itself, in the columns `status` and `closed_at`.
 */
import { Failure } from '../errors.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { referenceOf } from './ticket-ref.ts';

type RefOptions = CommonOptions & { readonly ref: string };

/** An answer of a person opens it again (`[tickets] reopen_days`). Throws `not_found`, `refused`. */
export function closeTicket(options: RefOptions, context: Context): Promise<number> {
  return setState(options, context, 'closed', 'closed');
}

/** Throws `not_found`, `refused`. */
export function reopenTicket(options: RefOptions, context: Context): Promise<number> {
  return setState(options, context, 'open', 'reopened');
}

async function setState(
  options: RefOptions,
  context: Context,
  state: 'open' | 'closed',
  told: string,
): Promise<number> {
  return await withApp(options, context, async (app) => {
    const ticket = await app.store.ticketPlace(referenceOf(options.ref));
    if (ticket.status === 'merged')
      throw new Failure(
        'refused',
        `ticket ${ticket.ref} was merged into ${ticket.mergedInto ?? 'a ticket that is gone'}`,
        {
          hint: 'Its mails are there, and so is its state.',
        },
      );
    const isChanged = await app.store.setTicketState(ticket.id, state);
    await context.terminal.line(isChanged ? `${told} ${ticket.ref}` : `${ticket.ref} is ${state} already`);
    return 0;
  });
}
