/** Comparison of a folder with the stored outcomes, with a fake server and database. */
import { expect, test } from 'vitest';
import { folderKey } from '../../../src/ingest/folder-epoch.ts';
import { type ReconcilePorts, reconcileFolder } from '../../../src/ingest/repair/reconcile.ts';
import type { ComparedOutcome, FolderProgress } from '../../../src/ingest/stores.ts';
import { mailbox } from '../samples.ts';

const box = mailbox('box');
const one = (uid: number, more: Partial<ComparedOutcome> = {}): ComparedOutcome => ({
  ...{ uid, outcome: 'ticket_opened', waits: false, actionPending: false },
  ...more,
});

type Scene = {
  readonly onServer: readonly number[];
  readonly outcomes: readonly ComparedOutcome[];
  readonly cursor: number;
  readonly startUid?: number;
  readonly uidValidity?: number;
};

function report({ onServer, outcomes, cursor, startUid = 0, uidValidity = 7 }: Scene) {
  const progress: FolderProgress = {
    ...{ cursor: { folderEpoch: 7, uid: cursor }, generation: 0, startUid, folder: folderKey(box.connection) },
    account: null,
  };
  const session = {
    folder: { uidValidity, uidNext: Math.max(cursor, ...onServer) + 1, messageCount: onServer.length },
    listAbove: async (uid: number) => onServer.filter((each) => each > uid),
    sizes: async (uids: readonly number[]) => uids.map((uid) => ({ uid, sizeBytes: 10, receivedAtMs: null })),
    [Symbol.asyncDispose]: async () => undefined,
  };
  const ports = {
    credentials: { withCredential: async (_: unknown, use: (credential: null) => unknown) => await use(null) },
    sessions: { open: async () => session },
    store: {
      readFolderProgress: async () => progress,
      lastHandled: async () => [],
      comparedOutcomes: async function* () {
        yield* outcomes;
      },
    },
  } as unknown as ReconcilePorts;
  return reconcileFolder(box, ports);
}

test('a message below the cursor without an outcome is missing, wherever it is', async () => {
  const { missing, ...rest } = await report({
    onServer: [1, 2, 3, 4, 5],
    outcomes: [one(2), one(4)],
    cursor: 5,
  });
  expect(missing.map(({ uid }) => uid)).toEqual([1, 3, 5]);
  expect(rest).toMatchObject({ onServer: 5, handled: 2, waiting: 0, beforeStart: 0 });
});

test('what waits, was there before the start, is in quarantine or was taken away is not missing', async () => {
  expect(
    await report({
      onServer: [1, 2, 3, 4, 9],
      outcomes: [one(3), one(4, { outcome: 'quarantined', waits: true }), one(5), one(6, { outcome: 'vanished' })],
      ...{ cursor: 6, startUid: 2 },
    }),
  ).toMatchObject({
    ...{ missing: [], handled: 1, quarantined: 1, waiting: 1, beforeStart: 2 },
    gone: { vanished: 1, otherwise: 1, postAction: 0, quarantined: 0 },
  });
});

test('under another UIDVALIDITY nothing is compared: UIDs name other messages', async () => {
  await expect(report({ onServer: [1], outcomes: [], cursor: 1, uidValidity: 8 })).rejects.toMatchObject({
    code: 'check_failed',
  });
});
