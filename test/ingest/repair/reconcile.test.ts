/** Reconciliation of a folder whose server answers nothing: a signal ends it. */
import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import type { Session } from '../../../src/ingest/ports.ts';
import { type ReconcilePorts, reconcileFolder } from '../../../src/ingest/repair/reconcile.ts';
import { sampleMailbox } from '../../adapters/database/samples.ts';

type Use = (credential: unknown, connection: unknown) => Promise<Session>;

test('a signal closes the session, and the comparison ends as interrupted', async () => {
  const stop = new AbortController();
  const interrupted = new Failure('interrupted', 'closed');
  const never = (signal: AbortSignal) =>
    new Promise<Session>((_, reject) => signal.addEventListener('abort', () => reject(interrupted)));
  const mailbox = sampleMailbox();
  const ports = {
    credentials: { withCredential: async (_: unknown, use: Use) => await use(null, mailbox.connection) },
    sessions: { open: async (_connection: unknown, _credential: unknown, signal: AbortSignal) => await never(signal) },
    store: { readFolderProgress: async () => ({ cursor: null, startUid: null, folderHash: null }) },
  } as unknown as ReconcilePorts;
  const result = reconcileFolder(mailbox, ports, stop.signal);
  setTimeout(() => stop.abort(), 10);
  await expect(result).rejects.toBe(interrupted);
});

/** A folder whose cursor is at `cursorUid`, without outcomes, on a server that lists what it likes. */
function lying(pages: (above: number) => readonly number[], cursorUid: number, known: (uid: number) => boolean) {
  const mailbox = sampleMailbox({ start: { from: 'all' } });
  const seen = { pages: 0, atOnceMax: 0 };
  const session = {
    folder: { uidValidity: 1, uidNext: 4_000_000_000, messageCount: 1 },
    hasMore: true,
    listAbove: async (above: number) => {
      seen.pages += 1;
      const uids = pages(above);
      session.hasMore = uids.length > 0;
      return uids;
    },
    sizes: async (uids: readonly number[]) => {
      seen.atOnceMax = Math.max(seen.atOnceMax, uids.length);
      return uids.filter(known).map((uid) => ({ uid, sizeBytes: 1, receivedAtMs: null }));
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  const progress = { cursor: { folderEpoch: 1, uid: cursorUid }, startUid: 0, folder: null };
  const ports = {
    credentials: { withCredential: async (_: unknown, use: Use) => await use(null, mailbox.connection) },
    sessions: { open: async () => session },
    store: {
      readFolderProgress: async () => progress,
      lastHandled: async () => [],
      comparedOutcomes: () => ReadableStream.from([]),
    },
  } as unknown as ReconcilePorts;
  return { seen, reconcile: () => reconcileFolder(mailbox, ports) };
}

const pageOf = (above: number, size: number) => Array.from({ length: size }, (_, at) => above + at + 1);

test('a server that lists messages without end is left after ten million', async () => {
  const { seen, reconcile } = lying(
    (above) => pageOf(above, 250_000),
    5,
    () => false,
  );
  await expect(reconcile()).rejects.toMatchObject({
    code: 'check_failed',
    message: expect.stringContaining('more than 10000000 messages'),
  });
  expect(seen.pages).toBe(41);
});

test('a server that lists what it does not know makes nothing missing; sizes are asked for in portions', async () => {
  const { seen, reconcile } = lying(
    (above) => (above === 0 ? pageOf(0, 2000) : []),
    2000,
    (uid) => uid % 1000 === 0,
  );
  expect((await reconcile()).missing.map(({ uid }) => uid)).toEqual([1000, 2000]);
  expect(seen.atOnceMax).toBe(500);
});

test('a server that invents 200,000 messages below the cursor is not believed', async () => {
  const { seen, reconcile } = lying(
    (above) => (above === 0 ? pageOf(0, 200_000) : []),
    1_000_000,
    () => true,
  );
  await expect(reconcile()).rejects.toMatchObject({
    code: 'check_failed',
    message: expect.stringContaining('the server lists 200000 messages below the last handled one'),
    hint: expect.stringContaining('Nothing was changed'),
  });
  expect(seen.atOnceMax).toBe(0);
});
