/**
 * Prometheus metrics of `/metrics` (text format 0.0.4): counters and histograms of the polls, gauges from the
 * readiness, the process.
 *
 * Labels are names of mailboxes and hosts, and words fixed in the code: no error text, no sender address, no secret.
 */

import { Counter, Histogram, Registry } from 'prom-client';
import { domainOf, type FailureCode } from '../../errors.ts';
import type { Meter } from '../../ingest/ports.ts';
import type { Readiness } from '../../ingest/readiness.ts';
import { gaugesIn, label, seconds } from './gauges.ts';
import { processMetrics } from './process.ts';
import { readinessMetrics } from './readiness.ts';

export type Metrics = Meter &
  Disposable & {
    /** A token request, by the provider's name in the configuration; a failure code, else `ok`. */
    oauthRenewal(provider: string, result: 'ok' | FailureCode): void;
    /** All metrics as text. The event-loop lag covers the time since the previous call. */
    render(readiness: Readiness): Promise<string>;
    readonly contentType: string;
    /** The definitions, for the reference in `systemd/README.md`. */
    readonly definitions: readonly MetricDefinition[];
  };

export type MetricDefinition = {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly help: string;
};

/** Uses a registry of its own: nothing global. Disposing stops the measurement of the event-loop lag. */
export function createMetrics(options: { readonly version: string }): Metrics {
  const registry = new Registry();
  const gauges = gaugesIn(registry);
  const build = gauges.many('ticketmaild_build_info', 'Version of ticketmaild and of Node; always 1.', [
    'version',
    'node',
  ]);
  build([{ labels: { version: label(options.version), node: process.versions.node }, value: 1 }]);
  const meter = pollCounters(registry);
  const renewals = new Counter({
    name: 'ticketmaild_oauth_renewals_total',
    help: 'Requests for an access token, by provider and result: ok, or the error code.',
    labelNames: ['provider', 'result'],
    registers: [registry],
  });
  const show = readinessMetrics(gauges);
  const ofProcess = processMetrics(registry, gauges);
  return {
    ...meter,
    oauthRenewal: (provider, result) => renewals.inc({ provider: label(provider), result }),
    contentType: registry.contentType,
    render: async (readiness) => {
      await ofProcess.refresh();
      // No await between here and the text, so that two concurrent scrapes do not mix.
      show(readiness);
      return registry.metrics();
    },
    get definitions() {
      return registry.getMetricsAsArray().map(definitionOf);
    },
    [Symbol.dispose]: ofProcess[Symbol.dispose],
  };
}

function definitionOf(metric: object): MetricDefinition {
  const { name, help, labelNames } = metric as Pick<MetricDefinition, 'name' | 'help'> & { labelNames: string[] };
  const type = metric instanceof Counter ? 'counter' : metric instanceof Histogram ? 'histogram' : 'gauge';
  // The bucket limit `le` is part of the format, not a label here.
  return { name, type, help, labels: labelNames.filter((one) => one !== 'le') };
}

const pollBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const lagBuckets = [0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800];
const idleBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/**
 * Counts as things happen; never throws. A label value appears with its first count and stays until the process ends.
 * Histograms have no label for the host: 15 series per mail server would be too many.
 */
function pollCounters(registry: Registry): Meter {
  const registers = [registry];
  const counter = (name: string, help: string, labelNames: readonly string[]) =>
    new Counter({ name, help, labelNames, registers });
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, buckets, registers });
  const messages = counter('ticketmaild_messages_total', 'Messages by mailbox and outcome.', ['mailbox', 'outcome']);
  const polls = counter(
    'ticketmaild_polls_total',
    'Finished polls by mail host and result: ok, preempted, or the error code.',
    ['host', 'result'],
  );
  const logins = counter(
    'ticketmaild_login_failures_total',
    'Logins that a mail server refused, by mail host and error code.',
    ['host', 'code'],
  );
  const duration = histogram(
    'ticketmaild_poll_duration_seconds',
    'Duration of polls, whatever their result.',
    pollBuckets,
  );
  const lag = histogram(
    'ticketmaild_poll_lag_seconds',
    'Time from the moment a mailbox is due to the start of its poll.',
    lagBuckets,
  );
  const idleLatency = histogram(
    'ticketmaild_idle_latency_seconds',
    'Time from the announcement of new messages (IDLE) to their commit.',
    idleBuckets,
  );
  return {
    poll: ({ host: name, result, durationMs, lagMs }) => {
      const host = label(name);
      polls.inc({ host, result });
      duration.observe(seconds(durationMs));
      if (lagMs !== null) lag.observe(seconds(lagMs));
      if (result !== 'ok' && result !== 'preempted' && domainOf(result) === 'login') logins.inc({ host, code: result });
    },
    outcome: (mailbox, outcome) => messages.inc({ mailbox: label(mailbox), outcome }),
    idleDelivery: (ms) => idleLatency.observe(seconds(ms)),
  };
}
