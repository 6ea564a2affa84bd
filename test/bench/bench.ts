/**
 * Command line of the benchmarks: `npm run bench -- [NAME] [OPTION …]`; `--help` lists names and options.
 *
 * Without a name it is `performance`: the report on speed, memory and CPU time, in scenes (performance/), with the aim
 * of each figure beside it. `crash` kills the daemon again and again while it works, and counts what is lost, doubled,
 * empty or missing in the end. Others are about sealed passwords (encryption/) and about the daemon at work (service/).
 * Exit code 1 when something is not as promised, or fails; 2 for a wrong option. Dovecot and MariaDB must be installed;
 * both are started here, with their data in temporary folders.
 */
import { parseArgs } from 'node:util';
import { runWithOptions, wholeNumber } from '../support/options.ts';
import { startDovecot } from '../support/servers/dovecot.ts';
import { startMariadb } from '../support/servers/mariadb.ts';
import { findingCounts } from '../support/verification.ts';
import { type EncryptionOptions, encryptionBenchmarks } from './encryption/encryption-benchmarks.ts';
import { crashRun } from './ingest/crash.ts';
import type { Servers } from './ingest/ingest.ts';
import { defaultCount } from './messages/generate.ts';
import { performanceDefaults, performanceRun, sceneNames } from './performance/performance.ts';
import type { PerformanceOptions } from './performance/scene.ts';
import { type ServiceOptions, serviceBenchmarks, withMariadbOnly } from './service/service-benchmarks.ts';

const database = '[--database mariadb|sqlite] [--json]';
const usage = [
  'usage: npm run bench [-- performance] [--only SCENE] [--runs N] [--count N] [--largest N] [--mailboxes N]',
  '                                      [--polls N] [--huge-mb N] [--json]',
  '       npm run bench -- ingest [--runs N] [--count N] [--json]',
  `       npm run bench -- crash [--count N] [--kills N] ${database}`,
  `       npm run bench -- core-dump [--mailboxes N] ${database}`,
  '       npm run bench -- token-dump [--json]',
  `       npm run bench -- switch-kills [--stride N] ${database}`,
  `       npm run bench -- live-switch [--mailboxes N] ${database}`,
  `       npm run bench -- switch-size [--mailboxes N] ${database}`,
  `       npm run bench -- database-files [--mailboxes N] ${database}`,
  '       npm run bench -- push-latency [--mailboxes N] [--count N] [--profile FOLDER] [--json]',
  `       npm run bench -- many-quiet [--mailboxes N] [--interval SECONDS] [--profile FOLDER] ${database}`,
  `       npm run bench -- idle-connections [--mailboxes N] [--count N] [--interval SECONDS] ${database}`,
  `       npm run bench -- start-up [--mailboxes N] [--runs N] ${database}`,
  '       npm run bench -- fleet [--mailboxes N] [--count N] [--json]',
].join('\n');
const lifeMsMax = 250;
/** A larger mail is one of those that the daemon does not fetch ([message] max_size_mb). */
const hugeMbMax = 49;

type EncryptionName = keyof typeof encryptionBenchmarks;

type ServiceName = keyof typeof serviceBenchmarks;

type Options = EncryptionOptions &
  ServiceOptions &
  PerformanceOptions & {
    readonly benchmark: 'performance' | 'crash' | EncryptionName | ServiceName;
    readonly kills: number;
    /** The one scene of the performance report; null: all of them. */
    readonly only: string | null;
  };

/** Throws a TypeError with one sentence for whatever is not allowed. */
export function readOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: {
      count: { type: 'string' },
      runs: { type: 'string' },
      interval: { type: 'string', default: '300' },
      profile: { type: 'string' },
      kills: { type: 'string', default: '40' },
      mailboxes: { type: 'string' },
      stride: { type: 'string', default: '1' },
      database: { type: 'string', default: 'mariadb' },
      only: { type: 'string' },
      largest: { type: 'string' },
      polls: { type: 'string', default: `${performanceDefaults.polls}` },
      'huge-mb': { type: 'string', default: `${performanceDefaults.hugeMb}` },
      json: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  const [name = 'performance', ...others] = positionals;
  // Scene `single` alone.
  const benchmark = name === 'ingest' ? 'performance' : name;
  const only = name === 'ingest' ? 'single' : values.only;
  const [unknown] = isBenchmark(benchmark) ? others : [benchmark];
  if (!isBenchmark(benchmark) || unknown !== undefined) throw new TypeError(unknownName(unknown ?? benchmark));
  const { database, json } = values;
  if (database !== 'mariadb' && database !== 'sqlite') {
    throw new TypeError(`--database takes mariadb or sqlite, not ${database}`);
  }
  if (database === 'sqlite' && withMariadbOnly.includes(benchmark)) {
    throw new TypeError(`${benchmark} needs --database mariadb`);
  }
  if (values.only !== undefined && name !== 'performance') throw new TypeError(`${name} takes no --only`);
  if (only !== undefined && !sceneNames.includes(only)) {
    throw new TypeError(`--only takes a scene of the performance report: ${sceneNames.join(', ')}`);
  }
  const usual = usualOf(benchmark);
  const given = (name: 'count' | 'runs' | 'mailboxes') => wholeNumber(`--${name}`, values[name] ?? `${usual[name]}`, 1);
  return {
    benchmark,
    count: given('count'),
    runs: given('runs'),
    mailboxes: given('mailboxes'),
    kills: wholeNumber('--kills', values.kills, 1),
    stride: wholeNumber('--stride', values.stride, 1),
    intervalS: wholeNumber('--interval', values.interval, 1),
    profileFolder: values.profile ?? null,
    only: only ?? null,
    largest: largestOf(values.largest, given('count')),
    polls: wholeNumber('--polls', values.polls, 1),
    hugeMb: wholeNumber('--huge-mb', values['huge-mb'], 1, hugeMbMax),
    database,
    json,
  };
}

function unknownName(name: string): string {
  const scene = sceneNames.includes(name) ? `; ${name} is a scene of the performance report: --only ${name}` : '';
  return `there is no benchmark ${name}: they are ${names.join(', ')}${scene}`;
}

/** At least as many as the others have. */
function largestOf(given: string | undefined, count: number): number {
  return given === undefined ? Math.max(performanceDefaults.largest, count) : wholeNumber('--largest', given, count);
}

/** How much a benchmark does unless set otherwise. */
function usualOf(benchmark: Options['benchmark']): Pick<Options, 'count' | 'runs' | 'mailboxes'> {
  if (benchmark === 'performance') return performanceDefaults;
  if (isAboutService(benchmark)) return serviceBenchmarks[benchmark];
  const mailboxes = isAboutEncryption(benchmark) ? encryptionBenchmarks[benchmark].mailboxes : 1;
  return { count: defaultCount, runs: 1, mailboxes };
}

const names: readonly string[] = [
  'performance',
  'ingest',
  'crash',
  ...Object.keys(encryptionBenchmarks),
  ...Object.keys(serviceBenchmarks),
];

function isBenchmark(name: string): name is Options['benchmark'] {
  return name !== 'ingest' && names.includes(name);
}

function isAboutEncryption(name: string): name is EncryptionName {
  return Object.hasOwn(encryptionBenchmarks, name);
}

function isAboutService(name: string): name is ServiceName {
  return Object.hasOwn(serviceBenchmarks, name);
}

async function startServers(undo: AsyncDisposableStack, database: Options['database']): Promise<Servers> {
  const dovecot = undo.use(await startDovecot());
  const mariadb = database === 'mariadb' ? undo.use(await startMariadb({ durable: true })) : null;
  return { dovecot, mariadb };
}

/** The exit code. */
async function crash({ count, kills, database, json }: Options): Promise<number> {
  await using undo = new AsyncDisposableStack();
  const servers = await startServers(undo, database);
  const seed = Date.now() % 1_000_000;
  const report = await crashRun(servers, { count, kills, seed, lifeMsMax }, progress);
  const { findings: _, ...counts } = report.verification;
  const figures = {
    kills,
    kills_at_work: report.killsAtWork,
    ...findingCounts(report.verification),
    ...counts,
    seen_on_server: report.seen,
    reconciled: report.reconciled,
    seed,
    database,
  };
  if (json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  else for (const [name, value] of Object.entries(figures)) process.stdout.write(`  ${name.padEnd(22)} ${value}\n`);
  return report.exact && report.reconciled && report.seen === count ? 0 : 1;
}

/** One line that tells a person at a terminal what takes so long. */
function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${line}\n`);
}

/** The exit code. */
async function run(options: Options): Promise<number> {
  const { benchmark } = options;
  if (isAboutEncryption(benchmark)) return encryptionBenchmarks[benchmark].run(options, progress);
  if (isAboutService(benchmark)) return serviceBenchmarks[benchmark].run(options, progress);
  return benchmark === 'performance' ? performanceRun(options, progress) : crash(options);
}

async function main(args: readonly string[]): Promise<number> {
  if (!args.includes('--help')) return await runWithOptions(args, { usage: `${usage}\n`, read: readOptions, run });
  process.stdout.write(`${usage}\n`);
  return 0;
}

/** Servers and daemons end with this process, and its folder goes as it exits. Once: npm passes a Ctrl-C on. */
function endOnSignals(): void {
  for (const [name, number] of [['SIGINT', 2] as const, ['SIGTERM', 15] as const]) {
    process.once(name, () => {
      process.stderr.write('bench: interrupted, its servers are ended and its folder is removed\n');
      process.exit(128 + number);
    });
  }
}

if (import.meta.main) {
  endOnSignals();
  process.exitCode = await main(process.argv.slice(2));
}
