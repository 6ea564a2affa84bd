/**
 * Two thousand public mails of every kind, fetched from a real mail server in one go: each has an outcome, the process
 * lives, and its memory stays flat. Left out, and said so, where the mails are missing.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { runMeasured } from './bench/child.ts';
import { addMailbox, mailboxName } from './bench/ingest.ts';
import { corpusFolder, corpusPresent, readMail, readManifest } from './mail/corpus.ts';
import { runCommand } from './support/daemon.ts';
import { startDovecot } from './support/dovecot.ts';
import { startMariadb } from './support/mariadb.ts';
import { temporaryFolder } from './support/temporary.ts';

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const peakMbMax = 350;

test.skipIf(!corpusPresent)(
  `each public mail has an outcome after one visit (looked for in ${corpusFolder}, TICKETMAILD_CORPUS)`,
  async () => {
    await using folder = await temporaryFolder('corpus');
    await using dovecot = await startDovecot();
    await using mariadb = await startMariadb();
    const user = dovecot.newUser();
    const mails = readManifest().map(({ path, tags }) => readMail(path, tags));
    await dovecot.append(user, 'INBOX', mails);
    const { url } = await mariadb.createDatabase();
    const env = { TICKETMAILD_DATA_DIR: join(folder.path, 'data'), TICKETMAILD_DATABASE_URL: url };
    await addMailbox(dovecot, user, { env });
    const measured = await runMeasured([main, 'poll', mailboxName, '--json'], { env });
    const { outcomes } = JSON.parse(measured.stdout) as { outcomes: Record<string, number> };
    expect(Object.values(outcomes).reduce((sum, count) => sum + count, 0)).toBe(mails.length);
    expect(outcomes).toMatchObject({ vanished: 0 });
    expect(outcomes.quarantined).toBeLessThan(5);
    expect(measured.peakRssMb).toBeLessThan(peakMbMax);
    expect(await runCommand(['reconcile'], { env })).toMatchObject({ code: 0 });
    const listed = await runCommand(['message', 'list', '--mailbox', mailboxName, '--full', '--json'], { env });
    const uids = listed.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).uid);
    expect(uids).toEqual(mails.map((_, index) => index + 1));
  },
  120_000,
);
