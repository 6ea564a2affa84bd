import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/adapters/clock/clock.ts';
import { thisWorker } from '../../src/adapters/process/identity.ts';
import { createOperations } from '../../src/admin/operations/operations.ts';
import type { App } from '../../src/compose/compose.ts';
import {
  createEncryptionControl,
  type EncryptionControl,
  type EncryptionControlPorts,
} from '../../src/encryption/control.ts';
import { Failure } from '../../src/errors.ts';
import { createLog } from '../../src/log.ts';
import { type CommandLine, openCommandLine } from './command-line.ts';

let cli: CommandLine;
let app: App;
let keyFile: string;
let nowMs: number;

/** An application that has the keys open, as a daemon has. */
beforeEach(async () => {
  cli = await openCommandLine();
  keyFile = join(cli.dataDir, 'encryption-key.bin');
  await cli.run(['migrate']);
  const enable = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared'];
  expect(await cli.run(enable)).toMatchObject({ code: 0 });
  app = await cli.open();
  await app.vault.refresh();
  nowMs = Date.now() - 60_000;
});

afterEach(async () => {
  await app[Symbol.asyncDispose]();
  await cli[Symbol.asyncDispose]();
});

function control(given: Partial<EncryptionControlPorts> = {}): EncryptionControl {
  const log = createLog({ level: 'error', pretty: false, destination: { write: () => undefined } });
  const parts = { ...app, log, worker: thisWorker() };
  const operations = createOperations({ ...parts, clock: systemClock }, new AbortController().signal);
  const startDisable = (who: string) => operations.start('disable', who, true);
  return createEncryptionControl({ ...parts, startDisable, clock: { nowMs: () => nowMs }, ...given });
}

const proof = (): string => join(cli.dataDir, 'can-disable-encryption.txt');

test('a request to switch off is forgotten after 15 minutes, and its proof with it', async () => {
  const asking = control();
  expect(await asking.disable('ann@desk')).toMatchObject({ state: 'requested', problem: null });
  await writeFile(proof(), '');
  nowMs += 15 * 60_000;
  expect(await asking.disable('ann@desk')).toMatchObject({ state: 'requested', problem: null });
  nowMs += 1000;
  expect(await asking.disable('ann@desk')).toMatchObject({
    state: 'requested',
    problem: expect.stringContaining('older'),
  });
});

test('a request is carried out within 15 minutes, once, and the proof is taken away', async () => {
  const asking = control();
  await asking.disable('ann@desk');
  await writeFile(proof(), '');
  nowMs += 15 * 60_000 - 1;
  expect(await asking.disable('bob@desk')).toMatchObject({ state: 'off', was_off: false });
  await expect(readFile(proof())).rejects.toThrow('ENOENT');
  expect(await asking.disable('ann@desk')).toMatchObject({ state: 'requested', problem: null });
  const entries = await app.store.readAudit(20);
  expect(entries.find(({ action }) => action === 'switch.off')).toMatchObject({ who: 'bob@desk' });
  expect(entries.find(({ action }) => action === 'switch.disable_requested')).toMatchObject({ who: 'ann@desk' });
});

test('of two requests at the same time only one is carried out', async () => {
  const asking = control();
  await asking.disable('ann@desk');
  await writeFile(proof(), '');
  const answers = await Promise.all([asking.disable('ann@desk'), asking.disable('ann@desk')]);
  expect(answers.map(({ state }) => state)).toEqual(['off', 'requested']);
});

test('the admin page confirms what the command asked for, and the other way round', async () => {
  let begun = 0;
  const startDisable: EncryptionControlPorts['startDisable'] = async () => {
    begun += 1;
    if (begun === 1) return new Failure('operation_running', 'another operation is running');
    return {
      ended: Promise.resolve({ changed: 0, changedTokens: 0, unopened: [], setAside: null, wasReached: false }),
    };
  };
  const asking = control({ startDisable });
  expect(asking.disableRequest()).toBeNull();
  expect((await asking.confirmDisable('bob'))?.message).toContain('no pending request');
  await asking.disable('ann@desk');
  await asking.requestDisable('bob (admin page)');
  expect(asking.disableRequest()).toEqual({
    requestedBy: 'ann@desk',
    requestedAtMs: nowMs,
    expiresAtMs: nowMs + 15 * 60_000,
    checks: null,
  });
  expect((await asking.confirmDisable('bob'))?.message).toContain('does not exist');
  expect(begun).toBe(0);
  expect(asking.disableRequest()?.checks?.map(({ ok }) => ok)).toEqual([false, false, false]);
  await writeFile(proof(), '');
  expect((await asking.confirmDisable('bob'))?.message).toBe('another operation is running');
  expect(await asking.confirmDisable('bob')).toBeNull();
  expect(asking.disableRequest()).toBeNull();
  await expect(readFile(proof())).rejects.toThrow('ENOENT');
  expect((await asking.confirmDisable('bob'))?.message).toContain('no pending request');
  expect(begun).toBe(2);
  await asking.requestDisable('bob (admin page)');
  await writeFile(proof(), '');
  expect(await asking.disable('ann@desk')).toMatchObject({ state: 'off' });
});

test('a request that is taken back is over, and its proof proves nothing any more', async () => {
  const asking = control();
  await asking.requestDisable('bob (admin page)');
  await writeFile(proof(), '');
  await asking.cancelDisable('eve (admin page)');
  await asking.cancelDisable('eve (admin page)');
  expect(asking.disableRequest()).toBeNull();
  expect((await asking.confirmDisable('bob'))?.message).toContain('no pending request');
  nowMs = Date.now() + 1000;
  expect(await asking.disable('ann@desk')).toMatchObject({ state: 'requested', problem: null });
  expect(await asking.disable('ann@desk')).toMatchObject({
    state: 'requested',
    problem: expect.stringContaining('older'),
  });
  const cancelled = (await app.store.readAudit(20)).filter(({ action }) => action === 'switch.disable_cancelled');
  expect(cancelled.map(({ who }) => who)).toEqual(['eve (admin page)']);
});

test('a failed request does not block the next one', async () => {
  const failing = control({
    proof: {
      path: proof(),
      checks: async () => {
        throw new Failure('disk_failed', 'it cannot be looked at');
      },
      remove: async () => undefined,
    },
  });
  await failing.disable('ann@desk');
  await expect(failing.disable('ann@desk')).rejects.toThrow('it cannot be looked at');
  await expect(failing.recover('ann@desk')).rejects.toThrow('there is nothing to recover');
});

test('a recovery does not wait for a database that is away', async () => {
  const content = await readFile(keyFile);
  await rm(keyFile);
  const away = async (): Promise<void> => {
    throw new Failure('database_unavailable', 'the database is away');
  };
  expect(await control({ store: { audit: away } }).recover('ann@desk')).toMatchObject({ recorded: false });
  expect(await readFile(keyFile)).toEqual(content);
  expect(app.vault.view.state.kind).toBe('open');
});

test('two recoveries at the same time write one key file', async () => {
  await rm(keyFile);
  const asking = control();
  const results = await Promise.allSettled([asking.recover('ann@desk'), asking.recover('bob@desk')]);
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
});
