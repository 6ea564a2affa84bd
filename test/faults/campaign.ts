/**
 * Injects faults, one or two at a time, watches whether each can be seen while it lasts, and waits until all is well
 * again.
 *
 * Every kind comes once before any comes twice; which, when, where and for how long follows from the random numbers.
 * Two faults together are judged each by its own sign, unless one hides the other's (a killed worker shows nothing).
 * What is not well again after a minute is a violation, and the campaign continues.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { SeededRandom } from '../support/random.ts';
import type { Kind } from './kinds.ts';
import type { Scene } from './scene.ts';
import type { Sender } from './sender.ts';
import { type Sample, troubles, type Watcher } from './watcher.ts';
import type { Worker } from './worker.ts';

export type Injected = {
  readonly kind: string;
  /** What was drawn for it; null: the kind says it. */
  readonly what: string | null;
  /** Names of workers. */
  readonly targets: readonly string[];
  readonly atMs: number;
  readonly endMs: number;
  /** null: it was not seen, or could not be judged. */
  readonly visibleAfterMs: number | null;
  /** The check or number that showed it first. */
  readonly seenBy: string | null;
  readonly judged: boolean;
  /** All checks ok again at every worker, from the end of the last fault at that time; null: not within the limit. */
  readonly checksOkAfterMs: number | null;
  /** Every message that was there at the end has its outcome. */
  readonly caughtUpAfterMs: number | null;
  /** Lines a minute of the worker that printed most, from the beginning until all was well. */
  readonly linesPerMinute: number;
};

export type CampaignOptions = {
  readonly random: SeededRandom;
  readonly kinds: readonly Kind[];
  readonly untilMs: number;
  /** One after the other, each once, instead of until the time is up. */
  readonly once: boolean;
  /** Longest time that a fault lasts, but for those that need longer to be visible; null: as the table says. */
  readonly lastS: number | null;
  readonly companions: Companions;
  /** Ends it early: what continues is undone, and no more begins. */
  readonly stop: AbortSignal;
};

/** Faults beside the first one of a round: the chance of each further one, and how many at most. */
export type Companions = { readonly share: number; readonly max: number };

export type Ports = {
  readonly scene: Scene;
  readonly watcher: Watcher;
  readonly sender: Sender;
  /** What continues, for the person who waits. */
  readonly tell: (text: string) => void;
  /** The same, of less interest. */
  readonly meanwhile: (text: string) => void;
  /** A violation at some workers, with what they printed since then. */
  readonly violation: (text: string, workers: readonly Worker[], sinceMs: number) => void;
};

const goneMsMax = 60_000;
/** What shows itself by a poll that ends after the fault still counts. */
const graceMs = 3_000;
const quietMs = { min: 1_500, max: 5_000 } as const;

type Drawn = {
  readonly kind: Kind;
  readonly targets: readonly Worker[];
  readonly waitMs: number;
  readonly lastMs: number;
};
type Lasted = Drawn & {
  readonly what: string | null;
  readonly atMs: number;
  readonly endMs: number;
} & Sighting;

type Sighting = {
  readonly seen: boolean | null;
  readonly visibleAfterMs: number | null;
  readonly seenBy: string | null;
};

export async function runCampaign(options: CampaignOptions, ports: Ports): Promise<readonly Injected[]> {
  const injected: Injected[] = [];
  const bag = createBag(options);
  while (!options.stop.aborted && (options.once ? bag.lap() === 1 : Date.now() < options.untilMs)) {
    ports.meanwhile('all is well');
    await sleep(options.random.between(quietMs.min, options.lastS === null ? quietMs.max : quietMs.min));
    injected.push(...(await round(drawRound(options, ports.scene, bag), options, ports)));
  }
  return injected;
}

/** `draw` gives null when none that is left fits. */
type Bag = { draw(fits: (kind: Kind) => boolean): Kind | null; lap(): number };

/** Every kind once in a random order, then again. `lap` counts from 1 and goes up when the bag is empty. */
function createBag({ kinds, random }: CampaignOptions): Bag {
  let left = [...kinds];
  let laps = 1;
  return {
    draw: (fits) => {
      const fitting = left.filter(fits);
      if (fitting.length === 0) return null;
      const kind = random.pick(fitting);
      left = left.filter((other) => other !== kind);
      if (left.length === 0) {
        left = [...kinds];
        laps += 1;
      }
      return kind;
    },
    lap: () => laps,
  };
}

function drawRound({ random, companions, lastS }: CampaignOptions, scene: Scene, bag: Bag): readonly Drawn[] {
  const drawn = (kind: Kind, waitMs: number): Drawn => ({
    kind,
    targets: kind.scope === 'all' ? scene.workers : [random.pick(scene.workers)],
    waitMs,
    lastMs: random.between(kind.secondsMin * 1_000, Math.max(kind.secondsMin, lastS ?? kind.secondsMax) * 1_000),
  });
  const kind = bag.draw(() => true);
  if (kind === null) throw new RangeError('no kinds of faults');
  const first = drawn(kind, 0);
  const round = [first];
  while (round.length <= companions.max && random.chance(companions.share)) {
    // Two faults of one thing cannot be distinguished, and undo each other.
    const other = bag.draw(({ layer }) => round.every((one) => one.kind.layer !== layer));
    if (other === null) break;
    round.push(drawn(other, random.between(0, first.lastMs)));
  }
  return round;
}

async function round(drawn: readonly Drawn[], options: CampaignOptions, ports: Ports): Promise<readonly Injected[]> {
  const beganMs = Date.now();
  const making = drawn.map((one) => make(one, options, ports));
  // An error of one leaves the other to be undone first.
  await Promise.allSettled(making);
  const lasted = await Promise.all(making);
  const endMs = Math.max(...lasted.map((one) => one.endMs));
  const recovery = await recover(endMs, describe(lasted), ports);
  const minutes = (Date.now() - beganMs) / 60_000;
  const counts = ports.scene.workers.map(({ printed }) => printed.countBetween(beganMs, Date.now()));
  const linesPerMinute = Math.round(Math.max(...counts) / minutes);
  return lasted.map((one) => {
    const isCutShort = options.stop.aborted && one.seen === false;
    const judged = !isCutShort && one.seen !== null && !lasted.some((other) => other !== one && hides(other, one));
    if (judged && one.seen === false)
      ports.violation(`not visible: ${describe([one])} (${one.kind.visibleBy})`, one.targets, one.atMs);
    return {
      ...{ kind: one.kind.name, what: one.what },
      targets: one.targets.map(({ name }) => name),
      atMs: one.atMs,
      endMs: one.endMs,
      visibleAfterMs: one.visibleAfterMs,
      seenBy: one.seenBy,
      judged,
      ...recovery,
      linesPerMinute,
    };
  });
}

/** A fault that keeps the sign of another from being seen. */
function hides(one: Lasted, other: Lasted): boolean {
  const meet = one.targets.some((worker) => other.targets.includes(worker));
  if (one.kind.layer === 'worker') return meet;
  // Other workers are known through the database, and so are the mailboxes.
  return one.kind.layer === 'database' || one.kind.layer === 'database clock';
}

/** Begins a fault, watches for it, ends it. */
async function make(drawn: Drawn, { random, stop }: CampaignOptions, ports: Ports): Promise<Lasted> {
  await pause(drawn.waitMs, stop);
  const { kind, targets, lastMs } = drawn;
  const before = new Map(targets.map(({ index }) => [index, ports.watcher.latest(index)]));
  const atMs = Date.now();
  const begun = await kind.begin(ports.scene, targets, random);
  const { undo, visible, what } =
    typeof begun === 'function' ? { undo: begun, visible: kind.visible, what: null } : begun;
  using sight = watchFor(drawn, visible, before, atMs, ports);
  ports.tell(`${describe([{ ...drawn, what }])} for ${Math.round(lastMs / 1000)} s`);
  await pause(lastMs - (Date.now() - atMs), stop);
  await undo();
  const endMs = Date.now();
  while (sight.result().seen === false && Date.now() < endMs + graceMs && !stop.aborted) await sleep(100);
  return { ...drawn, ...sight.result(), what, atMs, endMs };
}

/** Ends sooner when `stop` fires. */
async function pause(ms: number, stop: AbortSignal): Promise<void> {
  const until = Date.now() + ms;
  while (Date.now() < until && !stop.aborted) await sleep(Math.min(200, until - Date.now()));
}

type Sight = Disposable & { result(): Sighting };

/** `before`: the last answers of the workers that the fault is made at. */
function watchFor(
  { kind, targets }: Drawn,
  visible: Kind['visible'],
  before: ReadonlyMap<number, Sample | null>,
  atMs: number,
  { watcher, scene }: Ports,
): Sight {
  const shown = new Set<number>();
  let isKnown = false;
  let visibleAfterMs: number | null = null;
  let seenBy: string | null = null;
  const others = scene.workers.filter((worker) => !targets.includes(worker));
  const look = (now: Sample): void => {
    const earlier = before.get(now.worker);
    if (earlier === undefined || earlier === null || now.atMs < atMs || visibleAfterMs !== null) return;
    const samples = others.flatMap(({ index }) => watcher.latest(index) ?? []);
    const sign = visible({ now, before: earlier, others: samples, workers: scene.workers.length });
    if (sign !== null) isKnown = true;
    if (typeof sign === 'string') {
      shown.add(now.worker);
      seenBy ??= sign;
    }
    const isShown = kind.shownBy === 'any' ? shown.size > 0 : shown.size === targets.length;
    if (isShown) visibleAfterMs = Date.now() - atMs;
  };
  // What others say of a worker counts as much as what it says itself.
  const listening = watcher.listen(() => {
    for (const now of targets.map(({ index }) => watcher.latest(index))) if (now !== null) look(now);
  });
  return {
    result: () => ({ seen: visibleAfterMs !== null ? true : isKnown ? false : null, visibleAfterMs, seenBy }),
    [Symbol.dispose]: () => listening[Symbol.dispose](),
  };
}

type Recovery = Pick<Injected, 'checksOkAfterMs' | 'caughtUpAfterMs'>;

async function recover(endMs: number, what: string, ports: Ports): Promise<Recovery> {
  const sent = ports.sender.sent.length;
  ports.meanwhile(`after ${what}`);
  let checksOkAfterMs: number | null = null;
  let caughtUpAfterMs: number | null = null;
  let wrong: readonly string[] = [];
  let missing = 0;
  while (Date.now() < endMs + goneMsMax && (checksOkAfterMs === null || caughtUpAfterMs === null)) {
    await sleep(300);
    wrong = wrongNow(endMs, ports);
    if (checksOkAfterMs === null && wrong.length === 0) checksOkAfterMs = Date.now() - endMs;
    if (caughtUpAfterMs !== null) continue;
    missing = sent - (await outcomes(ports.scene));
    if (missing <= 0) caughtUpAfterMs = Date.now() - endMs;
  }
  const { workers } = ports.scene;
  if (checksOkAfterMs === null)
    ports.violation(`checks not ok 60 s after ${what}: ${wrong.slice(0, 6).join('; ')}`, workers, endMs);
  if (caughtUpAfterMs === null)
    ports.violation(`${missing} messages without outcome 60 s after ${what}`, workers, endMs);
  return { checksOkAfterMs, caughtUpAfterMs };
}

/** Judged by answers that were asked for after the fault. */
function wrongNow(endMs: number, { scene, watcher }: Ports): readonly string[] {
  return scene.workers.flatMap(({ index, name }) => {
    const sample = watcher.latest(index);
    if (sample === null || sample.atMs < endMs) return [`${name} not asked yet`];
    return troubles(sample, scene.workers.length).map((trouble) => `${name} ${trouble}`);
  });
}

/** The number of messages with an outcome. */
export async function outcomes({ mariadb, database }: Scene): Promise<number> {
  return Number(await mariadb.query(`SELECT COUNT(DISTINCT mailbox_id, uid) FROM ${database}.outcome`));
}

type Described = Pick<Drawn, 'kind' | 'targets'> & { readonly what: string | null };

function describe(faults: readonly Described[]): string {
  return faults
    .map(({ kind, targets, what }) => {
      const name = kind.scope === 'all' ? kind.name : `${kind.name} (${targets[0]?.name})`;
      return what === null ? name : `${name}: ${what}`;
    })
    .join(' and ');
}
