/**
 * `huge`: what one huge message among small ones costs: the memory of the daemon, and how long the small ones wait,
 * those of the same mailbox and those of another one that is polled at the same time.
 *
 * The wait is the longest time in which no message of a mailbox was committed, from its first commit to its last; the
 * database is asked every 20 ms. Fails with what a command printed.
 */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { password } from '../../support/servers/dovecot-settings.ts';
import type { SentMessage } from '../../support/verification.ts';
import { appendMessages } from '../ingest/ingest.ts';
import { mailboxOn, type NewRow } from '../many-mailboxes.ts';
import { base64Lines } from '../messages/encodings.ts';
import { type GeneratedMail, generateMessages } from '../messages/generate.ts';
import type { Setting } from '../setting.ts';
import { storeWithDaemon } from './one-daemon.ts';
import { atMost, below, figure, type RunValues, type Scene, type SceneContext, type SceneRuns } from './scene.ts';

const smallMessages = 200;
const lookMs = 20;
const [sameBox, otherBox] = ['same', 'other'];
const [sameSeed, otherSeed] = [2, 3];

export const huge: Scene = {
  name: 'huge',
  about: ({ hugeMb, count }) =>
    `a mail of ${hugeMb} MB among ${smallMessages} small ones, beside another mailbox of ${count} messages`,
  database: 'mariadb',
  figures: [
    figure('peak_rss_mb', 'peak memory, MB', 0, below(400)),
    figure('same_mailbox_wait_ms', 'longest wait in the same mailbox, ms', 0, atMost(1000)),
    figure('other_mailbox_wait_ms', 'longest wait in the other mailbox, ms', 0, atMost(1000)),
    figure('messages_per_s', 'messages per second', 0),
  ],
  run: runAll,
};

async function runAll({ dovecot, mariadb, count, hugeMb, runs, progress }: SceneContext): Promise<SceneRuns> {
  progress(`filling two mailboxes, one with a message of ${hugeMb} MB`);
  const { rows, sent } = await fillBoth(dovecot, { count, hugeMb });
  const total = smallMessages + 1 + count;
  const values: RunValues[] = [];
  let isExact = true;
  for (let run = 1; run <= runs; run++) {
    progress(`run ${run} of ${runs}`);
    for (const { user } of rows) await dovecot.unsee(user, 'INBOX');
    const waits = new Map<string, number>();
    const watch = (setting: Setting) => watchCommits(setting, waits);
    const stored = await storeWithDaemon({ mariadb, rows, count: total, sent, watch });
    isExact &&= stored.exact;
    values.push({
      peak_rss_mb: stored.peakRssMb,
      same_mailbox_wait_ms: waits.get(sameBox) ?? null,
      other_mailbox_wait_ms: waits.get(otherBox) ?? null,
      messages_per_s: total / stored.durationS,
    });
  }
  return { runs: values, exact: isExact };
}

async function fillBoth(
  dovecot: Dovecot,
  { count, hugeMb }: Pick<SceneContext, 'count' | 'hugeMb'>,
): Promise<{ readonly rows: readonly NewRow[]; readonly sent: readonly SentMessage[] }> {
  const rows = [sameBox, otherBox].map((name) => mailboxOn(dovecot, 'implicit', name, Buffer.from(password)));
  const [same, other] = rows.map(({ user }) => user);
  if (same === undefined || other === undefined) throw new Error('two mailboxes are needed');
  const sent = [
    ...(await appendMessages(dovecot, same, withHuge(hugeMb))),
    ...(await appendMessages(dovecot, other, generateMessages({ count, seed: otherSeed }))),
  ];
  return { rows, sent };
}

/** In the middle of the small ones. */
function* withHuge(hugeMb: number): Iterable<GeneratedMail> {
  let small = 0;
  for (const mail of generateMessages({ count: 2 * smallMessages, seed: sameSeed })) {
    if (mail.kind !== 'plain') continue;
    if (small === smallMessages / 2) yield hugeMail(hugeMb);
    if (small === smallMessages) return;
    small += 1;
    yield mail;
  }
}

/** Its size is that on the way: base64 in lines of 76 with CRLF takes 78 bytes for 57. */
function hugeMail(hugeMb: number): GeneratedMail {
  const content = randomBytes(Math.floor((hugeMb * 1024 * 1024 * 57) / 78));
  const [messageId, from, subject] = ['<huge@mail.customer1.test>', 'huge@customer1.test', 'The whole archive'];
  const boundary = '=_huge';
  const head = [
    `From: ${from}`,
    'To: Support <support@bench.test>',
    `Subject: ${subject}`,
    'Date: Thu, 01 Oct 2026 06:00:00 +0000',
    `Message-ID: ${messageId}`,
    'MIME-Version: 1.0',
    `Content-Type: multipart/mixed; boundary="${boundary}"`,
  ];
  const text = ['Content-Type: text/plain; charset=us-ascii', '', 'It is attached.'];
  const file = [
    'Content-Type: application/zip; name="archive.zip"',
    'Content-Transfer-Encoding: base64',
    'Content-Disposition: attachment; filename="archive.zip"',
    '',
    base64Lines(content),
  ];
  const mark = `--${boundary}`;
  return {
    ...{ name: 'huge.eml', kind: 'attach', messageId, from, subject, replyTo: null },
    bytes: Buffer.from([...head, '', mark, ...text, mark, ...file, `${mark}--`, ''].join('\n')),
    attachBytes: content.length,
    attachmentSha256: createHash('sha256').update(content).digest('hex'),
  };
}

type CountRow = { readonly name: string; readonly stored: number };

/** Writes into `waits`, by the mailboxes' names, the longest time between two commits. */
async function watchCommits({ databaseUrl }: Setting, waits: Map<string, number>): Promise<AsyncDisposable> {
  const connection = await createConnection(databaseUrl);
  const sql = 'SELECT name, COUNT(*) AS stored FROM outcome JOIN mailboxes ON mailboxes.id = mailbox_id GROUP BY name';
  const last = new Map<string, { readonly stored: number; readonly atMs: number }>();
  const look = async (): Promise<void> => {
    const [rows] = await connection.query<(RowDataPacket & CountRow)[]>(sql);
    const atMs = performance.now();
    for (const { name, stored } of rows) {
      const before = last.get(name);
      if (before?.stored === stored) continue;
      if (before !== undefined) waits.set(name, Math.max(waits.get(name) ?? 0, atMs - before.atMs));
      last.set(name, { stored, atMs });
    }
  };
  const stop = new AbortController();
  const turn = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await look();
      await sleep(lookMs);
    }
    await look();
  };
  const turning = turn().finally(() => connection.end());
  // It is looked after at the end.
  turning.catch(() => undefined);
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await turning;
    },
  };
}
