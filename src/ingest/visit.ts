/** A visit whose session is open: what poll.ts and rest.ts share. */
import { Failure } from '../errors.ts';
import type { Found } from './cursor.ts';
import type { Mailbox } from './mailbox.ts';
import type { PollContext, PollPorts, PollReport, PollSettings } from './poll-ports.ts';
import type { Lease, Session } from './ports.ts';

export type Visit = {
  readonly mailbox: Mailbox;
  readonly lease: Lease;
  readonly session: Session;
  readonly context: PollContext;
  readonly ports: PollPorts;
  /** Those in force: a reload changes them while the visit rests. */
  readonly settings: () => PollSettings;
  /** Fires when another worker has the lease. */
  readonly lost: AbortSignal;
  readonly found: Found;
};

/** True when the round had any mail to decide about. */
export function hadMail({ outcomes }: PollReport): boolean {
  return Object.values(outcomes).some((count) => count > 0);
}

export function leaseLost(mailbox: Mailbox): Failure {
  return new Failure('lease_lost', `mailbox ${mailbox.name} was taken over by another worker`);
}
