/**
 * One scene of the search for a password in memory: a process that logged in, what was found in it, and whether that is
 * as it must be.
 *
 * A process is searched through /proc while it stands still, and then in a dump by gcore, where that is installed.
 */
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { countFormsIn, type FormCount } from '../../support/leaks/form-search.ts';
import { gcore, type Hits, hitCount, searchCore, searchMemory, smallCore } from '../../support/leaks/memory-search.ts';
import type { Daemon } from '../../support/processes/daemon.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { runSql } from '../../support/sql.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import type { Setting } from '../setting.ts';

export type Searched = {
  readonly memory: Hits;
  /** null where gcore is not installed. */
  readonly core: Hits | null;
  /** In what the process printed. */
  readonly log: readonly FormCount[];
};

export type SceneReport = Searched & {
  readonly scene: string;
  /** Logins that the process made before it was searched. */
  readonly logins: number;
  /**
   * Found as it must be: nothing, for the control something; where passwords are stored in plain text or are in use,
   * none in the log.
   */
  readonly passed: boolean;
};

export type Place = {
  readonly dovecot: Dovecot;
  readonly mariadb: Mariadb | null;
  readonly canary: Uint8Array;
  readonly mailboxes: number;
  readonly progress: (line: string) => void;
};

/** Polls follow each other quickly, many at a time, and everything is logged. */
export const daemonEnv = {
  TICKETMAILD_POLL_INTERVAL_S: '1',
  TICKETMAILD_POLL_CONCURRENCY_MAX: '32',
  TICKETMAILD_POLL_CONCURRENCY_PER_HOST_MAX: '32',
  TICKETMAILD_POLL_BACKOFF_MAX_S: '1',
  TICKETMAILD_LOG_LEVEL: 'trace',
} as const;

const timeoutMs = 120_000;
/** A daemon that is seen without a poll so often in a row is at rest. */
const quietLooks = 4;
const quietMs = 500;
const looksAtWork = 10;

export function startSearchable(setting: Setting): Daemon {
  return setting.start(['run'], { nodeOptions: smallCore });
}

/** Waits until each of so many mailboxes was polled so many times from now on. Throws when a poll fails. */
export async function untilPolled(daemon: Daemon, mailboxes: number, rounds: number): Promise<void> {
  const polls = new Map<unknown, number>();
  const from = daemon.lines.length;
  let looked = from;
  await daemon.waitFor(() => {
    for (; looked < daemon.lines.length; looked += 1) {
      const line = daemon.lines[looked];
      if (line?.['event'] === 'poll.empty') polls.set(line['mailbox'], (polls.get(line['mailbox']) ?? 0) + 1);
      if (line?.['event'] === 'poll.failed') throw new Error(`a poll failed: ${JSON.stringify(line)}`);
    }
    return polls.size === mailboxes && [...polls.values()].every((count) => count >= rounds);
  }, timeoutMs);
}

/** Pauses every mailbox and waits until no poll is in progress: a password is in memory while it is being used. */
export async function comeToRest({ databaseUrl }: Setting): Promise<void> {
  await runSql(databaseUrl, "UPDATE mailboxes SET state = 'paused'");
  const deadlineMs = performance.now() + timeoutMs;
  for (let quiet = 0; quiet < quietLooks; quiet += 1) {
    await sleep(quietMs);
    const busy = await runSql(databaseUrl, 'SELECT mailbox_id FROM mailbox_state WHERE lease_owner IS NOT NULL');
    if (busy.length > 0) quiet = -1;
    if (performance.now() > deadlineMs) throw new Error(`${busy.length} polls never end`);
  }
}

export async function goOn({ databaseUrl }: Setting): Promise<void> {
  await runSql(databaseUrl, "UPDATE mailboxes SET state = 'active'");
}

/**
 * Searches a daemon at rest, and what it printed. `sealed`: nothing may be there. `readable`: only the log is judged,
 * since SQLite keeps pages of its file in memory, and they hold what the file holds.
 */
export async function sceneAtRest(
  scene: string,
  daemon: Daemon,
  setting: Setting,
  { canary, stored }: { readonly canary: Uint8Array; readonly stored: 'sealed' | 'readable' },
): Promise<SceneReport> {
  await comeToRest(setting);
  const log = countFormsIn(canary, Buffer.from(daemon.stdout() + daemon.stderr()));
  const searched = { ...(await searchProcess(daemon.pid, canary)), log };
  const passed = stored === 'sealed' ? !isFound(searched) : log.length === 0;
  return { scene, logins: loginsOf(daemon), ...searched, passed };
}

/**
 * Searches the memory of a daemon amid its logins, where passwords in use are found: the figure is how many at most.
 */
export async function sceneAtWork(scene: string, daemon: Daemon, canary: Uint8Array): Promise<SceneReport> {
  let memory = await searchMemory(daemon.pid, canary);
  for (let looks = 1; looks < looksAtWork; looks += 1) {
    await sleep(quietMs * Math.random());
    const found = await searchMemory(daemon.pid, canary);
    if (hitCount(found) > hitCount(memory)) memory = found;
  }
  const log = countFormsIn(canary, Buffer.from(daemon.stdout() + daemon.stderr()));
  return { scene, logins: loginsOf(daemon), memory, core: null, log, passed: log.length === 0 };
}

function loginsOf(daemon: Daemon): number {
  return daemon.lines.filter((line) => line['event'] === 'poll.empty').length;
}

function isFound({ memory, core, log }: Searched): boolean {
  return hitCount(memory) > 0 || (core !== null && hitCount(core) > 0) || log.length > 0;
}

/** The core file is removed as soon as it was searched. */
export async function searchProcess(pid: number, canary: Uint8Array): Promise<Pick<Searched, 'memory' | 'core'>> {
  const memory = await searchMemory(pid, canary);
  await using folder = await temporaryFolder('core');
  const file = await gcore(pid, folder.path);
  if (file === null) return { memory, core: null };
  const core = await searchCore(file, canary);
  await rm(file);
  return { memory, core };
}
