/**
 * The benchmarks about sealed passwords as the command line runs them: servers, report, exit code.
 *
 * Each prints a table, or one JSON object, and gives 0 when everything is as promised, else 1.
 */

import { type Hits, hitCount } from '../../support/leaks/memory-search.ts';
import { copiesAfterConsents, copiesAfterRequests, type TokenCopies } from '../../support/leaks/token-dump.ts';
import { startProvider } from '../../support/oauth/provider.ts';
import { startDovecot } from '../../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import { whyNoMysql } from '../../support/servers/mysql.ts';
import { findingCounts } from '../../support/verification.ts';
import { columnsText } from '../measure/columns.ts';
import { coreDumpRun } from './core-dump.ts';
import { type Course, type FilesReport, filesRun, type StepHits } from './database-files.ts';
import { type KillReport, killRun, operations } from './kills.ts';
import { type LiveReport, liveSwitchRun } from './live-switch.ts';
import type { SceneReport } from './memory-scene.ts';
import { sizeRun } from './ten-thousand.ts';

export type EncryptionOptions = {
  readonly mailboxes: number;
  readonly stride: number;
  readonly database: 'mariadb' | 'sqlite';
  readonly json: boolean;
};

type Progress = (line: string) => void;
export type EncryptionBenchmark = (options: EncryptionOptions, progress: Progress) => Promise<number>;

/** Seconds that an operation on 10,000 mailboxes may take. */
const secondsMax = 20;

/** By their names on the command line, each with how many mailboxes it has unless set otherwise. */
export const encryptionBenchmarks = {
  'core-dump': { mailboxes: 200, run: coreDump },
  'switch-kills': { mailboxes: 6, run: switchKills },
  'live-switch': { mailboxes: 1000, run: liveSwitch },
  'switch-size': { mailboxes: 10_000, run: switchSize },
  'token-dump': { mailboxes: 1, run: tokenDump },
  'database-files': { mailboxes: 1000, run: databaseFiles },
} as const satisfies Record<string, { readonly mailboxes: number; readonly run: EncryptionBenchmark }>;

async function withDatabase<T>(
  { database }: EncryptionOptions,
  durable: boolean,
  work: (mariadb: Mariadb | null) => Promise<T>,
): Promise<T> {
  if (database === 'sqlite') return await work(null);
  await using mariadb = await startMariadb({ durable });
  return await work(mariadb);
}

function print(json: boolean, object: object, text: () => string): void {
  process.stdout.write(json ? `${JSON.stringify(object)}\n` : text());
}

async function coreDump(options: EncryptionOptions, progress: Progress): Promise<number> {
  const scenes = await withDatabase(options, false, (mariadb) => coreDumpRun(mariadb, options.mailboxes, progress));
  const passed = scenes.every((scene) => scene.passed);
  print(options.json, { ...about(options), passed, scenes }, () => scenesText(scenes));
  return passed ? 0 : 1;
}

function about({ database, mailboxes }: EncryptionOptions): Record<string, unknown> {
  return { database, mailboxes, node: process.version };
}

function scenesText(scenes: readonly SceneReport[]): string {
  const rows = scenes.map(({ scene, logins, memory, core, log, passed }) => [
    scene,
    logins,
    hitCount(memory),
    core === null ? null : hitCount(core),
    log.length,
    passed ? 'yes' : 'NO',
  ]);
  const details = scenes.flatMap(({ scene, memory }) => hitsText(scene, memory));
  return columnsText(['scene', 'logins', 'memory', 'core dump', 'log', 'as promised'], rows) + details.join('');
}

function hitsText(scene: string, { hits }: Hits): readonly string[] {
  return hits.map(
    ({ form, whole, where, count }) => `  ${scene}: ${count} as ${form}${whole ? '' : ', half of it'}, in ${where}\n`,
  );
}

const requestsOfEachKind = 200;

async function tokenDump({ json }: EncryptionOptions, progress: Progress): Promise<number> {
  await using provider = await startProvider();
  await using dovecot = await startDovecot({ tokens: { mode: 'introspection', provider } });
  const scenes: { scene: string; isControl: boolean; copies: TokenCopies }[] = [];
  for (const how of ['bytes', 'fetch'] as const) {
    const isControl = how === 'fetch';
    const name = (what: string) => (isControl ? `control: ${what} by fetch` : what);
    progress(`${requestsOfEachKind} requests of each kind (${how})`);
    const ofRequests = await copiesAfterRequests(provider, how, requestsOfEachKind);
    scenes.push({ scene: name(`${requestsOfEachKind} requests of each kind`), isControl, copies: ofRequests });
    progress(`one consent of each way (${how})`);
    const ofConsents = await copiesAfterConsents({ provider, dovecot }, how);
    scenes.push({ scene: name('one consent of each way, with its login'), isControl, copies: ofConsents });
  }
  const passed = scenes.every(({ isControl, copies }) => copiesOf(copies) > 0 === isControl);
  print(json, { node: process.version, passed, scenes }, () =>
    columnsText(
      ['scene', ...copyKinds, 'as promised'],
      scenes.map(({ scene, isControl, copies }) => [
        scene,
        ...copyKinds.map((kind) => copies[kind]),
        copiesOf(copies) > 0 === isControl ? 'yes' : 'NO',
      ]),
    ),
  );
  return passed ? 0 : 1;
}

const copyKinds = ['tokens', 'refresh', 'access', 'base64', 'secret', 'lines', 'limbs', 'der'] as const;

function copiesOf({ tokens: _, ...hits }: TokenCopies): number {
  return Object.values(hits).reduce((sum, count) => sum + count, 0);
}

async function switchKills(options: EncryptionOptions, progress: Progress): Promise<number> {
  const { stride } = options;
  await using dovecot = await startDovecot();
  const reports = await withDatabase(options, false, async (mariadb) => {
    const done: KillReport[] = [];
    for (const operation of operations) done.push(await killRun(operation, { dovecot, mariadb, stride, progress }));
    return done;
  });
  const isExact = reports.every(({ failed, kills }) => failed.length === 0 && kills > 0);
  print(options.json, { ...about(options), stride, operations: reports }, () => killsText(reports));
  return isExact ? 0 : 1;
}

function killsText(reports: readonly KillReport[]): string {
  const rows = reports.map(({ operation, effects, kills, finished, failed, leftOvers }) => [
    operation,
    effects,
    kills,
    finished,
    failed.length,
    leftOvers,
  ]);
  const why = reports.flatMap(({ operation, failed }) =>
    failed.map((one) => `  ${operation} killed before effect ${one.at}: ${one.why.join('; ')}\n`),
  );
  return columnsText(['operation', 'effects', 'kills', 'finished', 'failed', 'left-over files'], rows) + why.join('');
}

async function liveSwitch(options: EncryptionOptions, progress: Progress): Promise<number> {
  const { mailboxes, json } = options;
  await using dovecot = await startDovecot();
  const report = await withDatabase(options, true, (mariadb) =>
    liveSwitchRun({ dovecot, mariadb, mailboxes, progress }),
  );
  const figures = { ...about(options), ...liveFigures(report) };
  print(json, { ...figures, pick_ups: report.pickUps, commands: report.commands }, () => liveText(figures, report));
  const isSeen = report.pickUps.length > 0 && report.pickUps.every(({ ms }) => ms !== null);
  return report.exact && report.failedByServer === 0 && report.failedByDaemon === 0 && isSeen ? 0 : 1;
}

function liveFigures({ messages, polls, failedByServer, failedByDaemon, verification, pickUps }: LiveReport) {
  const sorted = pickUps.map(({ ms }) => ms ?? Number.POSITIVE_INFINITY).toSorted((one, other) => one - other);
  return {
    messages,
    polls,
    failed_by_server: failedByServer,
    failed_by_daemon: failedByDaemon,
    ...findingCounts(verification),
    pick_up_ms_median: sorted[(sorted.length - 1) >> 1] ?? null,
    pick_up_ms_max: sorted.at(-1) ?? null,
  };
}

function liveText(figures: Record<string, unknown>, { pickUps, commands }: LiveReport): string {
  const lines = Object.entries(figures).map(([name, value]) => `  ${name.padEnd(22)}${value}\n`);
  const seconds = commands.map(({ name, seconds: took }) => `${name} ${took} s`).join(', ');
  const rows = pickUps.map(({ revision, change, ms }) => [revision, change, ms]);
  return `${lines.join('')}  commands: ${seconds}\n${columnsText(['revision', 'change', 'seen after, ms'], rows)}`;
}

async function switchSize(options: EncryptionOptions, progress: Progress): Promise<number> {
  const sizes = [Math.ceil(options.mailboxes / 10), options.mailboxes];
  const figures = await withDatabase(options, true, async (mariadb) => {
    const done = [];
    for (const size of sizes) done.push(...(await sizeRun(mariadb, size, progress)));
    return done;
  });
  const isQuick = figures.every(({ wall_s: seconds }) => seconds < secondsMax);
  const rows = figures.map(Object.values);
  const header = ['operation', 'mailboxes', 'seconds', 'CPU seconds', 'peak memory, MB'];
  print(options.json, { ...about(options), operations: figures }, () => columnsText(header, rows));
  return isQuick ? 0 : 1;
}

async function databaseFiles(options: EncryptionOptions, progress: Progress): Promise<number> {
  const why = whyNoMysql();
  if (why !== null) progress(`left out: MySQL (${why})`);
  const courses: readonly Course[] =
    options.database === 'sqlite'
      ? ['sqlite']
      : ['mariadb', ...(why === null ? ['mysql' as const] : []), 'others', 'sqlite'];
  const reports: FilesReport[] = [];
  for (const course of courses) reports.push(await filesRun(course, { mailboxes: options.mailboxes, progress }));
  print(options.json, { ...about(options), courses: reports }, () => reports.map(filesText).join('\n'));
  return reports.every(({ course, isClean }) => isClean || course === 'others') ? 0 : 1;
}

/** One column for each kind of file in which anything was found. */
function filesText({ course, steps }: FilesReport): string {
  const found = steps.flatMap(({ hits }) => hits.filter(({ count }) => count > 0));
  const kinds = [...new Set(found.map(({ kind }) => kind))];
  const countOf = ({ hits }: StepHits, wanted: string) => hits.find(({ kind }) => kind === wanted)?.count ?? 0;
  const rows = steps.map((step) => [step.step, ...kinds.map((kind) => countOf(step, kind))]);
  return `${course}\n${columnsText(['after', ...kinds], rows)}`;
}
