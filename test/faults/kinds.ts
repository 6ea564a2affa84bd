/**
 * The table of faults: how each is made and undone, how long it lasts, and how a probe has to see it.
 *
 * A length is chosen so that the fault has to be visible: a mail server that hangs is known when a command has timed
 * out (5 s here), a worker that is gone when it has not reported for 10 s, and disks and clocks are looked at every 10
 * s. Slow is what makes a round with one message (three questions to the mail server) take longer than a poll may.
 * `visible` gets what a worker answers now and what it answered before the fault.
 */

import type { Fault } from '../support/faults/proxy.ts';
import type { SeededRandom } from '../support/random.ts';
import * as actions from './actions.ts';
import type { RowLayer } from './rows/change.ts';
import type { Scene } from './scene.ts';
import { metricSum, type Sample } from './watcher.ts';
import type { Worker } from './worker.ts';

export type Seen = {
  readonly now: Sample;
  readonly before: Sample;
  /** The last answers of the workers that the fault is not made at. */
  readonly others: readonly Sample[];
  readonly workers: number;
};

export type Layer = 'worker' | 'mail' | 'database' | 'disk' | 'key' | 'clock' | 'database clock' | RowLayer;

export type Kind = {
  readonly name: string;
  readonly layer: Layer;
  /** `one` worker, or `all` of them (also what happens to a server). */
  readonly scope: 'one' | 'all';
  readonly secondsMin: number;
  readonly secondsMax: number;
  readonly visibleBy: string;
  /** Must every worker that it is made at show it, or any of them? */
  readonly shownBy: 'every' | 'any';
  readonly needs: 'nothing' | 'root' | 'faketime';
  begin(scene: Scene, targets: readonly Worker[], random: SeededRandom): Promise<actions.Undo | Made>;
  visible(seen: Seen): Sign;
};

/** A fault whose sign depends on what was drawn for it. */
export type Made = Pick<Kind, 'visible'> & { readonly undo: actions.Undo; readonly what: string };

/**
 * What shows a fault: a check that is not ok, a number; false: nothing does; null: this daemon has nothing to tell it
 * by.
 */
export type Sign = string | false | null;

type CheckName = 'database' | 'disk' | 'vault' | 'clock' | 'switch' | 'workers';

export function badCheck({ now }: Seen, name: CheckName): Sign {
  const check = now.checks[name];
  if (check === undefined) return null;
  return check.status !== 'ok' && `${name} ${check.status}`;
}

/** The first sign that shows; null when none does, or when it cannot be judged. */
export function anyOf(...signs: readonly Sign[]): Sign {
  const shown = signs.find((sign) => typeof sign === 'string');
  return shown ?? (signs.includes(null) ? null : false);
}

const failedPolls = /^ticketmaild_polls_total\{(?!.*result="ok")/;

function pollsFail({ now, before }: Seen): Sign {
  const { servers, mailboxes } = now.checks;
  if (servers !== undefined && servers.status !== 'ok') return `servers ${servers.status}`;
  if (mailboxes !== undefined && mailboxes.failing > 0) return 'mailboxes failing';
  const [counted, countedBefore] = [metricSum(now, failedPolls) ?? 0, metricSum(before, failedPolls) ?? 0];
  if (counted > countedBefore) return 'polls_total';
  return mailboxes === undefined ? null : false;
}

/** One of the bounds of the daemon's histogram. */
const slowPollS = 2.5;
const fastPolls = /^ticketmaild_poll_duration_seconds_bucket\{(?=.*le="2\.5")/;
const allPolls = /^ticketmaild_poll_duration_seconds_count/;

/** Since the fault began polls took long, or failed, or keep others waiting. */
function pollsAreSlow(seen: Seen): Sign {
  const failed = anyOf(databaseFails(seen), pollsFail(seen));
  if (typeof failed === 'string') return failed;
  if ((seen.now.checks.scheduler?.due_oldest_age_ms ?? 0) > slowPollS * 1000) return 'scheduler due_oldest_age_ms';
  const slow = (sample: Sample): number | null => {
    const [all, fast] = [metricSum(sample, allPolls), metricSum(sample, fastPolls)];
    return all === null || fast === null ? null : all - fast;
  };
  const [now, before] = [slow(seen.now), slow(seen.before)];
  if (now === null || before === null) return null;
  return now > before && 'poll_duration_seconds';
}

const answerTime = /^ticketmaild_database_ping_duration_seconds /;
/** No delay that is made is shorter. */
const slowAnswerS = 0.4;

function databaseIsSlow(seen: Seen): Sign {
  const answerS = metricSum(seen.now, answerTime);
  const slow = answerS === null ? null : answerS > slowAnswerS && 'database_answer_seconds';
  return anyOf(pollsAreSlow(seen), slow);
}

function databaseFails(seen: Seen): Sign {
  const failing = badCheck(seen, 'database');
  if (typeof failing === 'string') return failing;
  return seen.now.status === 503 ? '503' : failing;
}

function isSilent({ now }: Seen): Sign {
  return now.status === null && 'no answer';
}

function isGone({ now, others, workers }: Seen): Sign {
  if (now.status !== null) return false;
  const known = others.filter((sample) => sample.checks.workers !== undefined);
  if (known.length === 0) return null;
  return known.some((sample) => (sample.checks.workers?.live ?? workers) < workers) && 'no answer, workers live';
}

type Told = Pick<Kind, 'visibleBy' | 'shownBy' | 'visible'>;

const silence: Told = { visibleBy: 'endpoint silent', shownBy: 'every', visible: isSilent };
const gone: Told = { visibleBy: 'endpoint silent, fewer workers live at others', shownBy: 'every', visible: isGone };
const failedMail: Told = {
  visibleBy: 'mailboxes failing, servers held or failed polls',
  shownBy: 'any',
  visible: pollsFail,
};
const slowMail: Told = {
  visibleBy: `a poll over ${slowPollS} s, failed or waiting`,
  shownBy: 'any',
  visible: pollsAreSlow,
};
const failedDatabase: Told = { visibleBy: 'database failing or 503', shownBy: 'every', visible: databaseFails };
const slowDatabase: Told = {
  visibleBy: `${slowMail.visibleBy}, or database failing or slow to answer`,
  shownBy: 'any',
  visible: databaseIsSlow,
};
const failedDisk: Told = {
  visibleBy: 'disk not ok, or mailboxes failing',
  shownBy: 'every',
  visible: (seen) => anyOf(badCheck(seen, 'disk'), pollsFail(seen)),
};
const failedKey: Told = { visibleBy: 'vault not ok', shownBy: 'every', visible: (seen) => badCheck(seen, 'vault') };
const failedClock: Told = { visibleBy: 'clock not ok', shownBy: 'every', visible: (seen) => badCheck(seen, 'clock') };

function kind(
  name: string,
  layer: Layer,
  scope: Kind['scope'],
  [secondsMin, secondsMax]: readonly [number, number],
  told: Told,
  begin: Kind['begin'],
  needs: Kind['needs'] = 'nothing',
): Kind {
  return { name, layer, scope, secondsMin, secondsMax, needs, begin, ...told };
}

/** The same for the link of one worker (which only root has) and for those of all. */
function linkKinds(
  name: string,
  which: 'mail' | 'database',
  seconds: readonly [number, number],
  told: Told,
  fault: (random: SeededRandom) => Fault,
): readonly Kind[] {
  const begin: Kind['begin'] = async (_scene, targets, random) => actions.breakLinks(targets, which, fault(random));
  return [
    kind(`${which} ${name}`, which, 'one', seconds, told, begin, which === 'mail' ? 'root' : 'nothing'),
    kind(`${which} ${name}, all`, which, 'all', seconds, told, begin),
  ];
}

export const kinds: readonly Kind[] = [
  kind('worker killed', 'worker', 'one', [2, 9], silence, (_scene, targets) => actions.killWorkers(targets)),
  kind('worker gone', 'worker', 'one', [14, 20], gone, (_scene, targets) => actions.killWorkers(targets)),
  kind('worker stopped', 'worker', 'one', [14, 20], gone, (_scene, targets) => actions.stopWorkers(targets)),
  kind('dovecot killed', 'mail', 'all', [4, 20], failedMail, (scene) => actions.killDovecot(scene)),
  kind('dovecot stopped', 'mail', 'all', [10, 20], failedMail, async () => actions.stopServer('dovecot')),
  kind('mariadb killed', 'database', 'all', [2, 20], failedDatabase, (scene) => actions.killMariadb(scene)),
  kind('mariadb stopped', 'database', 'all', [10, 20], failedDatabase, async () => actions.stopServer('mariadbd')),
  ...linkKinds('cut', 'mail', [4, 20], failedMail, () => ({ kind: 'cut' })),
  ...linkKinds('delayed', 'mail', [10, 20], slowMail, (random) => ({
    kind: 'latency',
    delayMs: random.between(700, 1_500),
  })),
  ...linkKinds('throttled', 'mail', [12, 20], slowMail, (random) => ({
    kind: 'throttle',
    bytesPerS: random.between(300, 1_500),
  })),
  ...linkKinds('black-holed', 'mail', [10, 20], failedMail, () => ({ kind: 'hold' })),
  ...linkKinds('garbage', 'mail', [6, 20], failedMail, () => ({ kind: 'garbage' })),
  ...linkKinds('cut', 'database', [2, 20], failedDatabase, () => ({ kind: 'cut' })),
  ...linkKinds('delayed', 'database', [10, 20], slowDatabase, (random) => ({
    kind: 'latency',
    delayMs: random.between(500, 1_000),
  })),
  ...linkKinds('throttled', 'database', [12, 20], slowDatabase, (random) => ({
    kind: 'throttle',
    bytesPerS: random.between(300, 1_500),
  })),
  ...linkKinds('black-holed', 'database', [10, 20], failedDatabase, () => ({ kind: 'hold' })),
  ...linkKinds('garbage', 'database', [6, 20], failedDatabase, () => ({ kind: 'garbage' })),
  kind('name unknown', 'mail', 'one', [6, 20], failedMail, (_scene, targets) => actions.forgetName(targets), 'root'),
  kind('disk full', 'disk', 'one', [13, 20], failedDisk, (_scene, targets) => actions.fillDisks(targets), 'root'),
  kind('disk read-only', 'disk', 'one', [13, 20], failedDisk, (_scene, targets) => actions.lockDisks(targets), 'root'),
  kind('key file gone', 'key', 'one', [3, 20], failedKey, (_scene, targets) => actions.hideKeys(targets)),
  kind('key file open to others', 'key', 'one', [3, 20], failedKey, (_scene, targets) => actions.openKeys(targets)),
  kind(
    'clock of a worker',
    'clock',
    'one',
    [14, 20],
    failedClock,
    (_scene, targets, random) => actions.stepClocks(targets, offsetS(random)),
    'faketime',
  ),
  kind(
    'clock of the database',
    'database clock',
    'all',
    [14, 20],
    failedClock,
    (scene, _targets, random) => actions.stepDatabaseClock(scene, offsetS(random)),
    'faketime',
  ),
];

/** One to ten minutes, forwards or backwards. */
function offsetS(random: SeededRandom): number {
  return random.between(60, 600) * (random.chance(0.5) ? 1 : -1);
}

/** The kinds that can be made in a scene. */
export function possibleKinds(scene: Scene): readonly Kind[] {
  const hasClocks = scene.databaseClock !== null;
  return kinds.filter(({ needs }) => needs === 'nothing' || (needs === 'root' ? scene.isRoot : hasClocks));
}
