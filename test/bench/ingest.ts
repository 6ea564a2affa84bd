/**
 * One run of the ingest benchmark: a mailbox of generated mails in a real Dovecot becomes tickets in a real database.
 *
 * In the same run imapflow first fetches the same mails and drops them, as the yardstick. Then one `poll` of the
 * daemon does all its work on them, and everything that was stored is compared with what was sent. The database
 * syncs every commit to the disk, as in production. A command that fails throws with what it printed.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Dovecot } from '../support/dovecot.ts';
import { password } from '../support/dovecot-settings.ts';
import type { Mariadb } from '../support/mariadb.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { type ChildOptions, type Measured, runMeasured } from './child.ts';
import type { Account, Dropped } from './fetch-and-drop.ts';
import { generateMails } from './generate.ts';
import { type ExpectedMail, isExact, type Verification, verifyIngest } from './verify.ts';

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
    readonly peakRssMb: number | null;
  };
  readonly verification: Verification;
  /** True when everything is stored as it was sent. */
  readonly exact: boolean;
};

export const mailboxName = 'bench';
const mailsAtOnce = 100;
export const mainFile = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const fetchAndDropFile = join(import.meta.dirname, 'fetch-and-drop.ts');

export async function ingestOnce(
  { dovecot, mariadb }: Servers,
  count: number,
  progress: (line: string) => void,
): Promise<IngestRun> {
  await using folder = await temporaryFolder('bench');
  const user = dovecot.newUser();
  progress(`filling a mailbox with ${count} mails`);
  const mails = await fillMailbox(dovecot, user, count);
  const dataDir = join(folder.path, 'data');
  const databaseUrl =
    mariadb === null ? `sqlite:${join(folder.path, 'bench.db')}` : (await mariadb.createDatabase()).url;
  const options = { env: { TICKETMAILD_DATA_DIR: dataDir, TICKETMAILD_DATABASE_URL: databaseUrl } };
  await addMailbox(dovecot, user, options);
  progress('fetching and dropping them with imapflow');
  const fetchAndDrop = await measureFetchAndDrop(dovecot, user, count);
  progress('fetching them with the daemon');
  const product = await measurePoll(options);
  progress('comparing what is stored with what was sent');
  const verification = await verifyIngest({ mails, databaseUrl, dataDir });
  return { fetchAndDrop, product, verification, exact: isExact(mails, verification) };
}

/** Appends the mails in portions, so that few of them are in memory at a time; gives what each of them is. */
export async function fillMailbox(dovecot: Dovecot, user: string, count: number): Promise<readonly ExpectedMail[]> {
  const expected: ExpectedMail[] = [];
  let portion: Uint8Array[] = [];
  for (const { bytes, ...described } of generateMails({ count })) {
    expected.push(described);
    portion.push(withCrlf(bytes));
    if (portion.length < mailsAtOnce) continue;
    await dovecot.append(user, 'INBOX', portion);
    portion = [];
  }
  if (portion.length > 0) await dovecot.append(user, 'INBOX', portion);
  return expected;
}

/** The line ends that a mail has on its way (RFC 5322 section 2.1). */
function withCrlf(bytes: Uint8Array): Uint8Array {
  return Buffer.from(Buffer.from(bytes).toString('latin1').replaceAll('\n', '\r\n'), 'latin1');
}

export async function addMailbox(dovecot: Dovecot, user: string, options: ChildOptions): Promise<void> {
  const server = ['--host', dovecot.host, '--port', String(dovecot.tlsPort), '--ca-file', dovecot.caFile];
  const account = ['--name', mailboxName, '--user', user, '--password-stdin', '--from', 'all'];
  await runMeasured([mainFile, 'mailbox', 'add', ...server, ...account], { ...options, input: `${password}\n` });
}

async function measureFetchAndDrop(dovecot: Dovecot, user: string, count: number): Promise<IngestRun['fetchAndDrop']> {
  const { host, tlsPort, caPem } = dovecot;
  const account: Account = { host, port: tlsPort, caPem, user, password };
  const { stdout, cpuS } = await runMeasured([fetchAndDropFile], { input: JSON.stringify(account) });
  const dropped = JSON.parse(stdout) as Dropped;
  if (dropped.messages !== count) throw new Error(`imapflow fetched ${dropped.messages} mails of ${count}`);
  return { durationS: dropped.duration_ms / 1000, cpuS, bytes: dropped.bytes };
}

async function measurePoll(options: ChildOptions): Promise<IngestRun['product']> {
  const measured = await runMeasured([mainFile, 'poll', mailboxName, '--json'], options);
  const { wallS, cpuS, peakRssMb } = measured;
  return { durationS: reportedDurationS(measured), wallS, cpuS, peakRssMb };
}

function reportedDurationS({ stdout }: Measured): number | null {
  const report = JSON.parse(stdout) as { duration_ms?: number };
  return report.duration_ms === undefined ? null : report.duration_ms / 1000;
}
