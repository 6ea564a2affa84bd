/**
 * A run of nights: lanes side by side, each with a stand of its own, take one night after the other.
 *
 * A stand at which a night was not over in time, or that a night spoils, is replaced. Stands are opened one at a time.
 */
import type { Progress } from '../support/progress.ts';
import { missingRow, type Night, type Row, runNight } from './night.ts';
import { copySources, openStand, type Sources, type Stand } from './stand.ts';

export type NightsOptions = {
  readonly nights: readonly Night[];
  readonly lanes: number;
  /** Ends it before the next night. */
  readonly stop: AbortSignal;
};

export type NightsReport = { readonly durationS: number; readonly isWhole: boolean; readonly rows: readonly Row[] };

type Places = { open(): Promise<Stand> };

export async function runNights(
  { nights, lanes, stop }: NightsOptions,
  progress: Pick<Progress, 'now' | 'news' | 'counting'>,
): Promise<NightsReport> {
  const startedAt = performance.now();
  progress.now('starting mail servers, databases and machines');
  await using sources = await copySources();
  const waiting = [...nights];
  const rows: Row[] = [];
  using _counting = progress.counting(() => `${rows.length} of ${nights.length} nights`);
  const places = oneAtATime(sources);
  const lane = async (): Promise<void> => {
    let stand: Stand | null = null;
    try {
      for (let night = waiting.shift(); night !== undefined && !stop.aborted; night = waiting.shift()) {
        stand ??= await places.open();
        progress.now(night.name);
        const row = await rowOf(night, stand, stop);
        rows.push(row);
        for (const violation of row.violations) progress.news(`${night.name}: ${violation}`);
        if (night.spoils !== true && (row.goneAfterS !== null || row.missing !== null)) continue;
        await stand[Symbol.asyncDispose]();
        stand = null;
      }
    } finally {
      await stand?.[Symbol.asyncDispose]();
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, nights.length) }, lane));
  const order = nights.map(({ name }) => name);
  return {
    durationS: Math.round((performance.now() - startedAt) / 1000),
    isWhole: rows.length === nights.length && !stop.aborted,
    rows: rows.toSorted((one, other) => order.indexOf(one.name) - order.indexOf(other.name)),
  };
}

/** A night that cannot be made, or undone, is a violation of its own; the next ones are made all the same. */
async function rowOf(night: Night, stand: Stand, stop: AbortSignal): Promise<Row> {
  try {
    return await runNight(night, stand, stop);
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    // A stand in an unknown state is spent.
    return { ...missingRow(night, ''), missing: null, violations: [`it could not be made: ${what.trim()}`] };
  }
}

function oneAtATime(sources: Sources): Places {
  let before: Promise<unknown> = Promise.resolve();
  return {
    open: () => {
      const opening = before.then(() => openStand(sources));
      before = opening.catch(() => undefined);
      return opening;
    },
  };
}
