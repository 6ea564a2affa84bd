/** What makes the rows of a window: of which mailbox they are, the limits, the time, and new ids. */
import type { Mailbox } from './mailbox.ts';

/** Limits and choices of the operator. */
export type DeskRules = {
  /** Mails of one sender in one mailbox within an hour; more are quarantined. null: any number. */
  readonly senderPerHourMax: number | null;
  /** From addresses, lower-case, that it does not hold for. */
  readonly senderExempt: readonly string[];
  /** An answer that comes so long after its ticket was closed opens a new one. null: never. */
  readonly reopenMs: number | null;
};

export type Maker = {
  readonly mailboxId: string;
  /** Where the mailbox gets its mail. */
  readonly addresses: readonly string[];
  readonly nowMs: number;
  /** Whether a stored mail is to be touched on the server afterwards. */
  readonly acts: boolean;
  /** True when somebody wants these mails although they were quarantined: no guard keeps them aside again. */
  readonly released: boolean;
  readonly rules: DeskRules;
  readonly newId: () => string;
  readonly newRef: () => string;
};

type Source = { readonly clock: { nowMs(): number }; readonly newId: () => string; readonly newRef: () => string };

export function makerOf(mailbox: Mailbox, { clock, newId, newRef }: Source, rules: DeskRules, released = false): Maker {
  const acts = mailbox.after.kind !== 'leave';
  return {
    mailboxId: mailbox.id,
    addresses: mailbox.addresses,
    nowMs: clock.nowMs(),
    acts,
    released,
    rules,
    newId,
    newRef,
  };
}
