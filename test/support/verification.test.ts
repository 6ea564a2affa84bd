/**
 * Each way in which stored messages can differ from the sent ones is found, on a database that is made wrong on
 * purpose.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, onTestFinished, test } from 'vitest';
import { temporaryFolder } from './temporary.ts';
import {
  type Findings,
  isExact,
  noFindings,
  type SentMessage,
  type Verification,
  verifyStored,
} from './verification.ts';

const helloSha256 = '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';
const sent: readonly SentMessage[] = [
  { messageId: '<first@x>', replyTo: null, attachmentSha256: null },
  { messageId: '<file@x>', replyTo: null, attachmentSha256: helloSha256 },
  { messageId: '<answer@x>', replyTo: '<first@x>', attachmentSha256: null },
];

/** Stores the three messages as they should be, runs `spoil` on the tables and `dataDir`, and verifies. */
async function verifySpoilt(spoil: (database: DatabaseSync, dataDir: string) => void): Promise<Verification> {
  const folder = await temporaryFolder('verify');
  onTestFinished(() => folder[Symbol.asyncDispose]());
  const path = join(folder.path, 'stored.db');
  const blobs = join(folder.path, 'blobs', helloSha256.slice(0, 2));
  mkdirSync(blobs, { recursive: true });
  writeFileSync(join(blobs, helloSha256), 'hello');
  const database = new DatabaseSync(path);
  database.exec(`
    CREATE TABLE ticket (id TEXT);
    CREATE TABLE message (id TEXT, message_id TEXT, ticket_id TEXT, subject TEXT DEFAULT '');
    CREATE TABLE attachment (message_id TEXT, sha256 TEXT);
    INSERT INTO ticket VALUES ('t1'), ('t2');
    INSERT INTO message (id, message_id, ticket_id)
      VALUES ('m1', 'first@x', 't1'), ('m2', 'file@x', 't2'), ('m3', 'answer@x', 't1');
    INSERT INTO attachment VALUES ('m2', '${helloSha256}');
  `);
  spoil(database, folder.path);
  database.close();
  return await verifyStored({ sent, databaseUrl: `sqlite:${path}`, dataDir: folder.path });
}

const whole = { tickets: 2, messages: 3, attachmentsIdentical: 1 };

test('what is stored as it was sent is exact', async () => {
  const verification = await verifySpoilt(() => undefined);
  expect(verification).toEqual({ ...whole, findings: noFindings });
  expect(isExact(verification)).toBe(true);
});

const insert = 'INSERT INTO message (id, message_id, ticket_id) VALUES';

test.each<[title: string, sql: string, findings: Partial<Findings>, counts?: Partial<typeof whole>]>([
  [
    'a message that is not stored is lost',
    "DELETE FROM message WHERE id = 'm3'",
    { lost: ['<answer@x>'] },
    { messages: 2 },
  ],
  [
    'a message that is stored twice is doubled',
    `${insert} ('m4', 'first@x', 't1')`,
    { doubled: ['<first@x>'] },
    { messages: 4 },
  ],
  [
    'a message that was not sent is unknown',
    `${insert} ('m9', 'who@x', 't1')`,
    { unknown: ['<who@x>'] },
    { messages: 4 },
  ],
  ['a ticket without a message is empty', "INSERT INTO ticket VALUES ('t3')", { emptyTickets: ['t3'] }, { tickets: 3 }],
  [
    'a reply in another ticket is misplaced',
    "UPDATE message SET ticket_id = 't2' WHERE id = 'm3'",
    { misplaced: ['<answer@x>'] },
  ],
  [
    'two messages that are no replies in one ticket are misplaced',
    "UPDATE message SET ticket_id = 't1' WHERE id = 'm2'",
    { misplaced: ['<file@x>'], emptyTickets: ['t2'] },
  ],
  [
    'a message without a ticket is misplaced',
    "UPDATE message SET ticket_id = NULL WHERE id = 'm3'",
    { misplaced: ['<answer@x>'] },
  ],
  [
    'a message whose ticket is gone is misplaced',
    "DELETE FROM ticket WHERE id = 't2'",
    { misplaced: ['<file@x>'] },
    { tickets: 1 },
  ],
  [
    'an attachment without a row is missing',
    'DELETE FROM attachment',
    { missingAttachments: ['<file@x>'] },
    { attachmentsIdentical: 0 },
  ],
  [
    'an attachment whose row names another file is missing',
    "UPDATE attachment SET sha256 = 'other'",
    { missingAttachments: ['<file@x>'] },
    { attachmentsIdentical: 0 },
  ],
  [
    'an attachment with a second row is not the one that was sent',
    "INSERT INTO attachment VALUES ('m2', 'other')",
    { missingAttachments: ['<file@x>'] },
    { attachmentsIdentical: 0 },
  ],
])('%s', async (_title, sql, findings, counts = {}) => {
  const verification = await verifySpoilt((database) => database.exec(sql));
  expect(verification).toEqual({ ...whole, ...counts, findings: { ...noFindings, ...findings } });
  expect(isExact(verification)).toBe(false);
});

const blobPath = (dataDir: string) => join(dataDir, 'blobs', helloSha256.slice(0, 2), helloSha256);
const blobSpoilings: readonly (readonly [title: string, spoil: (dataDir: string) => void])[] = [
  ['an attachment whose file is gone is missing', (dataDir) => rmSync(blobPath(dataDir))],
  ['an attachment whose file has other bytes is missing', (dataDir) => writeFileSync(blobPath(dataDir), 'hallo')],
];

test.each(blobSpoilings)('%s', async (_title, spoil) => {
  const verification = await verifySpoilt((_database, dataDir) => spoil(dataDir));
  expect(verification.findings.missingAttachments).toEqual(['<file@x>']);
  expect(isExact(verification)).toBe(false);
});
