/**
 * Marker of a copy: a row of `schema_migration` that names its source, above every migration number until the last
 * transaction of the copy, then below.
 *
 * Every version of the program refuses tables with a number above its own: no daemon uses half a copy. The row of a
 * complete one tells a command that was killed too late, and is run again, that there is nothing left to do.
 */
import { createHash } from 'node:crypto';
import { copyMarkerNumber } from '../schema/migrations.ts';
import { fromDatabaseTime, type SqlExecutor } from '../sql/tables.ts';

const prefix = 'copy of ';
const completeNumber = 0;

/** The marker for a source: the times at which its tables were created tell two databases apart. */
export async function markerOf(source: SqlExecutor): Promise<string> {
  const rows = await source.selectFrom('schema_migration').selectAll().orderBy('number').execute();
  const times = rows.map(({ number, name, applied_at: at }) => [number, name, fromDatabaseTime(at)]);
  return prefix + createHash('sha256').update(JSON.stringify(times)).digest('hex');
}

/** The marker of an unfinished copy, and that of a complete one; null: none. */
export async function readMarkers(target: SqlExecutor) {
  const rows = await target
    .selectFrom('schema_migration')
    .select(['number', 'name'])
    .where('number', 'in', [copyMarkerNumber, completeNumber])
    .execute();
  const of = (number: number) => rows.find((row) => row.number === number)?.name ?? null;
  return { unfinished: of(copyMarkerNumber), complete: of(completeNumber) };
}

export async function addMarker(target: SqlExecutor, marker: string): Promise<void> {
  await target.deleteFrom('schema_migration').where('number', '=', completeNumber).execute();
  const row = { number: copyMarkerNumber, name: marker, applied_at: target.dialect.now };
  await target.insertInto('schema_migration').values(row).execute();
}

export async function completeMarker(transaction: SqlExecutor): Promise<void> {
  const row = { number: completeNumber, applied_at: transaction.dialect.now };
  await transaction.updateTable('schema_migration').set(row).where('number', '=', copyMarkerNumber).execute();
}
