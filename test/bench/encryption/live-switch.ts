/**
 * Switches encryption on, rotates the key twice and switches it off, while one daemon polls many mailboxes all the
 * time and mail keeps arriving.
 *
 * Counted in the end: logins that failed (by the mail server's log and by the daemon's), messages lost, doubled or
 * changed, and for each change of the switch how long the running daemon took to see it: from its audit row, by the
 * database's clock, to the event `switch.changed` (all on one machine). Fails when a command fails or the message is
 * never done.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Daemon, LogLine } from '../../support/processes/daemon.ts';
import { itemAt, seededRandom } from '../../support/random.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { password } from '../../support/servers/dovecot-settings.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { runSql } from '../../support/sql.ts';
import { isExact, type SentMessage, type Verification, verifyStored } from '../../support/verification.ts';
import { addMailboxes, mailboxOn } from '../many-mailboxes.ts';
import { generateMessages } from '../messages/generate.ts';
import { disable, enable, openSetting, rotate, type Setting } from '../setting.ts';
import { untilPolled } from './memory-scene.ts';

export type PickUp = {
  /** As `switch.rotating`. */
  readonly change: string;
  readonly revision: number;
  /** null: the daemon never saw it, nor a later one. */
  readonly ms: number | null;
};

export type LiveReport = {
  readonly mailboxes: number;
  readonly messages: number;
  readonly polls: number;
  readonly failedByServer: number;
  readonly failedByDaemon: number;
  readonly verification: Verification;
  readonly exact: boolean;
  readonly pickUps: readonly PickUp[];
  /** How long each command took. */
  readonly commands: readonly { readonly name: string; readonly seconds: number }[];
};

export type LiveOptions = {
  readonly dovecot: Dovecot;
  readonly mariadb: Mariadb | null;
  readonly mailboxes: number;
  readonly progress: (line: string) => void;
};

const env = {
  TICKETMAILD_POLL_INTERVAL_S: '2',
  TICKETMAILD_POLL_CONCURRENCY_MAX: '32',
  TICKETMAILD_POLL_CONCURRENCY_PER_HOST_MAX: '32',
  TICKETMAILD_LOG_LEVEL: 'debug',
} as const;
const mailGapMs = 25;
/** Between two commands, so that each state is worked in. */
const pauseMs = 3000;
const doneTimeoutMs = 120_000;
const messagesMax = 100_000;
const commands = [enable, rotate, rotate, disable];
/** Log lines of Dovecot about refused logins. */
const refusal = /auth failed|authentication failure|password mismatch/i;

export async function liveSwitchRun(options: LiveOptions): Promise<LiveReport> {
  const { dovecot, mariadb, mailboxes, progress } = options;
  await using setting = await openSetting(mariadb, env);
  const users = await fill(setting, options);
  await using daemon = setting.start(['run']);
  progress(`a first round of ${mailboxes} polls`);
  await untilPolled(daemon, mailboxes, 1);
  const writing = new AbortController();
  const messages = writeMessages(dovecot, users, writing.signal);
  const seconds = await runCommands(setting, progress);
  writing.abort();
  const expected = await messages;
  progress(`waiting for the last of ${expected.length} messages`);
  await untilStored(setting, expected.length);
  const verification = await verifyStored({ sent: expected, ...setting });
  const lines = daemon.lines;
  return {
    mailboxes,
    messages: expected.length,
    polls: countOf(lines, 'poll.empty') + countOf(lines, 'poll.finished'),
    failedByServer: (await dovecot.log()).split('\n').filter((line) => refusal.test(line)).length,
    failedByDaemon: countOf(lines, 'poll.failed'),
    verification,
    exact: isExact(verification),
    pickUps: await pickUps(setting, daemon),
    commands: seconds,
  };
}

/** The users of the mailboxes, every second of them in clear. */
async function fill(setting: Setting, { dovecot, mailboxes }: LiveOptions): Promise<readonly string[]> {
  const rows = Array.from({ length: mailboxes }, (_, index) =>
    mailboxOn(dovecot, index % 2 === 0 ? 'implicit' : 'none', `box-${index}`, Buffer.from(password)),
  );
  await addMailboxes(setting.databaseUrl, rows);
  return rows.map(({ user }) => user);
}

/** Delivers one message after the other to users picked at random until `stop` fires; gives what was sent. */
async function writeMessages(
  dovecot: Dovecot,
  users: readonly string[],
  stop: AbortSignal,
): Promise<readonly SentMessage[]> {
  const random = seededRandom(1);
  const expected: SentMessage[] = [];
  for (const { bytes, ...described } of generateMessages({ count: messagesMax })) {
    if (stop.aborted) break;
    // A reply may be fetched before the message that it replies to, from another mailbox, and then opens a ticket.
    if (described.kind === 'reply') continue;
    await dovecot.append(itemAt(users, random.between(0, users.length - 1)), 'INBOX', [bytes]);
    expected.push(described);
    await sleep(mailGapMs);
  }
  return expected;
}

async function runCommands(setting: Setting, progress: (line: string) => void): Promise<LiveReport['commands']> {
  const took: { name: string; seconds: number }[] = [];
  for (const args of commands) {
    await sleep(pauseMs);
    const startedAtMs = performance.now();
    await setting.succeed(args);
    const seconds = (performance.now() - startedAtMs) / 1000;
    took.push({ name: args[1], seconds: Number(seconds.toFixed(2)) });
    progress(`${args[1]} took ${seconds.toFixed(1)} s`);
  }
  await sleep(pauseMs);
  return took;
}

async function untilStored({ databaseUrl }: Setting, count: number): Promise<void> {
  const deadlineMs = performance.now() + doneTimeoutMs;
  while (performance.now() < deadlineMs) {
    const [row] = await runSql<{ stored: number }>(databaseUrl, 'SELECT COUNT(*) AS stored FROM outcome');
    if ((row?.stored ?? 0) >= count) return;
    await sleep(200);
  }
}

function countOf(lines: readonly LogLine[], event: string): number {
  return lines.filter((line) => line['event'] === event).length;
}

type AuditRow = { readonly at: string | Date; readonly action: string };

/**
 * The revision of a change is its place among the changes. A change that was over before the daemon looked is seen with
 * the next.
 */
async function pickUps({ databaseUrl }: Setting, daemon: Daemon): Promise<readonly PickUp[]> {
  const sql = "SELECT CAST(at AS CHAR) AS at, action FROM audit WHERE action LIKE 'switch.%' ORDER BY id";
  const changes = await runSql<AuditRow>(databaseUrl, sql);
  const seen = daemon.lines.filter((line) => line['event'] === 'switch.changed');
  return changes.map(({ at, action }, index) => {
    const revision = index + 1;
    const event = seen.find((line) => Number(line['revision']) >= revision);
    const changedAtMs = Date.parse(`${String(at).replace(' ', 'T')}Z`);
    return {
      change: action,
      revision,
      ms: event === undefined ? null : Date.parse(String(event['time'])) - changedAtMs,
    };
  });
}
