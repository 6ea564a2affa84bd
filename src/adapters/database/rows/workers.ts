/**
 * Worker registry: heartbeats of the running workers, and the keys that each has open.
 *
 * Liveness is judged by the clock of the database. A heartbeat in the future does not count as live: that clock was
 * ahead then. Heartbeats older than a day, or more than a day ahead, are deleted.
 */
import { type RawBuilder, sql } from 'kysely';
import type { StoredWorker, WorkerReport } from '../../../encryption/ports.ts';
import {
  boundedNumbers,
  boundedTexts,
  integerOf,
  nameCharacters,
  textOf,
  wordCharacters,
} from '../sql/bounded-columns.ts';
import { fromOptionalTime, type SqlExecutor } from '../sql/tables.ts';

const forgottenAfterMs = 86_400_000;
/** A bound against rows of other programs. */
const listedMax = 200;
/** Tolerated clock skew between two nodes of one database. */
export const clockSkewMsMax = 60_000;

/** Upserts the heartbeat; `started_at` stays that of the first report. */
export async function reportWorker(db: SqlExecutor, report: WorkerReport): Promise<void> {
  const { worker, host, pid, vault, revision } = report;
  const facts = { host, pid, key_ids: report.keyIds.join(','), vault, revision, heartbeat_at: db.dialect.now };
  const insert = db.insertInto('workers').values({ worker, started_at: db.dialect.now, ...facts });
  const upsert =
    db.dialect.kind === 'mysql'
      ? insert.onDuplicateKeyUpdate(facts)
      : insert.onConflict((conflict) => conflict.column('worker').doUpdateSet(facts));
  await upsert.execute();
}

export async function removeWorker(db: SqlExecutor, worker: string): Promise<void> {
  await db.deleteFrom('workers').where('worker', '=', worker).execute();
}

export async function listWorkers(db: SqlExecutor, liveMs: number): Promise<readonly StoredWorker[]> {
  await db
    .deleteFrom('workers')
    .where((where) =>
      where.or([where(heartbeat, '<', ago(db, forgottenAfterMs)), where(heartbeat, '>', ago(db, -forgottenAfterMs))]),
    )
    .execute();
  return await readWorkers(db, liveMs);
}

/** Rows of another shape are left out: a worker writes its own row again with its next heartbeat. */
export async function readWorkers(db: SqlExecutor, liveMs: number): Promise<readonly StoredWorker[]> {
  const rows = await db
    .selectFrom('workers')
    .select(boundedTexts('workers', textColumns))
    .select(boundedNumbers('workers', 'pid', 'revision'))
    .select(sql<number>`${heartbeat} between ${ago(db, liveMs)} and ${ago(db, -clockSkewMsMax)}`.as('live'))
    .orderBy('live', 'desc')
    .orderBy('worker')
    .limit(listedMax)
    .execute();
  return rows.flatMap((row) => toWorker(row) ?? []);
}

/** Compared as texts, which order as the times do: a value that is no time makes no statement fail. */
const heartbeat = sql<string>`substr(workers.heartbeat_at, 1, 26)`;

const ago = (db: SqlExecutor, ms: number) => textOfTime(db.dialect.nowPlus(-ms));

function textOfTime(time: RawBuilder<string>): RawBuilder<string> {
  return sql<string>`cast(${time} as char(26))`;
}

const keyIdsCharacters = 4096;
const textColumns = {
  ...{ worker: nameCharacters, host: nameCharacters, key_ids: keyIdsCharacters },
  ...{ vault: wordCharacters, started_at: wordCharacters, heartbeat_at: wordCharacters },
};

type WorkerColumns = { readonly [K in keyof typeof textColumns | 'pid' | 'revision']: string | null } & {
  readonly live: number | null;
};

/** null: this program did not write the row. */
function toWorker(row: WorkerColumns): StoredWorker | null {
  const isOurs = Object.entries(textColumns).every(([column, charactersMax]) => {
    const value: unknown = Reflect.get(row, column);
    return typeof value === 'string' && value.length <= charactersMax;
  });
  const [pid, revision] = [integerOf(row.pid), integerOf(row.revision)];
  const startedAtMs = fromOptionalTime(textOf(row.started_at)) ?? Number.NaN;
  const seenAtMs = fromOptionalTime(textOf(row.heartbeat_at));
  if (!isOurs || Number.isNaN(pid) || Number.isNaN(revision) || seenAtMs === null) return null;
  return {
    ...{ worker: textOf(row.worker), host: textOf(row.host), pid, revision },
    keyIds: textOf(row.key_ids)
      .split(',')
      .filter((id) => id !== ''),
    ...{ vault: textOf(row.vault), startedAtMs, seenAtMs, live: Number(row.live) === 1 },
  };
}
