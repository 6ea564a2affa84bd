/**
 * Exhaustive crash tests: between batches, and twice, at any effect and at any effect of the rerun.
 */
import { describe, expect, test } from 'vitest';
import { copyOf, startProcess } from '../memory-ports.ts';
import { dieEverywhere, expectHealthy, expectToFinish, stories } from './death-stories.ts';
import { eachDeath } from './deaths.ts';

/** A password more than two stretches have. */
const passwords = 401;
const timeout = 300_000;

describe.each(stories)('$title', (story) => {
  test('is finished by the same command after a kill between its batches', { timeout }, async () => {
    expect(await dieEverywhere(story, passwords)).toBeGreaterThanOrEqual(story.deathsMin + 4);
  });

  test('is finished by the third run after two deaths, wherever they were', { timeout }, async () => {
    const beginning = await story.begin(2);
    await eachDeath(async (first) => {
      await eachDeath(async (second) => {
        const world = copyOf(beginning);
        await first((fate) => story.run(startProcess(world, fate)));
        await second((fate) => story.run(startProcess(world, fate)));
        await expectHealthy(world);
        await expectToFinish(world, story);
      });
    });
  });
});
