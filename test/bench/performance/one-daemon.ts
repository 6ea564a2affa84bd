/**
 * One daemon with a new database that polls all of the given mailboxes, due at the same moment, until all their
 * messages are stored.
 *
 * It is the daemon itself, `run`, and its log shows when the first poll began and when the last one was done. Throws
 * when that takes too long, or a poll fails.
 */

import type { LogLine } from '../../support/processes/daemon.ts';
import { cpuSOf, peakRssMbOf } from '../../support/processes/proc.ts';
import { runSql } from '../../support/sql.ts';
import { isExact, type SentMessage, verifyStored } from '../../support/verification.ts';
import { addMailboxes, type NewRow } from '../many-mailboxes.ts';
import { stopped, until } from '../service/fleet.ts';
import { openSetting, type Setting } from '../setting.ts';
import type { SceneContext } from './scene.ts';

export type Stored = {
  /** From the beginning of the first round to the end of the last. */
  readonly durationS: number;
  /** The whole process so far. */
  readonly cpuS: number | null;
  readonly peakRssMb: number | null;
  readonly exact: boolean;
};

export type Work = {
  readonly mariadb: SceneContext['mariadb'];
  readonly rows: readonly NewRow[];
  readonly count: number;
  readonly sent: readonly SentMessage[];
  /** Watches the database from before the start of the daemon on, until disposed. */
  readonly watch?: (setting: Setting) => Promise<AsyncDisposable>;
};

const timeoutMs = 600_000;
const outcomes = ['ticket_opened', 'reply_added', 'recorded', 'duplicate', 'quarantined', 'vanished'] as const;

export async function storeWithDaemon({ mariadb, rows, count, sent, watch }: Work): Promise<Stored> {
  await using setting = await openSetting(mariadb);
  await addMailboxes(setting.databaseUrl, rows);
  // What a mailbox does unless set otherwise.
  await runSql(setting.databaseUrl, "UPDATE mailboxes SET on_success = 'seen'");
  await using _watch = await watch?.(setting);
  await using daemon = setting.start(['run']);
  const finished = () => daemon.lines.filter(({ event }) => event === 'poll.finished');
  const isDone = (): boolean => {
    const failed = daemon.lines.find(({ event }) => event === 'poll.failed');
    if (failed !== undefined) throw new Error(`a poll failed: ${JSON.stringify(failed)}`);
    return finished().reduce((sum, line) => sum + handledIn(line), 0) >= count;
  };
  await until(daemon, `${count} messages`, timeoutMs, isDone, 20);
  const [cpuS, peakRssMb] = [cpuSOf(daemon.pid), peakRssMbOf(daemon.pid)];
  await stopped(daemon);
  const ends = finished().map(({ time }) => Date.parse(String(time)));
  const begins = finished().map(({ time, duration_ms }) => Date.parse(String(time)) - Number(duration_ms));
  const durationS = (Math.max(...ends) - Math.min(...begins)) / 1000;
  return { durationS, cpuS, peakRssMb, exact: isExact(await verifyStored({ sent, ...setting })) };
}

/** Whatever became of them: whether that is right is looked at in the database. */
function handledIn(finished: LogLine): number {
  return outcomes.reduce((sum, outcome) => sum + Number(finished[outcome] ?? 0), 0);
}
