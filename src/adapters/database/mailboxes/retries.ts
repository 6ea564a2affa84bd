/**
 * Retry requests in SQL: a time in the state of a mailbox, which the due queue reads and the next lease clears.
 */
import type { AuditActor, Mailbox } from '../../../ingest/model.ts';
import type { RetryProgress, RetryStore } from '../../../ingest/retry-store.ts';
import { addAudit } from '../rows/audit.ts';
import { resultSelection, toLastResults } from '../rows/mailboxes.ts';
import { bindDatabase, chunks, inTransaction, rowsInChunks } from '../sql/statements.ts';
import type { SqlExecutor } from '../sql/tables.ts';

export function retryStore(db: SqlExecutor): RetryStore {
  return bindDatabase(db, { requestRetry, retryProgress });
}

async function requestRetry(
  db: SqlExecutor,
  mailboxes: readonly Mailbox[],
  host: string | null,
  by: AuditActor,
): Promise<void> {
  await inTransaction(db, async (transaction) => {
    for (const ids of chunks(mailboxes.map(({ id }) => id)))
      await transaction
        .updateTable('mailbox_state')
        .set({ next_poll_at: db.dialect.now, retry_requested_at: db.dialect.now })
        .where('mailbox_id', 'in', ids)
        .execute();
    const entry = { ...by, action: 'mailbox.retried', keyId: null, nextKeyId: null };
    const named = mailboxes.map(({ id, name }) => ({ ...entry, mailboxId: id, detail: name }));
    const ofHost = { ...entry, mailboxId: null, detail: `${host}: ${mailboxes.length}` };
    await addAudit(transaction, host === null ? named : [ofHost]);
  });
}

async function retryProgress(
  db: SqlExecutor,
  mailboxIds: readonly string[],
): Promise<ReadonlyMap<string, RetryProgress>> {
  const rows = await rowsInChunks(mailboxIds, (ids) =>
    db
      .selectFrom('mailbox_state')
      .select(['mailbox_id', 'retry_requested_at', 'lease_owner', ...resultSelection])
      .where('mailbox_id', 'in', ids),
  );
  return new Map(
    rows.map((row) => [
      row.mailbox_id,
      { isRequested: row.retry_requested_at !== null, isPolling: row.lease_owner !== null, ...toLastResults(row) },
    ]),
  );
}
