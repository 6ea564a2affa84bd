/**
 * Overview and quarantine over a real database, with the real health of a daemon that the test feeds.
 */

import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { createQuarantineActions, type QuarantineActionPorts } from '../../../src/admin/quarantine-actions.ts';
import type { AdminService } from '../../../src/admin/service.ts';
import { createOverviewViews, type OverviewPorts } from '../../../src/admin/views/overview.ts';
import { createHealth, type Health } from '../../../src/ingest/health/health.ts';
import type { Check, Readiness } from '../../../src/ingest/readiness.ts';
import { createLog } from '../../../src/log.ts';
import type { TestApp } from '../../support/app.ts';

const good: Check = { status: 'ok', since: null, reason: null, hint: null };
const worker = {
  host: 'desk',
  pid: 7,
  name: 'one',
  version: '1',
  started_at: '2026-01-31T08:30:00Z',
  log_level: 'info',
};
const list = [
  { host: 'desk', pid: 7, live: true, seen_at: '2026-01-31T08:30:00.000Z' },
  { host: 'other', pid: 8, live: false, seen_at: null },
];
const beside: Pick<Readiness['checks'], 'config' | 'listeners' | 'disk' | 'workers' | 'crashes'> = {
  ...{ listeners: { ...good, list: [] }, config: { ...good, needs_restart: [] }, disk: { ...good, free_bytes: null } },
  ...{ workers: { ...good, live: 1, list }, crashes: { ...good, count: 0, last: null } },
};

type Ports = OverviewPorts & QuarantineActionPorts;

export type OverviewScene = {
  readonly service: AsyncDisposable & Pick<AdminService, 'overview' | 'quarantine' | 'resolveQuarantined'>;
  readonly health: Health;
};

/** After a wake that the database answered. */
export function overviewOf({ app }: TestApp, given: Partial<Ports> = {}): OverviewScene {
  const { store, raw, resolve, actor } = app;
  const encryption = {
    needsKey: false,
    sealing: 'off' as const,
    vault: { ...good, state: 'closed', key_ids: [] },
    switch: { ...good, state: 'off', revision: 1 },
  };
  const health = createHealth({
    ...{ clock: systemClock, store, postActionGuard: { isUnconfirmed: () => false }, encryption: () => encryption },
    oauth: async () => ({ ...good, providers: [], grants: { ready: 0, needs_consent: 0, refused: 0 }, list: [] }),
    otherParts: () => ({
      ...{
        ...beside,
        worker,
        openCircuits: [],
        idleConnections: { open: 0, max: 0 },
        pushStates: () => () => ({ state: 'polled', code: 'idle_off', until: null }),
        silence: { silentServers: () => [], silentSinceMs: () => null, heardAtMs: () => null },
        polls: 0,
        pollsLong: 0,
        due: 0,
        dueMs: 0,
        intervalMs: 60_000,
        loginFailuresMax: 3,
      },
    }),
  });
  health.recordDatabase(null);
  health.liveness.tick();
  const log = createLog({ level: 'error', pretty: false, destination: { write: () => undefined } });
  const ports = {
    ...{ store, raw, resolve, actor, log },
    clock: systemClock,
    readiness: health.readiness,
    sizeBytesMax: 1_048_576,
    ...given,
  };
  const views = createOverviewViews(ports);
  return { service: { ...views, ...createQuarantineActions(ports, views.quarantineChanged) }, health };
}
