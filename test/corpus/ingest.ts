/**
 * Takes the whole corpus through the real thing: each source is a mailbox of a real Dovecot, one `poll` of the program
 * stores all of them in a real MariaDB, and what is compared is what `message list --full --json` prints.
 *
 * A mailbox a source, because messages of two suites may bear one Message-ID without being one conversation; within a
 * suite they are what its authors saw together. Attachments are read as files, by the hash that was printed. A command
 * that fails throws with what it printed; what came out wrong is a violation, in words.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { addMailboxes, mailboxOn } from '../bench/many-mailboxes.ts';
import { runMeasured } from '../support/processes/child.ts';
import { launcher } from '../support/processes/launcher.ts';
import type { Progress } from '../support/progress.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { password } from '../support/servers/dovecot-settings.ts';
import { startMariadb } from '../support/servers/mariadb.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { checkMail } from './expectations/rules.ts';
import type { CorpusMail } from './expectations/stated.ts';
import type { Stored, StoredAttachment } from './expectations/stored.ts';
import { type Checked, keyed } from './expectations/tally.ts';

export type CorpusRun = {
  readonly messages: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly blobs: number;
  readonly peakRssMb: number | null;
  readonly checks: readonly Checked[];
  /** What no message may cause: one without an outcome, a quarantined one, an attachment that is not what it says. */
  readonly violations: readonly string[];
};

/** A line of the command. Without the fields of a message where none is stored. */
type Listed = Partial<Stored> & {
  readonly uid: number;
  readonly outcome: string;
  readonly reason: string | null;
  readonly ticket: string | null;
};

type Place = { readonly env: Readonly<Record<string, string>>; readonly dataFolder: string };

/** All at once from few senders is what this is, and no flood. */
const corpusEnv = { TICKETMAILD_LIMITS_SENDER_LIMIT_PER_HOUR: '0' };
const messagesAtOnce = 200;
const commandsAtOnce = 2;
const peakMbMax = 400;

export async function ingestCorpus(
  messages: readonly CorpusMail[],
  progress: Pick<Progress, 'now'>,
): Promise<CorpusRun> {
  await using folder = await temporaryFolder('corpus');
  await using dovecot = await startDovecot();
  await using mariadb = await startMariadb();
  const { url } = await mariadb.createDatabase();
  const dataFolder = join(folder.path, 'data');
  const place = { env: { ...corpusEnv, TICKETMAILD_DATA_DIR: dataFolder, TICKETMAILD_DATABASE_URL: url }, dataFolder };
  const bySource = Map.groupBy(messages, ({ source }) => source);
  progress.now(`filling ${bySource.size} mailboxes with ${messages.length} messages`);
  await run(place, ['migrate']);
  await fill(dovecot, url, bySource);
  progress.now(`fetching ${messages.length} messages`);
  const { peakRssMb } = await runMeasured([launcher, 'poll', '--json'], place);
  progress.now('reading back');
  const listed = await listAll(place, bySource);
  const reconciled = await run(place, ['reconcile', '--json']).then(
    () => [],
    (error: unknown) => [`reconcile: ${String(error)}`],
  );
  progress.now('comparing');
  const violations = [...outcomeViolations(bySource, listed), ...reconciled];
  if (peakRssMb !== null && peakRssMb > peakMbMax)
    violations.push(`the program took ${Math.round(peakRssMb)} MB of memory, more than ${peakMbMax}`);
  const attachments = [...listed.values()].flat().flatMap((line) => line.attachments ?? []);
  const blobs = await checkBlobs(place.dataFolder, attachments);
  return {
    messages: messages.length,
    outcomes: countOf([...listed.values()].flat().map(({ outcome }) => outcome)),
    blobs: blobs.count,
    peakRssMb,
    checks: [...bySource].flatMap(([source, group]) => compareSource(group, listed.get(source) ?? [])),
    violations: [...violations, ...blobs.violations],
  };
}

async function run({ env }: Place, args: readonly string[]): Promise<string> {
  return (await runMeasured([launcher, ...args], { env })).stdout;
}

async function fill(
  dovecot: Dovecot,
  databaseUrl: string,
  bySource: ReadonlyMap<string, readonly CorpusMail[]>,
): Promise<void> {
  const rows = [...bySource.keys()].map((source) => mailboxOn(dovecot, 'implicit', source, Buffer.from(password)));
  await addMailboxes(databaseUrl, rows);
  for (const { name, user } of rows) {
    const messages = bySource.get(name) ?? [];
    for (let at = 0; at < messages.length; at += messagesAtOnce) {
      const portion = messages.slice(at, at + messagesAtOnce).map((mail) => mail.read());
      await dovecot.append(user, 'INBOX', portion);
    }
  }
}

async function listAll(
  place: Place,
  bySource: ReadonlyMap<string, readonly CorpusMail[]>,
): Promise<ReadonlyMap<string, readonly Listed[]>> {
  const listed = new Map<string, readonly Listed[]>();
  const waiting = [...bySource.keys()];
  const reader = async () => {
    for (let source = waiting.pop(); source !== undefined; source = waiting.pop()) {
      const text = await run(place, ['message', 'list', '--mailbox', source, '--full', '--json']);
      const lines = text.split('\n').filter((line) => line !== '');
      listed.set(
        source,
        lines.map((line) => JSON.parse(line) as Listed),
      );
    }
  };
  await Promise.all(Array.from({ length: commandsAtOnce }, reader));
  return listed;
}

/** Messages have the UIDs of their order, from 1 on: each of them has one line, and is stored. */
function outcomeViolations(
  bySource: ReadonlyMap<string, readonly CorpusMail[]>,
  listed: ReadonlyMap<string, readonly Listed[]>,
): string[] {
  return [...bySource].flatMap(([source, messages]) =>
    messages.flatMap(({ file, sizeBytes }, index) => {
      const lines = (listed.get(source) ?? []).filter(({ uid }) => uid === index + 1);
      const [line] = lines;
      if (line === undefined || lines.length > 1) return [`${file}: has ${lines.length} outcomes instead of one`];
      // A message without a byte is no message, and an error of the server that hands it out.
      if (line.outcome === 'quarantined' && sizeBytes === 0) return [];
      if (line.outcome === 'quarantined') return [`${file}: is in quarantine: ${line.reason}`];
      return line.message_id === undefined ? [`${file}: is ${line.outcome}, without a message`] : [];
    }),
  );
}

function compareSource(messages: readonly CorpusMail[], listed: readonly Listed[]): readonly Checked[] {
  const lineOf = (index: number) => listed.find(({ uid }) => uid === index + 1);
  const tickets = new Map(messages.map(({ file }, index) => [basename(file, '.eml'), lineOf(index)?.ticket ?? null]));
  // The folder need not hold the message that others answer: then those that answer it are one conversation.
  const ticketOf = (name: string, own: string): string | null => {
    const fellow = messages.find(({ file, stated }) => stated?.['threads_with'] === name && file !== own);
    return tickets.get(name) ?? tickets.get(basename(fellow?.file ?? '', '.eml')) ?? null;
  };
  return messages.flatMap((mail, index) => {
    const line = lineOf(index);
    if (mail.stated === null || line === undefined || line.message_id === undefined) return [];
    const { source, file, stated } = mail;
    return keyed(mail, checkMail({ source, file, stated, stored: line as Listed & Stored, placed: line, ticketOf }));
  });
}

async function checkBlobs(
  dataFolder: string,
  attachments: readonly StoredAttachment[],
): Promise<{ readonly count: number; readonly violations: readonly string[] }> {
  const sizes = new Map(attachments.map(({ sha256, size }) => [sha256, size]));
  const violations: string[] = [];
  for (const [sha256, size] of sizes) {
    const bytes = await readFile(join(dataFolder, 'blobs', sha256.slice(0, 2), sha256)).catch(() => null);
    const isExact = bytes?.length === size && createHash('sha256').update(bytes).digest('hex') === sha256;
    if (!isExact) violations.push(`attachment ${sha256}: ${bytes === null ? 'is not there' : 'has other bytes'}`);
  }
  return { count: sizes.size, violations };
}

function countOf(names: readonly string[]): Readonly<Record<string, number>> {
  const groups = Map.groupBy(names, (name) => name);
  return Object.fromEntries([...groups].map(([name, all]) => [name, all.length]));
}
