/**
 * SQL of another program on the product's tables, by a database URL of the configuration (`mysql://…`, `sqlite:PATH`).
 *
 * Fails with what the database says. A writer of SQLite waits for others up to ten seconds.
 */
import { DatabaseSync } from 'node:sqlite';
import { createConnection } from 'mysql2/promise';

const busyMs = 10_000;

/** Rows of any statement, one object each; none for a statement without rows. */
export async function runSql<T>(databaseUrl: string, sql: string): Promise<readonly T[]> {
  return await connected(databaseUrl, async ({ run }) => await run<T>(sql));
}

/** Rows of several queries at one moment, a list for each. */
export async function readSnapshot(databaseUrl: string, queries: readonly string[]): Promise<readonly unknown[][]> {
  return await connected(databaseUrl, async ({ run, begin }) => {
    await run(begin);
    const results: unknown[][] = [];
    for (const query of queries) results.push([...(await run(query))]);
    return results;
  });
}

type Connection = {
  readonly begin: string;
  run<T>(sql: string): Promise<readonly T[]>;
};

async function connected<R>(databaseUrl: string, work: (connection: Connection) => Promise<R>): Promise<R> {
  if (databaseUrl.startsWith('sqlite:')) {
    using database = new DatabaseSync(databaseUrl.slice('sqlite:'.length), { timeout: busyMs });
    return await work({ begin: 'BEGIN', run: async <T>(sql: string) => database.prepare(sql).all() as T[] });
  }
  const connection = await createConnection(databaseUrl);
  try {
    return await work({
      begin: 'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY',
      run: async <T>(sql: string) => {
        const [rows] = await connection.query(sql);
        return Array.isArray(rows) ? (rows as T[]) : [];
      },
    });
  } finally {
    await connection.end();
  }
}
