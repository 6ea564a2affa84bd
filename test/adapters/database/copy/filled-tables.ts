/**
 * Rows of every column type for each table of the baseline, written past the stores: hard texts, any bytes, limits.
 */
import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { baselineTables } from '../../../../src/adapters/database/schema/baseline.ts';

type Row = Readonly<Record<string, SQLInputValue>>;

const hardTexts = [
  '',
  ' leading and trailing ',
  'quote \' " ` \\ %_ $1 ? ; --',
  'emoji 😀👩‍👩‍👧, math 𝒳, ﬁ, combining e\u0301, كتاب',
  'line\r\nbreak\ttab',
  'replacement \ufffd, private \ue000, noncharacter \uffff',
];

const copied = Object.keys(baselineTables).filter((name) => name !== 'workers');

/** Fills tables of a migrated SQLite file with `count` rows; the switch and the operation of the page have one. */
export function fillTables(file: string, count: number, only: readonly string[] = copied): void {
  using database = new DatabaseSync(file);
  database.exec('begin; delete from encryption_switch');
  for (const [name, table] of Object.entries(baselineTables).filter(([one]) => only.includes(one))) {
    const columns = Object.entries(table.columns);
    const single = ['encryption_switch', 'admin_operation'].includes(name);
    const marks = columns.map(() => '?').join(', ');
    const insert = database.prepare(`insert into ${name} values (${marks})`);
    for (let at = 1; at <= (single ? 1 : count); at += 1)
      insert.run(...columns.map(([column, { mysql }]) => sampleOf(column, mysql, at)));
  }
  database.exec('commit');
}

function sampleOf(column: string, type: string, at: number): SQLInputValue {
  if (/ null\b/.test(type) && !type.includes('not null') && at % 3 === 0) return null;
  if (column === 'id' && /^(tinyint|int|bigint)/.test(type)) return at;
  if (type.startsWith('datetime(6)') || column === 'login_failed_version')
    return `${timeText(at)} ${hex(4).toUpperCase()}`;
  if (['name', 'name_key', 'ref', 'username'].includes(column)) return `${column} ${at} ${hardTexts[4]}ß😀`;
  if (type.startsWith('char(36)')) return randomUUID();
  if (type.startsWith('char(64)')) return hex(32);
  if (type.startsWith('char(16)')) return hex(8);
  if (type.startsWith('datetime')) return timeText(at);
  if (type.startsWith('varbinary')) return randomBytes(randomInt(1, 60));
  if (type.startsWith('tinyint')) return at % 2;
  if (type.startsWith('int')) return randomInt(0, 2 ** 32);
  if (type.startsWith('bigint')) return at % 2 === 0 ? Number.MAX_SAFE_INTEGER : at;
  return textOf(type, at);
}

function textOf(type: string, at: number): string {
  const charactersMax = Number(/^varchar\((\d+)\)/.exec(type)?.[1] ?? 1000);
  if (type.includes('ascii')) return `word_${at}`.slice(0, charactersMax);
  const text = hardTexts[at % hardTexts.length] ?? '';
  if (type.startsWith('longtext') && at % 50 === 0) return `${text}😀`.repeat(20_000);
  return [...text].slice(0, charactersMax).join('');
}

function timeText(at: number): string {
  const iso = new Date(Date.UTC(1999, 11, 31) + at * 86_400_123 + randomInt(1000)).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}`;
}

function hex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

/** Every row of each table, by its primary key; bytes as hex digits. */
export function rowsOf(file: string): ReadonlyMap<string, readonly Row[]> {
  using database = new DatabaseSync(file);
  return new Map(
    Object.entries(baselineTables).map(([name, table]) => {
      const rows = database.prepare(`select * from ${name} order by ${table.primaryKey.join(', ')}`).all();
      for (const row of rows)
        for (const [column, value] of Object.entries(row))
          if (value instanceof Uint8Array) row[column] = Buffer.from(value).toString('hex');
      return [name, rows];
    }),
  );
}
