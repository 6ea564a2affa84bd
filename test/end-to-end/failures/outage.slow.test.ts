/**
 * Promises two and three together: database and mail server crash repeatedly while messages are fetched; one daemon,
 * never restarted, stores each of them once.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { addMailbox, appendMessages, mailboxName } from '../../bench/ingest/ingest.ts';
import { generateMessages } from '../../bench/messages/generate.ts';
import { runCommand, startDaemon } from '../../support/processes/daemon.ts';
import { startDovecot } from '../../support/servers/dovecot.ts';
import { startMariadb } from '../../support/servers/mariadb.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { noFindings, verifyStored } from '../../support/verification.ts';

const count = 600;
const outages = 9;

test('crashes of the database and of the mail server cost time, but no message and no restart', async () => {
  await using folder = await temporaryFolder('outage');
  await using dovecot = await startDovecot();
  await using mariadb = await startMariadb({ durable: true });
  const { url } = await mariadb.createDatabase();
  const dataDir = join(folder.path, 'data');
  const env = {
    TICKETMAILD_DATA_DIR: dataDir,
    TICKETMAILD_DATABASE_URL: url,
    TICKETMAILD_HTTP_LISTEN: 'off',
    TICKETMAILD_POLL_INTERVAL_S: '1',
    TICKETMAILD_POLL_BACKOFF_MAX_S: '1',
    TICKETMAILD_MESSAGE_BATCH_MESSAGES_MAX: '10',
  };
  const user = dovecot.newUser();
  const sent = await appendMessages(dovecot, user, generateMessages({ count }));
  await addMailbox(dovecot, user, { env });
  await using daemon = startDaemon(['run'], { env });
  await daemon.waitFor((line) => line['event'] === 'folder.initialized');
  for (let outage = 0; outage < outages; outage += 1) {
    await sleep(100 + Math.random() * 400);
    const server =
      outage % 3 === 2
        ? { end: dovecot.stop, restart: dovecot.restart }
        : { end: mariadb.kill, restart: mariadb.restart };
    await server.end();
    await sleep(200);
    await server.restart();
  }
  const seen = async () =>
    [...(await dovecot.listFlags(user, 'INBOX')).values()].filter((flags) => flags.has('\\Seen')).length;
  for (const endMs = Date.now() + 60_000; (await seen()) < count && Date.now() < endMs; ) await sleep(300);
  const verification = await verifyStored({ sent, databaseUrl: url, dataDir });
  expect(verification).toEqual({ ...verification, messages: count, findings: noFindings });
  expect(await seen()).toBe(count);
  expect(await runCommand(['reconcile'], { env })).toMatchObject({ code: 0 });
  const listed = await runCommand(['message', 'list', '--mailbox', mailboxName, '--json'], { env });
  expect(listed.stdout.trim().split('\n')).toHaveLength(count);
  expect(daemon.lines.some((line) => line['event'] === 'poll.failed')).toBe(true);
  daemon.signal('SIGTERM');
  expect((await daemon.exit).code).toBe(0);
}, 150_000);
