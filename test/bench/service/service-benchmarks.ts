/**
 * The benchmarks of the daemon at work as the command line runs them: servers, report, exit code.
 *
 * Each prints a table and whether its aim is met, or one JSON object, and gives 0 when the work was done right and the
 * aim is met, else 1. Aims are those of a machine with nothing else to do.
 */
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import { columnsText } from '../measure/columns.ts';
import { type Quantiles, quantilesOf, rounded } from '../measure/quantiles.ts';
import { idleRun } from './idle-connections.ts';
import { manyQuietRun, type QuietReport } from './many-quiet.ts';
import { hibernation, type LatencyReport, pushLatencyRun } from './push-latency.ts';
import { cpuPer1000, isPolledOnce, quietText, ratio } from './quiet-table.ts';
import { startUpRun } from './start-up.ts';
import { takeoverRun } from './takeover.ts';
import { tokenPollsRun } from './token-polls.ts';

export type ServiceOptions = {
  readonly mailboxes: number;
  readonly count: number;
  readonly runs: number;
  readonly intervalS: number;
  readonly profileFolder: string | null;
  readonly database: 'mariadb' | 'sqlite';
  readonly json: boolean;
};

type Progress = (line: string) => void;
export type ServiceBenchmark = (options: ServiceOptions, progress: Progress) => Promise<number>;

/** What is wanted of each. */
const aims = {
  latencyMsMedian: 50,
  latencyMs99: 150,
  idleMbMax: 350,
  startMsMedian: 700,
  takeoverSMax: 30,
  /** A poll may cost this much more among ten times as many mailboxes: twice as much is still far from quadratic. */
  growthMax: 2,
  /** CPU time of an empty poll with a token, ratio to one with a password. */
  tokenRatioMax: 1.03,
} as const;

/** By their names on the command line, each with how much it does unless set otherwise. */
export const serviceBenchmarks = {
  'push-latency': { mailboxes: 50, count: 1000, runs: 1, run: pushLatency },
  'many-quiet': { mailboxes: 10_000, count: 1, runs: 1, run: manyQuiet },
  'idle-connections': { mailboxes: 1000, count: 200, runs: 1, run: idle },
  'start-up': { mailboxes: 1000, count: 1, runs: 5, run: start },
  fleet: { mailboxes: 400, count: 200, runs: 1, run: fleet },
  'token-polls': { mailboxes: 3, count: 400, runs: 5, run: tokenPolls },
} as const satisfies Record<
  string,
  { readonly mailboxes: number; readonly count: number; readonly runs: number; readonly run: ServiceBenchmark }
>;

/**
 * They are about what SQLite has not (a commit that reaches a server's disk, several workers), or choose it themselves.
 */
export const withMariadbOnly: readonly string[] = ['performance', 'push-latency', 'fleet'];

async function withDatabase<T>(
  database: ServiceOptions['database'],
  work: (mariadb: Mariadb | null) => Promise<T>,
): Promise<T> {
  if (database === 'sqlite') return await work(null);
  await using mariadb = await startMariadb({ durable: true });
  return await work(mariadb);
}

type Aim = { readonly aim: string; readonly met: boolean };

/** The exit code. */
function print({ json, ...options }: ServiceOptions, report: object, text: string, all: readonly Aim[]): number {
  const { database, mailboxes } = options;
  const about = { database, mailboxes, node: process.version };
  const lines = all.map(({ aim, met }) => `${met ? 'met' : 'NOT met'}: ${aim}\n`);
  process.stdout.write(json ? `${JSON.stringify({ ...about, ...report, aims: all })}\n` : text + lines.join(''));
  return all.every(({ met }) => met) ? 0 : 1;
}

function isAtMost(value: number | null, most: number): boolean {
  return value !== null && value <= most;
}

const quantileHeader = ['', 'messages', 'median, ms', 'p90', 'p99', 'max'];

function quantileRow(name: string, { count, median, p90, p99, max }: Quantiles): readonly (string | number | null)[] {
  return [name, count, median, p90, p99, max];
}

/**
 * A mail server as it comes waits for half a second before it tells; so fewer messages, and the figure of hibernated
 * ones counts.
 */
const usualServerShare = 0.1;

async function pushLatency(options: ServiceOptions, progress: Progress): Promise<number> {
  const { mailboxes, count, profileFolder } = options;
  await using mariadb = await startMariadb({ durable: true });
  const run = (name: string, serverSettings: string, messages: number) =>
    pushLatencyRun({
      ...{ mariadb, mailboxes, serverSettings, count: messages },
      ...{ profileFolder, progress: (line) => progress(`${name}: ${line}`) },
    });
  const hibernating = await run('hibernating', hibernation, count);
  const usual = await run('usual', '', Math.ceil(count * usualServerShare));
  const { announcedToCommittedMs: announced } = hibernating;
  const both = [hibernating, usual];
  const rows = [...latencyRows('connections hibernated', hibernating), ...latencyRows('usual', usual)];
  const text = columnsText(['mail server', ...quantileHeader], rows);
  return print(options, { hibernating, usual }, text, [
    { aim: 'every mail is one ticket', met: both.every(({ exact }) => exact) },
    { aim: 'each line about a mail came after its commit', met: both.every(({ unseen }) => unseen === 0) },
    {
      aim: `committed ${aims.latencyMsMedian} ms after the announcement (median)`,
      met: isAtMost(announced.median, aims.latencyMsMedian),
    },
    { aim: `99 of 100 within ${aims.latencyMs99} ms`, met: isAtMost(announced.p99, aims.latencyMs99) },
  ]);
}

function latencyRows(server: string, report: LatencyReport): readonly (readonly (string | number | null)[])[] {
  const { cpuSPer1000, unannounced } = report;
  return [
    [server, ...quantileRow('announced to committed', report.announcedToCommittedMs)],
    ['', ...quantileRow('delivered to announced', report.deliveredToAnnouncedMs)],
    ['', ...quantileRow('delivered to committed', report.deliveredToCommittedMs)],
    ['', `CPU s per 1,000 messages: ${rounded(cpuSPer1000, 2)}`, null, null, null, null, null],
    ['', 'found before they were announced', unannounced, null, null, null, null],
  ];
}

async function manyQuiet(options: ServiceOptions, progress: Progress): Promise<number> {
  const { intervalS, profileFolder, database } = options;
  const sizes = [options.mailboxes / 100, options.mailboxes / 10, options.mailboxes].map(Math.ceil);
  const reports: QuietReport[] = [];
  for (const mailboxes of new Set(sizes)) {
    const tell = (line: string) => progress(`${mailboxes} mailboxes: ${line}`);
    const report = await withDatabase(database, (mariadb) =>
      manyQuietRun({ mariadb, mailboxes, intervalS, profileFolder, progress: tell }),
    );
    reports.push(report);
  }
  const per1000 = reports.map(cpuPer1000);
  const growth = ratio(per1000.at(-1) ?? null, per1000.at(-2) ?? null);
  const shown = { interval_s: intervalS, sizes: reports, cpu_s_per_1000: per1000, cpu_growth: growth };
  return print(options, shown, quietText(intervalS, reports), [
    {
      aim: 'no mail is lost or doubled, and no poll fails',
      met: reports.every((one) => one.exact && one.failed === 0),
    },
    { aim: 'each mailbox is polled once an interval', met: reports.every(isPolledOnce) },
    {
      aim: 'among ten times as many mailboxes a poll costs no more than twice the CPU time',
      met: growth === null || growth <= aims.growthMax,
    },
  ]);
}

const quietSMax = 60;

async function idle(options: ServiceOptions, progress: Progress): Promise<number> {
  const { mailboxes, count } = options;
  const report = await withDatabase(options.database, (mariadb) =>
    idleRun({ mariadb, mailboxes, count, quietS: Math.min(quietSMax, options.intervalS), progress }),
  );
  const rows = report.steps.map(({ open, openedS, rssMb, peakMb }) => [
    open,
    rounded(openedS, 1),
    rounded(rssMb, 0),
    rounded(peakMb, 0),
  ]);
  const more = [
    `CPU seconds per minute while quiet: ${rounded(report.cpuSPerMinute, 2)}`,
    `… of the mail server: ${rounded(report.dovecotCpuSPerMinute, 2)}`,
    `${report.messages} messages fetched ${rounded(report.fetchedS, 1)} s after the last was delivered`,
  ];
  if (report.complaint !== null) more.push(report.complaint);
  const text = `${columnsText(['open', 'opened after, s', 'memory, MB', 'peak, MB'], rows)}${more.join('\n')}\n`;
  return print(options, report, text, [
    { aim: 'every mail is one ticket', met: report.exact },
    {
      aim: `less than ${aims.idleMbMax} MB with all connections open`,
      met: isAtMost(report.steps.at(-1)?.rssMb ?? null, aims.idleMbMax),
    },
  ]);
}

async function start(options: ServiceOptions, progress: Progress): Promise<number> {
  const courses = await withDatabase(options.database, (mariadb) => startUpRun(mariadb, options, progress));
  const rows = courses.map(({ course, ready, readyLine, cpuMs, rssMb }) => [
    course,
    ready.count,
    ready.median,
    ready.max,
    readyLine.median,
    cpuMs.median,
    rssMb.median,
  ]);
  const header = ['course', 'runs', 'ready, median, ms', 'max', 'daemon.ready, ms', 'CPU, ms', 'memory, MB'];
  const usual = courses.find(({ course }) => course === 'usual')?.ready.median ?? null;
  return print(options, { courses }, columnsText(header, rows), [
    { aim: `ready within ${aims.startMsMedian} ms (median)`, met: isAtMost(usual, aims.startMsMedian) },
  ]);
}

async function fleet(options: ServiceOptions, progress: Progress): Promise<number> {
  const { mailboxes, count } = options;
  await using mariadb = await startMariadb({ durable: true });
  const courses = await takeoverRun({ mariadb, mailboxes, count, progress });
  const rows = courses.map(({ course, share, left, waitedS }) => [
    course,
    share.join(' '),
    left,
    waitedS.median,
    waitedS.p99,
    waitedS.max,
  ]);
  const header = ['course', 'mailboxes of each worker', 'of the one that is gone', 'waited, median, s', 'p99', 'max'];
  return print(options, { courses }, columnsText(header, rows), [
    { aim: 'no mail is lost or doubled', met: courses.every(({ exact }) => exact) },
    {
      aim: `mailboxes of a worker that is gone are polled within ${aims.takeoverSMax} s`,
      met: courses.every(({ waitedS }) => isAtMost(waitedS.max, aims.takeoverSMax)),
    },
  ]);
}

async function tokenPolls(options: ServiceOptions, progress: Progress): Promise<number> {
  const { count: polls, runs } = options;
  const report = await withDatabase(options.database, (mariadb) => tokenPollsRun({ mariadb, polls, runs, progress }));
  const median = (value: (run: (typeof report.runs)[number]) => number) =>
    quantilesOf(report.runs.map(value), 3).median;
  const [ratio, noise] = [median(({ cpuRatio }) => cpuRatio), median((run) => run.noise)];
  const rows = [
    ['password', median(({ passwordCpuMs }) => passwordCpuMs), median(({ passwordWallMs }) => passwordWallMs)],
    ['token', median(({ tokenCpuMs }) => tokenCpuMs), median(({ tokenWallMs }) => tokenWallMs)],
  ];
  const more = `CPU time, ratio: ${ratio}; of two passwords it differs by ${noise}\n`;
  const text = `${columnsText(['an empty poll with a', 'CPU, ms', 'wall, ms'], rows)}${more}`;
  return print(options, { ...report, ratio, noise }, text, [
    {
      aim: `CPU time at most ${aims.tokenRatioMax} of that with a password`,
      met: isAtMost(ratio, aims.tokenRatioMax),
    },
    { aim: 'one token request for all polls', met: report.tokenRequests === 1 },
  ]);
}
