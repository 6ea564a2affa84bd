/** What a ticket that is not there is told with. */
import { Failure } from '../../errors.ts';

export function noTicket(ref: string): Failure {
  return new Failure('not_found', `There is no ticket ${JSON.stringify(ref)}.`, {
    hint: 'See ticketmaild ticket list.',
  });
}
