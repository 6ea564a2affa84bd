/**
 * Puts many mailboxes into the database at once, as the helpdesk does: rows of the table, with their passwords
 * readable.
 *
 * The tables must be there (`migrate`). Passwords stay bytes on their way. Fails with what the database says.
 */
import { randomUUID } from 'node:crypto';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { createConnection } from 'mysql2/promise';
import type { Dovecot } from '../support/servers/dovecot.ts';

export type NewRow = {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly tls: 'implicit' | 'none';
  readonly caPem: string | null;
  readonly user: string;
  readonly password: Uint8Array;
};

const columns = 'id, name, host, port, tls_mode, ca_pem, username, since_kind, on_success, password';
const rowsAtOnce = 500;
/** How long SQLite waits for another writer. */
const busyMs = 10_000;

/** The server over TLS or in clear, for a user of its own. */
export function mailboxOn(dovecot: Dovecot, tls: NewRow['tls'], name: string, password: Uint8Array): NewRow {
  const { host, port, tlsPort, caPem } = dovecot;
  const server = tls === 'implicit' ? { port: tlsPort, caPem } : { port, caPem: null };
  return { name, host, ...server, tls, user: dovecot.newUser(), password };
}

/** Rows without a schedule: the daemon gives them one, due at once. */
export async function addMailboxes(databaseUrl: string, rows: readonly NewRow[]): Promise<void> {
  if (databaseUrl.startsWith('sqlite:')) addToSqlite(databaseUrl.slice('sqlite:'.length), rows);
  else await addToMysql(databaseUrl, rows);
}

function valuesOf({
  name,
  host,
  port,
  tls,
  caPem,
  user,
  password,
}: NewRow): (SQLInputValue & (string | number | Buffer | null))[] {
  return [randomUUID(), name, host, port, tls, caPem, user, 'all', 'leave', Buffer.from(password)];
}

async function addToMysql(url: string, rows: readonly NewRow[]): Promise<void> {
  const connection = await createConnection(url);
  try {
    for (let at = 0; at < rows.length; at += rowsAtOnce) {
      const values = rows.slice(at, at + rowsAtOnce).map(valuesOf);
      const places = values.map((row) => `(${row.map(() => '?').join()})`).join();
      await connection.query(`INSERT INTO mailboxes (${columns}) VALUES ${places}`, values.flat());
    }
  } finally {
    await connection.end();
  }
}

function addToSqlite(path: string, rows: readonly NewRow[]): void {
  const database = new DatabaseSync(path, { timeout: busyMs });
  try {
    const values = rows.map(valuesOf);
    const insert = database.prepare(`INSERT INTO mailboxes (${columns}) VALUES (${columns.replace(/\w+/g, '?')})`);
    database.exec('BEGIN IMMEDIATE');
    for (const row of values) insert.run(...row);
    database.exec('COMMIT');
  } finally {
    database.close();
  }
}
