/**
 * Brings the files of a window to the disk, before any row names them: attachments as blobs, raw sources in a segment.
 *
 * When a window comes out of here both are synced, and the memory that held them is gone: they consume it. What a crash leaves
 * behind then is a file that nobody names; housekeeping removes it. A duplicate's source is kept for nothing, which is
 * the price of writing the files while the window before is still being committed.
 */

import type { KeptRaw, RawPlace } from '../model.ts';
import type { Blobs, RawSources } from '../ports.ts';
import type { Arrival, RawSource } from './pipeline.ts';

/** An arrival whose files are on the disk. The bytes of its attachments are gone from memory. */
export type Kept = Arrival<KeptRaw>;

/** Windows of kept arrivals, in order. */
export async function* keepFiles(
  windows: AsyncIterable<readonly Arrival[]>,
  ports: { readonly blobs: Blobs; readonly raw: RawSources },
): AsyncGenerator<readonly Kept[]> {
  for await (const window of windows) yield await keepWindow(window, ports);
}

async function keepWindow(
  window: readonly Arrival[],
  ports: { readonly blobs: Blobs; readonly raw: RawSources },
): Promise<readonly Kept[]> {
  const attachments = window.flatMap((arrival) => (arrival.what === 'mail' ? arrival.parsed.attachments : []));
  const sources = window.flatMap((arrival) => sourceOf(arrival) ?? []);
  const [places] = await Promise.all([
    ports.raw.append(sources.map(({ compressed }) => compressed)),
    ports.blobs.write(attachments),
  ]);
  const placeOf = new Map(sources.map((source, index) => [source, places[index]]));
  return window.map((arrival) => asKept(arrival, placeOf));
}

function sourceOf(arrival: Arrival): RawSource | null {
  return arrival.what === 'vanished' ? null : arrival.raw;
}

function asKept(arrival: Arrival, placeOf: ReadonlyMap<RawSource, RawPlace | undefined>): Kept {
  if (arrival.what === 'vanished') return arrival;
  if (arrival.what === 'mail') return { ...arrival, raw: keptRaw(arrival.raw, placeOf) };
  return { ...arrival, raw: arrival.raw === null ? null : keptRaw(arrival.raw, placeOf) };
}

function keptRaw(source: RawSource, placeOf: ReadonlyMap<RawSource, RawPlace | undefined>): KeptRaw {
  const place = placeOf.get(source);
  if (place === undefined) throw new Error('a raw source was appended and has no place');
  return { ...place, sha256: source.sha256 };
}
