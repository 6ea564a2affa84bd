/**
 * Crash consistency: an operation that dies at any effect loses no password, and finishes when it is run again.
 */
import { describe, expect, test } from 'vitest';
import { trustRestored } from '../../../src/encryption/operations/trust-restored.ts';
import { isFailure } from '../../../src/errors.ts';
import { initialSwitchRow } from '../../../src/secret/switch.ts';
import { newWorld, startProcess } from '../memory-ports.ts';
import { putPlain, randomKey, worldAt } from '../stored-passwords.ts';
import { dieEverywhere, expectHealthy, stories } from './death-stories.ts';
import { eachDeath } from './deaths.ts';

describe.each(stories)('$title', (story) => {
  test('is finished by the same command after a death at any of its effects', async () => {
    expect(await dieEverywhere(story, 3)).toBeGreaterThanOrEqual(story.deathsMin);
  });
});

describe('trust-restored', () => {
  const key = randomKey();
  const older = async () => {
    const world = await worldAt('on', [key], ['a'], { revision: 9 });
    world.row = (await worldAt('disabling', [key], [], { revision: 4 })).row;
    return world;
  };
  const noKey = async () => {
    const world = newWorld();
    putPlain(world, 'a');
    world.remembered = (await worldAt('on', [key], [], { revision: 9 })).remembered;
    return world;
  };

  test.each([
    ['an older row', older, { state: 'on', keyId: key.id }],
    ['the first row, without a key', noKey, initialSwitchRow],
  ] as const)('of %s is finished after a death at any of its effects', async (_, begin, accepted) => {
    const deaths = await eachDeath(async (life) => {
      const world = await begin();
      await life((fate) => trustRestored(startProcess(world, fate), { acceptOff: true }));
      // What is in force already is nothing to accept.
      await trustRestored(startProcess(world), { acceptOff: true }).catch((error: unknown) => {
        if (!isFailure(error, 'refused')) throw error;
      });
      await expectHealthy(world);
      expect(world.row).toMatchObject(accepted);
      expect(world.remembered).toEqual(world.row);
    });
    expect(deaths).toBeGreaterThanOrEqual(8);
  });
});
