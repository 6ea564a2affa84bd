/**
 * One worker with many mailboxes that are polled, most of them quiet: what a poll costs and how late it begins.
 *
 * Two of a hundred mailboxes get a message a minute. After a first round the due times are spread evenly over the
 * interval, and one whole interval is measured. No message may be lost or doubled meanwhile. A shorter interval than
 * 300 s shrinks everything in proportion: the minute between two messages, too. The lag of a poll is the time from
 * when it was due, by the table, to its beginning, by the daemon's log (its end, less how long it took).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Daemon } from '../../support/processes/daemon.ts';
import { childrenNamed, cpuSOf, type MemoryFigures, treeCpuSOf, watchMemory } from '../../support/processes/proc.ts';
import { itemAt, seededRandom } from '../../support/random.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { runSql } from '../../support/sql.ts';
import { isExact, type SentMessage, verifyStored } from '../../support/verification.ts';
import { type Quantiles, quantilesOf } from '../measure/quantiles.ts';
import { generateMessages } from '../messages/generate.ts';
import { addressOf, ask, type Fleet, openFleet, profiling, rowsOn, spread, stopped, timeText, until } from './fleet.ts';

export type QuietOptions = {
  readonly mariadb: Mariadb | null;
  readonly mailboxes: number;
  readonly intervalS: number;
  /** Folder for a CPU profile of the daemon; null: none is made. */
  readonly profileFolder: string | null;
  readonly progress: (line: string) => void;
};

export type QuietReport = {
  readonly mailboxes: number;
  readonly polls: number;
  readonly messages: number;
  readonly seconds: number;
  readonly firstRoundS: number;
  /** In the measured interval. */
  readonly cpuS: CpuFigures;
  readonly memory: MemoryFigures;
  readonly lagMs: Quantiles;
  readonly pollMs: Quantiles;
  readonly readyMs: Quantiles;
  /** null where there is no such endpoint. */
  readonly metricsMs: Quantiles | null;
  readonly failed: number;
  readonly exact: boolean;
};

export type CpuFigures = {
  readonly daemon: number | null;
  readonly dovecot: number | null;
  readonly mariadb: number | null;
};

const usualIntervalS = 300;
const busyShare = 0.02;
const mailGapS = 60;
const pollsAtOnce = '64';
const firstRoundTimeoutMs = 900_000;
const lastMessagesTimeoutMs = 120_000;
const asks = 20;
const messagesMax = 100_000;

/** Throws when the first round, or the last messages, take too long, or a command fails. */
export async function manyQuietRun(options: QuietOptions): Promise<QuietReport> {
  const { mariadb, mailboxes, intervalS, profileFolder, progress } = options;
  await using dovecot = await startDovecot();
  await using fleet = await openFleet(mariadb, rowsOn(dovecot, mailboxes), env(intervalS));
  await using daemon = fleet.setting.start(['run'], { nodeOptions: profiling(profileFolder) });
  const address = await addressOf(daemon);
  progress(`a first round of ${mailboxes} polls`);
  const startedAtMs = performance.now();
  await firstRound(fleet, daemon);
  const firstRoundS = (performance.now() - startedAtMs) / 1000;
  progress(`one interval of ${intervalS} s, after a first round of ${firstRoundS.toFixed(1)} s`);
  const lines = daemon.lines.length;
  const due = await spread(fleet.setting, intervalS);
  const measured = await oneInterval(options, { dovecot, fleet, daemon, address });
  const polls = pollsOf(daemon, lines);
  progress('fetching the last messages');
  const exact = await isAllStored(fleet, daemon, measured.messages);
  const failed = daemon.lines.slice(lines).filter(({ event }) => event === 'poll.failed').length;
  await stopped(daemon);
  const { messages, asked, ...figures } = measured;
  return {
    mailboxes,
    polls: polls.length,
    messages: messages.length,
    firstRoundS,
    ...figures,
    lagMs: quantilesOf(lags(polls, due)),
    pollMs: quantilesOf(polls.map(({ durationMs }) => durationMs)),
    ...asked,
    failed,
    exact,
  };
}

function env(intervalS: number): Readonly<Record<string, string>> {
  return {
    TICKETMAILD_POLL_INTERVAL_S: `${intervalS}`,
    TICKETMAILD_POLL_CONCURRENCY_MAX: pollsAtOnce,
    TICKETMAILD_POLL_CONCURRENCY_PER_HOST_MAX: pollsAtOnce,
    TICKETMAILD_IDLE_CONNECTIONS_MAX: '0',
    TICKETMAILD_IDLE_CONNECTIONS_PER_HOST_MAX: '0',
    // Each poll leaves a line that tells its end and how long it took.
    TICKETMAILD_LOG_LEVEL: 'debug',
  };
}

async function firstRound({ setting }: Fleet, daemon: Daemon): Promise<void> {
  const sql = 'SELECT COUNT(*) AS missing FROM mailboxes LEFT JOIN mailbox_state ON mailbox_id = id';
  const check = async (): Promise<boolean> => {
    const [row] = await runSql<{ missing: number }>(setting.databaseUrl, `${sql} WHERE last_success_at IS NULL`);
    return row?.missing === 0;
  };
  await until(daemon, 'a first poll to each mailbox', firstRoundTimeoutMs, check, 500);
}

type Place = {
  readonly dovecot: Dovecot;
  readonly fleet: Fleet;
  readonly daemon: Daemon;
  readonly address: string;
};

type Measured = Pick<QuietReport, 'seconds' | 'cpuS' | 'memory'> & {
  readonly messages: readonly SentMessage[];
  readonly asked: Pick<QuietReport, 'readyMs' | 'metricsMs'>;
};

async function oneInterval({ intervalS }: QuietOptions, place: Place): Promise<Measured> {
  const { daemon, address } = place;
  using memory = watchMemory(daemon.pid);
  const [before, startedAtMs] = [cpuOf(daemon), performance.now()];
  const writing = new AbortController();
  const messages = writeMessages(place, intervalS, writing.signal);
  const asked = askAgain(address, (intervalS * 1000) / asks);
  await sleep(intervalS * 1000);
  writing.abort();
  const seconds = (performance.now() - startedAtMs) / 1000;
  const after = cpuOf(daemon);
  const spent = (name: keyof CpuFigures) => {
    const [from, to] = [before[name], after[name]];
    return from === null || to === null ? null : to - from;
  };
  const cpuS = { daemon: spent('daemon'), dovecot: spent('dovecot'), mariadb: spent('mariadb') };
  return { seconds, cpuS, memory: memory.stop(), messages: await messages, asked: await asked };
}

function cpuOf(daemon: Daemon): CpuFigures {
  const server = (name: string) => {
    const pid = childrenNamed(name).at(-1) ?? null;
    return pid === null ? null : treeCpuSOf(pid);
  };
  return { daemon: cpuSOf(daemon.pid), dovecot: server('dovecot'), mariadb: server('mariadbd') };
}

/** Each of the busy mailboxes gets a message a minute, all of them in turn. */
async function writeMessages(
  { dovecot, fleet }: Place,
  intervalS: number,
  stop: AbortSignal,
): Promise<readonly SentMessage[]> {
  const random = seededRandom(1);
  const busy = fleet.rows.slice(0, Math.max(1, Math.round(fleet.rows.length * busyShare)));
  const gapMs = ((mailGapS * intervalS) / usualIntervalS / busy.length) * 1000;
  const expected: SentMessage[] = [];
  for (const { bytes, ...described } of generateMessages({ count: messagesMax })) {
    // A reply may be fetched before the message that it replies to, from another mailbox, and then opens a ticket.
    if (described.kind === 'reply') continue;
    await sleep(2 * gapMs * random.fraction());
    if (stop.aborted) break;
    const { user } = itemAt(busy, expected.length % busy.length);
    await dovecot.append(user, 'INBOX', [bytes]);
    expected.push(described);
  }
  return expected;
}

async function askAgain(address: string, everyMs: number): Promise<Pick<QuietReport, 'readyMs' | 'metricsMs'>> {
  const [ready, metrics]: [number[], number[]] = [[], []];
  for (let asked = 0; asked < asks; asked += 1) {
    ready.push((await ask(address, '/readyz')).ms);
    const { status, ms } = await ask(address, '/metrics');
    if (status === 200) metrics.push(ms);
    await sleep(everyMs * 0.9);
  }
  return { readyMs: quantilesOf(ready), metricsMs: metrics.length === 0 ? null : quantilesOf(metrics) };
}

type Ended = { readonly mailbox: string; readonly begunAtMs: number; readonly durationMs: number };

function pollsOf({ lines }: Daemon, from: number): readonly Ended[] {
  const ended = lines.slice(from).filter(({ event }) => event === 'poll.empty' || event === 'poll.finished');
  return ended.map((line) => {
    const durationMs = Number(line['duration_ms']);
    return { mailbox: String(line['mailbox']), begunAtMs: Date.parse(String(line['time'])) - durationMs, durationMs };
  });
}

/** Of the first poll to each mailbox after its due time was set; one that began before is of the first round. */
function lags(polls: readonly Ended[], due: ReadonlyMap<string, number>): readonly number[] {
  const seen = new Set<string>();
  return polls.flatMap(({ mailbox, begunAtMs }) => {
    const lagMs = begunAtMs - (due.get(mailbox) ?? Number.NaN);
    if (seen.has(mailbox) || !(lagMs > -1000)) return [];
    seen.add(mailbox);
    return [Math.max(0, lagMs)];
  });
}

/** Polls the mailboxes once more, so that the messages of the last interval are stored, and compares. */
async function isAllStored(
  { setting, rows }: Fleet,
  daemon: Daemon,
  messages: readonly SentMessage[],
): Promise<boolean> {
  const busy = rows.slice(0, Math.max(1, Math.round(rows.length * busyShare))).map(({ name }) => `'${name}'`);
  const ids = `SELECT id FROM mailboxes WHERE name IN (${busy.join()})`;
  const due = `next_poll_at = '${timeText(Date.now() - 1000)}'`;
  const countSql = 'SELECT COUNT(*) AS stored FROM outcome';
  const check = async (): Promise<boolean> => {
    await runSql(setting.databaseUrl, `UPDATE mailbox_state SET ${due} WHERE mailbox_id IN (${ids})`);
    const [row] = await runSql<{ stored: number }>(setting.databaseUrl, countSql);
    return (row?.stored ?? 0) >= messages.length;
  };
  await until(daemon, 'the last messages', lastMessagesTimeoutMs, check, 1000);
  return isExact(await verifyStored({ sent: messages, ...setting }));
}
