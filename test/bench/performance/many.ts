/**
 * `many`: whether one daemon stores the messages of many mailboxes, all due at the same moment, as fast as those of
 * one.
 *
 * Each run stores as many messages of a single mailbox first. Fails with what a command printed.
 */
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { password } from '../../support/servers/dovecot-settings.ts';
import type { SentMessage } from '../../support/verification.ts';
import { appendMessages, ingestFilled } from '../ingest/ingest.ts';
import { mailboxOn, type NewRow } from '../many-mailboxes.ts';
import { generateMessages } from '../messages/generate.ts';
import { fillOnce } from './filled.ts';
import { storeWithDaemon } from './one-daemon.ts';
import { atLeast, figure, type RunValues, type Scene, type SceneContext, type SceneRuns } from './scene.ts';

/** Of the messages of the first mailbox; each has its own. */
const firstSeed = 1;

export const many: Scene = {
  name: 'many',
  about: ({ count, mailboxes }) =>
    `${messagesOfEach(count, mailboxes)} messages of each of ${mailboxes} mailboxes into MariaDB`,
  database: 'mariadb',
  figures: [
    figure('ratio', 'messages per second, ratio to one mailbox', 2, atLeast(0.9)),
    figure('messages_per_s', 'messages per second', 0),
    figure('single_messages_per_s', '… of one mailbox', 0),
    figure('client_cpu_s_per_1000', 'CPU seconds per 1,000, whole process', 2),
    figure('peak_rss_mb', 'peak memory, MB', 0),
  ],
  run: runAll,
};

function messagesOfEach(count: number, mailboxes: number): number {
  return Math.max(1, Math.round(count / mailboxes));
}

async function runAll({ dovecot, mariadb, mailboxes, runs, progress, ...options }: SceneContext): Promise<SceneRuns> {
  const each = messagesOfEach(options.count, mailboxes);
  const count = each * mailboxes;
  const one = await fillOnce(dovecot, count, progress);
  progress(`filling ${mailboxes} mailboxes with ${each} messages each`);
  const { rows, sent } = await fillEach(dovecot, mailboxes, each);
  const values: RunValues[] = [];
  let isAllExact = true;
  for (let run = 1; run <= runs; run++) {
    progress(`run ${run} of ${runs}: one mailbox`);
    await one.asNew();
    const { product, exact } = await ingestFilled({ dovecot, mariadb }, one, () => undefined);
    progress(`run ${run} of ${runs}: ${mailboxes} mailboxes`);
    for (const { user } of rows) await dovecot.unsee(user, 'INBOX');
    const stored = await storeWithDaemon({ mariadb, rows, count, sent });
    isAllExact &&= exact && stored.exact;
    const perSecond = count / stored.durationS;
    const singlePerSecond = count / (product.durationS ?? product.wallS);
    values.push({
      ratio: perSecond / singlePerSecond,
      messages_per_s: perSecond,
      single_messages_per_s: singlePerSecond,
      client_cpu_s_per_1000: stored.cpuS === null ? null : (stored.cpuS * 1000) / count,
      peak_rss_mb: stored.peakRssMb,
    });
  }
  return { runs: values, exact: isAllExact };
}

/** Messages of their own for each: a reply is in the mailbox of the message that it replies to. */
async function fillEach(
  dovecot: Dovecot,
  mailboxes: number,
  each: number,
): Promise<{ readonly rows: readonly NewRow[]; readonly sent: readonly SentMessage[] }> {
  const rows: NewRow[] = [];
  const sent: SentMessage[] = [];
  for (let index = 0; index < mailboxes; index++) {
    const row = mailboxOn(dovecot, 'implicit', `box-${index}`, Buffer.from(password));
    sent.push(...(await appendMessages(dovecot, row.user, generateMessages({ count: each, seed: firstSeed + index }))));
    rows.push(row);
  }
  return { rows, sent };
}
