/**
 * Crash injection: a process dies before or after each of its effects in turn, as with kill -9.
 */
import { expect } from 'vitest';
import { Death, type Fate } from './process.ts';

/** Runs a process until it ends or dies; true when it died. */
export type Life = (run: (fate: Fate) => Promise<unknown>) => Promise<boolean>;

/** Runs `story` repeatedly with a later death each time, until it survives; returns the number of deaths. */
export async function eachDeath(story: (life: Life) => Promise<void>): Promise<number> {
  for (let deaths = 0; ; deaths += 1) {
    let hasDied = false;
    await story(async (run) => {
      hasDied = await live(deaths, run);
      return hasDied;
    });
    if (!hasDied) return deaths;
  }
}

/** Dies before (even numbers) or after (odd ones) the effect of that number. */
async function live(number: number, run: (fate: Fate) => Promise<unknown>): Promise<boolean> {
  const effect = Math.floor(number / 2);
  const place = number % 2 === 0 ? 'before' : 'after';
  let met = 0;
  let hasDied = false;
  const fate: Fate = (name, when) => {
    const isHere = met === effect && when === place;
    if (when === 'after') met += 1;
    if (!isHere) return;
    hasDied = true;
    throw new Death(`died ${when} ${name}`);
  };
  try {
    await run(fate);
    expect(hasDied).toBe(false);
  } catch (error) {
    expect(error).toBeInstanceOf(Death);
  }
  return hasDied;
}
