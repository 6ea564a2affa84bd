/**
 * The picture of `status`, as lines: whether it is ready and why not, each check, mailboxes in trouble, the rest.
 *
 * Pure. Trouble comes first, with its reason in colour and the hint below. Mailboxes that fail for the same reason stand together
 * above it, ten of them unless all are wanted, so that a server that is away takes a few lines and not three hundred. Texts
 * are broken to the width.
 */

import { clockTime } from '../../adapters/terminal/log-lines.ts';
import {
  type Column,
  cutToWidth,
  type Piece,
  type Style,
  type StyledLine,
  tableLines,
  wrapped,
} from '../../adapters/terminal/text-layout.ts';
import type { Check, CheckStatus, MailboxCheck } from '../../ingest/readiness.ts';
import type { Checks, ConfigCheck, Status } from './client.ts';

export type ViewOptions = {
  readonly nowMs: number;
  /** When the answer came. */
  readonly asOfMs: number;
  /** Columns; null: as wide as it needs to be. */
  readonly width: number | null;
  /** With the mailboxes that are fine, and every one that is not. */
  readonly all: boolean;
};

const styles: Readonly<Record<CheckStatus, Style>> = {
  ok: 'green',
  warning: 'yellow',
  failing: 'bold red',
  waiting: 'bold yellow',
  unknown: 'dim',
};

const unlimited = 10_000;

export function statusLines(status: Status, options: ViewOptions): readonly StyledLine[] {
  return [
    ...headLines(status, options),
    [],
    ...checkLines(status, options),
    ...troubleLines(status, options),
    ...fineLines(status, options),
  ];
}

function headLines(
  { ready, worker, checks, strange }: Status,
  { nowMs, asOfMs, width }: ViewOptions,
): readonly StyledLine[] {
  const named = Object.entries(checks).flatMap(([name, check]) =>
    check !== null && 'status' in check ? [{ name, check }] : [],
  );
  const bad = named.filter(({ check }) => check.status === 'failing' || check.status === 'waiting').map(nameAndCode);
  const odd = named.filter(({ check }) => check.status === 'warning').map(nameAndCode);
  const name = worker.name === '' ? '' : ` worker ${worker.name},`;
  const up = sinceText(worker.started_at, nowMs);
  const who = `ticketmaild ${worker.version},${name} pid ${worker.pid} on ${worker.host}, up ${up}, log level ${worker.log_level}`;
  const lines = (text: string, style: Style): readonly StyledLine[] =>
    wrapped(text, width ?? unlimited).map((line) => [[line, style]]);
  return [
    ...lines(...verdict(ready, bad.join(', '))),
    ...(odd.length === 0 ? [] : lines(`look at: ${odd.join(', ')}`, 'yellow')),
    ...(strange.length === 0 ? [] : lines(strangeText(strange), 'yellow')),
    ...lines(who, 'dim'),
    ...lines(`as of ${clockTime(asOfMs)}`, 'dim'),
  ];
}

function verdict(ready: boolean, bad: string): readonly [text: string, style: Style] {
  if (!ready) return [bad === '' ? 'NOT READY' : `NOT READY: ${bad}`, 'bold red'];
  return bad === '' ? ['READY', 'bold green'] : [`READY, in trouble: ${bad}`, 'bold yellow'];
}

function strangeText(strange: readonly string[]): string {
  const more = strange.length > 3 ? ` and ${strange.length - 3} more` : '';
  return `not understood: ${strange.slice(0, 3).join(', ')}${more} (another version, or a damaged row?)`;
}

/** The name of a check with the code that its reason begins with. */
function nameAndCode({ name, check }: { readonly name: string; readonly check: Check }): string {
  const [, code] = /^([a-z_]+): /.exec(check.reason ?? '') ?? [];
  return code === undefined ? name : `${name} (${code})`;
}

function isTrouble({ status }: Pick<Check, 'status'>): boolean {
  return status === 'failing' || status === 'waiting' || status === 'warning';
}

function checkLines(status: Status, options: ViewOptions): readonly StyledLine[] {
  const { checks } = status;
  const { nowMs } = options;
  const rows: readonly (readonly [name: string, check: Check, what: string])[] = [
    ['database', checks.database, databaseText(checks.database)],
    ['disk', checks.disk, diskText(checks.disk)],
    ['scheduler', checks.scheduler, schedulerText(checks.scheduler)],
    ['vault', checks.vault, vaultText(checks.vault)],
    ['switch', checks.switch, switchText(checks.switch)],
    ['workers', checks.workers, workersText(checks.workers, nowMs)],
    ['servers', checks.servers, serversText(checks.servers, nowMs)],
    ['certificates', checks.certificates, certificatesText(checks.certificates)],
    ...(checks.config === null ? [] : [['config', checks.config, configText(checks.config)] as const]),
    ['clock', checks.clock, clockText(checks.clock)],
    ['push', { status: 'ok', since: null, reason: null, hint: null }, pushText(checks.push)],
    ['quarantine', checks.quarantine, quarantineText(checks.quarantine, nowMs)],
    ['mailboxes', withoutHint(status), mailboxesText(checks.mailboxes)],
  ];
  const head: StyledLine = [[`${checkColumns('CHECK', 'STATUS', 'SINCE').join('')}WHAT`, 'bold']];
  const sorted = rows.toSorted(([, a], [, b]) => urgency(a) - urgency(b));
  return [head, ...sorted.flatMap(([name, check, what]) => oneCheck(name, check, what, options))];
}

function urgency(check: Check): number {
  if (!isTrouble(check)) return 2;
  return check.status === 'warning' ? 1 : 0;
}

/** Which mailboxes fail, and what helps, is told below. */
function withoutHint({ checks: { mailboxes } }: Pick<Status, 'checks'>): Check {
  return mailboxes.list.some(isTrouble) ? { ...mailboxes, hint: null } : mailboxes;
}

function checkColumns(name: string, status: string, since: string): readonly [string, string, string] {
  return [name.padEnd(14), status.padEnd(9), `${since.padEnd(10)} `];
}

const factIndent = 34;
const reasonIndent = 14;

function oneCheck(name: string, check: Check, what: string, options: ViewOptions): readonly StyledLine[] {
  const since = sinceText(check.since, options.nowMs);
  const [first, second, third] = checkColumns(name, check.status, since);
  const room = (indent: number): number => (options.width === null ? unlimited : Math.max(20, options.width - indent));
  const [fact = '', ...more] = wrapped(what, room(factIndent));
  const lines = (text: string, style: Style): readonly StyledLine[] =>
    wrapped(text, room(reasonIndent)).map((line) => [' '.repeat(reasonIndent), [line, style]]);
  const status: Piece = [second, styles[check.status]];
  return [
    [first, status, [third, 'dim'], fact],
    ...more.map((line): StyledLine => [' '.repeat(factIndent), line]),
    ...(check.reason ? lines(check.reason, styles[check.status]) : []),
    ...(check.hint ? lines(`hint: ${check.hint}`, 'bold') : []),
  ];
}

const troubleColumns: readonly Column[] = [
  { title: 'MAILBOX', shrinks: true },
  { title: 'HOST', shrinks: true },
  { title: 'FAILED', align: 'right' },
  { title: 'SINCE' },
  { title: 'NEXT TRY' },
  { title: 'LAST SUCCESS' },
];

const groupedMax = 10;

function troubleLines({ checks }: Status, options: ViewOptions): readonly StyledLine[] {
  const { nowMs, width, all } = options;
  const groups = Map.groupBy(checks.mailboxes.list.filter(isTrouble), ({ reason, hint }) => `${reason}\n${hint}`);
  if (groups.size === 0) return [];
  const shown = [...groups.values()].map((group) => ({ group, some: all ? group : group.slice(0, groupedMax) }));
  const rows = shown
    .flatMap(({ some }) => some)
    .map(({ mailbox, host, failures, since, next_poll: next, last_success: last }) => [
      ...[
        mailbox,
        host,
        `${Number.isNaN(failures) ? '?' : failures} x`,
        sinceText(since, nowMs),
        inText(next, nowMs),
        agoText(last, nowMs),
      ],
    ]);
  const [head = '', ...lines] = tableLines(troubleColumns, rows, width);
  const grouped = shown.flatMap(({ group, some }): readonly StyledLine[] => [
    ...lines.splice(0, some.length).map((line): StyledLine => [line]),
    ...(some.length < group.length ? [leftOff(group.length - some.length)] : []),
    ...reasonLines(group[0], width ?? unlimited),
  ]);
  return [[], [[head, 'bold']], ...grouped];
}

function leftOff(count: number): StyledLine {
  return [[`… ${count} more with the same trouble (show them: --all)`, 'dim']];
}

function reasonLines(mailbox: MailboxCheck | undefined, width: number): readonly StyledLine[] {
  if (mailbox === undefined) return [];
  const lines = (text: string, style: Style): readonly StyledLine[] =>
    wrapped(text, width - 2).map((line) => ['  ', [line, style]]);
  return [
    ...(mailbox.reason === null ? [] : lines(mailbox.reason, styles[mailbox.status])),
    ...(mailbox.hint === null ? [] : lines(`hint: ${mailbox.hint}`, 'bold')),
  ];
}

const fineColumns: readonly Column[] = [
  { title: 'MAILBOX', shrinks: true },
  { title: 'HOST', shrinks: true },
  { title: 'STATUS' },
  { title: 'LAST SUCCESS' },
  { title: 'NEXT VISIT' },
  { title: 'PUSH' },
];

function fineLines({ checks, notListed }: Status, { nowMs, width, all }: ViewOptions): readonly StyledLine[] {
  const { status: known, ok, paused, list } = checks.mailboxes;
  if (known === 'unknown') return [];
  const fine = list.filter((mailbox) => !isTrouble(mailbox));
  const rows = fine.map(({ mailbox, host, status, last_success: last, next_poll: next, pushed }) => [
    ...[mailbox, host, status, agoText(last, nowMs), inText(next, nowMs), pushed ? 'yes' : 'no'],
  ]);
  const [head = '', ...lines] = tableLines(fineColumns, rows, width);
  const table: readonly StyledLine[] =
    all && fine.length > 0 ? [[], [[head, 'bold']], ...lines.map((line) => [line])] : [];
  const parts = [
    `${ok} fine`,
    paused > 0 && `${paused} paused`,
    notListed > 0 && `${notListed} more that are not listed`,
  ];
  const hidden = all || fine.length === 0 ? '' : ' (show them: --all)';
  return [...table, [], [[`mailboxes: ${parts.filter((part) => part !== false).join(', ')}${hidden}`, 'dim']]];
}

/** What stands above the last picture when the daemon does not answer any more. */
export function silenceLines(
  { message, hint }: { readonly message: string; readonly hint: string },
  since: { readonly shown: string; readonly ms: number },
  options: ViewOptions,
): readonly StyledLine[] {
  const text = `NO ANSWER since ${since.shown} (${spanText(options.nowMs - since.ms)}): ${message}`;
  return failureLines({ message: text, hint }, options);
}

/** What went wrong, and what to do about it. */
export function failureLines(
  { message, hint }: { readonly message: string; readonly hint: string },
  { width }: Pick<ViewOptions, 'width'>,
): readonly StyledLine[] {
  return [
    ...wrapped(message, width ?? unlimited).map((line): StyledLine => [[line, 'bold red']]),
    ...wrapped(`hint: ${hint}`, width ?? unlimited).map((line): StyledLine => [[line, 'bold']]),
  ];
}

/** Why what follows is not what was asked for. */
export function noteLines(notes: readonly string[], { width }: ViewOptions): readonly StyledLine[] {
  return notes.flatMap((note) => wrapped(note, width ?? unlimited).map((line): StyledLine => [[line, 'yellow']]));
}

/** What stands above the answer of one of several. */
export function titleLine(address: string, worker: string, { width }: ViewOptions): StyledLine {
  const text = `== ${worker === '' ? 'ticketmaild' : `worker ${worker}`} at ${address} `;
  return [[cutToWidth(text.padEnd(width ?? 80, '='), width ?? unlimited), 'bold']];
}

/** A picture that holds no more, without its colours: an old READY must not look like one. */
export function asBefore(lines: readonly StyledLine[]): readonly StyledLine[] {
  const texts = lines.map((line) => line.map((piece) => (typeof piece === 'string' ? piece : piece[0])).join(''));
  return ['What it said before:', ...texts].map((text) => [[text, 'dim']]);
}

/**
 * What each check of `status` says about itself in numbers: one short text each, in the words of an operator.
 */

/** `40 s`, `12 min`, `3 h 5 min`, `4 d 3 h`. What lies a little in the future, as clocks differ, is now. */
export function spanText(ms: number): string {
  if (Number.isNaN(ms)) return '?';
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return withRest(`${hours} h`, minutes % 60, 'min');
  return withRest(`${Math.floor(hours / 24)} d`, hours % 24, 'h');
}

function withRest(text: string, rest: number, unit: string): string {
  return rest === 0 ? text : `${text} ${rest} ${unit}`;
}

/** How long ago a time was, without a word: `12 min`; `-` where it is not known. */
function sinceText(time: string | null, nowMs: number): string {
  const ms = time === null ? Number.NaN : Date.parse(time);
  return Number.isNaN(ms) ? '-' : spanText(nowMs - ms);
}

/** `12 min ago`; `never` for null. */
function agoText(time: string | null, nowMs: number): string {
  return time === null ? 'never' : `${sinceText(time, nowMs)} ago`;
}

/** `in 40 s`, `now`; `-` for null. */
function inText(time: string | null, nowMs: number): string {
  const ms = time === null ? Number.NaN : Date.parse(time) - nowMs;
  if (Number.isNaN(ms)) return '-';
  return ms < 1000 ? 'now' : `in ${spanText(ms)}`;
}

/** What an answer did not tell properly is NaN. */
function numberText(number: number): string {
  return Number.isNaN(number) ? '?' : `${number}`;
}

/** `41.2 GB`: thousands, as df -H has them. */
function bytesText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

function counted(count: number, one: string): string {
  return `${numberText(count)} ${one}${count === 1 ? '' : 's'}`;
}

function databaseText({ pool }: Checks['database']): string {
  if (pool === null) return 'a SQLite file';
  const waiting = pool.waiting === 0 ? '' : `, ${numberText(pool.waiting)} waiting`;
  return `${numberText(pool.busy)} busy, ${numberText(pool.open)} open of ${counted(pool.max, 'connection')}${waiting}`;
}

/** What was free is from before the trouble. */
function diskText({ status, free_bytes: free }: Checks['disk']): string {
  if (status === 'failing') return 'cannot be written to';
  return free === null ? 'free space not known' : `${bytesText(free)} free`;
}

function schedulerText({ lag_ms: lag, visits, due, due_ms: dueMs }: Checks['scheduler']): string {
  const waiting = due === 0 ? '0 due' : `${numberText(due)} due for up to ${spanText(dueMs)}`;
  const late = lag === null ? ', not awake yet' : lag >= 3000 ? `, last awake ${spanText(lag)} ago` : '';
  return `${counted(visits, 'visit')} under way, ${waiting}${late}`;
}

function vaultText({ state, key_ids: keys }: Checks['vault']): string {
  return keys.length === 0 ? state : `${state}, key ${keys.join(', ')}`;
}

function switchText({ state, revision }: Checks['switch']): string {
  return `encryption ${state}, revision ${numberText(revision)}`;
}

function configText(check: ConfigCheck): string {
  if (check.needs_restart.length > 0) return `waits for a restart: ${check.needs_restart.join(', ')}`;
  return check.status === 'ok' ? 'in force as it was read' : 'the one that was read before stays in force';
}

function workersText({ live, list }: Checks['workers'], nowMs: number): string {
  const gone = list.filter((worker) => !worker.live);
  const told = gone
    .slice(0, 3)
    .map(({ host, pid, seen_at: seen }) => `${host}:${numberText(pid)} ${agoText(seen, nowMs)}`);
  const more = gone.length > told.length ? ', …' : '';
  // A worker writes that it is there a moment after it began to answer.
  const reporting = live === 0 ? 'none has reported yet' : `${numberText(live)} live`;
  return `${reporting}${gone.length === 0 ? '' : `, ${gone.length} gone (${told.join(', ')}${more})`}`;
}

function serversText({ list }: Checks['servers'], nowMs: number): string {
  if (list.length === 0) return 'none left alone';
  const told = list
    .slice(0, 5)
    .map(({ host, port, next_try: next }) => `${host}:${numberText(port)} (next try ${inText(next, nowMs)})`);
  return `left alone: ${told.join(', ')}${list.length > told.length ? `, and ${list.length - told.length} more` : ''}`;
}

/** Those that end first. */
function certificatesText({ list }: Checks['certificates']): string {
  if (list.length === 0) return 'none seen yet';
  const first = list.toSorted((a, b) => a.days_left - b.days_left).slice(0, 3);
  const soon = first.filter((one, index) => index === 0 || one.days_left <= 30);
  const told = soon.map(({ host, port, days_left: days }) => `${host}:${numberText(port)} ${daysText(days)}`);
  return `${list.length} seen, ${told.join(', ')}`;
}

function daysText(days: number): string {
  if (days < 0) return `ended ${counted(Math.ceil(-days), 'day')} ago`;
  return `ends in ${counted(Math.floor(days), 'day')}`;
}

function clockText({ offset_ms: offset }: Checks['clock']): string {
  if (offset === null) return 'not compared yet';
  if (Math.abs(offset) < 1000) return 'agrees with the database';
  return `${spanText(Math.abs(offset))} ${offset > 0 ? 'ahead of' : 'behind'} the database`;
}

function pushText({ open, max }: Checks['push']): string {
  return max === 0 ? 'off' : `${numberText(open)} of ${counted(max, 'connection')} open`;
}

function quarantineText({ status, count, oldest }: Checks['quarantine'], nowMs: number): string {
  if (status === 'unknown') return 'not known now';
  if (count === 0) return 'empty';
  return `${counted(count, 'message')}${oldest === null ? '' : `, the oldest from ${agoText(oldest, nowMs)}`}`;
}

function mailboxesText({ status, ok, failing, waiting, paused }: Checks['mailboxes']): string {
  if (status === 'unknown') return 'not known now';
  const parts = [
    `${numberText(ok)} ok`,
    `${numberText(failing)} failing`,
    waiting > 0 && `${waiting} waiting for a key`,
    paused > 0 && `${paused} paused`,
  ];
  return parts.filter((part) => part !== false).join(', ');
}
