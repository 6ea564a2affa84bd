/**
 * Marker of an unfinished copy: a row of `schema_migration` above every migration number, removed by the last
 * transaction of the copy.
 *
 * Every version of the program refuses tables with such a row, as newer than itself: no daemon uses half a copy. Its name
 * says which database the copy is of.
 */
import { createHash } from 'node:crypto';
import { copyMarkerNumber } from '../schema/migrations.ts';
import { fromDatabaseTime, type SqlExecutor } from '../sql/tables.ts';

const prefix = 'unfinished copy of ';

/** The marker for a source: the times at which its tables were created tell two databases apart. */
export async function markerOf(source: SqlExecutor): Promise<string> {
  const rows = await source.selectFrom('schema_migration').selectAll().orderBy('number').execute();
  const times = rows.map(({ number, name, applied_at: at }) => [number, name, fromDatabaseTime(at)]);
  return prefix + createHash('sha256').update(JSON.stringify(times)).digest('hex');
}

/** null: none. */
export async function readMarker(target: SqlExecutor): Promise<string | null> {
  const row = await target
    .selectFrom('schema_migration')
    .select('name')
    .where('number', '=', copyMarkerNumber)
    .executeTakeFirst();
  return row?.name ?? null;
}

export async function addMarker(target: SqlExecutor, marker: string): Promise<void> {
  const row = { number: copyMarkerNumber, name: marker, applied_at: target.dialect.now };
  await target.insertInto('schema_migration').values(row).execute();
}

export async function removeMarker(transaction: SqlExecutor): Promise<void> {
  await transaction.deleteFrom('schema_migration').where('number', '=', copyMarkerNumber).execute();
}
