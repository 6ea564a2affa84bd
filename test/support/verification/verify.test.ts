/**
 * Each way in which stored messages can differ from the sent ones is found, on a database that is made wrong on
 * purpose.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, onTestFinished, test } from 'vitest';
import { temporaryFolder } from '../temporary.ts';
import { type ExpectedMail, isExact, type Verification, verifyIngest } from './verify.ts';

const helloSha256 = '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';
const other = {
  kind: 'plain',
  from: 'a@example.test',
  subject: 'Hello',
  replyTo: null,
  attachBytes: 0,
  attachSha256: null,
} as const;
const mails: readonly ExpectedMail[] = [
  { ...other, name: '0.eml', messageId: '<first@x>' },
  { ...other, name: '1.eml', messageId: '<file@x>', kind: 'attach', attachBytes: 5, attachSha256: helloSha256 },
  { ...other, name: '2.eml', messageId: '<answer@x>', kind: 'reply', replyTo: '<first@x>' },
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
    CREATE TABLE message (id TEXT, message_id TEXT, ticket_id TEXT);
    CREATE TABLE attachment (message_id TEXT, sha256 TEXT);
    INSERT INTO ticket VALUES ('t1'), ('t2');
    INSERT INTO message VALUES ('m1', 'first@x', 't1'), ('m2', 'file@x', 't2'), ('m3', 'answer@x', 't1');
    INSERT INTO attachment VALUES ('m2', '${helloSha256}');
  `);
  spoil(database, folder.path);
  database.close();
  return await verifyIngest({ mails, databaseUrl: `sqlite:${path}`, dataDir: folder.path });
}

const whole = { tickets: 2, messages: 3, attachmentsIdentical: 1 };
const nothingWrong = { lost: [], doubled: [], emptyTickets: [], misplaced: [], missingAttachments: [] };

test('what is stored as it was sent is exact', async () => {
  const verification = await verifySpoilt(() => undefined);
  expect(verification).toEqual({ ...whole, ...nothingWrong });
  expect(isExact(mails, verification)).toBe(true);
});

const spoilings: readonly (readonly [title: string, sql: string, expected: Partial<Verification>])[] = [
  ['a mail that is not stored is lost', "DELETE FROM message WHERE id = 'm3'", { messages: 2, lost: ['<answer@x>'] }],
  [
    'a message that is stored twice is doubled',
    "INSERT INTO message VALUES ('m4', 'first@x', 't1')",
    { messages: 4, doubled: ['<first@x>'] },
  ],
  ['a ticket without a message is empty', "INSERT INTO ticket VALUES ('t3')", { tickets: 3, emptyTickets: ['t3'] }],
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
    'an attachment without a row is missing',
    'DELETE FROM attachment',
    { attachmentsIdentical: 0, missingAttachments: ['<file@x>'] },
  ],
  [
    'an attachment whose row names another file is missing',
    "UPDATE attachment SET sha256 = 'other'",
    { attachmentsIdentical: 0, missingAttachments: ['<file@x>'] },
  ],
  [
    'a stored message that was not sent is not exact',
    "INSERT INTO message VALUES ('m9', 'who@x', 't1')",
    { messages: 4 },
  ],
];

test.each(spoilings)('%s', async (_title, sql, expected) => {
  const verification = await verifySpoilt((database) => database.exec(sql));
  expect(verification).toEqual({ ...whole, ...nothingWrong, ...expected });
  expect(isExact(mails, verification)).toBe(false);
});

const blobPath = (dataDir: string) => join(dataDir, 'blobs', helloSha256.slice(0, 2), helloSha256);
const blobSpoilings: readonly (readonly [title: string, spoil: (dataDir: string) => void])[] = [
  ['an attachment whose file is gone is missing', (dataDir) => rmSync(blobPath(dataDir))],
  ['an attachment whose file has other bytes is missing', (dataDir) => writeFileSync(blobPath(dataDir), 'hallo')],
];

test.each(blobSpoilings)('%s', async (_title, spoil) => {
  const verification = await verifySpoilt((_database, dataDir) => spoil(dataDir));
  expect(verification.missingAttachments).toEqual(['<file@x>']);
  expect(isExact(mails, verification)).toBe(false);
});
