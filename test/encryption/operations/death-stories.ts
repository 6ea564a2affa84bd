/**
 * Scenarios for crash tests: the initial state of each operation, and the invariants after its end.
 */
import { expect } from 'vitest';
import { disable } from '../../../src/encryption/operations/disable.ts';
import { enable } from '../../../src/encryption/operations/enable.ts';
import type { OperationOptions, OperationPorts } from '../../../src/encryption/operations/operation.ts';
import { reseal, rotate } from '../../../src/encryption/operations/rotate.ts';
import { type Key, keyIds } from '../../../src/secret/key.ts';
import { openReplyKeys, sealReplyKey } from '../../../src/secret/reply-key.ts';
import { copyOf, newWorld, startProcess, type World } from '../memory-ports.ts';
import {
  keysInFile,
  names,
  putPlain,
  putSealed,
  randomKey,
  sealVerdicts,
  worldAt,
  wrongPasswords,
} from '../stored-passwords.ts';
import { eachDeath } from './deaths.ts';

const options: OperationOptions = { force: false, waitMs: 0, signal: new AbortController().signal };

export type Story = {
  readonly title: string;
  /** Fewer deaths than this would mean that the test has lost sight of some. */
  readonly deathsMin: number;
  begin(passwords: number): Promise<World>;
  run(ports: OperationPorts): Promise<unknown>;
  end(world: World): void;
};

const [key, other] = [randomKey(), randomKey()] as const;

const forms = (world: World) => [...new Set([...world.passwords.values()].map(({ form }) => form))];
const columns = (world: World) => [...new Set([...world.passwords.values()].map(({ keyId }) => keyId))];

/** The reply key of tokens that were issued before the operation. */
const issued = new Uint8Array(32).fill(7);

function withReplyKey(world: World, sealer: Key | null): World {
  const secret = sealer === null ? issued : sealReplyKey(issued, 1, sealer);
  world.replyKeys = [{ id: 1, secret, keyId: sealer?.id ?? null, retiredAtMs: null }];
  return world;
}

/** Issued tokens stay valid for their tickets, and one key makes new ones, not the issued one again. */
function hasReplyKeys(world: World): void {
  const opened = openReplyKeys(world.replyKeys, keysInFile(world));
  expect(opened).toHaveLength(world.replyKeys.length);
  expect(Buffer.from(opened[0]?.secret ?? []).equals(issued)).toBe(true);
  expect(opened[0]?.ticketsUntilMs).not.toBeNull();
  expect(opened.filter(({ ticketsUntilMs }) => ticketsUntilMs === null)).toHaveLength(1);
  expect(world.replyKeys.map(({ keyId }) => keyId)).toEqual(world.replyKeys.map(() => world.row?.keyId));
}

function isOnUnderOneKey(world: World): void {
  expect(world.row).toMatchObject({ state: 'on', nextKeyId: null });
  expect(forms(world)).toEqual(['sealed']);
  expect(columns(world)).toEqual([world.row?.keyId]);
  expect(keyIds(keysInFile(world))).toEqual([world.row?.keyId]);
}

function isOff(world: World, ...keys: readonly Key[]): void {
  expect(world.row).toMatchObject({ state: 'off', keyId: null });
  expect(forms(world)).toEqual(['plain']);
  expect(world.file).toBeNull();
  expect(world.asideFiles.map((aside) => aside.keys)).toEqual([keys]);
}

export const stories: readonly Story[] = [
  {
    title: 'enable',
    deathsMin: 22,
    begin: async (passwords) => {
      const world = newWorld();
      putPlain(world, ...names(passwords));
      return withReplyKey(world, null);
    },
    run: (ports) => enable(ports, options),
    end: (world) => {
      isOnUnderOneKey(world);
      hasReplyKeys(world);
      expect(world.rebuilds).toBeGreaterThan(0);
      // The post-actions in force; no connection.
      expect(sealVerdicts(world)).toEqual(['missing valid']);
      expect(world.audit.filter(({ action }) => action === 'password.sealed')).toHaveLength(world.passwords.size);
    },
  },
  {
    title: 'rotate',
    deathsMin: 28,
    begin: async (passwords) => withReplyKey(await worldAt('on', [key], names(passwords)), key),
    run: (ports) => rotate(ports, options),
    end: (world) => {
      isOnUnderOneKey(world);
      hasReplyKeys(world);
      expect(world.row?.keyId).not.toBe(key.id);
      expect(sealVerdicts(world)).toEqual(['valid valid']);
    },
  },
  {
    title: 'disable',
    deathsMin: 18,
    begin: async (passwords) => withReplyKey(await worldAt('on', [key], names(passwords)), key),
    run: (ports) => disable(ports, options),
    end: (world) => {
      isOff(world, key);
      expect(world.replyKeys).toHaveLength(1);
      expect(Buffer.from(world.replyKeys[0]?.secret ?? []).equals(issued)).toBe(true);
    },
  },
  {
    title: 'disable in the middle of enabling',
    deathsMin: 18,
    begin: async (passwords) => {
      const world = await worldAt('enabling', [key], names(passwords));
      putPlain(world, 'plain');
      return world;
    },
    run: (ports) => disable(ports, options),
    end: (world) => isOff(world, key),
  },
  {
    title: 'reseal',
    deathsMin: 16,
    begin: async (passwords) => {
      const world = await worldAt('on', [key, other], ['first']);
      await putSealed(world, other, names(passwords));
      putPlain(world, 'plain');
      return world;
    },
    run: (ports) => reseal(ports, options),
    end: (world) => {
      isOnUnderOneKey(world);
      // What was found in plain text comes from the table.
      expect(sealVerdicts(world).toSorted()).toEqual(['missing missing', 'valid valid']);
    },
  },
];

/** A worker that starts now has a switch in force with open keys, and opens every password. */
export async function expectHealthy(world: World): Promise<void> {
  expect(await wrongPasswords(world)).toEqual([]);
  const { problem, state } = await startProcess(world).vault.refresh();
  expect(problem).toBeNull();
  expect(['open', 'closed']).toContain(state.kind);
}

/** Runs the same command again, in a new process that nothing happens to. */
export async function expectToFinish(world: World, { run, end }: Story): Promise<void> {
  await run(startProcess(world));
  await expectHealthy(world);
  end(world);
  expect(world.claim).toBeNull();
}

/** One death at each effect, and the same command again; how many deaths there were. */
export async function dieEverywhere(story: Story, passwords: number): Promise<number> {
  const beginning = await story.begin(passwords);
  return await eachDeath(async (life) => {
    const world = copyOf(beginning);
    const hasDied = await life((fate) => story.run(startProcess(world, fate)));
    await expectHealthy(world);
    if (hasDied) await expectToFinish(world, story);
    else story.end(world);
  });
}
