/**
 * What `/metrics` answers, in the text format of Prometheus: counts of the workflows, the readiness, the process.
 *
 * Each metric is in one of three files: counted.ts as it happens, checked.ts and mailboxes.ts out of the readiness, process.ts
 * by a look at the process. Labels are names of mailboxes and hosts, and words that are fixed in the code: no text of an
 * error, no address of a sender, no secret.
 */
import { Registry } from 'prom-client';
import type { Meter } from '../../ingest/ports.ts';
import type { Readiness } from '../../ingest/readiness.ts';
import { checkedMetrics } from './checked.ts';
import { countedMetrics } from './counted.ts';
import { gaugesIn } from './gauges.ts';
import { label } from './label.ts';
import { processMetrics } from './process.ts';

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
