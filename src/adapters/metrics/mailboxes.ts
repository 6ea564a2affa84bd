/**
 * The mailboxes of the readiness as gauges: how many are in each state, and for each one what to look at when it is alone.
 *
 * A mailbox that is not in the list any more has no line. While the database cannot be asked there are none at all.
 */
import type { Readiness } from '../../ingest/readiness.ts';
import type { Gauges } from './gauges.ts';
import { label, reasonCode, timestamp } from './label.ts';

type Mailboxes = Readiness['checks']['mailboxes'];

export function mailboxGauges(gauges: Gauges): (checks: { readonly mailboxes: Mailboxes }) => void {
  const counts = gauges.many('ticketmaild_mailboxes', 'Mailboxes, by state.', ['state']);
  const pushed = gauges.single(
    'ticketmaild_mailboxes_pushed',
    'Mailboxes of which a server tells this worker new mail at once.',
  );
  const success = gauges.many(
    'ticketmaild_mailbox_last_success_timestamp_seconds',
    'When the last visit to a mailbox ended well.',
    ['mailbox'],
  );
  const failures = gauges.many('ticketmaild_mailbox_failures', 'Failed visits to a mailbox in a row.', ['mailbox']);
  const trouble = gauges.many(
    'ticketmaild_mailbox_trouble',
    '1 for a mailbox that is not ok, with its status and the code of the reason.',
    ['mailbox', 'host', 'status', 'code'],
  );
  return ({ mailboxes }) => {
    const isKnown = mailboxes.status !== 'unknown';
    const named = isKnown ? mailboxes.list.map((check) => ({ check, mailbox: label(check.mailbox) })) : [];
    counts(
      (['ok', 'failing', 'waiting', 'paused'] as const).map((state) => ({
        labels: { state },
        value: isKnown ? mailboxes[state] : null,
      })),
    );
    pushed(isKnown ? named.filter(({ check }) => check.pushed).length : null);
    success(named.map(({ check, mailbox }) => ({ labels: { mailbox }, value: timestamp(check.last_success) })));
    failures(named.map(({ check, mailbox }) => ({ labels: { mailbox }, value: check.failures })));
    trouble(
      named
        .filter(({ check }) => check.status !== 'ok')
        .map(({ check: { host, status, reason }, mailbox }) => ({
          labels: { mailbox, host: label(host), status, code: reasonCode(reason) ?? '' },
          value: 1,
        })),
    );
  };
}
