/**
 * Kills the daemon with SIGKILL at random moments in the middle of its work, starts it again, and counts what was lost,
 * doubled, left empty or misplaced in the end.
 *
 * A moment is a random time after the daemon has logged in and seen that there is mail to fetch, so that it falls into
 * fetching, parsing, writing files, committing, or acting on the server. The seed is given, the moments are as random
 * as the machine. Throws when a command fails or the work does not end.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCommand, startDaemon } from '../../support/processes/daemon.ts';
import { seededRandom } from '../../support/random.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { isExact, type Verification, verifyStored } from '../../support/verification.ts';
import { generateMessages } from '../messages/generate.ts';
import { addMailbox, appendMessages, mailboxName, type Servers } from './ingest.ts';

export type CrashOptions = {
  readonly count: number;
  readonly kills: number;
  readonly seed: number;
  /** The longest time that a life lasts after it began to work. */
  readonly lifeMsMax: number;
};

export type CrashReport = {
  /** Kills that hit the daemon while mail was still to be fetched. */
  readonly killsAtWork: number;
  readonly verification: Verification;
  readonly exact: boolean;
  /** Messages that were marked as seen on the server in the end. */
  readonly seen: number;
  /** The daemon's own count agrees: exit code of `reconcile`. */
  readonly reconciled: boolean;
};

type Env = Readonly<Record<string, string>>;

export async function crashRun(
  servers: Servers,
  options: CrashOptions,
  progress: (line: string) => void,
): Promise<CrashReport> {
  await using folder = await temporaryFolder('crash');
  const { dovecot, mariadb } = servers;
  const dataDir = join(folder.path, 'data');
  const databaseUrl =
    mariadb === null ? `sqlite:${join(folder.path, 'crash.db')}` : (await mariadb.createDatabase()).url;
  const env: Env = {
    TICKETMAILD_DATA_DIR: dataDir,
    TICKETMAILD_DATABASE_URL: databaseUrl,
    TICKETMAILD_HTTP_LISTEN: 'off',
    TICKETMAILD_LOG_LEVEL: 'debug',
    TICKETMAILD_POLL_INTERVAL_S: '1',
    TICKETMAILD_MESSAGE_BATCH_MESSAGES_MAX: '20',
  };
  const user = dovecot.newUser();
  const sent = await appendMessages(dovecot, user, generateMessages({ count: options.count }));
  await addMailbox(dovecot, user, { env });
  const killsAtWork = await killRepeatedly(env, options, progress);
  await finish(env);
  const verification = await verifyStored({ sent, databaseUrl, dataDir });
  const flags = await dovecot.listFlags(user, 'INBOX');
  const reconciled = (await runCommand(['reconcile'], { env })).code === 0;
  const seen = [...flags.values()].filter((set) => set.has('\\Seen')).length;
  return { killsAtWork, verification, exact: isExact(verification), seen, reconciled };
}

/** The number of kills that found the daemon at work. */
async function killRepeatedly(
  env: Env,
  { kills, seed, lifeMsMax }: CrashOptions,
  progress: (line: string) => void,
): Promise<number> {
  const random = seededRandom(seed);
  let atWork = 0;
  for (let kill = 1; kill <= kills; kill += 1) {
    await using daemon = startDaemon(['run'], { env });
    const started = await daemon.waitFor((line) => line['event'] === 'poll.started' || line['event'] === 'poll.empty');
    await sleep(random.between(0, lifeMsMax));
    const isDone = started['new_messages'] === 0 || daemon.lines.some((line) => line['event'] === 'poll.finished');
    daemon.signal('SIGKILL');
    await daemon.exit;
    if (!isDone) atWork += 1;
    const stored = daemon.lines.filter((line) => String(line['event']).startsWith('message.')).length;
    progress(`kill ${kill} of ${kills}: ${started['new_messages']} messages to fetch, ${stored} stored in this life`);
  }
  return atWork;
}

/** Polls until a poll finds nothing new, which also drives the actions that were left over. */
async function finish(env: Env): Promise<void> {
  for (let poll = 0; poll < 20; poll += 1) {
    const { code, stdout, stderr } = await runCommand(['poll', mailboxName, '--json'], { env });
    if (code !== 0) throw new Error(`poll failed: ${stdout}${stderr}`);
    const { outcomes } = JSON.parse(stdout) as { outcomes: Record<string, number> };
    if (Object.values(outcomes).every((count) => count === 0)) return;
  }
  throw new Error('the mailbox is never done');
}
