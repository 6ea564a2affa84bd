/**
 * Preparation of the target of a copy: empty tables of this schema with the marker, or an unfinished copy of this
 * source.
 *
 * Whatever else is there stays as it is: `copy_refused`.
 */
import { sql } from 'kysely';
import { Failure, isFailure } from '../../../errors.ts';
import { initialSwitchRow } from '../../../secret/switch.ts';
import { readSwitch } from '../encryption/switch-row.ts';
import { createMigrations } from '../schema/migrate.ts';
import type { SqlExecutor } from '../sql/tables.ts';
import { activatingTables, type CopiedTable, copiedTables } from './columns.ts';
import { addMarker, readMarkers } from './marker.ts';
import { lastKey } from './pages.ts';
import { refuseWhileInUse, type WorkerLiveness } from './source.ts';

/** `complete`: the copy of this source was completed before, and the target may have been used since. */
export type TargetState = 'new' | 'unfinished' | 'complete';

const noMarkers = { unfinished: null, complete: null };

/** Throws `copy_refused`, `worker_running`. */
export async function prepareTarget(
  target: SqlExecutor,
  marker: string,
  liveness: WorkerLiveness,
): Promise<TargetState> {
  const { unfinished, complete } = await orWithoutTables(readMarkers(target), noMarkers);
  if (unfinished === null && complete === marker) return 'complete';
  if (unfinished !== null && unfinished !== marker)
    throw refusal('The target holds an unfinished copy of another database.');
  for (const table of unfinished === null ? copiedTables : activatingTables) {
    if (await orWithoutTables(isEmpty(target, table), true)) continue;
    throw refusal(`The target of the copy is not empty: its table ${table.name} has rows.`);
  }
  if (unfinished !== null) return 'unfinished';
  await createMigrations(target).apply();
  await refuseOtherCharsets(target);
  await refuseWhileInUse(target, liveness, 'target');
  await addMarker(target, marker);
  return 'new';
}

function refusal(message: string): Failure {
  return new Failure('copy_refused', message);
}

/** `empty` where the tables are missing. */
async function orWithoutTables<T>(read: Promise<T>, empty: T): Promise<T> {
  try {
    return await read;
  } catch (error) {
    if (isFailure(error, 'database_outdated')) return empty;
    throw error;
  }
}

/** The first row of the switch comes with its table. */
async function isEmpty(target: SqlExecutor, table: CopiedTable): Promise<boolean> {
  if ((await lastKey(target, table)) === null) return true;
  if (table.name !== 'encryption_switch') return false;
  return (await readSwitch(target)).row?.revision === initialSwitchRow.revision;
}

/** Tables that were created or converted before: other character sets lose letters. */
async function refuseOtherCharsets(target: SqlExecutor): Promise<void> {
  if (target.dialect.kind === 'sqlite') return;
  const names = copiedTables.map(({ name }) => name);
  const { rows } = await sql<{ name: string; charset: string }>`
    select table_name as name, character_set_name as charset from information_schema.columns
    where table_schema = database() and table_name in (${sql.join(names)})
      and character_set_name is not null and character_set_name not in ('utf8mb4', 'ascii') limit 1`.execute(target);
  const [other] = rows;
  if (other !== undefined)
    throw refusal(`The table ${other.name} of the target has the character set ${other.charset}, not utf8mb4.`);
}
