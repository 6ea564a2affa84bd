/**
 * Retention and garbage collection: removes expired raw sources, and attachment files that no row references.
 *
 * A crash between writing a file and its commit leaves unreferenced files. What an unresolved quarantined message needs
 * stays, however old.
 */
import type { Clock } from '../../async/clock.ts';
import { asFailure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import type { Blobs, RawSources } from '../ports.ts';
import type { TicketReader } from '../stores.ts';

type RetentionPorts = {
  readonly store: Pick<TicketReader, 'unreferencedBlobs' | 'retainedSegments'>;
  readonly blobs: Blobs;
  readonly raw: RawSources;
  readonly clock: Clock;
  readonly log: Log;
};

const dayMs = 86_400_000;
/** An unreferenced blob may belong to a batch in progress: one is removed only when untouched for so long. */
const untouchedMsMin = dayMs;
const blobsPerQuery = 500;

/** Runs once. A failure is logged; the next run tries again. `retentionDays` is that of raw sources. */
export async function purgeExpired(ports: RetentionPorts, retentionDays: number): Promise<void> {
  try {
    const segments = await removeSegments(ports, ports.clock.nowMs() - retentionDays * dayMs);
    const blobs = await removeBlobs(ports, ports.clock.nowMs() - untouchedMsMin);
    if (segments + blobs > 0)
      ports.log.info({ segments_removed: segments, blobs_removed: blobs }, events.retentionFinished);
  } catch (error) {
    ports.log.warn({ error: asFailure(error) }, events.retentionFailed);
  }
}

async function removeSegments(ports: RetentionPorts, beforeMs: number): Promise<number> {
  const old = await ports.raw.segmentsBefore(beforeMs);
  if (old.length === 0) return 0;
  const retained = new Set(await ports.store.retainedSegments(old));
  const expired = old.filter((segment) => !retained.has(segment));
  for (const segment of expired) await ports.raw.remove(segment);
  return expired.length;
}

async function removeBlobs(ports: RetentionPorts, beforeMs: number): Promise<number> {
  let removed = 0;
  let names: string[] = [];
  const flush = async () => {
    const unreferenced = await ports.store.unreferencedBlobs(names);
    for (const name of unreferenced) if (await ports.blobs.removeUntouched(name, beforeMs)) removed += 1;
    names = [];
  };
  for await (const name of ports.blobs.untouchedSince(beforeMs)) {
    names.push(name);
    if (names.length >= blobsPerQuery) await flush();
  }
  if (names.length > 0) await flush();
  return removed;
}
