/**
 * List of the messages that were sent, on the disk: however many there are, few of them are in memory.
 *
 * They lie in a temporary database of SQLite, which the system removes. Fails only when the disk is full.
 */
import { DatabaseSync } from 'node:sqlite';
import type { ExpectedMail } from './verify.ts';

export type SentMails = {
  add(mail: ExpectedMail): void;
  /** In the order of adding, as often as they are asked for. */
  readonly mails: Iterable<ExpectedMail>;
} & Disposable;

/** An empty name is a database of its own on the disk, which is gone when it is closed. */
export const temporaryDatabase = '';

export function openSentMails(): SentMails {
  const database = new DatabaseSync(temporaryDatabase);
  database.exec('CREATE TABLE mail (place INTEGER PRIMARY KEY, description TEXT NOT NULL)');
  const insert = database.prepare('INSERT INTO mail (description) VALUES (?)');
  return {
    add: (mail) => void insert.run(JSON.stringify(mail)),
    mails: {
      *[Symbol.iterator]() {
        const rows = database.prepare('SELECT description FROM mail ORDER BY place').iterate();
        for (const { description } of rows) yield JSON.parse(String(description)) as ExpectedMail;
      },
    },
    [Symbol.dispose]: () => database.close(),
  };
}
