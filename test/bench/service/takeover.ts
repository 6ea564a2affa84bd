/**
 * Four workers on one database, as processes of one host: how evenly they share the mailboxes, and how long the
 * mailboxes of one that is gone are without a poll.
 *
 * While mailboxes are pushed, each rests in IDLE at the worker that holds its lease, and waits until another one has
 * polled it. While they are polled, a mailbox belongs to who polled it last, and what counts is the time from when it
 * was due, or from the kill. Workers of one host see at once who was killed; one that is frozen (SIGSTOP) looks like
 * one whose host is gone: it reports no more, and its leases stay. Mail arrives all the while, and none may be lost or
 * doubled.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Daemon } from '../../support/processes/daemon.ts';
import { itemAt, seededRandom } from '../../support/random.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { runSql } from '../../support/sql.ts';
import { isExact, type SentMessage, verifyStored } from '../../support/verification.ts';
import { raiseInotifyLimit } from '../measure/inotify-limit.ts';
import { type Quantiles, quantilesOf } from '../measure/quantiles.ts';
import { generateMessages } from '../messages/generate.ts';
import { addressOf, type Fleet, openFleet, openPush, rowsOn, stopped, until } from './fleet.ts';

export type TakeoverOptions = {
  readonly mariadb: Mariadb;
  readonly mailboxes: number;
  /** Messages in each course. */
  readonly count: number;
  readonly progress: (line: string) => void;
};

export type TakeoverFigures = {
  readonly course: 'pushed, killed' | 'pushed, frozen' | 'polled, killed';
  /** Mailboxes of each worker before the kill, the one with the fewest first. */
  readonly share: readonly number[];
  /** Mailboxes of the one that is gone. */
  readonly left: number;
  /** Seconds without a poll that was due. */
  readonly waitedS: Quantiles;
  readonly failed: number;
  readonly messages: number;
  readonly exact: boolean;
};

type Course = Pick<TakeoverFigures, 'course'> & {
  readonly isPushed: boolean;
  readonly end: 'SIGKILL' | 'SIGSTOP';
  readonly env: Readonly<Record<string, string>>;
};

const workers = 4;
const polledIntervalS = 15;
const usualEnv = {
  TICKETMAILD_POLL_CONCURRENCY_MAX: '16',
  TICKETMAILD_POLL_CONCURRENCY_PER_HOST_MAX: '16',
  // Each poll leaves a line with the time of its end.
  TICKETMAILD_LOG_LEVEL: 'debug',
} as const;
const startTimeoutMs = 300_000;
const takeoverTimeoutMs = 180_000;
const lastMessagesTimeoutMs = 120_000;
const lookMs = 100;
const mailGapMs = 100;

/** Throws when not all workers are at work in time, or the mailboxes of the killed one are not polled in time. */
export async function takeoverRun(options: TakeoverOptions): Promise<readonly TakeoverFigures[]> {
  const max = `${options.mailboxes}`;
  const pushed = {
    // A mailbox that was polled by another worker than its home rests only after the next poll.
    TICKETMAILD_POLL_INTERVAL_S: '30',
    TICKETMAILD_IDLE_CONNECTIONS_MAX: max,
    TICKETMAILD_IDLE_CONNECTIONS_PER_HOST_MAX: max,
  };
  const polled = { TICKETMAILD_POLL_INTERVAL_S: `${polledIntervalS}`, TICKETMAILD_IDLE_CONNECTIONS_MAX: '0' };
  const courses: readonly Course[] = [
    { course: 'pushed, killed', isPushed: true, end: 'SIGKILL', env: pushed },
    { course: 'pushed, frozen', isPushed: true, end: 'SIGSTOP', env: pushed },
    { course: 'polled, killed', isPushed: false, end: 'SIGKILL', env: polled },
  ];
  await using limit = await raiseInotifyLimit(4 * options.mailboxes + 256);
  if (limit.complaint !== null) options.progress(limit.complaint);
  const figures: TakeoverFigures[] = [];
  for (const course of courses) figures.push(await courseRun(options, course));
  return figures;
}

async function courseRun(options: TakeoverOptions, { course, isPushed, end, env }: Course): Promise<TakeoverFigures> {
  const { mariadb, mailboxes, count, progress } = options;
  const tell = (line: string) => progress(`${course}: ${line}`);
  await using dovecot = await startDovecot();
  await using fleet = await openFleet(mariadb, rowsOn(dovecot, mailboxes), { ...usualEnv, ...env });
  await using undo = new AsyncDisposableStack();
  const daemons = Array.from({ length: workers }, (_, index) =>
    undo.use(fleet.setting.start(['run'], { env: { TICKETMAILD_WORKER_NAME: `worker-${index}` } })),
  );
  tell(`${workers} workers take ${mailboxes} mailboxes`);
  const owners = isPushed ? await pushedOwners(fleet, daemons) : await polledOwners(fleet, daemons);
  const counts = daemons.map(({ pid }) => [...owners.values()].filter((owner) => owner === pid).length);
  const victim = daemons[counts.indexOf(Math.max(...counts))] as Daemon;
  const writing = writeMessages(dovecot, fleet, count);
  await sleep(1000);
  const due = await dueTimes(fleet);
  victim.signal(end);
  const goneAtMs = Date.now();
  const left = [...owners].flatMap(([name, pid]) => (pid === victim.pid ? [name] : []));
  tell(`one that had ${left.length} is gone`);
  const others = daemons.filter((daemon) => daemon !== victim);
  const polledAtMs = await untilPolled(fleet, others, left, goneAtMs);
  const waited = left.map((name) => {
    const dueAtMs = isPushed ? goneAtMs : Math.max(goneAtMs, due.get(name) ?? goneAtMs);
    return Math.max(0, (polledAtMs.get(name) ?? Number.NaN) - dueAtMs) / 1000;
  });
  tell('the last messages');
  const messages = await writing;
  const exact = await isAllStored(fleet, others, messages);
  await Promise.all(others.map(stopped));
  return {
    course,
    share: counts.toSorted((a, b) => a - b),
    left: left.length,
    waitedS: quantilesOf(waited, 1),
    failed: daemons.flatMap(({ lines }) => lines.filter(({ event }) => event === 'poll.failed')).length,
    messages: messages.length,
    exact,
  };
}

type Owners = ReadonlyMap<string, number>;

/** By the leases, once each mailbox rests somewhere and has moved to its home: the process id by the mailbox's name. */
async function pushedOwners({ setting, rows }: Fleet, daemons: readonly Daemon[]): Promise<Owners> {
  const addresses = await Promise.all(daemons.map(addressOf));
  const first = itemAt(daemons, 0);
  let before = '';
  const isSteady = async (): Promise<boolean> => {
    const open = await Promise.all(addresses.map(openPush));
    const isWhole = open.reduce<number>((sum, one) => sum + (one ?? 0), 0) === rows.length;
    const isSame = isWhole && before === open.join();
    before = open.join();
    return isSame;
  };
  // Longer than workers take to look for each other: a mailbox that has another home by then has moved.
  await until(first, 'all mailboxes rest', startTimeoutMs, isSteady, 6000);
  const sql = 'SELECT name, lease_owner AS owner FROM mailboxes JOIN mailbox_state ON mailbox_id = id';
  const leased = await runSql<{ name: string; owner: string | null }>(setting.databaseUrl, sql);
  return new Map(leased.map(({ name, owner }) => [name, pidOf(owner ?? '')]));
}

/** A worker's name ends with its process id and its start time. */
function pidOf(owner: string): number {
  return Number(owner.split('/').at(-2));
}

/** By the last poll to each, after a whole interval in which all workers knew each other. */
async function polledOwners({ rows }: Fleet, daemons: readonly Daemon[]): Promise<Owners> {
  await Promise.all(daemons.map(addressOf));
  const polled = () => pollsOf(daemons);
  await until(
    itemAt(daemons, 0),
    'a first poll to each',
    startTimeoutMs,
    () => new Set(polled().map(({ name }) => name)).size === rows.length,
    500,
  );
  await sleep(2 * polledIntervalS * 1000);
  return new Map(polled().map(({ name, pid }) => [name, pid]));
}

type Poll = { readonly name: string; readonly pid: number; readonly atMs: number };

/** In the order of time. */
function pollsOf(daemons: readonly Daemon[], from = 0): readonly Poll[] {
  return daemons
    .flatMap(({ lines, pid }) =>
      lines.flatMap(({ event, mailbox, time }) => {
        if (event !== 'poll.empty' && event !== 'poll.finished') return [];
        return [{ name: String(mailbox), pid, atMs: Date.parse(String(time)) }];
      }),
    )
    .filter(({ atMs }) => atMs >= from)
    .sort((a, b) => a.atMs - b.atMs);
}

async function dueTimes({ setting }: Fleet): Promise<ReadonlyMap<string, number>> {
  const sql = `SELECT name, CAST(next_poll_at AS CHAR) AS due FROM mailboxes JOIN mailbox_state ON mailbox_id = id`;
  const rows = await runSql<{ name: string; due: string }>(setting.databaseUrl, sql);
  return new Map(rows.map(({ name, due }) => [name, Date.parse(`${due.replace(' ', 'T')}Z`)]));
}

/** When each of them was polled first by another worker. */
async function untilPolled(
  { rows }: Fleet,
  others: readonly Daemon[],
  names: readonly string[],
  goneAtMs: number,
): Promise<ReadonlyMap<string, number>> {
  const first = new Map<string, number>();
  const look = (): boolean => {
    for (const { name, atMs } of pollsOf(others, goneAtMs)) if (!first.has(name)) first.set(name, atMs);
    return names.every((name) => first.has(name));
  };
  await until(itemAt(others, 0), `polls to ${names.length} of ${rows.length}`, takeoverTimeoutMs, look, lookMs);
  return first;
}

/** To all mailboxes in turn. */
async function writeMessages(dovecot: Dovecot, { rows }: Fleet, count: number): Promise<readonly SentMessage[]> {
  const random = seededRandom(1);
  const expected: SentMessage[] = [];
  for (const { bytes, ...described } of generateMessages({ count: 2 * count + 100 })) {
    if (expected.length === count) break;
    // A reply may be fetched before the message that it replies to, from another mailbox, and then opens a ticket.
    if (described.kind === 'reply') continue;
    await dovecot.append(random.pick(rows).user, 'INBOX', [bytes]);
    expected.push(described);
    await sleep(mailGapMs);
  }
  return expected;
}

async function isAllStored(
  { setting }: Fleet,
  others: readonly Daemon[],
  messages: readonly SentMessage[],
): Promise<boolean> {
  const isStored = async (): Promise<boolean> => {
    const [row] = await runSql<{ stored: number }>(setting.databaseUrl, 'SELECT COUNT(*) AS stored FROM outcome');
    return (row?.stored ?? 0) >= messages.length;
  };
  await until(itemAt(others, 0), 'the last messages', lastMessagesTimeoutMs, isStored, 500);
  return isExact(await verifyStored({ sent: messages, ...setting }));
}
