import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { emptyRecord, serializeRecord } from '../../../src/admin/operations/record.ts';
import { runWorkflow } from '../../../src/admin/operations/runner.ts';
import type { StoredOperation } from '../../../src/admin/ports.ts';
import type { OperationKind } from '../../../src/admin/service.ts';
import { disable } from '../../../src/encryption/operations/disable.ts';
import { enable } from '../../../src/encryption/operations/enable.ts';
import type { OperationOptions } from '../../../src/encryption/operations/operation.ts';
import { reseal } from '../../../src/encryption/operations/rotate.ts';
import { Failure } from '../../../src/errors.ts';
import { events } from '../../../src/events.ts';
import { generateKey } from '../../../src/secret/key.ts';
import { by, plainNow } from '../../adapters/database/samples.ts';
import { Death } from '../../encryption/operations/process.ts';
import { until } from '../../support/promises.ts';
import { isOver, password, type Scene, type Server, startServer, viewWhen, type Worker } from './operation-scene.ts';

const options: OperationOptions = { force: false, waitMs: 0, signal: new AbortController().signal };

let server: Server;
let scene: Scene;

beforeAll(async () => {
  server = await startServer('sqlite');
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(async () => {
  scene = await server.scene();
});
afterEach(() => scene[Symbol.asyncDispose]());

async function startedAndOver(worker: Worker, kind: OperationKind) {
  expect(await worker.operations.start(kind, 'ann')).toEqual({ kind: 'started' });
  return await viewWhen(worker, isOver);
}

describe('operations of the page', () => {
  test('switch on, rotate and switch off, with who it was in audit and switch', async () => {
    await scene.addMailboxes(3);
    const worker = await scene.worker();
    expect(await worker.operations.view()).toBeNull();
    expect(await startedAndOver(worker, 'enable')).toMatchObject({
      ...{ kind: 'enable', by: 'ann (admin page)', state: 'done', error: null, endedAtMs: expect.any(Number) },
      steps: expect.arrayContaining([
        'Encryption is on: no password is stored in plain text in the table any more.',
        'Passwords sealed: 3.',
      ]),
    });
    expect(await scene.row()).toMatchObject({ state: 'on', changedBy: 'ann (admin page)' });
    const former = (await scene.row())?.keyId;
    expect(await startedAndOver(worker, 'rotate')).toMatchObject({ kind: 'rotate', state: 'done', unopened: [] });
    expect((await scene.row())?.keyId).not.toBe(former);
    expect(await scene.openAll()).toEqual([password, password, password]);
    expect(await worker.operations.startProven('bob')).toEqual({ kind: 'started' });
    const off = await viewWhen(worker, isOver);
    expect(off).toMatchObject({
      kind: 'disable',
      by: 'bob (admin page)',
      state: 'done',
      setAside: expect.stringContaining('disabled'),
    });
    expect(await scene.row()).toMatchObject({ state: 'off', changedBy: 'bob (admin page)' });
    const audit = (await scene.database.readAudit(50, 'admin')).filter(
      ({ action }) => action === 'admin.operation_started',
    );
    expect(audit.map(({ who, detail }) => [who, detail])).toEqual([
      ['bob (admin page)', 'disable'],
      ['ann (admin page)', 'rotate'],
      ['ann (admin page)', 'enable'],
    ]);
    const told = scene.logged.map(([event]) => event).filter((event) => event.startsWith('admin.'));
    const [start, end] = [events.adminOperationStarted, events.adminOperationFinished];
    expect(told).toEqual([start, end, start, end, start, end]);
  });

  test('that cannot start now are refused with the reason, and nothing is changed', async () => {
    const worker = await scene.worker();
    const refusal = async (kind: OperationKind) => {
      const answer = await worker.operations.start(kind, 'ann');
      return answer.kind === 'refused' ? answer.sentence : null;
    };
    expect(await refusal('rotate')).toContain('A key rotation is not possible while the switch is off.');
    await enable(scene.command(), options);
    const before = await scene.row();
    expect(await refusal('disable')).toContain('Disabling encryption has to be requested first.');
    expect(await scene.row()).toEqual(before);
    expect(await worker.operations.view()).toBeNull();
  });

  test('that fail say why: a live worker lacks the key, or another operation runs', async () => {
    const report = { host: 'far', pid: 7, keyIds: [], vault: 'closed', revision: 0 };
    await scene.database.reportWorker({ worker: 'far/1/1/7/0', ...report });
    const worker = await scene.worker();
    await worker.operations.start('enable', 'ann');
    await viewWhen(worker, ({ steps }) => steps.at(-1) === 'Waiting for workers that lack the key: far (pid 7).');
    const lacking = await viewWhen(worker, isOver);
    expect(lacking).toMatchObject({ state: 'failed', error: { code: 'workers_lack_key' } });
    expect(lacking.error?.message).toContain('far (pid 7)');
    expect(lacking.steps.join()).not.toContain('Waiting');
    expect(await scene.row()).toMatchObject({ state: 'off' });
    await scene.database.removeWorker('far/1/1/7/0');
    await scene.database.claimOperation('far/1/1/8/0', 60_000, () => false);
    expect(await startedAndOver(worker, 'enable')).toMatchObject({
      state: 'failed',
      error: { code: 'operation_running' },
    });
    const failed = scene.logged.filter(([event]) => event === events.adminOperationFailed);
    expect(failed.map(([, { operation, by }]) => [operation, by])).toEqual([
      ['enable', 'ann (admin page)'],
      ['enable', 'ann (admin page)'],
    ]);
  });

  test('that leave passwords sealed that cannot be opened name them', async () => {
    await scene.addMailboxes(3);
    const worker = await scene.worker();
    await startedAndOver(worker, 'enable');
    const [mailbox] = await scene.database.listMailboxes();
    if (mailbox === undefined) throw new Error('there is no mailbox');
    const { keyId, revision: switchRevision } = (await scene.row()) ?? { keyId: null, revision: 0 };
    const sealed = { form: 'sealed', sealed: Buffer.from('damaged'), keyId: keyId ?? '' } as const;
    const damaged = { ...sealed, switchRevision, settingsSeal: null };
    await scene.database.setPassword(mailbox.id, damaged, scene.command().actor);
    await worker.operations.startProven('ann');
    const view = await viewWhen(worker, isOver);
    expect(view).toMatchObject({ state: 'failed', error: { code: 'password_damaged' } });
    expect(view.unopened.map(({ mailbox: name }) => name)).toEqual([mailbox.name]);
    expect(await scene.row()).toMatchObject({ state: 'disabling' });
    expect(await startedAndOver(worker, 'disable')).toMatchObject({ state: 'failed' });
  });
});

describe('two that begin at the same moment', () => {
  test('one wins, and the other is refused with who started what', async () => {
    await scene.addMailboxes(2);
    const [one, other] = await Promise.all([scene.worker({ isReporting: true }), scene.worker({ isReporting: true })]);
    const answers = await Promise.all([
      one.operations.start('enable', 'ann'),
      one.operations.start('enable', 'ben'),
      other.operations.start('enable', 'eve'),
    ]);
    expect(answers.map(({ kind }) => kind).sort()).toEqual(['refused', 'refused', 'started']);
    const winner = ['ann', 'ben', 'eve'][answers.findIndex(({ kind }) => kind === 'started')];
    const sentence = new RegExp(
      `^Another operation is running: enable, started by ${winner} \\(admin page\\) at [0-9: -]+ UTC\\. `,
    );
    for (const answer of answers) if (answer.kind === 'refused') expect(answer.sentence).toMatch(sentence);
    for (const worker of [one, other])
      expect(await viewWhen(worker, isOver)).toMatchObject({ state: 'done', by: `${winner} (admin page)` });
    const enabling = (await scene.database.readAudit(50)).filter(({ action }) => action === 'switch.enabling');
    expect(enabling.map(({ who }) => who)).toEqual([`${winner} (admin page)`]);
  });
});

/** A row as an attacker with write access to the database writes it. */
function forged(kind: OperationKind, given: Partial<StoredOperation> = {}): StoredOperation {
  return {
    ...{ number: 41, kind, by: 'eve', startedAtMs: Date.now(), endedAtMs: null },
    ...{ worker: 'desk/1/1/999999/0', state: 'running', detail: serializeRecord(emptyRecord) },
    ...given,
  };
}

/** All that an operation could change. */
async function world() {
  const files = (await readdir(scene.dataDir)).filter((name) => name.startsWith('encryption-key'));
  const keys = await Promise.all(files.map((name) => readFile(join(scene.dataDir, name), 'hex')));
  return { row: await scene.row(), counts: await scene.counts(), files, keys };
}

/** Brings the switch there and leaves it, as a process that dies does. */
async function bringTo(
  state: 'off' | 'enabling' | 'on' | 'announced' | 'rotating' | 'behind' | 'disabling' | 'done',
): Promise<void> {
  await scene.addMailboxes(2);
  if (state === 'off') return;
  let [writes, isEnough] = [0, 1];
  const fate = (effect: string, when: 'before' | 'after') => {
    if (effect !== 'store.writeSwitch' || when === 'before') return;
    writes += 1;
    if (writes === isEnough) throw new Death('died');
  };
  const dying = async (kind: OperationKind, afterWrites: number) => {
    [writes, isEnough] = [0, afterWrites];
    const worker = await scene.worker({ fate });
    const answer = kind === 'disable' ? worker.operations.startProven('ann') : worker.operations.start(kind, 'ann');
    await answer;
    await until('the writes', () => writes === afterWrites);
    scene.bury(worker);
    await worker.stop();
  };
  if (state === 'enabling') return await dying('enable', 1);
  await enable(scene.command(), options);
  if (state === 'announced') await dying('rotate', 1);
  if (state === 'rotating') await dying('rotate', 2);
  if (state === 'behind') await dying('rotate', 3);
  if (state === 'disabling') await dying('disable', 1);
  if (state === 'done') await dying('disable', 2);
}

async function replaceRow(row: StoredOperation): Promise<void> {
  expect(await scene.database.beginOperation(row, await scene.database.readOperation())).toBe(true);
}

describe('a forged row', () => {
  test.for([
    ['off', 'enable'],
    ['off', 'rotate'],
    ['enabling', 'rotate'],
    ['enabling', 'disable'],
    ['on', 'disable'],
    ['announced', 'disable'],
    ['rotating', 'enable'],
    ['rotating', 'disable'],
    ['disabling', 'enable'],
    ['disabling', 'rotate'],
  ] as const)('does nothing that the switch does not say: while it is %s, a running %s', async ([state, kind]) => {
    await bringTo(state);
    const before = await world();
    for (const worker of ['desk/1/1/999999/0', 'evil', 'far/2/2/1/0']) {
      await replaceRow(forged(kind, { worker }));
      const looking = await scene.worker();
      const view = await viewWhen(looking, isOver);
      expect(view).toMatchObject({ state: 'failed', error: { code: 'interrupted' }, by: 'eve' });
      expect(view.error?.hint).toContain('press the button again');
      expect(await world()).toEqual(before);
      await replaceRow(forged(kind, { worker: looking.process.worker.name, number: 7 }));
      expect(await viewWhen(looking, isOver)).toMatchObject({ error: { code: 'interrupted' } });
      expect(await world()).toEqual(before);
      await looking.stop();
    }
  });

  test('does not switch off, whatever its detail says and however often it is written', async () => {
    await bringTo('on');
    const before = await world();
    const details = [
      '',
      'null',
      '[]',
      '{"steps":[1]}',
      '{"proven":true}',
      `"${'x'.repeat(2_000_000)}"`,
      '{"steps":',
      '\u0000',
    ];
    const looking = await scene.worker();
    for (const [index, detail] of details.entries()) {
      await replaceRow(forged('disable', { number: index * 1000, detail }));
      const view = await viewWhen(looking, isOver);
      expect(view).toMatchObject({ state: 'failed', unopened: [] });
      expect(view.steps).toEqual(detail === '{"steps":[1]}' ? ['unknown step'] : []);
    }
    expect(await world()).toEqual(before);
  });

  test('runs only what the switch shows as unfinished at that moment', async () => {
    await bringTo('on');
    const before = await world();
    for (const kind of ['disable', 'rotate', 'enable'] as const)
      await expect(runWorkflow(kind, true, scene.command(), options)).rejects.toMatchObject({ code: 'interrupted' });
    expect(await world()).toEqual(before);
  });

  test('resumes what the switch shows as unfinished, and not in the forged name', async () => {
    await bringTo('disabling');
    await replaceRow(forged('disable'));
    expect(await viewWhen(await scene.worker(), isOver)).toMatchObject({ state: 'done', by: 'eve' });
    expect(await scene.row()).toMatchObject({ state: 'off', changedBy: 'ticketmaild@desk' });
  });

  test.for(['now', 'long ago'] as const)(
    'that says disable leaves the key file alone while it is off: begun %s',
    async (begun) => {
      await bringTo('on');
      const { keyFile } = scene.command();
      const reading = await keyFile.read();
      if (reading.kind !== 'keys') throw new Error('there is no key file');
      const worker = await scene.worker();
      await worker.operations.startProven('ann');
      await viewWhen(worker, isOver);
      // Put back, in order to switch on again with it.
      await keyFile.create(reading.keys);
      const before = await world();
      await replaceRow(forged('disable', begun === 'now' ? {} : { startedAtMs: 0 }));
      expect(await viewWhen(worker, isOver)).toMatchObject({
        state: begun === 'now' ? 'failed' : 'done',
        setAside: null,
      });
      expect(await world()).toEqual(before);
    },
  );

  test.for([
    ['rotate', 'now'],
    ['rotate', 'long ago'],
    ['enable', 'now'],
    ['enable', 'long ago'],
  ] as const)('that says %s while it is on changes no key and rewrites no table: begun %s', async ([kind, begun]) => {
    await bringTo('on');
    const { keyFile, random } = scene.command();
    const reading = await keyFile.read();
    if (reading.kind !== 'keys') throw new Error('there is no key file');
    await keyFile.replace([...reading.keys, generateKey(random)]);
    // In plain text, by another program that writes the table: sealing it is for the workers.
    const readable = await plainNow(scene.database, password);
    await scene.database.setPassword((await scene.database.listMailboxes())[0]?.id ?? '', readable, by);
    const before = await world();
    const effects: string[] = [];
    const looking = await scene.worker({ fate: (effect) => void effects.push(effect) });
    for (const name of ['eve', 'ada@desk']) {
      await replaceRow(forged(kind, { by: name, ...(begun === 'now' ? {} : { startedAtMs: 0 }) }));
      const view = await viewWhen(looking, isOver);
      if (begun === 'long ago') {
        expect(view).toMatchObject({ state: 'done', error: null });
        expect(view.followUp?.command).toMatch(/^ticketmaild encryption (reseal|enable)$/);
      } else expect(view).toMatchObject({ state: 'failed', error: { code: 'interrupted' }, followUp: null });
      expect(await world()).toEqual(before);
    }
    expect(new Set(effects)).toEqual(new Set(['store.beginOperation']));
  });

  test('with the name of another live worker is ended by that worker', async () => {
    const [looking, other] = [await scene.worker({ isReporting: true }), await scene.worker({ isReporting: true })];
    await replaceRow(forged('enable', { worker: other.process.worker.name }));
    expect(await viewWhen(looking, isOver)).toMatchObject({ state: 'failed', error: { code: 'interrupted' } });
    expect(await scene.database.readOperation()).toMatchObject({ worker: other.process.worker.name });
    expect(await startedAndOver(looking, 'enable')).toMatchObject({ state: 'done' });
  });

  test('of an unknown kind or state counts as none, and the next operation replaces it', async () => {
    await scene.addMailboxes(1);
    for (const odd of [{ kind: 'erase' as OperationKind }, { state: 'paused' as 'running' }]) {
      await replaceRow(forged('enable', odd));
      const worker = await scene.worker();
      expect(await worker.operations.view()).toBeNull();
      expect(await startedAndOver(worker, 'enable')).toMatchObject({ state: 'done' });
      // It reports no heartbeat, so that it would take the next one for dead.
      await worker.stop();
    }
  });
});

describe('a daemon that ends in the middle', () => {
  test.for([
    ['enabling', 'enable', 'on'],
    ['announced', 'rotate', 'on'],
    ['rotating', 'rotate', 'on'],
    ['disabling', 'disable', 'off'],
  ] as const)('leaves the switch at %s, and another one resumes %s', async ([state, kind, end]) => {
    await bringTo(state);
    const next = await scene.worker();
    const view = await viewWhen(next, isOver);
    expect(view).toMatchObject({ kind, by: 'ann (admin page)', state: 'done', error: null });
    expect(view.steps.join(' ')).toContain('another one resumed it');
    expect(await scene.row()).toMatchObject({ state: end, changedBy: 'ann (admin page)', nextKeyId: null });
    expect(await scene.openAll()).toEqual([password, password]);
  });

  test('after the last change of a rotation: it is done, and the former key stays until an admin drops it', async () => {
    await bringTo('behind');
    const before = await world();
    expect(before.keys[0]).toHaveLength(2 * 64);
    const view = await viewWhen(await scene.worker(), isOver);
    expect(view).toMatchObject({ kind: 'rotate', by: 'ann (admin page)', state: 'done', error: null });
    expect(view.steps.at(-1)).toBe('The daemon that ran this operation stopped just before its end.');
    expect(view.followUp).toEqual({
      what: expect.stringContaining('former key may still be in the key file'),
      command: 'ticketmaild encryption reseal',
    });
    expect(await world()).toEqual(before);
    expect(await scene.openAll()).toEqual([password, password]);
    await reseal(scene.command(), options);
    expect((await world()).keys[0]).toHaveLength(64);
    expect(await scene.openAll()).toEqual([password, password]);
  });

  test('after the last change of disabling: it is done, and the key file stays until an admin sets it aside', async () => {
    await bringTo('done');
    const before = await world();
    expect(before.files).toEqual(['encryption-key.bin']);
    const view = await viewWhen(await scene.worker(), isOver);
    expect(view).toMatchObject({ kind: 'disable', by: 'ann (admin page)', state: 'done', error: null, setAside: null });
    expect(view.followUp?.command).toBe('ticketmaild encryption disable');
    expect(await world()).toEqual(before);
    expect((await disable(scene.command(), options)).setAside).toContain('.disabled-');
  });

  test('that was only slow, and completed what another one resumes: that is done, too', async () => {
    await bringTo('enabling');
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    const claimOperation: Scene['database']['claimOperation'] = async (...given) => {
      await held;
      return await scene.database.claimOperation(...given);
    };
    const next = await scene.worker({ store: { claimOperation } });
    await viewWhen(next, ({ steps }) => steps.join(' ').includes('another one resumed it'));
    await enable(scene.command(), options);
    release();
    const view = await viewWhen(next, isOver);
    expect(view).toMatchObject({ state: 'done', error: null });
    expect(view.followUp?.command).toBe('ticketmaild encryption enable');
    expect(await scene.row()).toMatchObject({ state: 'on' });
  });

  test('because it was stopped leaves the row running, and the next start resumes it', async () => {
    await scene.addMailboxes(2);
    let stopping: Promise<void> | null = null;
    const fate = (effect: string, when: 'before' | 'after') => {
      if (effect === 'store.writeSwitch' && when === 'after') stopping ??= worker.stop();
    };
    const worker = await scene.worker({ fate });
    await worker.operations.start('enable', 'ann');
    await until('the stop', () => stopping !== null);
    await stopping;
    expect(await scene.row()).toMatchObject({ state: 'enabling' });
    expect(await scene.database.readOperation()).toMatchObject({ state: 'running' });
    expect((await worker.operations.start('enable', 'ben')).kind).toBe('refused');
    expect(await viewWhen(await scene.worker(), isOver)).toMatchObject({ state: 'done', by: 'ann (admin page)' });
    expect(await scene.counts()).toMatchObject({ sealed: 2, plaintext: 0 });
  });

  test('while its claim still runs is waited for', async () => {
    await bringTo('enabling');
    await scene.database.claimOperation('far/1/1/8/0', 60_000, () => true);
    const next = await scene.worker();
    await viewWhen(next, ({ steps }) => steps.join(' ').includes('another one resumed it'));
    expect(await next.operations.view()).toMatchObject({ state: 'running' });
    await scene.database.endOperation('far/1/1/8/0');
    expect(await viewWhen(next, isOver)).toMatchObject({ state: 'done' });
  });

  test('is not taken for dead while it runs', async () => {
    await scene.addMailboxes(2);
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    const rewritePasswords: Scene['database']['rewritePasswords'] = async (...given) => {
      await held;
      return await scene.database.rewritePasswords(...given);
    };
    const [busy, other] = [
      await scene.worker({ store: { rewritePasswords }, isReporting: true }),
      await scene.worker({ isReporting: true }),
    ];
    await busy.operations.start('enable', 'ann');
    await viewWhen(other, ({ steps }) => steps.join(' ').includes('sealed with it from now on'));
    expect(await other.operations.start('enable', 'ben')).toMatchObject({ kind: 'refused' });
    expect(await scene.database.readOperation()).toMatchObject({ worker: busy.process.worker.name, number: 1 });
    release();
    expect(await viewWhen(other, isOver)).toMatchObject({ state: 'done' });
    expect(await scene.database.readOperation()).toMatchObject({ worker: busy.process.worker.name, number: 1 });
  });
});

describe('a database that is away', () => {
  test('does not leave the row running: the end is tried again', async () => {
    await scene.addMailboxes(1);
    let refused = 0;
    const updateOperation: Scene['database']['updateOperation'] = async (next) => {
      if (next.state !== 'running' && refused < 3) {
        refused += 1;
        throw new Failure('database_unavailable', 'it is away');
      }
      return await scene.database.updateOperation(next);
    };
    const worker = await scene.worker({ store: { updateOperation } });
    expect(await startedAndOver(worker, 'enable')).toMatchObject({ state: 'done' });
    expect(refused).toBe(3);
    // By the one that ran it: it did not have to be found left behind.
    expect(await scene.database.readOperation()).toMatchObject({ number: 1 });
  });

  test('in the middle ends in the row, with what failed', async () => {
    await scene.addMailboxes(1);
    const rewritePasswords = async () => {
      throw new Failure('database_unavailable', 'it is away');
    };
    const worker = await scene.worker({ store: { rewritePasswords } });
    const view = await startedAndOver(worker, 'enable');
    expect(view).toMatchObject({ state: 'failed', error: { code: 'database_unavailable' } });
    // What failed it is in the log; what the row says about it is not repeated.
    expect(view.error?.message).toBe('the log of the daemon has the details');
    expect(await scene.row()).toMatchObject({ state: 'enabling' });
  });
});
