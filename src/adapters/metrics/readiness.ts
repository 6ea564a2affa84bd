/**
 * The readiness as gauges: checks, vault and switch, database, disk, scheduler, workers, servers, certificates, quarantine.
 *
 * Reasons and hints stay out: of a reason only its code, the word before the colon, becomes a label. A count whose check is
 * `unknown` has no line.
 */

import { knownReasons } from '../../ingest/quarantine/reasons.ts';
import type { Check, CheckStatus, PoolCheck, Readiness } from '../../ingest/readiness.ts';
import { type Gauges, label, reasonCode, seconds, timestamp } from './gauges.ts';

type Checks = Readiness['checks'];
type Show = (checks: Checks) => void;

const statuses: readonly CheckStatus[] = ['ok', 'warning', 'failing', 'waiting', 'unknown'];
const vaultStates = ['closed', 'open', 'missing', 'refused', 'orphaned'];
const switchStates = ['off', 'enabling', 'on', 'rotating', 'disabling'];

/** Shows a readiness in all gauges; what the readiness before said is gone. */
export function checkedMetrics(gauges: Gauges): (readiness: Readiness) => void {
  const ready = gauges.single('ticketmaild_ready', '1 when the daemon can do its job, as /readyz answers 200; else 0.');
  const shows: readonly Show[] = [
    checkGauges(gauges),
    encryptionGauges(gauges),
    databaseGauges(gauges),
    schedulerGauges(gauges),
    machineGauges(gauges),
    serverGauges(gauges),
    quarantineGauges(gauges),
    mailboxGauges(gauges),
  ];
  return (readiness) => {
    ready(readiness.ready ? 1 : 0);
    for (const show of shows) show(readiness.checks);
  };
}

function checkGauges(gauges: Gauges): Show {
  const status = gauges.many('ticketmaild_check_status', '1 for the status that a check has; else 0.', [
    'check',
    'status',
  ]);
  const reason = gauges.many('ticketmaild_check_reason', '1 for the code of the reason why a check is not ok.', [
    'check',
    'code',
  ]);
  return (checks) => {
    // Push alone is no check: it has numbers and no status.
    const all = Object.entries(checks).flatMap(([check, about]) => ('status' in about ? [{ check, about }] : []));
    status(
      all.flatMap(({ check, about }) =>
        statuses.map((one) => ({ labels: { check, status: one }, value: one === about.status ? 1 : 0 })),
      ),
    );
    reason(
      all.flatMap(({ check, about }) => {
        const code = reasonCode(about.reason);
        return code === null ? [] : [{ labels: { check, code }, value: 1 }];
      }),
    );
  };
}

function encryptionGauges(gauges: Gauges): Show {
  const vault = gauges.states('ticketmaild_vault_state', '1 for the state that the vault has; else 0.', vaultStates);
  const state = gauges.states(
    'ticketmaild_switch_state',
    '1 for the state of the switch in force; else 0.',
    switchStates,
  );
  const revision = gauges.single('ticketmaild_switch_revision', 'Revision of the switch in force.');
  return (checks) => {
    vault(label(checks.vault.state));
    state(label(checks.switch.state));
    revision(checks.switch.revision);
  };
}

function databaseGauges(gauges: Gauges): Show {
  const named = (name: keyof PoolCheck, help: string) =>
    [name, gauges.single(`ticketmaild_database_connections_${name}`, help)] as const;
  const shown = [
    named('open', 'Open connections to the database; none for a SQLite file.'),
    named('busy', 'Connections to the database that are in use.'),
    named('waiting', 'How many wait for a free connection to the database.'),
    named('max', 'Connections to the database, at most.'),
  ];
  return ({ database: { pool } }) => {
    for (const [name, show] of shown) show(pool?.[name] ?? null);
  };
}

function schedulerGauges(gauges: Gauges): Show {
  const lag = gauges.single('ticketmaild_scheduler_lag_seconds', 'Time since the scheduler woke last.');
  const visits = gauges.single('ticketmaild_visits_under_way', 'Visits under way.');
  const due = gauges.single('ticketmaild_mailboxes_due', 'Mailboxes that are due and wait for a place.');
  const dueWait = gauges.single('ticketmaild_mailboxes_due_wait_seconds', 'How long the first of those has waited.');
  const pushOpen = gauges.single('ticketmaild_push_connections_open', 'Connections on which servers announce mail.');
  const pushMax = gauges.single(
    'ticketmaild_push_connections_max',
    'Connections on which servers announce mail, at most.',
  );
  return ({ scheduler, push }) => {
    lag(scheduler.lag_ms === null ? null : seconds(scheduler.lag_ms));
    visits(scheduler.visits);
    due(scheduler.due);
    dueWait(seconds(scheduler.due_ms));
    pushOpen(push.open);
    pushMax(push.max);
  };
}

function machineGauges(gauges: Gauges): Show {
  const disk = gauges.single('ticketmaild_disk_free_bytes', 'Free space of the disk under data_dir.');
  const offset = gauges.single(
    'ticketmaild_clock_offset_seconds',
    'How far the clock of this machine is ahead of the clock of the database.',
  );
  const answer = gauges.single(
    'ticketmaild_database_answer_seconds',
    'How long the database took to answer a small question.',
  );
  const live = gauges.single('ticketmaild_workers_live', 'Workers that are alive, this one included.');
  const lost = gauges.single('ticketmaild_workers_lost', 'Workers that fell silent without having said goodbye.');
  return (checks) => {
    const { clock, database, workers } = checks;
    disk(checks.disk.free_bytes);
    offset(clock.offset_ms === null ? null : clock.offset_ms / 1000);
    answer(database.answer_ms === null ? null : database.answer_ms / 1000);
    live(known(workers, workers.live));
    lost(known(workers, workers.list.filter((worker) => !worker.live).length));
  };
}

function serverGauges(gauges: Gauges): Show {
  const heldCount = gauges.single('ticketmaild_servers_held', 'Mail hosts that are left alone for a while.');
  const held = gauges.many('ticketmaild_server_held', '1 for a mail host that is left alone for a while.', ['host']);
  const certificate = gauges.many(
    'ticketmaild_certificate_end_timestamp_seconds',
    'When the certificate that a mail server showed last ends.',
    ['host', 'port'],
  );
  return ({ servers, certificates }) => {
    heldCount(servers.list.length);
    held(servers.list.map(({ host }) => ({ labels: { host: label(host) }, value: 1 })));
    certificate(
      certificates.list.map(({ host, port, valid_until: until }) => ({
        labels: { host: label(host), port: `${port}` },
        value: timestamp(until),
      })),
    );
  };
}

function quarantineGauges(gauges: Gauges): Show {
  const count = gauges.many('ticketmaild_quarantine_messages', 'Messages in quarantine, by the reason for it.', [
    'reason',
  ]);
  const oldest = gauges.single(
    'ticketmaild_quarantine_oldest_timestamp_seconds',
    'When the oldest message in quarantine was put there; none when there is none.',
  );
  return ({ quarantine }) => {
    const counts = new Map([...knownReasons, ...quarantine.reasons.map(({ reason }) => reason)].map((one) => [one, 0]));
    for (const { reason, count: ofReason } of quarantine.reasons) counts.set(reason, ofReason);
    count(
      [...counts].map(([reason, value]) => ({ labels: { reason: label(reason) }, value: known(quarantine, value) })),
    );
    oldest(timestamp(quarantine.oldest));
  };
}

/** Null while the check could not be made. */
function known({ status }: Pick<Check, 'status'>, value: number): number | null {
  return status === 'unknown' ? null : value;
}

/**
 * The mailboxes of the readiness as gauges: how many are in each state, and for each one what to look at when it is alone.
 *
 * A mailbox that is not in the list any more has no line. While the database cannot be asked there are none at all.
 */

type Mailboxes = Readiness['checks']['mailboxes'];

function mailboxGauges(gauges: Gauges): (checks: { readonly mailboxes: Mailboxes }) => void {
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
