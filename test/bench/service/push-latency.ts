/**
 * From a message's announcement, and from its delivery, to its committed ticket: one message at a time, while one
 * worker watches many mailboxes.
 *
 * A proxy for each mailbox stands between the daemon and the mail server's plain port, and notes when the server
 * announces which mail. A message counts as committed at the time of the daemon's log line about it, which it writes
 * after the commit: so the figures are never too good. To be sure of that, another connection asks the database for
 * the row as soon as the line is seen. Asking the database all the time instead would slow down what is measured.
 * Times are whole milliseconds of one clock. The database syncs every commit, as in production, and passwords are
 * sealed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import type { Daemon, LogLine } from '../../support/processes/daemon.ts';
import { cpuSOf } from '../../support/processes/proc.ts';
import { itemAt, seededRandom } from '../../support/random.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { password } from '../../support/servers/dovecot-settings.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { isExact, verifyStored } from '../../support/verification.ts';
import { mailboxOn, type NewRow } from '../many-mailboxes.ts';
import { raiseInotifyLimit } from '../measure/inotify-limit.ts';
import { type Quantiles, quantilesOf } from '../measure/quantiles.ts';
import { type GeneratedMail, generateMessages } from '../messages/generate.ts';
import { type AnnouncingProxy, startAnnouncingProxy } from './announcing-proxy.ts';
import { addressOf, openFleet, openPush, profiling, stopped, until } from './fleet.ts';

export type LatencyOptions = {
  readonly mariadb: Mariadb;
  readonly mailboxes: number;
  readonly count: number;
  /** More lines of configuration of the mail server. */
  readonly serverSettings: string;
  /** Folder for a CPU profile of the daemon; null: none is made. */
  readonly profileFolder: string | null;
  readonly progress: (line: string) => void;
};

export type LatencyReport = {
  readonly mailboxes: number;
  /** Without the first one to each mailbox, which only warms up. */
  readonly messages: number;
  readonly announcedToCommittedMs: Quantiles;
  readonly deliveredToCommittedMs: Quantiles;
  readonly deliveredToAnnouncedMs: Quantiles;
  /** Messages whose row another connection did not see when the line about it was read. */
  readonly unseen: number;
  /** Committed before the server announced them: found by a poll. */
  readonly unannounced: number;
  readonly cpuSPer1000: number | null;
  readonly exact: boolean;
};

/**
 * Settings of Dovecot that hibernate connections which have been idle for a second. The main process's socket belongs
 * to Dovecot's internal user.
 */
export const hibernation = `
imap_hibernate_timeout = 1 secs
service imap {
  unix_listener imap-master {
    user = $default_internal_user
  }
}
service imap-hibernate {
  unix_listener imap-hibernate {
    mode = 0666
  }
}`;

type Box = { readonly row: NewRow; readonly proxy: AnnouncingProxy; messages: number; committedAtMs: number };
type Sent = {
  readonly delivered: number;
  readonly announced: number | null;
  readonly committed: number;
  readonly isVisible: boolean;
};

const env = {
  // Only announcements lead to a poll.
  TICKETMAILD_POLL_INTERVAL_S: '3600',
  TICKETMAILD_POLL_CONCURRENCY_MAX: '32',
  TICKETMAILD_POLL_CONCURRENCY_PER_HOST_MAX: '32',
} as const;
/**
 * Before the next message to a mailbox: its connection rests. Dovecot 2.3 never announces what arrives in the half
 * second before it hibernates a connection, which it does after one second.
 */
const restMs = 1800;
const mailGapMsMax = 40;
const openTimeoutMs = 120_000;
const fetchedTimeoutMs = 60_000;
const stored = /^message\.(?:ticket_opened|reply_added|recorded|duplicate|quarantined)$/;

/** Throws when not all mailboxes are watched in time, or a message is not stored in time. */
export async function pushLatencyRun(options: LatencyOptions): Promise<LatencyReport> {
  const { mariadb, mailboxes, count, profileFolder, progress } = options;
  await using undo = new AsyncDisposableStack();
  const { complaint } = undo.use(await raiseInotifyLimit(2 * mailboxes + 256));
  if (complaint !== null) progress(complaint);
  const dovecot = undo.use(await startDovecot({ settings: options.serverSettings }));
  const boxes = await openBoxes(dovecot, mailboxes, undo);
  const rows = boxes.map(({ row }) => row);
  const more = { TICKETMAILD_IDLE_CONNECTIONS_MAX: `${mailboxes}` };
  const perHost = { TICKETMAILD_IDLE_CONNECTIONS_PER_HOST_MAX: `${mailboxes}` };
  const { setting } = undo.use(await openFleet(mariadb, rows, { ...env, ...more, ...perHost }));
  const daemon = undo.use(setting.start(['run'], { nodeOptions: profiling(profileFolder) }));
  const address = await addressOf(daemon);
  progress(`opening ${mailboxes} connections`);
  await until(daemon, 'all watched', openTimeoutMs, async () => (await openPush(address)) === mailboxes, 200);
  await sleep(restMs);
  const connection = await createConnection(setting.databaseUrl);
  undo.defer(() => connection.end());
  const place = { dovecot, daemon, connection };
  const messages = someMessages(mailboxes + count);
  progress('the first mail of each mailbox');
  await sendAll(place, boxes, messages.slice(0, mailboxes), () => undefined);
  const cpuBeforeS = cpuSOf(daemon.pid);
  const sent = await sendAll(place, boxes, messages.slice(mailboxes), (number) => {
    if (number % 100 === 0) progress(`${number} of ${count} messages`);
  });
  const cpuAfterS = cpuSOf(daemon.pid);
  await stopped(daemon);
  return {
    ...{ mailboxes, messages: sent.length },
    ...timesOf(sent),
    cpuSPer1000: cpuBeforeS === null || cpuAfterS === null ? null : ((cpuAfterS - cpuBeforeS) * 1000) / count,
    exact: isExact(await verifyStored({ sent: messages, ...setting })),
  };
}

async function openBoxes(dovecot: Dovecot, count: number, undo: AsyncDisposableStack): Promise<readonly Box[]> {
  const boxes: Box[] = [];
  for (let index = 0; index < count; index += 1) {
    const proxy = undo.use(await startAnnouncingProxy({ host: '127.0.0.1', port: dovecot.port }));
    const row = mailboxOn(dovecot, 'none', `box-${index}`, Buffer.from(password));
    boxes.push({ row: { ...row, port: proxy.port }, proxy, messages: 0, committedAtMs: 0 });
  }
  return boxes;
}

/** Without replies: one that comes before the message that it replies to, from another mailbox, opens a ticket. */
function someMessages(count: number): readonly GeneratedMail[] {
  return [...generateMessages({ count: 2 * count + 100 })].filter(({ kind }) => kind !== 'reply').slice(0, count);
}

type Place = { readonly dovecot: Dovecot; readonly daemon: Daemon; readonly connection: Connection };

/** One at a time, to the mailboxes in turn. */
async function sendAll(
  place: Place,
  boxes: readonly Box[],
  messages: readonly GeneratedMail[],
  done: (number: number) => void,
): Promise<readonly Sent[]> {
  const random = seededRandom(1);
  const sent: Sent[] = [];
  for (const { bytes } of messages) {
    const box = itemAt(boxes, sent.length % boxes.length);
    const isRestedAtMs = box.committedAtMs + restMs;
    await sleep(mailGapMsMax * random.fraction() + Math.max(0, isRestedAtMs - Date.now()));
    sent.push(await sendOne(place, box, bytes));
    done(sent.length);
  }
  return sent;
}

/** The UIDs of a mailbox begin at 1, as do the numbers that are announced. */
async function sendOne({ dovecot, daemon, connection }: Place, box: Box, mail: Uint8Array): Promise<Sent> {
  box.messages += 1;
  const { row, proxy, messages: uid } = box;
  const isCommitted = (line: LogLine) =>
    line['mailbox'] === row.name && line['uid'] === uid && stored.test(String(line['event']));
  const committing = daemon.waitFor(isCommitted, fetchedTimeoutMs);
  await dovecot.append(row.user, 'INBOX', [mail]);
  const delivered = Date.now();
  const line = await committing;
  const isVisible = await isStored(connection, row.name, uid);
  box.committedAtMs = Date.now();
  return { delivered, announced: proxy.announcedAtMs(uid), committed: Date.parse(String(line['time'])), isVisible };
}

async function isStored(connection: Connection, mailbox: string, uid: number): Promise<boolean> {
  const ids = 'SELECT id FROM mailboxes WHERE name = ?';
  const sql = `SELECT uid FROM outcome WHERE mailbox_id = (${ids}) AND uid = ?`;
  const [rows] = await connection.query<RowDataPacket[]>(sql, [mailbox, uid]);
  return rows.length === 1;
}

type Times = Pick<
  LatencyReport,
  'announcedToCommittedMs' | 'deliveredToCommittedMs' | 'deliveredToAnnouncedMs' | 'unseen' | 'unannounced'
>;

function timesOf(sent: readonly Sent[]): Times {
  const heard = sent.flatMap(({ announced, ...one }) =>
    announced === null || announced > one.committed ? [] : [{ ...one, announced }],
  );
  return {
    announcedToCommittedMs: quantilesOf(heard.map(({ announced, committed }) => committed - announced)),
    deliveredToCommittedMs: quantilesOf(sent.map(({ delivered, committed }) => committed - delivered)),
    deliveredToAnnouncedMs: quantilesOf(heard.map(({ announced, delivered }) => Math.max(0, announced - delivered))),
    unseen: sent.filter(({ isVisible }) => !isVisible).length,
    unannounced: sent.length - heard.length,
  };
}
