/**
 * One run of the ingest benchmark: a mailbox of generated messages in a real Dovecot becomes tickets in a real
 * database.
 *
 * In the same run imapflow first fetches the same messages and drops them, as the yardstick. Then one `poll` of the
 * daemon does all its work on them, and everything that was stored is compared with what was sent. The database syncs
 * every commit to the disk, as in production. Of the messages, few are
 * in memory at a time. A command that fails throws with what it printed.
 */
import { join } from 'node:path';
import { type ChildOptions, type Measured, runMeasured, serviceEnv } from '../../support/processes/child.ts';
import { launcher } from '../../support/processes/launcher.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { password } from '../../support/servers/dovecot-settings.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { isExact, type SentMessage, type Verification, verifyStored } from '../../support/verification.ts';
import type { GeneratedMail } from '../messages/generate.ts';
import type { Account, Dropped } from './fetch-and-drop.ts';

/** A running MariaDB, or null for SQLite in a file. */
export type Servers = { readonly dovecot: Dovecot; readonly mariadb: Mariadb | null };

export type IngestRun = {
  readonly fetchAndDrop: { readonly durationS: number; readonly cpuS: number | null; readonly bytes: number };
  readonly product: {
    /** From the start of the poll to the last commit, as the daemon reports it; null when it does not. */
    readonly durationS: number | null;
    /** The whole process: start of the program, connections and end included. */
    readonly wallS: number;
    readonly cpuS: number | null;
    readonly cpuSByThread: ReadonlyMap<string, number>;
    readonly peakRssMb: number | null;
  };
  readonly verification: Verification;
  /** True when everything is stored as it was sent. */
  readonly exact: boolean;
};

/** A mailbox on the server, and what was put into it. */
export type FilledMailbox = {
  readonly user: string;
  readonly count: number;
  readonly sent: readonly SentMessage[];
};

export const mailboxName = 'bench';
const messagesAtOnce = 100;
const fetchAndDropFile = join(import.meta.dirname, 'fetch-and-drop.ts');
/** Generated messages have 400 senders: the more messages, the more of each. The limit is looked at all the same. */
const sentByOneMax = 1_000_000;

/** Fetched and dropped first, then with the daemon into a new database. */
export async function ingestBesideDrop(
  servers: Servers,
  filled: FilledMailbox,
  progress: (line: string) => void,
): Promise<IngestRun> {
  progress('fetching and dropping them with imapflow');
  const fetchAndDrop = await measureFetchAndDrop(servers.dovecot, filled);
  return { fetchAndDrop, ...(await ingestFilled(servers, filled, progress)) };
}

/** Into a new database and data folder, which are removed at the end. */
export async function ingestFilled(
  { dovecot, mariadb }: Servers,
  { user, sent }: FilledMailbox,
  progress: (line: string) => void,
): Promise<Omit<IngestRun, 'fetchAndDrop'>> {
  await using place = await openPlace(mariadb);
  const { dataDir, databaseUrl } = place;
  const env = {
    ...serviceEnv,
    TICKETMAILD_DATA_DIR: dataDir,
    TICKETMAILD_DATABASE_URL: databaseUrl,
    TICKETMAILD_LIMITS_SENDER_LIMIT_PER_HOUR: `${sentByOneMax}`,
  };
  await addMailbox(dovecot, user, { env });
  progress('fetching them with the daemon');
  const product = await measurePoll({ env });
  progress('comparing what is stored with what was sent');
  const verification = await verifyStored({ sent, databaseUrl, dataDir });
  return { product, verification, exact: isExact(verification) };
}

type Place = { readonly dataDir: string; readonly databaseUrl: string } & AsyncDisposable;

async function openPlace(mariadb: Mariadb | null): Promise<Place> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('bench'));
  const dataDir = join(folder.path, 'data');
  const database = await mariadb?.createDatabase();
  if (database !== undefined) building.defer(async () => void (await mariadb?.query(`DROP DATABASE ${database.name}`)));
  const undo = building.move();
  return {
    dataDir,
    databaseUrl: database?.url ?? `sqlite:${join(folder.path, 'bench.db')}`,
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

/** Appends messages in portions, so that few of them are in memory at a time; gives a description of each. */
export async function appendMessages(
  dovecot: Dovecot,
  user: string,
  messages: Iterable<GeneratedMail>,
): Promise<readonly SentMessage[]> {
  const sent: SentMessage[] = [];
  let portion: Uint8Array[] = [];
  for (const { bytes, ...described } of messages) {
    sent.push(described);
    portion.push(withCrlf(bytes));
    if (portion.length < messagesAtOnce) continue;
    await dovecot.append(user, 'INBOX', portion);
    portion = [];
  }
  if (portion.length > 0) await dovecot.append(user, 'INBOX', portion);
  return sent;
}

/** The line ends that a message has on its way (RFC 5322 section 2.1). */
function withCrlf(bytes: Uint8Array): Uint8Array {
  return Buffer.from(Buffer.from(bytes).toString('latin1').replaceAll('\n', '\r\n'), 'latin1');
}

export async function addMailbox(dovecot: Dovecot, user: string, options: ChildOptions): Promise<void> {
  const server = ['--host', dovecot.host, '--port', String(dovecot.tlsPort), '--ca-file', dovecot.caFile];
  const account = ['--name', mailboxName, '--user', user, '--password-stdin', '--since', 'all'];
  await runMeasured([launcher, 'mailbox', 'add', ...server, ...account], { ...options, input: `${password}\n` });
}

export async function measureFetchAndDrop(
  dovecot: Dovecot,
  { user, count }: FilledMailbox,
): Promise<IngestRun['fetchAndDrop']> {
  const { stdout, cpuS } = await runMeasured([fetchAndDropFile], { input: JSON.stringify(accountOf(dovecot, user)) });
  const dropped = JSON.parse(stdout) as Dropped;
  if (dropped.messages !== count) throw new Error(`imapflow fetched ${dropped.messages} messages of ${count}`);
  return { durationS: dropped.duration_ms / 1000, cpuS, bytes: dropped.bytes };
}

export function accountOf({ host, tlsPort, caPem }: Dovecot, user: string): Account {
  return { host, port: tlsPort, caPem, user, password };
}

async function measurePoll(options: ChildOptions): Promise<IngestRun['product']> {
  const measured = await runMeasured([launcher, 'poll', mailboxName, '--json'], options);
  const { wallS, cpuS, cpuSByThread, peakRssMb } = measured;
  return { durationS: reportedDurationS(measured), wallS, cpuS, cpuSByThread, peakRssMb };
}

function reportedDurationS({ stdout }: Measured): number | null {
  const report = JSON.parse(stdout) as { duration_ms?: number };
  return report.duration_ms === undefined ? null : report.duration_ms / 1000;
}
