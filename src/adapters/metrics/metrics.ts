/**
 * What `/metrics` answers, in the text format of Prometheus: counts of the workflows, the readiness, the process.
 *
 * Each metric is in one of three files: counted.ts as it happens, checked.ts and mailboxes.ts out of the readiness, process.ts
 * by a look at the process. Labels are names of mailboxes and hosts, and words that are fixed in the code: no text of an
 * error, no address of a sender, no secret.
 */

import { Counter, Histogram, Registry } from 'prom-client';
import type { FailureCode } from '../../errors.ts';
import type { Meter } from '../../ingest/ports.ts';
import type { Readiness } from '../../ingest/readiness.ts';
import { gaugesIn, label, processMetrics, seconds } from './gauges.ts';
import { checkedMetrics } from './readiness.ts';

export type Metrics = Meter &
  Disposable & {
    /** All metrics as text. The delays of the event loop are those since the call before. */
    render(readiness: Readiness): Promise<string>;
    readonly contentType: string;
  };

/** Nothing global: two of them know nothing of each other. Disposing ends the watch on the event loop. */
export function createMetrics(options: { readonly version: string }): Metrics {
  const registry = new Registry();
  const gauges = gaugesIn(registry);
  const build = gauges.many('ticketmaild_build_info', 'Version of this program and of Node; always 1.', [
    'version',
    'node',
  ]);
  build([{ labels: { version: label(options.version), node: process.versions.node }, value: 1 }]);
  const meter = countedMetrics(registry);
  const show = checkedMetrics(gauges);
  const look = processMetrics(registry, gauges);
  return {
    ...meter,
    contentType: registry.contentType,
    render: async (readiness) => {
      await look.look();
      // From here to the text nothing waits, so that two that are asked at once do not mix.
      show(readiness);
      return registry.metrics();
    },
    [Symbol.dispose]: look[Symbol.dispose],
  };
}

/**
 * What is counted as it happens: the meter of the workflows, as counters and histograms.
 *
 * A label value comes into being when it is counted for the first time, so that a mailbox or host costs nothing before, and
 * stays until the process ends. Histograms have no label of a host: the two counters of a host give the mean of it.
 * Nothing here throws.
 */

/**
 * A server that would not let this program in with the password that it was given. A password that could not be opened
 * never reached a server, and a busy server may be so at any command.
 */
const loginFailures: ReadonlySet<string> = new Set<FailureCode>(['login_refused', 'login_unsupported']);

const visitBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const lagBuckets = [0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800];
const pushBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

function countedMetrics(registry: Registry): Meter {
  const visit = visitMetrics(registry);
  const messages = new Counter({
    name: 'ticketmaild_messages_total',
    help: 'Messages, by mailbox and what became of them.',
    labelNames: ['mailbox', 'outcome'],
    registers: [registry],
  });
  const pushLatency = new Histogram({
    name: 'ticketmaild_push_latency_seconds',
    help: 'From the announcement of new mail by a server to its commit.',
    buckets: pushBuckets,
    registers: [registry],
  });
  return {
    visit,
    outcome: (mailbox, outcome) => messages.inc({ mailbox: label(mailbox), outcome }),
    pushed: (ms) => pushLatency.observe(seconds(ms)),
  };
}

function visitMetrics(registry: Registry): Meter['visit'] {
  const registers = [registry];
  const visits = new Counter({
    name: 'ticketmaild_visits_total',
    help: 'Visits that ended, by mail host and result: ok, or the failure that ended it.',
    labelNames: ['host', 'result'],
    registers,
  });
  const visitSeconds = new Counter({
    name: 'ticketmaild_visit_seconds_total',
    help: 'Time spent in visits, by mail host.',
    labelNames: ['host'],
    registers,
  });
  const failures = new Counter({
    name: 'ticketmaild_visit_failures_total',
    help: 'Visits that failed, by failure.',
    labelNames: ['code'],
    registers,
  });
  const logins = new Counter({
    name: 'ticketmaild_login_failures_total',
    help: 'Logins that a server refused, by mail host and failure.',
    labelNames: ['host', 'code'],
    registers,
  });
  const duration = new Histogram({
    name: 'ticketmaild_visit_duration_seconds',
    help: 'How long visits took, whatever their result.',
    buckets: visitBuckets,
    registers,
  });
  const lag = new Histogram({
    name: 'ticketmaild_poll_lag_seconds',
    help: 'How long after it was due a visit began.',
    buckets: lagBuckets,
    registers,
  });
  return ({ host: name, result, durationMs, lagMs }) => {
    const host = label(name);
    visits.inc({ host, result });
    visitSeconds.inc({ host }, seconds(durationMs));
    duration.observe(seconds(durationMs));
    if (lagMs !== null) lag.observe(seconds(lagMs));
    if (result !== 'ok') failures.inc({ code: result });
    if (loginFailures.has(result)) logins.inc({ host, code: result });
  };
}
