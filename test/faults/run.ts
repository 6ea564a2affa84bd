/**
 * One run of the fault campaign from nothing to its report: scene, mail, faults, the time to drain, and the count.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { countFormsIn } from '../support/leaks/form-search.ts';
import type { Progress } from '../support/progress.ts';
import { seededRandom } from '../support/random.ts';
import { type Injected, outcomes, type Ports, runCampaign } from './campaign.ts';
import { type Kind, kinds, possibleKinds } from './kinds.ts';
import type { SentMail } from './mail.ts';
import { keepSwitchRows, openGround } from './rows/change.ts';
import { changes, rowKinds } from './rows/kinds.ts';
import { passwordsOut } from './rows/passwords-out.ts';
import { openScene, type Scene } from './scene.ts';
import { startSender } from './sender.ts';
import { type Trace, traceSince, tracesOf } from './trace.ts';
import { type Verification, verify } from './verify.ts';
import { startWatcher, troubles, type Watcher } from './watcher.ts';
import type { Worker } from './worker.ts';

export type FaultOptions = {
  readonly seed: number;
  readonly minutes: number;
  readonly workers: number;
  readonly mailboxes: number;
  readonly messagesPerS: number;
  /** Each kind once, instead of until the time is up. */
  readonly once: boolean;
  /** Longest time that a fault lasts, but for those that need longer to be visible; null: as the table says. */
  readonly lastS: number | null;
  /** Changes of rows by SQL instead of faults (rows/). */
  readonly rows: boolean;
  /** Names of kinds; null: all that are possible here. */
  readonly only: readonly string[] | null;
  /** Ends it early, with a report of what was done. */
  readonly stop: AbortSignal;
};

export type WorkerReport = {
  readonly worker: string;
  readonly memoryNowMb: number | null;
  readonly memoryPeakMb: number | null;
  readonly lines: number;
  /** Times at which it exited unasked. */
  readonly ownEnds: number;
  readonly stopCode: number | string;
};

export type Report = {
  readonly seed: number;
  readonly durationS: number;
  /** False: it was ended early. */
  readonly isWhole: boolean;
  readonly limits: readonly string[];
  readonly faults: readonly Injected[];
  /** Visibility signs by kind, for the table. */
  readonly kinds: readonly Pick<Kind, 'name' | 'secondsMin' | 'secondsMax' | 'visibleBy'>[];
  readonly workers: readonly WorkerReport[];
  readonly verification: Omit<Verification, 'wrong'>;
  /** One sentence each; empty: every promise was kept. */
  readonly violations: readonly string[];
  readonly traces: readonly Trace[];
};

/** A data folder with less than half a gigabyte free is a warning. */
const dataMbMin = 1_024;
const drainMsMax = 120_000;
/** Of one worker, in a round of faults, without the lines about single messages. */
const linesPerMinuteMax = 1_200;
const tracesMax = 10;
const pairShare = 0.35;
/** Changes of rows hide each other less than faults. */
const rowShare = 0.85;
const rowsMax = 6;
/** Some mailboxes are polled all the time, others hold a connection in IDLE. */
const rowScene = { env: { TICKETMAILD_IDLE_CONNECTIONS_MAX: '4' }, sqlBeforeEnable: keepSwitchRows } as const;

/** The scene is still there when `inspect` is called, with the count behind it. */
type Inspect = (scene: Scene, sent: readonly SentMail[]) => Promise<void>;

export async function runFaults(options: FaultOptions, progress: Progress, inspect?: Inspect): Promise<Report> {
  const startedAt = performance.now();
  progress.now('starting a mail server and a database');
  const dataMb = dataMbMin + Math.ceil(options.minutes) * 24;
  const { workers: workersCount, mailboxes } = options;
  await using scene = await openScene({ workers: workersCount, mailboxes, dataMb, ...(options.rows ? rowScene : {}) });
  await using ground = options.rows ? await openGround(scene) : null;
  const chosen = chosenKinds(ground === null ? possibleKinds(scene) : rowKinds(ground), options.only);
  const { violations, traces, ...told } = findings(progress);
  for (const worker of scene.workers) worker.start();
  await using watcher = startWatcher(scene.workers);
  await allUp(scene, watcher);
  await using sender = startSender(scene, options.messagesPerS, seededRandom(options.seed + 1));
  using _counting = progress.counting(() => `${sender.sent.length} messages sent`);
  const ports: Ports = { scene, watcher, sender, ...told };
  const untilMs = Date.now() + options.minutes * 60_000;
  const { once, lastS, stop, rows } = options;
  const companions = rows ? { share: once ? 1 : rowShare, max: rowsMax } : { share: pairShare, max: once ? 0 : 1 };
  const faults = await runCampaign(
    { random: seededRandom(options.seed), kinds: chosen, untilMs, once, lastS, companions, stop },
    ports,
  );
  await sender.stop();
  progress.now('waiting until everything is done');
  await drain(ports);
  const workers = await endWorkers(scene);
  const verification = await verify(scene, sender.sent);
  violations.push(...endViolations(scene, { faults, workers, verification }));
  if (ground !== null) violations.push(...(await passwordsOut(ground)));
  await inspect?.(scene, sender.sent);
  const { wrong, ...counts } = verification;
  return {
    ...{ seed: options.seed, durationS: Math.round((performance.now() - startedAt) / 1000), isWhole: !stop.aborted },
    ...{ limits: scene.limits, faults, workers, verification: counts, violations },
    kinds: chosen.map(({ name, secondsMin, secondsMax, visibleBy }) => ({ name, secondsMin, secondsMax, visibleBy })),
    traces: [...traces, ...tracesOf(wrong.slice(0, tracesMax), faults, scene)],
  };
}

/** What the campaign tells, and what it finds broken. */
function findings(
  progress: Progress,
): Pick<Ports, 'tell' | 'meanwhile' | 'violation'> & { violations: string[]; traces: Trace[] } {
  const violations: string[] = [];
  const traces: Trace[] = [];
  return {
    ...{ violations, traces, tell: progress.now, meanwhile: progress.meanwhile },
    violation: (text, workers, sinceMs) => {
      violations.push(text);
      if (traces.length < tracesMax) traces.push(traceSince(text, workers, sinceMs));
      progress.news(`VIOLATION ${text}`);
    },
  };
}

function chosenKinds(possible: readonly Kind[], only: readonly string[] | null): readonly Kind[] {
  const known = [...kinds, ...changes].map(({ name }) => name);
  const unknown = only?.filter((name) => !known.includes(name)) ?? [];
  if (unknown.length > 0)
    throw new RangeError(`no fault is named ${unknown.join(', ')}: ${known.map((name) => `"${name}"`).join(', ')}`);
  return possible.filter(({ name }) => only?.includes(name) ?? true);
}

/** The campaign begins when every worker answers that all is well. */
async function allUp(scene: Scene, watcher: Watcher): Promise<void> {
  const deadline = Date.now() + 60_000;
  const isWell = ({ index }: Worker): boolean => {
    const sample = watcher.latest(index);
    return sample !== null && troubles(sample, scene.workers.length).length === 0;
  };
  while (!scene.workers.every(isWell)) {
    if (Date.now() > deadline) throw new Error(`the workers are not well:\n${lastLines(scene)}`);
    await sleep(100);
  }
}

function lastLines({ workers }: Scene): string {
  return workers
    .flatMap(({ name, printed }) => printed.lines.slice(-8).map(({ text }) => `${name} ${text}`))
    .join('\n');
}

/** Until every message has its outcome and nothing is left to be done on the server. */
async function drain({ scene, sender, violation }: Ports): Promise<void> {
  const drainingMs = Date.now();
  const deadline = drainingMs + drainMsMax;
  let missing = 0;
  let pending = 0;
  do {
    await sleep(500);
    missing = sender.sent.length - (await outcomes(scene));
    pending = Number(
      await scene.mariadb.query(`SELECT COUNT(*) FROM ${scene.database}.outcome WHERE action_pending = 1`),
    );
    if (missing <= 0 && pending === 0) return;
  } while (Date.now() < deadline);
  violation(
    `in the end ${missing} messages have no outcome, and ${pending} actions are pending`,
    scene.workers,
    drainingMs,
  );
}

async function endWorkers({ workers }: Scene): Promise<readonly WorkerReport[]> {
  return Promise.all(
    workers.map(async (worker) => {
      const memory = await worker.memory();
      return {
        worker: worker.name,
        memoryNowMb: memory?.nowMb ?? null,
        memoryPeakMb: memory?.peakMb ?? null,
        lines: worker.printed.lines.length,
        ownEnds: worker.ownEnds.length,
        stopCode: await worker.stop(),
      };
    }),
  );
}

type Found = Pick<Report, 'faults' | 'workers'> & { readonly verification: Verification };

function endViolations(scene: Scene, { faults, workers, verification }: Found): readonly string[] {
  const found: string[] = [];
  for (const { name, ownEnds } of scene.workers)
    for (const { atMs, code, lastWords } of ownEnds)
      found.push(`${name} exited unasked at ${new Date(atMs).toISOString()} with ${code}: ${lastWords}`);
  for (const { worker, stopCode } of workers)
    if (stopCode !== 0) found.push(`${worker} ended with ${stopCode} after SIGTERM`);
  for (const { mail, uid, what } of verification.wrong)
    found.push(mail === null ? what : `${mail.mark} (${mail.kind}, box-${mail.mailbox + 1}, UID ${uid}): ${what}`);
  for (const { kind, linesPerMinute } of faults)
    if (linesPerMinute > linesPerMinuteMax) found.push(`${kind}: a worker printed ${linesPerMinute} lines a minute`);
  return [...found, ...secretsIn(scene)];
}

function secretsIn({ workers, secrets }: Scene): readonly string[] {
  return workers.flatMap(({ name, printed }) => {
    const bytes = Buffer.from(printed.lines.map(({ text }) => text).join('\n'));
    return [...secrets].flatMap(([what, secret]) =>
      countFormsIn(secret, bytes).map(({ form, count }) => `${name} printed ${what} ${count} times (${form})`),
    );
  });
}
