/**
 * Batch rewrite of settings seals: one transaction per batch, which locks the switch row at its revision and the rows.
 *
 * `changed_at` stays, since no setting changes: polls in progress and connections in IDLE continue. An invalid row is
 * skipped: it is not polled. Errors: `switch_changed`, `database_*`.
 */
import { sql } from 'kysely';
import type { SettingsReading, SettingsRow, SettingsSealBatch } from '../../../encryption/ports.ts';
import { listedColumns } from '../rows/mailbox-columns.ts';
import { mailboxOrNull } from '../rows/mailboxes.ts';
import { chunksOfSizes, inTransaction } from '../sql/statements.ts';
import type { SqlExecutor } from '../sql/tables.ts';
import { lockSwitch, markPasswordWrite } from './switch-row.ts';

type SettingsBatch = Pick<SettingsSealBatch, 'after' | 'limit'>;
type NewSeal = { readonly id: string; readonly seal: string };

/** `change` may run again for a row. Returns the last id of the batch; null: none was left. */
export async function rewriteSettingsSeals(
  db: SqlExecutor,
  { after, limit, revision }: SettingsSealBatch,
  change: (row: SettingsRow) => string | null,
): Promise<string | null> {
  return await inTransaction(db, async (transaction) => {
    await lockSwitch(transaction, revision);
    const next = nextMailboxes(transaction, { after, limit });
    const rows = await (db.dialect.kind === 'mysql' ? next.forUpdate() : next).execute();
    const changed = rows.flatMap((row): readonly NewSeal[] => {
      const mailbox = mailboxOrNull(row);
      const seal = mailbox === null ? null : change({ mailbox, seal: row.settings_seal });
      return seal === null ? [] : [{ id: row.id, seal }];
    });
    for (const chunk of chunksOfSizes(changed, db.dialect.updateSizes)) await writeSeals(transaction, chunk);
    if (changed.length > 0) await markPasswordWrite(transaction);
    const lastId = rows.at(-1)?.id ?? null;
    return lastId === after ? null : lastId;
  });
}

function nextMailboxes(db: SqlExecutor, { after, limit }: SettingsBatch) {
  const query = db
    .selectFrom('mailboxes')
    .select(listedColumns)
    .where('state', '<>', 'removing')
    .orderBy('id')
    .limit(limit);
  return after === null ? query : query.where('id', '>', after);
}

export async function readSettings(db: SqlExecutor, batch: SettingsBatch): Promise<SettingsReading> {
  const found = await nextMailboxes(db, batch).execute();
  const rows = found.flatMap((row) => {
    const mailbox = mailboxOrNull(row);
    return mailbox === null ? [] : [{ mailbox, seal: row.settings_seal }];
  });
  return { rows, lastId: found.at(-1)?.id ?? null };
}

async function writeSeals(db: SqlExecutor, chunk: readonly NewSeal[]): Promise<void> {
  const cases = chunk.map(({ id, seal }) => sql`when ${id} then ${seal}`);
  await db
    .updateTable('mailboxes')
    .set({
      settings_seal: sql<string>`case id ${sql.join(cases, sql` `)} end`,
      ...(db.dialect.kind === 'mysql' ? { changed_at: sql<string>`changed_at` } : {}),
    })
    .where(
      'id',
      'in',
      chunk.map(({ id }) => id),
    )
    .execute();
}
