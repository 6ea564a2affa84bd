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
