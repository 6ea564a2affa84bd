import { describe, expect, test } from 'vitest';
import { disable } from '../../../src/encryption/operations/disable.ts';
import { enable } from '../../../src/encryption/operations/enable.ts';
import type { OperationOptions } from '../../../src/encryption/operations/operation.ts';
import type { StoredWorker } from '../../../src/encryption/ports.ts';
import { Failure } from '../../../src/errors.ts';
import { judgeSwitchRow } from '../../../src/secret/switch.ts';
import { newWorld, startProcess, type World } from '../memory-ports.ts';
import {
  keysInFile,
  names,
  pointElsewhere,
  putPlain,
  putSealed,
  randomKey,
  rowOf,
  storedOf,
  worldAt,
  wrongPasswords,
} from '../stored-passwords.ts';
import type { Process } from './process.ts';

const never = new AbortController().signal;
const options: OperationOptions = { force: false, waitMs: 3000, signal: never };

function worker(host: string, keyIds: readonly string[], given: Partial<StoredWorker> = {}): StoredWorker {
  const times = { startedAtMs: 0, seenAtMs: 0, live: true };
  return { worker: `${host}/1`, host, pid: 41, keyIds, vault: 'open', revision: 0, ...times, ...given };
}

const actionsOf = (world: World) => world.audit.map(({ action }) => action);
const formsOf = (world: World) => [...new Set([...world.passwords.values()].map(({ form }) => form))];

/** A process that is stopped after `batches` batches. */
function stopAfter(batches: number, process: Process): { ports: Process; stop: AbortSignal } {
  const stop = new AbortController();
  let left = batches;
  const rewritePasswords: Process['store']['rewritePasswords'] = async (...given) => {
    const result = await process.store.rewritePasswords(...given);
    left -= 1;
    if (left === 0) stop.abort();
    return result;
  };
  return { ports: { ...process, store: { ...process.store, rewritePasswords } }, stop: stop.signal };
}

describe('switching on', () => {
  test('creates the key file, seals every password in batches, is audited, and rewrites the table', async () => {
    const world = newWorld();
    putPlain(world, ...names(405));
    const ports = startProcess(world);
    const done = await enable(ports, options);
    const [key] = keysInFile(world);
    expect(done).toEqual({
      keyId: key?.id,
      createdKeyFile: true,
      sealed: 405,
      sealedTokens: 0,
      unopened: [],
      confirmed: expect.any(Array),
      wasOn: false,
    });
    expect(world.row).toMatchObject({
      state: 'on',
      keyId: key?.id,
      nextKeyId: null,
      revision: 2,
      changedBy: 'ada@desk',
    });
    expect(world.remembered).toEqual(world.row);
    expect(formsOf(world)).toEqual(['sealed']);
    expect(await wrongPasswords(world)).toEqual([]);
    expect(world.rebuilds).toBe(1);
    expect(new Set(actionsOf(world))).toEqual(
      new Set(['key.created', 'switch.enabling', 'password.sealed', 'switch.on']),
    );
    expect(actionsOf(world).filter((action) => action === 'password.sealed')).toHaveLength(405);
    expect(world.audit[0]).toMatchObject({ who: 'ada@desk', host: 'desk', keyId: key?.id });
    expect(ports.told.passwords.slice(0, 3)).toEqual([
      [200, 405],
      [400, 405],
      [405, 405],
    ]);
    expect(world.claim).toBeNull();
  });

  test('uses the first key of a key file that is there', async () => {
    const world = newWorld();
    const [first, second] = [randomKey(), randomKey()];
    world.file = [first, second];
    putPlain(world, 'a');
    expect(await enable(startProcess(world), options)).toMatchObject({ keyId: first.id, createdKeyFile: false });
    expect(keysInFile(world)).toEqual([first, second]);
    expect(actionsOf(world)).not.toContain('key.created');
  });

  test('uses the key file that another process created a moment before', async () => {
    const world = newWorld();
    const theirs = randomKey();
    const ports = startProcess(world);
    const create: Process['keyFile']['create'] = async (keys) => {
      world.file = [theirs];
      await ports.keyFile.create(keys);
    };
    const done = await enable({ ...ports, keyFile: { ...ports.keyFile, create } }, options);
    expect(done).toMatchObject({ keyId: theirs.id, createdKeyFile: false });
  });

  test('ends with what is wrong with the key file, and changes nothing', async () => {
    const world = newWorld();
    world.file = new Failure('key_file_refused', 'others can read it');
    await expect(enable(startProcess(world), options)).rejects.toMatchObject({ code: 'key_file_refused' });
    expect(world.row?.revision).toBe(0);
    expect(world.claim).toBeNull();
  });

  test('waits for live workers only, names those that lack the key, and changes nothing but the key file', async () => {
    const world = newWorld();
    putPlain(world, 'a');
    world.workers = [
      worker('east', []),
      worker('west', ['0000000000000000'], { pid: 42 }),
      worker('silent', [], { live: false }),
      worker('desk', [], { worker: 'desk/1/1/0/0' }),
    ];
    const ports = startProcess(world);
    const failing = enable(ports, options);
    await expect(failing).rejects.toMatchObject({ code: 'workers_lack_key', fields: { workers: 2 } });
    await expect(failing).rejects.toThrow(/east \(pid 41\), west \(pid 42\)$/);
    expect(ports.told.waiting).toHaveLength(16);
    expect(ports.told.waiting[0]).toEqual(['east', 'west']);
    expect(world.row?.revision).toBe(0);
    expect(formsOf(world)).toEqual(['plain']);
    const [key] = keysInFile(world);
    world.workers = [worker('east', [key?.id ?? '']), worker('west', [key?.id ?? ''])];
    expect(await enable(startProcess(world), options)).toMatchObject({ keyId: key?.id, sealed: 1 });
  });

  test('continues by force, and reports it', async () => {
    const world = newWorld();
    world.workers = [worker('east', [])];
    const ports = startProcess(world);
    await enable(ports, { ...options, force: true });
    expect(world.row?.state).toBe('on');
    expect(ports.told.steps).toContain('Continuing by force: live workers without the key: 1.');
    expect(ports.told.steps.join('\n')).not.toContain('Every live worker holds');
    expect(ports.told.steps.join('\n')).toMatch(/New passwords are sealed with key \w+ from now on, although/);
    expect(ports.told.waiting.at(-1)).toEqual(['east']);
  });

  test('takes the key that is in the file after the waiting', async () => {
    const world = newWorld();
    const [first, second] = [randomKey(), randomKey()];
    world.file = [first];
    const ports = startProcess(world);
    const waiting = () => {
      world.file = [second];
    };
    expect(
      await enable({ ...ports, observer: { ...ports.observer, workersWithoutKey: waiting } }, options),
    ).toMatchObject({
      keyId: second.id,
    });
    expect(world.row?.keyId).toBe(second.id);
  });

  test('resumes with the key of an earlier run', async () => {
    const [other, key] = [randomKey(), randomKey()];
    const world = await worldAt('enabling', [key], ['a']);
    world.file = [other, key];
    putPlain(world, 'b');
    expect(await enable(startProcess(world), options)).toMatchObject({ keyId: key.id, sealed: 1, wasOn: false });
    expect(await wrongPasswords(world)).toEqual([]);
  });

  test('seals plain text while it is on, and rewrites the table as an interrupted run would have', async () => {
    const world = await worldAt('on', [randomKey()], ['a']);
    putPlain(world, 'b');
    expect(await enable(startProcess(world), options)).toMatchObject({ sealed: 1, wasOn: true });
    expect(world.row?.revision).toBe(2);
    expect(formsOf(world)).toEqual(['sealed']);
    expect(world.rebuilds).toBe(1);
  });

  test('is not on before no plain text is left, whatever is written while it seals', async () => {
    const world = newWorld();
    putPlain(world, 'm1', 'm2');
    const ports = startProcess(world);
    const late = ['a1', 'a2', 'a3'];
    const passwords = () => putPlain(world, ...late.splice(0, 1));
    const readable: unknown[] = [];
    const writeSwitch: Process['store']['writeSwitch'] = async (row, ...more) => {
      readable.push([row.state, formsOf(world)]);
      await ports.store.writeSwitch(row, ...more);
    };
    const { store, observer: tell } = ports;
    await enable({ ...ports, store: { ...store, writeSwitch }, observer: { ...tell, passwords } }, options);
    expect(world.passwords.size).toBe(5);
    expect(readable).toEqual([
      ['enabling', ['plain']],
      ['on', ['sealed']],
    ]);
  });

  test('stays at enabling while a password cannot be sealed, names it, and seals every other', async () => {
    const world = newWorld();
    putPlain(world, 'a', 'empty', 'z');
    storedOf(world, 'empty').bytes = new Uint8Array(0);
    await expect(enable(startProcess(world), options)).rejects.toMatchObject({
      code: 'password_damaged',
      message: expect.stringContaining('empty'),
    });
    expect(world.row?.state).toBe('enabling');
    expect(['a', 'z'].map((name) => storedOf(world, name).form)).toEqual(['sealed', 'sealed']);
    putPlain(world, 'empty');
    expect(await enable(startProcess(world), options)).toMatchObject({ sealed: 1 });
    expect(world.row?.state).toBe('on');
  });

  test.each(['rotating', 'disabling'] as const)(
    'is refused while the switch is %s, and told the way out',
    async (state) => {
      const [key, next] = [randomKey(), randomKey()];
      const world = await worldAt(state, [key, next], ['a'], state === 'rotating' ? { nextKeyId: next.id } : {});
      const command = state === 'rotating' ? 'encryption rotate' : 'encryption disable';
      await expect(enable(startProcess(world), options)).rejects.toMatchObject({
        code: 'refused',
        hint: expect.stringContaining(command),
      });
    },
  );
});

describe('switching off', () => {
  test('restores every password to plain text, seals its row, and sets the key file aside', async () => {
    const key = randomKey();
    const world = await worldAt('on', [key], names(405));
    const done = await disable(startProcess(world), options);
    const setAside = world.asideFiles[0]?.path;
    expect(done).toEqual({ unsealed: 405, unsealedTokens: 0, unopened: [], setAside, wasOff: false });
    expect(world.row).toMatchObject({ state: 'off', keyId: null, revision: 4 });
    expect(judgeSwitchRow(world.row, [key], null).kind).toBe('accepted');
    expect(world.remembered).toEqual(world.row);
    expect(formsOf(world)).toEqual(['plain']);
    expect(await wrongPasswords(world)).toEqual([]);
    expect(world.asideFiles.map(({ keys }) => keys)).toEqual([[key]]);
    expect(actionsOf(world)).toEqual([
      'switch.disabling',
      ...names(405).map(() => 'password.unsealed'),
      'switch.off',
      'key.set_aside',
    ]);
  });

  test('stays at disabling while a password cannot be opened, then resumes', async () => {
    const [key, lost] = [randomKey(), randomKey()];
    const world = await worldAt('on', [key], ['a', 'b', 'c', 'd']);
    pointElsewhere(world, 'b');
    storedOf(world, 'c').bytes = Uint8Array.from(storedOf(world, 'c').bytes.subarray(0, 90));
    await putSealed(world, lost, ['d']);
    const done = await disable(startProcess(world), options);
    expect(done).toMatchObject({ unsealed: 1, setAside: null, wasOff: false });
    expect(done.unopened.map(({ mailbox, code }) => `${mailbox} ${code}`)).toEqual([
      'b password_binding_mismatch',
      'c password_damaged',
      'd key_unknown',
    ]);
    expect(world.row?.state).toBe('disabling');
    expect(keysInFile(world)).toEqual([key]);
    world.passwords.delete('b');
    world.passwords.delete('c');
    putPlain(world, 'd');
    expect(await disable(startProcess(world), options)).toMatchObject({ unsealed: 0, unopened: [] });
    expect(world.row?.state).toBe('off');
  });

  test('resumes from enabling with the key of that operation', async () => {
    const world = await worldAt('enabling', [randomKey()], ['a']);
    putPlain(world, 'b');
    expect(await disable(startProcess(world), options)).toMatchObject({ unsealed: 1, wasOff: false });
    expect(world.row?.state).toBe('off');
    expect(world.file).toBeNull();
  });

  test('goes off while a rotation is only announced', async () => {
    const [key, next] = [randomKey(), randomKey()];
    const world = await worldAt('on', [key, next], ['a'], { nextKeyId: next.id });
    expect(await disable(startProcess(world), options)).toMatchObject({ unsealed: 1 });
    expect(world.asideFiles[0]?.keys).toEqual([key, next]);
  });

  test('sets aside the key file that an interrupted run left, and no other', async () => {
    const key = randomKey();
    const world = await worldAt('off', [key], ['a'], { revision: 4 });
    expect(await disable(startProcess(world), options)).toMatchObject({ wasOff: true, setAside: expect.any(String) });
    expect(world.asideFiles.map(({ keys }) => keys)).toEqual([[key]]);
    expect(await disable(startProcess(world), options)).toMatchObject({ wasOff: true, setAside: null });
    // Another worker prepares to switch on again.
    world.file = [randomKey()];
    expect(await disable(startProcess(world), options)).toMatchObject({ wasOff: true, setAside: null });
    expect(world.asideFiles).toHaveLength(1);
  });

  test('leaves the key file alone when nothing was ever switched on', async () => {
    const world = newWorld();
    world.file = [randomKey()];
    expect(await disable(startProcess(world), options)).toEqual({
      unsealed: 0,
      unsealedTokens: 0,
      unopened: [],
      setAside: null,
      wasOff: true,
    });
    expect(world.file).toHaveLength(1);
  });

  test('leaves the key file where it is while a sealed password is left', async () => {
    const key = randomKey();
    const world = await worldAt('off', [key], ['a']);
    await putSealed(world, key, ['b']);
    expect(await disable(startProcess(world), options)).toMatchObject({ wasOff: true, setAside: null });
    expect(await wrongPasswords(world)).toEqual([]);
  });

  test('is refused in the middle of a rotation', async () => {
    const [key, next] = [randomKey(), randomKey()];
    const world = await worldAt('rotating', [key, next], ['a'], { nextKeyId: next.id });
    await expect(disable(startProcess(world), options)).rejects.toMatchObject({
      code: 'refused',
      hint: expect.stringContaining('encryption rotate'),
    });
  });
});

describe('every operation', () => {
  test('is refused while another one has the claim, and names its owner', async () => {
    const world = newWorld();
    const other = startProcess(world);
    world.claim = { owner: other.worker.name, untilMs: world.nowMs + 1000 };
    const ports = startProcess(world, undefined, [other.worker.name]);
    await expect(enable(ports, options)).rejects.toMatchObject({
      code: 'operation_running',
      message: expect.stringContaining(other.worker.name),
    });
    expect(world.file).toBeNull();
    expect(world.claim?.owner).toBe(other.worker.name);
  });

  test('takes over at once from a process that is known to be dead', async () => {
    const world = newWorld();
    world.claim = { owner: 'desk/1/1/0/0', untilMs: world.nowMs + 30_000 };
    await expect(enable(startProcess(world), options)).resolves.toMatchObject({ wasOn: false });
  });

  test('renews its lease every 10 seconds, and ends when it is lost', async () => {
    const world = await worldAt('on', [randomKey()], ['a']);
    const ports = startProcess(world);
    const sleeps: number[] = [];
    let takenOver = (): void => undefined;
    const clock: Process['clock'] = {
      nowMs: ports.clock.nowMs,
      monotonicMs: ports.clock.monotonicMs,
      sleep: async (ms, signal) => {
        if (ms < 1000) return await ports.clock.sleep(ms, signal);
        sleeps.push(ms);
        if (sleeps.length > 2) return await ports.clock.sleep(ms, signal);
        await new Promise<void>((resolve) => {
          takenOver = resolve;
        });
      },
    };
    const rewritePasswords: Process['store']['rewritePasswords'] = async (...given) => {
      const result = await ports.store.rewritePasswords(...given);
      if (sleeps.length === 2) world.claim = { owner: 'somebody else', untilMs: Number.POSITIVE_INFINITY };
      takenOver();
      await new Promise((resolve) => setImmediate(resolve));
      return result;
    };
    const store = { ...ports.store, rewritePasswords };
    await expect(disable({ ...ports, clock, store }, options)).rejects.toMatchObject({ code: 'operation_running' });
    expect(sleeps).toEqual([10_000, 10_000]);
    expect(world.row?.state).toBe('disabling');
    expect(world.claim?.owner).toBe('somebody else');
  });

  test('goes by no row that is not believed', async () => {
    const [key, other] = [randomKey(), randomKey()];
    const forgeries = [
      [rowOf(other, { revision: 9 }), 'key_unknown'],
      [{ ...rowOf(key, { revision: 9, state: 'off', keyId: null }), seal: null }, 'switch_forged'],
      [rowOf(key, { revision: 1 }), 'switch_rolled_back'],
    ] as const;
    for (const [row, code] of forgeries) {
      const world = await worldAt('on', [key], ['a']);
      world.row = row;
      await expect(disable(startProcess(world), options)).rejects.toMatchObject({ code });
      await expect(enable(startProcess(world), options)).rejects.toMatchObject({ code });
      expect(world.row).toBe(row);
      expect(formsOf(world)).toEqual(['sealed']);
    }
  });

  test('says that the key file is missing', async () => {
    const world = await worldAt('on', [randomKey()], ['a']);
    world.file = null;
    await expect(disable(startProcess(world), options)).rejects.toMatchObject({ code: 'key_file_missing' });
  });

  test('repeats a step when the switch changes meanwhile, five times at most', async () => {
    const world = await worldAt('on', [randomKey()], ['a']);
    const ports = startProcess(world);
    let refusals = 4;
    const writeSwitch: Process['store']['writeSwitch'] = async (...given) => {
      if (refusals-- > 0) throw new Failure('switch_changed', 'it was changed');
      await ports.store.writeSwitch(...given);
    };
    const changing = { ...ports, store: { ...ports.store, writeSwitch } };
    expect(await disable(changing, options)).toMatchObject({ unsealed: 1 });
    const again = await worldAt('on', [randomKey()], ['a']);
    const failing = startProcess(again);
    const store = { ...failing.store, writeSwitch: () => Promise.reject(new Failure('switch_changed', 'again')) };
    await expect(disable({ ...failing, store }, options)).rejects.toMatchObject({ code: 'switch_changed' });
  });

  test('stops at the next batch, and resumes when it is run again', async () => {
    const world = newWorld();
    putPlain(world, ...names(450));
    const { ports, stop } = stopAfter(2, startProcess(world));
    await expect(enable(ports, { ...options, signal: stop })).rejects.toMatchObject({
      code: 'interrupted',
      hint: expect.stringContaining('same command'),
    });
    expect(world.row?.state).toBe('enabling');
    expect([...world.passwords.values()].filter(({ form }) => form === 'sealed')).toHaveLength(400);
    expect(world.claim).toBeNull();
    expect(await enable(startProcess(world), options)).toMatchObject({ sealed: 50 });
  });

  test('stops while it waits for workers', async () => {
    const world = newWorld();
    world.workers = [worker('east', [])];
    const stop = new AbortController();
    const ports = startProcess(world);
    const observer = { ...ports.observer, workersWithoutKey: () => stop.abort() };
    await expect(enable({ ...ports, observer }, { ...options, signal: stop.signal })).rejects.toMatchObject({
      code: 'interrupted',
    });
  });

  test('wipes every password that it opened', async () => {
    const world = await worldAt('on', [randomKey()], ['a', 'b']);
    const ports = startProcess(world);
    const lent: Uint8Array[] = [];
    const rewritePasswords: Process['store']['rewritePasswords'] = async (stretch, change) =>
      await ports.store.rewritePasswords(stretch, async (row) => {
        const made = await change(row);
        if (made?.form === 'plain') lent.push(made.password.use((bytes) => bytes));
        return made;
      });
    await disable({ ...ports, store: { ...ports.store, rewritePasswords } }, options);
    expect(lent).toHaveLength(2);
    expect(lent.every((bytes) => bytes.every((byte) => byte === 0))).toBe(true);
  });

  test('stores each row that it wrote before it reads anything else', async () => {
    const world = await worldAt('on', [randomKey()], ['a']);
    const ports = startProcess(world);
    const refresh = async () => {
      expect(world.remembered).toEqual(world.row);
      return await ports.vault.refresh();
    };
    await disable({ ...ports, vault: { ...ports.vault, refresh } }, options);
    expect(world.row?.state).toBe('off');
  });

  test('rethrows an unexpected error of a password at once', async () => {
    const world = await worldAt('on', [randomKey()], ['a']);
    const ports = startProcess(world);
    const rewritePasswords = () => Promise.reject(new Failure('database_unavailable', 'away'));
    const store = { ...ports.store, rewritePasswords };
    await expect(disable({ ...ports, store }, options)).rejects.toMatchObject({ code: 'database_unavailable' });
  });
});
