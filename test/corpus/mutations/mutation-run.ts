/**
 * Takes mutants through the real thing, portion after portion: into a Maildir of a real Dovecot, out of it by one
 * `poll` of the program, into a database of the portion's own, which goes with it, so that the disk stays small.
 *
 * The program's own deadline for a parse is the promise that is checked (`parseLimitS`): a message that takes longer is
 * quarantined by it, and is a violation here, as is every message without exactly one outcome, every one at which a
 * parse thread died or gave up, an end of the program, books that do not balance, and memory beyond `peakMbMax`.
 */
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { addMailboxes, mailboxOn } from '../../bench/many-mailboxes.ts';
import { runMeasured } from '../../support/processes/child.ts';
import { launcher } from '../../support/processes/launcher.ts';
import type { Progress } from '../../support/progress.ts';
import { startDovecot } from '../../support/servers/dovecot.ts';
import { password } from '../../support/servers/dovecot-settings.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { parseLimitS, timeMutants, type Violation } from './mutant-times.ts';
import { type Base, type Mutant, mutantOf } from './mutants.ts';

export type MutationOptions = {
  readonly seed: number;
  readonly count: number;
  readonly isSqlite: boolean;
  /** Ends the run between two portions. */
  readonly stop: AbortSignal;
};

export type MutationRun = {
  readonly messages: number;
  readonly bytes: number;
  readonly largestBytes: number;
  readonly wallS: number;
  readonly peakRssMb: number | null;
  readonly outcomes: Readonly<Record<string, number>>;
  /** How many messages each change, and each extreme, had a part in. */
  readonly made: Readonly<Record<string, number>>;
  readonly violations: readonly Violation[];
  /** Messages that the program gave up because the machine was busy: alone they are parsed in time. */
  readonly busy: number;
};

const peakMbMax = 400;
const portionCount = 5_000;
const messagesAtOnce = 100;
const mailboxName = 'mutants';
const pollsMax = 5;

/** Messages held back by a rule, and not for what they are made of. */
const heldBack = ['own_address', 'sender_flood', 'mail_loop'];

type Portion = { readonly mutants: readonly Mutant[]; readonly bytes: number };
type Listed = { readonly uid: number; readonly outcome: string; readonly reason: string | null };
type Polled = {
  readonly listed: readonly Listed[];
  readonly peakRssMb: number | null;
  readonly wrong: readonly string[];
};

export async function runMutations(
  options: MutationOptions,
  bases: readonly Base[],
  progress: Pick<Progress, 'now' | 'counting'>,
): Promise<MutationRun> {
  const startedAt = performance.now();
  await using mariadb = options.isSqlite ? null : await startMariadb();
  const total = emptyTotal();
  using _count = progress.counting(() => `${total.messages} of ${options.count}, ${total.violations.length} wrong`);
  progress.now('mutants, portion after portion');
  let next = makePortion(options, bases, 0);
  for (let first = 0; first < options.count && !options.stop.aborted; first += portionCount) {
    const portion = await next;
    // The next ones are made while these are fetched.
    const later = first + portionCount < options.count ? makePortion(options, bases, first + portionCount) : null;
    add(total, portion, await pollPortion(portion, mariadb));
    if (later === null) break;
    next = later;
  }
  const wallS = (performance.now() - startedAt) / 1000;
  const { violations, busy } = await againAlone(total.violations, options);
  const { names, made, ...figures } = total;
  return { ...figures, violations, busy, outcomes: counts(names), made: counts(made), wallS };
}

const late = 'quarantined: parse_timeout';

/**
 * A deadline is of the clock, and on a busy machine a parse waits for its turn: who was late is parsed alone, and is a
 * violation when it is late again.
 */
async function againAlone(
  found: readonly Violation[],
  { stop }: MutationOptions,
): Promise<{ readonly violations: readonly Violation[]; readonly busy: number }> {
  const lateOnes = found.filter(({ what }) => what === late).flatMap(({ mutant }) => mutant ?? []);
  if (lateOnes.length === 0) return { violations: found, busy: 0 };
  const make = (index: number) => lateOnes[index] ?? null;
  const alone = await timeMutants({ make, threads: 1, stop }, 0, {
    counting: () => ({ [Symbol.dispose]: () => undefined }),
  });
  const others = found.filter(({ what }) => what !== late);
  return { violations: [...others, ...alone.violations], busy: lateOnes.length - alone.violations.length };
}

type Total = {
  messages: number;
  bytes: number;
  largestBytes: number;
  peakRssMb: number | null;
  readonly names: Map<string, number>;
  readonly made: Map<string, number>;
  readonly violations: Violation[];
};

function emptyTotal(): Total {
  return { messages: 0, bytes: 0, largestBytes: 0, peakRssMb: null, names: new Map(), made: new Map(), violations: [] };
}

function add(total: Total, { mutants, bytes }: Portion, { listed, peakRssMb, wrong }: Polled): void {
  total.messages += mutants.length;
  total.bytes += bytes;
  total.largestBytes = Math.max(total.largestBytes, ...mutants.map((mutant) => mutant.bytes.length));
  if (peakRssMb !== null) total.peakRssMb = Math.max(total.peakRssMb ?? 0, peakRssMb);
  for (const { outcome, reason } of listed) plusOne(total.names, reason === null ? outcome : `${outcome} (${reason})`);
  for (const { made } of mutants) for (const name of made) if (!isBase(name)) plusOne(total.made, name);
  const from = `messages from ${mutants[0]?.index} on: `;
  total.violations.push(
    ...wrong.map((what) => ({ mutant: null, what: from + what })),
    ...mailViolations(mutants, listed),
  );
}

const isBase = (name: string): boolean => name.endsWith('.eml');

function plusOne(counted: Map<string, number>, name: string): void {
  counted.set(name, (counted.get(name) ?? 0) + 1);
}

function counts(counted: ReadonlyMap<string, number>): Readonly<Record<string, number>> {
  return Object.fromEntries([...counted].sort(([one], [other]) => (one < other ? -1 : 1)));
}

async function makePortion({ seed, count }: MutationOptions, bases: readonly Base[], first: number): Promise<Portion> {
  const mutants: Mutant[] = [];
  let bytes = 0;
  for (let index = first; index < Math.min(count, first + portionCount); index += 1) {
    const mutant = mutantOf(seed, index, bases);
    mutants.push(mutant);
    bytes += mutant.bytes.length;
    if (index % messagesAtOnce === 0) await setImmediate();
  }
  return { mutants, bytes };
}

async function pollPortion({ mutants }: Portion, mariadb: Mariadb | null): Promise<Polled> {
  await using folder = await temporaryFolder('mutants');
  await using dovecot = await startDovecot();
  const database = await mariadb?.createDatabase();
  const url = database?.url ?? `sqlite:${join(folder.path, 'mutants.db')}`;
  const env = {
    TICKETMAILD_DATA_DIR: join(folder.path, 'data'),
    TICKETMAILD_DATABASE_URL: url,
    TICKETMAILD_MESSAGE_PARSE_TIMEOUT_S: String(parseLimitS),
    TICKETMAILD_LIMITS_SENDER_LIMIT_PER_HOUR: '0',
  };
  const row = mailboxOn(dovecot, 'implicit', mailboxName, Buffer.from(password));
  await runMeasured([launcher, 'migrate'], { env });
  await addMailboxes(url, [row]);
  for (let at = 0; at < mutants.length; at += messagesAtOnce) {
    const portion = mutants.slice(at, at + messagesAtOnce).map(({ bytes }) => bytes);
    await dovecot.append(row.user, 'INBOX', portion);
  }
  const polled = await poll(env);
  if (database !== undefined) await mariadb?.query(`DROP DATABASE ${database.name}`);
  return polled;
}

async function poll(env: Readonly<Record<string, string>>): Promise<Polled> {
  const wrong: string[] = [];
  const run = async (...args: string[]) => {
    try {
      return await patiently(() => runMeasured([launcher, ...args], { env }));
    } catch (error) {
      wrong.push(`${args.join(' ')}: ${error instanceof Error ? error.message : String(error)}`);
      return { stdout: '', peakRssMb: null };
    }
  };
  const { peakRssMb } = await run('poll', mailboxName, '--json');
  if (peakRssMb !== null && peakRssMb > peakMbMax)
    wrong.push(`the program took ${Math.round(peakRssMb)} MB of memory, more than ${peakMbMax}`);
  const { stdout } = await run('message', 'list', '--mailbox', mailboxName, '--json');
  const lines = stdout.split('\n').filter((line) => line !== '');
  await run('reconcile', '--json');
  return { listed: lines.map((line) => JSON.parse(line) as Listed), peakRssMb, wrong };
}

/**
 * With so short a deadline a busy machine may not even start a parse thread in time: the program then ends its poll in
 * good order, says so, and continues where it was in the next one.
 */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let left = pollsMax - 1; ; left -= 1) {
    try {
      return await work();
    } catch (error) {
      if (left === 0 || !String(error).includes('"code":"parser_unavailable"')) throw error;
    }
  }
}

function mailViolations(mutants: readonly Mutant[], listed: readonly Listed[]): readonly Violation[] {
  const byUid = Map.groupBy(listed, ({ uid }) => uid);
  return mutants.flatMap((mutant, at) => {
    const lines = byUid.get(at + 1) ?? [];
    const [line] = lines;
    if (line === undefined || lines.length > 1) return [{ mutant, what: `${lines.length} outcomes instead of one` }];
    if (line.outcome === 'vanished') return [{ mutant, what: 'vanished' }];
    if (line.outcome !== 'quarantined' || heldBack.includes(line.reason ?? '')) return [];
    return [{ mutant, what: `quarantined: ${line.reason}` }];
  });
}
