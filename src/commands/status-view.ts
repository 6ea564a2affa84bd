/**
 * The picture of `status`, as lines: whether it is ready and why not, each check, mailboxes in trouble, the rest.
 *
 * Pure. Trouble comes first, with its reason in colour and the hint below. Mailboxes that fail for the same reason stand together
 * above it, ten of them unless all are wanted, so that a server that is away takes a few lines and not three hundred. Texts
 * are broken to the width.
 */
import { clockTime } from '../adapters/terminal/log-lines.ts';
import type { Style } from '../adapters/terminal/text-layout.ts';
import {
  type Column,
  cutToWidth,
  type Piece,
  type StyledLine,
  tableLines,
  wrapped,
} from '../adapters/terminal/text-layout.ts';
import type { Check, CheckStatus, MailboxCheck } from '../ingest/readiness.ts';
import type { Status } from './status-answer.ts';
import {
  agoText,
  certificatesText,
  clockText,
  configText,
  databaseText,
  diskText,
  inText,
  mailboxesText,
  pushText,
  quarantineText,
  schedulerText,
  serversText,
  sinceText,
  spanText,
  switchText,
  vaultText,
  workersText,
} from './status-texts.ts';

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
