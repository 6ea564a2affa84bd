/**
 * Removes what nobody needs any more: raw sources past their time, and attachment files that no row names (a crash
 * between file and commit leaves those). What an unresolved quarantined message needs stays, however old.
 */

import type { Clock } from '../../async/clock.ts';
import { asFailure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import type { Blobs, RawSources } from '../ports.ts';
import type { TicketReader } from '../stores.ts';

export type HousekeepingPorts = {
  readonly store: Pick<TicketReader, 'unnamedBlobs' | 'neededSegments'>;
  readonly blobs: Blobs;
  readonly raw: RawSources;
  readonly clock: Clock;
  readonly log: Log;
};

const dayMs = 86_400_000;
/** An unnamed blob may belong to a batch under way: only one that was left alone this long is removed. */
const blobRestMs = dayMs;
const blobsAtOnce = 500;

/** One round. A failure is logged; the next round tries again. */
export async function keepHouse(ports: HousekeepingPorts, keepDays: number): Promise<void> {
  try {
    const segments = await removeSegments(ports, ports.clock.nowMs() - keepDays * dayMs);
    const blobs = await removeBlobs(ports, ports.clock.nowMs() - blobRestMs);
    if (segments + blobs > 0)
      ports.log.info({ segments_removed: segments, blobs_removed: blobs }, events.housekeepingFinished);
  } catch (error) {
    ports.log.warn({ error: asFailure(error) }, events.housekeepingFailed);
  }
}

async function removeSegments(ports: HousekeepingPorts, beforeMs: number): Promise<number> {
  const old = await ports.raw.segmentsBefore(beforeMs);
  if (old.length === 0) return 0;
  const needed = new Set(await ports.store.neededSegments(old));
  const expired = old.filter((segment) => !needed.has(segment));
  for (const segment of expired) await ports.raw.remove(segment);
  return expired.length;
}

async function removeBlobs(ports: HousekeepingPorts, beforeMs: number): Promise<number> {
  let removed = 0;
  let names: string[] = [];
  const flush = async () => {
    const unnamed = await ports.store.unnamedBlobs(names);
    for (const name of unnamed) if (await ports.blobs.removeUntouched(name, beforeMs)) removed += 1;
    names = [];
  };
  for await (const name of ports.blobs.untouchedSince(beforeMs)) {
    names.push(name);
    if (names.length >= blobsAtOnce) await flush();
  }
  if (names.length > 0) await flush();
  return removed;
}
