/**
 * Cost of open connections: memory of a daemon that holds none, a quarter, a half and all of its mailboxes open in
 * IDLE over TLS, its CPU time while all are quiet, and that a message to any of them is fetched.
 *
 * Each number of connections is a run of its own, so that none has the memory of the one before. The limit of inotify
 * instances is raised for the run, which takes root.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Daemon } from '../../support/processes/daemon.ts';
import { childrenNamed, cpuSOf, rssMbOf, treeCpuSOf, watchMemory } from '../../support/processes/proc.ts';
import { seededRandom } from '../../support/random.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { runSql } from '../../support/sql.ts';
import { isExact, type SentMessage, verifyStored } from '../../support/verification.ts';
import { raiseInotifyLimit } from '../measure/inotify-limit.ts';
import { generateMessages } from '../messages/generate.ts';
import { addressOf, type Fleet, openFleet, openPush, rowsOn, stopped, timeText, until } from './fleet.ts';

export type IdleOptions = {
  readonly mariadb: Mariadb | null;
  readonly mailboxes: number;
  /** Messages at the end. */
  readonly count: number;
  readonly quietS: number;
  readonly progress: (line: string) => void;
};

export type StepFigures = {
  readonly open: number;
  /** From the start of the process until all are open; for none, until each mailbox was polled once. */
  readonly openedS: number;
  readonly rssMb: number | null;
  readonly peakMb: number | null;
};

export type IdleReport = {
  /** Why the mail server announces late; null: it does not. */
  readonly complaint: string | null;
  readonly steps: readonly StepFigures[];
  /** With all open and nothing to do. */
  readonly cpuSPerMinute: number | null;
  readonly dovecotCpuSPerMinute: number | null;
  readonly messages: number;
  readonly fetchedS: number;
  readonly exact: boolean;
};

const openTimeoutMs = 300_000;
const fetchedTimeoutMs = 120_000;
const settleMs = 5000;
const messagesMax = 100_000;

/** Throws when the connections are not open in time, or the messages not fetched in time. */
export async function idleRun(options: IdleOptions): Promise<IdleReport> {
  const { mariadb, mailboxes } = options;
  await using limit = await raiseInotifyLimit(2 * mailboxes + 256);
  if (limit.complaint !== null) options.progress(limit.complaint);
  await using dovecot = await startDovecot();
  await using fleet = await openFleet(mariadb, rowsOn(dovecot, mailboxes), {
    // Once: the first poll opens the connection.
    TICKETMAILD_POLL_INTERVAL_S: '3600',
    TICKETMAILD_POLL_CONCURRENCY_MAX: '64',
    TICKETMAILD_POLL_CONCURRENCY_PER_HOST_MAX: '64',
  });
  const steps: StepFigures[] = [];
  for (const share of [0, 0.25, 0.5]) {
    steps.push((await step(fleet, Math.round(share * mailboxes), options, async () => null)).figures);
  }
  const last = await step(fleet, mailboxes, options, (daemon) => quietAndMessages(dovecot, fleet, daemon, options));
  return { complaint: limit.complaint, steps: [...steps, last.figures], ...last.result };
}

type Step<T> = { readonly figures: StepFigures; readonly result: T };

/** A daemon of its own with so many open connections; `then` is done while they are open. */
async function step<T>(
  { setting, rows }: Fleet,
  open: number,
  { progress }: IdleOptions,
  then: (daemon: Daemon) => Promise<T>,
): Promise<Step<T>> {
  const { databaseUrl } = setting;
  const startedAt = timeText(Date.now());
  await runSql(databaseUrl, `UPDATE mailbox_state SET next_poll_at = '${startedAt}'`);
  const limits = { TICKETMAILD_IDLE_CONNECTIONS_MAX: `${open}`, TICKETMAILD_IDLE_CONNECTIONS_PER_HOST_MAX: `${open}` };
  const startedAtMs = performance.now();
  await using daemon = setting.start(['run'], { env: limits });
  using memory = watchMemory(daemon.pid);
  const address = await addressOf(daemon);
  const polledSql = `SELECT COUNT(*) AS polled FROM mailbox_state WHERE last_success_at >= '${startedAt}'`;
  const isOpen = async (): Promise<boolean> => {
    // A poll that keeps its connection may be written down later than the connection is there, or not at all.
    if (open > 0 && ((await openPush(address)) ?? 0) < open) return false;
    if (open === rows.length) return true;
    const [row] = await runSql<{ polled: number }>(databaseUrl, polledSql);
    return (row?.polled ?? 0) >= rows.length - open;
  };
  await until(daemon, `${open} connections`, openTimeoutMs, isOpen, 500);
  const openedS = (performance.now() - startedAtMs) / 1000;
  await sleep(settleMs);
  const rssMb = rssMbOf(daemon.pid);
  progress(`${open} connections after ${openedS.toFixed(1)} s: ${rssMb?.toFixed(0)} MB`);
  const figures = { open, openedS, rssMb, peakMb: memory.stop().peakMb };
  const result = await then(daemon);
  await stopped(daemon);
  return { figures, result };
}

type Last = Omit<IdleReport, 'complaint' | 'steps'>;

async function quietAndMessages(
  dovecot: Dovecot,
  { setting, rows }: Fleet,
  daemon: Daemon,
  { count, quietS, progress }: IdleOptions,
): Promise<Last> {
  const server = childrenNamed('dovecot').at(-1) ?? null;
  const cpuS = () => [cpuSOf(daemon.pid), server === null ? null : treeCpuSOf(server)] as const;
  const before = cpuS();
  await sleep(quietS * 1000);
  const perMinute = cpuS().map((after, index) => {
    const from = before[index] ?? null;
    return after === null || from === null ? null : ((after - from) * 60) / quietS;
  });
  progress(`${count} messages`);
  const random = seededRandom(1);
  const messages: SentMessage[] = [];
  for (const { bytes, ...described } of generateMessages({ count: messagesMax })) {
    if (messages.length === count) break;
    // A reply may be fetched before the message that it replies to, from another mailbox, and then opens a ticket.
    if (described.kind === 'reply') continue;
    await dovecot.append(random.pick(rows).user, 'INBOX', [bytes]);
    messages.push(described);
  }
  const writtenAtMs = performance.now();
  const isFetched = async (): Promise<boolean> => {
    const [row] = await runSql<{ stored: number }>(setting.databaseUrl, 'SELECT COUNT(*) AS stored FROM outcome');
    return (row?.stored ?? 0) >= count;
  };
  await until(daemon, 'all messages', fetchedTimeoutMs, isFetched);
  return {
    cpuSPerMinute: perMinute[0] ?? null,
    dovecotCpuSPerMinute: perMinute[1] ?? null,
    messages: messages.length,
    fetchedS: (performance.now() - writtenAtMs) / 1000,
    exact: isExact(await verifyStored({ sent: messages, ...setting })),
  };
}
