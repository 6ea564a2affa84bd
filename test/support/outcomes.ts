/**
 * Stored results of a mailbox as the end-to-end tests compare them, and SQL of another program on the same tables.
 */
import { DatabaseSync } from 'node:sqlite';
import type { Mailbox, MessageDetails, OutcomeRow } from '../../src/ingest/model.ts';
import type { TestApp } from './app.ts';
import type { Mariadb } from './servers/mariadb.ts';

type Stored = Pick<TestApp, 'app'>;

export async function rowsOf({ app }: Stored, mailbox: Mailbox): Promise<OutcomeRow[]> {
  return await Array.fromAsync(app.store.outcomes(mailbox.id, true));
}

/** As `1 ticket_opened` and `2 quarantined (too_large)`. */
export async function outcomesOf(on: Stored, mailbox: Mailbox): Promise<string[]> {
  const rows = await rowsOf(on, mailbox);
  return rows.map(({ uid, outcome, reason }) => `${uid} ${outcome}${reason === null ? '' : ` (${reason})`}`);
}

export async function messagesOf(on: Stored, mailbox: Mailbox): Promise<MessageDetails[]> {
  return (await rowsOf(on, mailbox)).flatMap(({ message }) => message ?? []);
}

/** Runs SQL as a helpdesk or its database administrator does. */
export async function execute({ config }: TestApp, mariadb: Mariadb, sql: string): Promise<void> {
  if (config.database.kind === 'mysql') {
    await mariadb.query(`USE ${config.database.database}; ${sql}`);
    return;
  }
  using database = new DatabaseSync(config.database.path);
  database.exec(sql);
}
