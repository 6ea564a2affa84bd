/**
 * A writer of the database keeps the sealed row of a `disable` that the database refused (a trigger copies it and
 * fails), and puts it in later: this host refuses it, other hosts are past it, and no row of the page orders the rest.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { emptyRecord, serializeRecord } from '../../../src/admin/operations/record.ts';
import type { StoredOperation } from '../../../src/admin/ports.ts';
import { disable } from '../../../src/encryption/operations/disable.ts';
import { enable } from '../../../src/encryption/operations/enable.ts';
import { rotate } from '../../../src/encryption/operations/rotate.ts';
import { Failure } from '../../../src/errors.ts';
import type { SwitchRow, SwitchState } from '../../../src/secret/switch.ts';
import {
  isOver,
  password,
  type Scene,
  type Server,
  startServer,
  viewWhen,
} from '../../admin/operations/operation-scene.ts';
import { copyOf, startProcess, type World } from '../../encryption/memory-ports.ts';
import type { Process } from '../../encryption/operations/process.ts';
import { names, randomKey, worldAt } from '../../encryption/stored-passwords.ts';

const options = { force: false, waitMs: 0, signal: new AbortController().signal };
const refused = () => new Failure('database_failed', 'The database reported an error: ER_SIGNAL_EXCEPTION.');

/** The same process; a trigger copies each row of `state`, and refuses it. `also`: what it refuses besides. */
function withTrigger(process: Process, state: SwitchState, also: readonly SwitchState[] = []) {
  const copied: SwitchRow[] = [];
  const writeSwitch: Process['store']['writeSwitch'] = async (row, ...given) => {
    if (row.state === state) copied.push(row);
    if (row.state === state || also.includes(row.state)) throw refused();
    await process.store.writeSwitch(row, ...given);
  };
  return { ports: { ...process, store: { ...process.store, writeSwitch } }, copied };
}

/** Encryption is on; `disable` failed, and the writer has its row. */
async function failedDisable(
  also: readonly SwitchState[] = [],
): Promise<{ world: World; row: SwitchRow; told: string }> {
  const world = await worldAt('on', [randomKey()], names(2));
  const { ports, copied } = withTrigger(startProcess(world), 'disabling', also);
  await expect(disable(ports, options)).rejects.toMatchObject({ code: 'database_failed' });
  const [row] = copied;
  if (row === undefined) throw new Error('nothing was copied');
  return { world, row, told: ports.told.steps.join(' ') };
}

describe('the row of a disable that failed', () => {
  test('counts nowhere: the switch in force was written again above it, and the command says so', async () => {
    const { world, row, told } = await failedDisable();
    expect(told).toContain('A row that switches encryption off was handed to the database and is withdrawn');
    expect(told).toContain('so that no other host accepts it');
    expect(world.row).toMatchObject({ state: 'on', revision: row.revision + 1 });
    // Another host, which accepted the switch of before, and polls now.
    const other = copyOf(world);
    other.issued = [];
    await startProcess(other).vault.refresh();
    for (const host of [world, other]) {
      host.row = row;
      expect(await startProcess(host).vault.refresh()).toMatchObject({
        ...{ switch: { state: 'on' }, problem: { code: 'switch_rolled_back' } },
      });
    }
  });

  test('is refused by this host while the database refuses every write, and passed by the next operation', async () => {
    const { world, row, told } = await failedDisable(['on']);
    expect(told).toContain('Another host may still accept that row');
    world.row = row;
    const { vault } = startProcess(world);
    expect(await vault.refresh()).toMatchObject({
      switch: { state: 'on', revision: row.revision - 1 },
      problem: { code: 'switch_rolled_back', hint: expect.stringContaining('encryption reseal') },
      isRenewalDue: true,
    });
    await rotate(startProcess(world), options);
    expect(world.row).toMatchObject({ state: 'on' });
    expect(world.row?.revision).toBeGreaterThan(row.revision);
    expect(world.issued).toEqual([]);
  });

  test('is refused after its process was killed, unless it stood in the table then', async () => {
    for (const isInTable of [false, true]) {
      const world = await worldAt('on', [randomKey()], names(2));
      let copied: SwitchRow | null = null;
      const dying = startProcess(world);
      const writeSwitch: Process['store']['writeSwitch'] = async (row, ...given) => {
        copied = row;
        if (isInTable) await dying.store.writeSwitch(row, ...given);
        await new Promise(() => undefined);
      };
      void disable({ ...dying, store: { ...dying.store, writeSwitch } }, options);
      while (copied === null) await new Promise((resolve) => setImmediate(resolve));
      const next = startProcess(world);
      expect((await next.vault.refresh()).switch.state).toBe(isInTable ? 'disabling' : 'on');
      world.row = copied;
      expect((await next.vault.refresh()).switch.state).toBe(isInTable ? 'disabling' : 'on');
      if (isInTable) await disable(next, options);
      expect((await next.vault.refresh()).switch.state).toBe(isInTable ? 'off' : 'on');
    }
  });

  test('honest use: a commit whose answer is lost is a commit', async () => {
    const world = await worldAt('on', [randomKey()], names(2));
    const process = startProcess(world);
    const writeSwitch: Process['store']['writeSwitch'] = async (...given) => {
      await process.store.writeSwitch(...given);
      throw refused();
    };
    await disable({ ...process, store: { ...process.store, writeSwitch } }, options);
    expect(world.row).toMatchObject({ state: 'off' });
    expect(process.told.steps.join()).not.toContain('withdrawn');
  });
});

test('the row `enabling` of an enable that failed is refused, and a later enable is one', async () => {
  const world = await worldAt('off', [randomKey()], names(2));
  for (const _ of [1, 2]) {
    const { ports, copied } = withTrigger(startProcess(world), 'enabling');
    await expect(enable(ports, options)).rejects.toMatchObject({ code: 'database_failed' });
    const before = world.row;
    world.row = copied[0] ?? null;
    expect((await startProcess(world).vault.refresh()).switch.state).toBe('off');
    world.row = before;
  }
  await enable(startProcess(world), options);
  expect(world.row).toMatchObject({ state: 'on' });
});

describe('a row of the page that says an operation runs', () => {
  let server: Server;

  beforeAll(async () => {
    server = await startServer('sqlite');
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const forged = (kind: 'disable' | 'rotate'): StoredOperation => ({
    ...{ number: 1, kind, by: 'x', startedAtMs: Date.now(), endedAtMs: null },
    ...{ worker: 'dead', state: 'running', detail: serializeRecord(emptyRecord) },
  });

  async function forge(scene: Scene, kind: 'disable' | 'rotate'): Promise<void> {
    expect(await scene.database.beginOperation(forged(kind), null)).toBe(true);
  }

  test('does not finish the disable of a command', async () => {
    await using scene = await server.scene();
    await scene.addMailboxes(2);
    await enable(scene.command(), options);
    const { ports } = withTrigger(scene.command(), 'off', ['disabling']);
    // Its `disabling` is stored by the operator; the rest fails.
    const begun = { ...ports.store, writeSwitch: storesOnly(scene, 'disabling') };
    await expect(disable({ ...ports, store: begun }, options)).rejects.toMatchObject({ code: 'database_failed' });
    expect(await scene.row()).toMatchObject({ state: 'disabling' });
    await forge(scene, 'disable');
    const view = await viewWhen(await scene.worker(), isOver);
    expect(view).toMatchObject({ state: 'failed', error: { code: 'interrupted' } });
    expect(await scene.row()).toMatchObject({ state: 'disabling' });
    expect(scene.logged.map(([event]) => event)).toContain('admin.operation_not_resumed');
  });

  test('does not finish the rotation of a command, so that no key leaves the key file unseen', async () => {
    await using scene = await server.scene();
    await scene.addMailboxes(2);
    await enable(scene.command(), options);
    const { ports } = withTrigger(scene.command(), 'rotating');
    await expect(rotate(ports, options)).rejects.toMatchObject({ code: 'database_failed' });
    const before = await scene.row();
    await forge(scene, 'rotate');
    expect(await viewWhen(await scene.worker(), isOver)).toMatchObject({ state: 'failed' });
    expect(await scene.row()).toEqual(before);
    expect(new Set(await scene.openAll())).toEqual(new Set([password]));
  });

  test('honest use: what the daemon began is finished, and a rotation asks for a new backup', async () => {
    await using scene = await server.scene();
    await scene.addMailboxes(2);
    await enable(scene.command(), options);
    const worker = await scene.worker();
    await worker.operations.start('rotate', 'ann');
    expect(await viewWhen(worker, isOver)).toMatchObject({ state: 'done' });
    expect(scene.logged.map(([event]) => event)).toContain('key.backup_due');
  });
});

function storesOnly(scene: Scene, state: SwitchState): Process['store']['writeSwitch'] {
  return async (row, ...given) => {
    if (row.state !== state) throw refused();
    await scene.database.writeSwitch(row, ...given);
  };
}
