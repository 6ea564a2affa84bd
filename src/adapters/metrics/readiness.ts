/**
 * Gauges from the readiness: checks, vault and encryption switch, database, disk, scheduler, workers, servers,
 * quarantine, mailboxes.
 *
 * Reasons and hints stay out: of a reason only its code becomes a label. A count whose check is `unknown` has no
 * sample.
 */

import { describeChecks, reasonCode } from '../../ingest/health/describe.ts';
import { quarantineReasons } from '../../ingest/quarantine/reasons.ts';
import { type Check, checkStatuses, type PoolCheck, pushStates, type Readiness } from '../../ingest/readiness.ts';
import { type Gauges, label, seconds, timestamp } from './gauges.ts';

type Checks = Readiness['checks'];
type Show = (checks: Checks) => void;

const vaultStates = ['closed', 'open', 'missing', 'refused', 'orphaned'];
const switchStates = ['off', 'enabling', 'on', 'rotating', 'disabling'];
const mailboxStates = ['ok', 'failing', 'waiting', 'paused'] as const;

/** Sets all gauges from a readiness; samples of the previous one disappear. */
export function readinessMetrics(gauges: Gauges): (readiness: Readiness) => void {
  const ready = gauges.single('ticketmaild_ready', '1 when /readyz returns 200, else 0.');
  const shows: readonly Show[] = [
    checkGauges(gauges),
    encryptionGauges(gauges),
    databaseGauges(gauges),
    schedulerGauges(gauges),
    machineGauges(gauges),
    serverGauges(gauges),
    oauthGauges(gauges),
    quarantineGauges(gauges),
    mailboxGauges(gauges),
  ];
  return (readiness) => {
    ready(readiness.ready ? 1 : 0);
    for (const show of shows) show(readiness.checks);
  };
}

function checkGauges(gauges: Gauges): Show {
  const status = gauges.many('ticketmaild_check_status', '1 for the current status of a check, else 0.', [
    'check',
    'status',
  ]);
  const reason = gauges.many('ticketmaild_check_reason', '1 for the code of the reason of a check that is not ok.', [
    'check',
    'code',
  ]);
  return (checks) => {
    const described = describeChecks(checks);
    status(
      described.flatMap(({ name, status: current }) =>
        checkStatuses.map((one) => ({ labels: { check: name, status: one }, value: one === current ? 1 : 0 })),
      ),
    );
    reason(described.flatMap(({ name, code }) => (code === null ? [] : [{ labels: { check: name, code }, value: 1 }])));
  };
}

function encryptionGauges(gauges: Gauges): Show {
  const vault = gauges.states('ticketmaild_vault_state', '1 for the current state of the vault, else 0.', vaultStates);
  const state = gauges.states(
    'ticketmaild_switch_state',
    '1 for the state of the encryption switch in force, else 0.',
    switchStates,
  );
  const revision = gauges.single('ticketmaild_switch_revision', 'Revision of the encryption switch in force.');
  const readable = gauges.many('ticketmaild_secrets_readable', 'Secrets that are not sealed in the database.', [
    'kind',
  ]);
  return (checks) => {
    vault(label(checks.vault.state));
    state(label(checks.switch.state));
    revision(checks.switch.revision);
    const { readable: passwords, readable_tokens: tokens } = checks.passwords;
    readable([
      { labels: { kind: 'password' }, value: passwords },
      { labels: { kind: 'refresh_token' }, value: tokens },
    ]);
  };
}

function databaseGauges(gauges: Gauges): Show {
  const named = (name: keyof PoolCheck, help: string) =>
    [name, gauges.single(`ticketmaild_database_connections_${name}`, help)] as const;
  const shown = [
    named('open', 'Open connections to the database; none for a SQLite file.'),
    named('busy', 'Connections to the database that are in use.'),
    named('waiting', 'Requests that wait for a free connection to the database.'),
    named('max', 'Limit of connections to the database.'),
  ];
  const ping = gauges.single(
    'ticketmaild_database_ping_duration_seconds',
    'Duration of the last ping of the database.',
  );
  return ({ database: { pool, ping_ms: pingMs } }) => {
    for (const [name, show] of shown) show(pool?.[name] ?? null);
    ping(pingMs === null ? null : pingMs / 1000);
  };
}

function schedulerGauges(gauges: Gauges): Show {
  const lag = gauges.single('ticketmaild_scheduler_lag_seconds', 'Time since the last tick of the scheduler.');
  const polls = gauges.single('ticketmaild_polls_in_progress', 'Polls in progress.');
  const pollsLong = gauges.single('ticketmaild_polls_long', 'Polls in progress that have taken long.');
  const due = gauges.single('ticketmaild_mailboxes_due', 'Mailboxes that are due and wait for a free slot.');
  const dueOldest = gauges.single(
    'ticketmaild_due_oldest_age_seconds',
    'Waiting time of the first of those mailboxes.',
  );
  const idleOpen = gauges.single('ticketmaild_idle_connections_open', 'Open connections in IDLE.');
  const idleMax = gauges.single('ticketmaild_idle_connections_max', 'Limit of connections in IDLE.');
  return ({ scheduler, push }) => {
    lag(scheduler.lag_ms === null ? null : seconds(scheduler.lag_ms));
    polls(scheduler.polls);
    pollsLong(scheduler.polls_long);
    due(scheduler.due);
    dueOldest(seconds(scheduler.due_oldest_age_ms));
    idleOpen(push.open);
    idleMax(push.max);
  };
}

function machineGauges(gauges: Gauges): Show {
  const disk = gauges.single('ticketmaild_disk_free_bytes', 'Free space on the disk under data_dir.');
  const offset = gauges.single(
    'ticketmaild_clock_offset_seconds',
    'Offset of the clock of this machine from the clock of the database; positive when ahead.',
  );
  const live = gauges.single('ticketmaild_workers_live', 'Live workers, including this one.');
  const lost = gauges.single('ticketmaild_workers_lost', 'Workers whose heartbeat stopped without a shutdown.');
  return ({ clock, disk: { free_bytes: free }, workers }) => {
    disk(free);
    offset(clock.offset_ms === null ? null : clock.offset_ms / 1000);
    live(whenKnown(workers, workers.live));
    lost(whenKnown(workers, workers.list.filter((worker) => !worker.live).length));
  };
}

function serverGauges(gauges: Gauges): Show {
  const open = gauges.many(
    'ticketmaild_server_circuit_open',
    '1 for a mail host whose circuit breaker is open, with the code of the reason.',
    ['host', 'code'],
  );
  const certificate = gauges.many(
    'ticketmaild_certificate_not_after_timestamp_seconds',
    'End of validity of the certificate that a mail server presented last.',
    ['host', 'port'],
  );
  return ({ servers, certificates }) => {
    const circuits = servers.list.filter(({ next_attempt: next }) => next !== null);
    open(
      circuits.map(({ host, reason }) => ({
        labels: { host: label(host), code: reasonCode(reason) ?? '' },
        value: 1,
      })),
    );
    certificate(
      certificates.list.map(({ host, port, not_after: notAfter }) => ({
        labels: { host: label(host), port: `${port}` },
        value: timestamp(notAfter),
      })),
    );
  };
}

const secondsPerDay = 86_400;

function oauthGauges(gauges: Gauges): Show {
  const grants = gauges.many('ticketmaild_oauth_grants', 'OAuth grants by state.', ['state']);
  const daysLeft = gauges.many(
    'ticketmaild_oauth_credential_left_seconds',
    'Time until the client secret or certificate of an OAuth provider ends, in whole days; negative when it has.',
    ['provider'],
  );
  return ({ oauth, database }) => {
    const isKnown = database.status === 'ok';
    grants(
      Object.entries(oauth.grants).map(([state, value]) => ({ labels: { state }, value: isKnown ? value : null })),
    );
    daysLeft(
      oauth.providers.map(({ provider, credential_days_left: days }) => ({
        labels: { provider: label(provider) },
        value: days === null ? null : days * secondsPerDay,
      })),
    );
  };
}

function quarantineGauges(gauges: Gauges): Show {
  const count = gauges.many('ticketmaild_quarantine_messages', 'Messages in quarantine by reason.', ['reason']);
  const oldest = gauges.single(
    'ticketmaild_quarantine_oldest_timestamp_seconds',
    'When the oldest message in quarantine was quarantined; no sample when quarantine is empty.',
  );
  return ({ quarantine }) => {
    const counts = new Map<string, number>(quarantineReasons.map((reason) => [reason, 0]));
    for (const { reason, count: ofReason } of quarantine.reasons) counts.set(reason, ofReason);
    count(
      [...counts].map(([reason, value]) => ({
        labels: { reason: label(reason) },
        value: whenKnown(quarantine, value),
      })),
    );
    oldest(timestamp(quarantine.oldest));
  };
}

/** Null when the check could not be made. */
function whenKnown({ status }: Pick<Check, 'status'>, value: number): number | null {
  return status === 'unknown' ? null : value;
}

/** Without the database there are no samples of mailboxes at all; a removed mailbox has none. */
function mailboxGauges(gauges: Gauges): Show {
  const counts = gauges.many('ticketmaild_mailboxes', 'Mailboxes by state.', ['state']);
  const push = gauges.many(
    'ticketmaild_mailboxes_push',
    'Active mailboxes by push (IDLE) at this worker: idling, polled, suspended.',
    ['state'],
  );
  const suspended = gauges.many(
    'ticketmaild_mailbox_push_suspended',
    '1 for a mailbox whose push (IDLE) is suspended, with the code of the reason.',
    ['mailbox', 'host', 'code'],
  );
  const success = gauges.many(
    'ticketmaild_mailbox_last_success_timestamp_seconds',
    'End of the last successful poll of a mailbox.',
    ['mailbox'],
  );
  const failures = gauges.many('ticketmaild_mailbox_failures', 'Consecutive failed polls of a mailbox.', ['mailbox']);
  const trouble = gauges.many(
    'ticketmaild_mailbox_trouble',
    '1 for a mailbox that is not ok, with its status and the code of the reason.',
    ['mailbox', 'host', 'status', 'code'],
  );
  return ({ mailboxes }) => {
    const isKnown = mailboxes.status !== 'unknown';
    const named = isKnown ? mailboxes.list.map((check) => ({ check, mailbox: label(check.mailbox) })) : [];
    counts(mailboxStates.map((state) => ({ labels: { state }, value: isKnown ? mailboxes[state] : null })));
    const inPush = (state: string) => named.filter(({ check }) => check.push.state === state);
    push(pushStates.map((state) => ({ labels: { state }, value: isKnown ? inPush(state).length : null })));
    suspended(
      inPush('suspended').map(({ check, mailbox }) => ({
        labels: { mailbox, host: label(check.host), code: check.push.code ?? '' },
        value: 1,
      })),
    );
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
