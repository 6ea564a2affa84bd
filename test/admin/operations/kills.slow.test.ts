/**
 * Enabling encryption for 250 mailboxes by a daemon that dies at each of its effects in turn: the next one resumes it
 * where the switch shows it as unfinished. An operation that the switch does not show is started again by an admin
 * only.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Death } from '../../encryption/operations/process.ts';
import { isOver, password, type Scene, type Server, startServer, viewWhen } from './operation-scene.ts';

/** More than one stretch of passwords. */
const mailboxes = 250;

/** The effect, its ordinal, and the state of the switch then. */
const deaths = [
  ['store.claimOperation', 1, 'off'],
  ['keyFile.create', 1, 'off'],
  ['store.writeSwitch', 1, 'enabling'],
  ['memory.remember', 1, 'enabling'],
  ['store.rewritePasswords', 1, 'enabling'],
  ['store.rewritePasswords', 2, 'enabling'],
  ['store.writeSwitch', 2, 'on'],
  ['store.rebuildMailboxTable', 1, 'on'],
  ['store.endOperation', 1, 'on'],
] as const;

describe.each(['sqlite', 'mariadb'] as const)('enabling on %s', { tags: ['long'] }, (kind) => {
  let server: Server;

  beforeAll(async () => {
    server = await startServer(kind);
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test.for(deaths)('by a daemon that dies after %s (%d) ends with the next one', async ([effect, count, state]) => {
    await using scene = await server.scene();
    await scene.addMailboxes(mailboxes);
    await dieAt(scene, effect, count);
    expect(await scene.row()).toMatchObject({ state });
    expect(await scene.database.readOperation()).toMatchObject({ state: 'running', kind: 'enable' });
    const next = await scene.worker();
    const view = await viewWhen(next, isOver);
    if (state === 'off') {
      expect(view).toMatchObject({ state: 'failed', error: { code: 'interrupted' } });
      expect(await scene.counts()).toMatchObject({ plaintext: mailboxes });
      expect(await next.operations.start('enable', 'ben')).toEqual({ kind: 'started' });
      await viewWhen(next, isOver);
    } else expect(view).toMatchObject({ state: 'done', by: 'ann (admin page)', error: null });
    const command = state === 'on' ? 'ticketmaild encryption enable' : null;
    expect(view.followUp?.command ?? null).toBe(command);
    expect(await scene.row()).toMatchObject({ state: 'on', nextKeyId: null });
    expect(await scene.counts()).toMatchObject({ sealed: mailboxes, plaintext: 0 });
    expect(new Set(await scene.openAll())).toEqual(new Set([password]));
  });

  test('by two daemons that die ends with the third', async () => {
    await using scene = await server.scene();
    await scene.addMailboxes(mailboxes);
    await dieAt(scene, 'store.rewritePasswords', 1);
    await dieAt(scene, 'store.rewritePasswords', 1);
    expect(await viewWhen(await scene.worker(), isOver)).toMatchObject({ state: 'done', by: 'ann (admin page)' });
    expect(await scene.counts()).toMatchObject({ sealed: mailboxes, plaintext: 0 });
  });
});

/** A worker that starts or resumes the operation, and dies after that effect. */
async function dieAt(scene: Scene, effect: string, count: number): Promise<void> {
  const { promise: dead, resolve: die } = Promise.withResolvers<void>();
  let met = 0;
  const worker = await scene.worker({
    fate: (name, when) => {
      if (name !== effect || when === 'before') return;
      met += 1;
      if (met !== count) return;
      die();
      throw new Death(`died after ${name}`);
    },
  });
  if ((await scene.database.readOperation()) === null) await worker.operations.start('enable', 'ann');
  await dead;
  scene.bury(worker);
  await worker.stop();
}
