/**
 * One night: a quiet time, the fault, its end, the recovery watched to its end, and the count of canaries.
 *
 * A night is an entry of the catalogue; what it breaks it also mends, as an operator would. Signs that are there before
 * are no signs of it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Canaries, type CanaryCount, startCanaries } from './canaries.ts';
import { type FalseOk, falseOk, firstSign, lastSignAtMs, newSigns, type Seen, signKey } from './judge.ts';
import { type Mailbox, pollIntervalS, type Stand } from './stand.ts';
import { type LogLine, type Look, type Sampler, startSampler, surfaces } from './surfaces.ts';

export const groups = ['servers', 'database', 'machine', 'keys', 'idle'] as const;

/** Mends what was made. */
export type Undo = () => Promise<unknown>;

/** What is there beside the stand while a night lasts. */
export type NightScene = { readonly stand: Stand; readonly canaries: Canaries };

export type Night = {
  readonly name: string;
  readonly group: (typeof groups)[number];
  /** How long the fault lasts. */
  readonly faultS: number;
  /** A sign that must show while it lasts; null: none of a failure may show. */
  readonly shows: RegExp | null;
  readonly make: (scene: NightScene) => Promise<Undo>;
  /** What has to be there before; its undo comes after all. */
  readonly prepare?: (stand: Stand) => Promise<Undo>;
  /** Names of mailboxes that get canaries. */
  readonly canaries?: readonly string[];
  /** Seconds that a message may take; without it those of push, and of one interval more where mail is polled. */
  readonly ageS?: number;
  /** A sign that may not show, as of mailboxes that have nothing to do with it. */
  readonly neverShows?: RegExp;
  /** What is shown of it afterwards is not waited for, as it lasts for minutes: mail has to flow. */
  readonly isShownLong?: true;
  /** More that has to be true at the end: one sentence for what is not. */
  readonly after?: (stand: Stand) => Promise<readonly string[]>;
  readonly linesMax?: number;
  /** Nothing can be made at the stand afterwards. */
  readonly spoils?: true;
  /** Why it cannot be made here; null: it can. */
  readonly why?: (stand: Stand) => Promise<string | null>;
};

export type Row = {
  readonly name: string;
  readonly group: Night['group'];
  /** Why it was not made; null: it was. */
  readonly missing: string | null;
  readonly visibleAfterS: number | null;
  readonly seenBy: string | null;
  readonly goneAfterS: number | null;
  readonly falseOk: FalseOk | null;
  readonly alerts: readonly string[];
  /** Without those about single messages. */
  readonly lines: number;
  readonly events: Readonly<Record<string, number>>;
  readonly canaries: CanaryCount;
  readonly violations: readonly string[];
};

const usualCanaries = ['push-1', 'push-2', 'push-3', 'polled-1', 'polled-2'] as const;
const canaryEveryMs = 3_000;
/** Of mail that is pushed, and beyond one interval of mail that is polled. */
const ageMsMax = 10_000;
const quietMs = 3_000;
const quietMsMax = 60_000;
const goneMsMax = 100_000;
const arriveMsMax = 40_000;

export async function runNight(night: Night, stand: Stand, stop: AbortSignal): Promise<Row> {
  const why = (await night.why?.(stand)) ?? null;
  if (why !== null) return missingRow(night, why);
  const undoPreparation = await night.prepare?.(stand);
  const row = await watchNight(night, stand, stop);
  await undoPreparation?.();
  return row;
}

export function missingRow({ name, group }: Night, missing: string): Row {
  const nothing = {
    visibleAfterS: null,
    seenBy: null,
    goneAfterS: null,
    falseOk: null,
    alerts: [],
    lines: 0,
    events: {},
  };
  return { name, group, missing, ...nothing, canaries: { sent: 0, lost: 0, doubled: 0 }, violations: [] };
}

async function watchNight(night: Night, stand: Stand, stop: AbortSignal): Promise<Row> {
  const names: readonly string[] = night.canaries ?? usualCanaries;
  const mailboxes = stand.mailboxes.filter(({ name }) => names.includes(name));
  await using sampler = startSampler(stand);
  await using canaries = startCanaries(stand, mailboxes, names.length === 0 ? 0 : canaryEveryMs);
  const known = await quietBefore(sampler, stop);
  const madeAtMs = Date.now();
  const undo = await night.make({ stand, canaries });
  await pause(madeAtMs + night.faultS * 1_000 - Date.now(), stop);
  await undo();
  const undoneAtMs = Date.now();
  const isShownLong = night.isShownLong === true;
  const goneAtMs = await untilGone({ sampler, canaries, known, undoneAtMs, isShownLong }, stop);
  await canaries.stop();
  const count = await canaries.count(arriveMsMax);
  const { looks } = sampler;
  const ageOf = ageLimit(night, mailboxes);
  const judged = looks.filter(({ askedAtMs }) => askedAtMs >= madeAtMs);
  const sign = (fits: RegExp) => firstSign(judged, madeAtMs, known, fits);
  const seen = sign(night.shows ?? /failing|503|silent|unit/);
  const counted = linesOf(sampler.log, madeAtMs);
  const found: Found = {
    seen,
    never: night.neverShows === undefined ? null : sign(night.neverShows),
    goneAfterS: goneAtMs === null ? null : seconds(goneAtMs - undoneAtMs),
    falseOk: falseOk(judged, canaries.sent, ageOf),
    ...{ lines: counted.length, canaries: count },
    complaints: (await night.after?.(stand)) ?? [],
    left: goneAtMs === null ? leftSigns(looks, known) : [],
  };
  return {
    ...{ name: night.name, group: night.group, missing: null, alerts: [] },
    visibleAfterS: seen === null ? null : seconds(seen.afterMs),
    seenBy: seen?.by ?? null,
    ...{ goneAfterS: found.goneAfterS, falseOk: found.falseOk, canaries: count },
    lines: counted.length,
    events: countBy(counted.map(({ event }) => event)),
    violations: violationsOf(night, found),
  };
}

function seconds(ms: number): number {
  return Math.round(ms / 100) / 10;
}

/** Waits until all surfaces were asked and nothing changed for a while; what is not as it should be then is known. */
async function quietBefore({ looks }: Sampler, stop: AbortSignal): Promise<ReadonlySet<string>> {
  const endMs = Date.now() + quietMsMax;
  const signs = (since: number): ReadonlySet<string> =>
    new Set(looks.filter(({ askedAtMs }) => askedAtMs >= since).flatMap((look) => look.signs.map(signKey)));
  while (Date.now() < endMs && !stop.aborted) {
    await pause(quietMs, stop);
    const isAsked = surfaces.every((surface) => looks.some((look) => look.surface === surface));
    if (isAsked && ![...signs(Date.now() - quietMs)].some((key) => /^mailbox|silent|^unit (?!active)/.test(key))) break;
  }
  return signs(Date.now() - quietMs - 2_000);
}

type Recovery = {
  readonly sampler: Sampler;
  readonly canaries: Canaries;
  readonly known: ReadonlySet<string>;
  readonly undoneAtMs: number;
  readonly isShownLong: boolean;
};

/** When the last sign was seen, or the end itself where none came after it; null: it is not gone in time. */
async function untilGone(
  { sampler, canaries, known, undoneAtMs, isShownLong }: Recovery,
  stop: AbortSignal,
): Promise<number | null> {
  const asked = (surface: string): boolean =>
    surface === 'list' || sampler.looks.some((look) => look.surface === surface && look.askedAtMs > undoneAtMs);
  while (Date.now() < undoneAtMs + goneMsMax && !stop.aborted) {
    await pause(500, stop);
    const lastAtMs = isShownLong ? undoneAtMs : (lastSignAtMs(sampler.looks, undoneAtMs, known) ?? undoneAtMs);
    const isQuiet = surfaces.every(asked) && Date.now() - lastAtMs > quietMs + 2_000;
    const isIn = canaries.sent.every(({ sentAtMs, arrivedAtMs }) => arrivedAtMs !== null || sentAtMs > undoneAtMs);
    if (isQuiet && isIn) return lastAtMs;
  }
  return null;
}

function leftSigns(looks: readonly Look[], known: ReadonlySet<string>): readonly string[] {
  const last = looks.filter(({ atMs }) => atMs > Date.now() - 10_000);
  return [...new Set(last.flatMap((look) => newSigns(look, known)))].slice(0, 3);
}

function ageLimit({ ageS }: Night, mailboxes: readonly Mailbox[]): (mailbox: string) => number {
  return (name) => {
    if (ageS !== undefined) return ageS * 1_000;
    const kind = mailboxes.find((mailbox) => mailbox.name === name)?.kind;
    return ageMsMax + (kind === 'polled' ? pollIntervalS * 1_000 : 0);
  };
}

/** Messages have lines of their own; what a night adds to the log is the rest. */
function linesOf(log: readonly LogLine[], sinceMs: number): readonly LogLine[] {
  return log.filter(({ atMs, event }) => atMs >= sinceMs && !event.startsWith('message.') && event !== 'poll.finished');
}

function countBy(names: readonly string[]): Readonly<Record<string, number>> {
  return Object.fromEntries([...Map.groupBy(names, (name) => name)].map(([name, all]) => [name, all.length]));
}

type Found = Pick<Row, 'goneAfterS' | 'lines' | 'canaries'> & {
  readonly falseOk: FalseOk;
  readonly seen: Seen | null;
  readonly never: Seen | null;
  readonly complaints: readonly string[];
  readonly left: readonly string[];
};

function violationsOf({ shows, linesMax }: Night, found: Found): readonly string[] {
  const { seen, never, goneAfterS, canaries, lines } = found;
  const lying = surfaces.filter((surface) => found.falseOk[surface] > 0);
  return [
    ...(shows !== null && seen === null ? ['nothing shows it'] : []),
    ...(shows === null && seen !== null ? [`shows a failure where nothing fails: ${seen.by}`] : []),
    ...(never === null ? [] : [`shows what has nothing to do with it: ${never.by}`]),
    ...(goneAfterS === null
      ? [`not gone after ${goneMsMax / 1000} s: ${found.left.join('; ') || 'mail is missing'}`]
      : []),
    ...lying.map((surface) => `${surface} says ok for ${found.falseOk[surface]} s while mail stands still`),
    ...(canaries.lost > 0 ? [`${canaries.lost} of ${canaries.sent} messages lost`] : []),
    ...(canaries.doubled > 0 ? [`${canaries.doubled} of ${canaries.sent} messages doubled`] : []),
    ...(linesMax !== undefined && lines > linesMax ? [`${lines} log lines, at most ${linesMax}`] : []),
    ...found.complaints,
  ];
}

/** Ends sooner when `stop` fires. */
async function pause(ms: number, stop: AbortSignal): Promise<void> {
  await sleep(Math.max(0, ms), undefined, { signal: stop }).catch(() => undefined);
}
