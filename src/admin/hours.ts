/** Mails and tickets of the last day, hour by hour. */
import type { Activity } from './desk.ts';

const hourMs = 3_600_000;
const hours = 24;

/** When the first of the hours began that are shown at `nowMs`. */
export function firstHourMs(nowMs: number): number {
  return Math.floor(nowMs / hourMs) * hourMs - (hours - 1) * hourMs;
}

/** Every hour, also those without any. `known` may lack some, and may go further back. */
export function everyHour(known: Activity, nowMs: number): Activity {
  const byStart = new Map(known.map((hour) => [hour.startMs, hour]));
  const first = firstHourMs(nowMs);
  return Array.from({ length: hours }, (_, index) => {
    const startMs = first + index * hourMs;
    return byStart.get(startMs) ?? { startMs, mails: 0, tickets: 0 };
  });
}
