/**
 * Screen of `status`, as styled lines: readiness and its reasons, the checks, failing mailboxes, a summary of the
 * others.
 *
 * Pure. Problems come first, with their reason in colour and the hint below. Mailboxes that fail for the same reason
 * are grouped, ten of them shown unless all are requested, so that an unreachable server takes a few lines and not
 * three hundred. Texts are wrapped to the width.
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
import { type CheckDescription, describeChecks, needsAttention, reasonCode } from '../../ingest/health/describe.ts';
import { pushText } from '../../ingest/health/push.ts';
import type { CheckStatus, MailboxCheck } from '../../ingest/readiness.ts';
import { withMailboxName } from '../../text/hints.ts';
import { hintText } from '../../text/program-name.ts';
import { ageText, agoText, inText, numberText, spanText } from '../../text/units.ts';
import type { Status } from './answer.ts';

export type ViewOptions = {
  readonly nowMs: number;
  /** When the answer arrived. */
  readonly asOfMs: number;
  /** Columns; null: unlimited. */
  readonly width: number | null;
  /** Lists every mailbox. */
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
  const described = describeChecks(status.checks);
  return [
    ...headLines(status, described, options),
    [],
    ...checkLines(status, described, options),
    ...failingMailboxLines(status, options),
    ...otherMailboxLines(status, options),
  ];
}

function headLines(
  { ready, worker, strange }: Status,
  described: readonly CheckDescription[],
  { nowMs, asOfMs, width }: ViewOptions,
): readonly StyledLine[] {
  const failing = described.filter(({ status }) => status === 'failing' || status === 'waiting').map(nameAndCode);
  const warnings = described.filter(({ status }) => status === 'warning').map(nameAndCode);
  const name = worker.name === '' ? '' : ` worker ${worker.name},`;
  const up = ageText(worker.started_at, nowMs);
  const who = `ticketmaild ${worker.version},${name} pid ${worker.pid} on ${worker.host}, up ${up}, log level ${worker.log_level}`;
  const lines = (text: string, style: Style): readonly StyledLine[] =>
    wrapped(text, width ?? unlimited).map((line) => [[line, style]]);
  return [
    ...lines(...headline(ready, failing.join(', '))),
    ...(warnings.length === 0 ? [] : lines(`warnings: ${warnings.join(', ')}`, 'yellow')),
    ...(strange.length === 0 ? [] : lines(strangeText(strange), 'yellow')),
    ...lines(who, 'dim'),
    ...lines(`as of ${clockTime(asOfMs)}`, 'dim'),
  ];
}

function headline(ready: boolean, failing: string): readonly [text: string, style: Style] {
  if (!ready) return [failing === '' ? 'NOT READY' : `NOT READY: ${failing}`, 'bold red'];
  return failing === '' ? ['READY', 'bold green'] : [`READY, with failures: ${failing}`, 'bold yellow'];
}

function strangeText(strange: readonly string[]): string {
  const more = strange.length > 3 ? ` and ${strange.length - 3} more` : '';
  return `not understood: ${strange.slice(0, 3).join(', ')}${more} (another version, or a damaged row?)`;
}

/** Only a code that is part of the reason. */
function nameAndCode({ name, reason }: CheckDescription): string {
  const code = reasonCode(reason);
  return code === null ? name : `${name} (${code})`;
}

function checkLines(
  status: Status,
  described: readonly CheckDescription[],
  options: ViewOptions,
): readonly StyledLine[] {
  const head: StyledLine = [[`${checkColumns('CHECK', 'STATUS', 'SINCE').join('')}FACTS`, 'bold']];
  // The hints of failing mailboxes are shown below, with the mailboxes.
  const hasOwnHints = status.checks.mailboxes.list.some(needsAttention);
  const sorted = described.toSorted((a, b) => urgency(a) - urgency(b));
  return [
    head,
    ...sorted.flatMap((one) =>
      oneCheckLines(one.name === 'mailboxes' && hasOwnHints ? { ...one, hint: null } : one, options),
    ),
  ];
}

function urgency(check: CheckDescription): number {
  if (!needsAttention(check)) return 2;
  return check.status === 'warning' ? 1 : 0;
}

function checkColumns(name: string, status: string, since: string): readonly [string, string, string] {
  return [name.padEnd(14), status.padEnd(9), `${since.padEnd(10)} `];
}

const factIndent = 34;
const reasonIndent = 14;

function oneCheckLines(check: CheckDescription, options: ViewOptions): readonly StyledLine[] {
  const [first, second, third] = checkColumns(check.name, check.status, ageText(check.since, options.nowMs));
  const room = (indent: number): number => (options.width === null ? unlimited : Math.max(20, options.width - indent));
  const [fact = '', ...more] = wrapped(check.facts(options.nowMs), room(factIndent));
  const lines = (text: string, style: Style): readonly StyledLine[] =>
    wrapped(text, room(reasonIndent)).map((line) => [' '.repeat(reasonIndent), [line, style]]);
  const status: Piece = [second, styles[check.status]];
  return [
    [first, status, [third, 'dim'], fact],
    ...more.map((line): StyledLine => [' '.repeat(factIndent), line]),
    ...(check.reason ? lines(check.reason, styles[check.status]) : []),
    ...(check.hint ? lines(hintText(check.hint), 'bold') : []),
  ];
}

const failingColumns: readonly Column[] = [
  { title: 'MAILBOX', shrinks: true },
  { title: 'HOST', shrinks: true },
  { title: 'FAILED', align: 'right' },
  { title: 'SINCE' },
  { title: 'NEXT POLL' },
  { title: 'LAST SUCCESS' },
];

const groupedMax = 10;

function failingMailboxLines({ checks }: Status, options: ViewOptions): readonly StyledLine[] {
  const { nowMs, width, all } = options;
  const groups = Map.groupBy(checks.mailboxes.list.filter(needsAttention), ({ reason, hint }) => `${reason}\n${hint}`);
  if (groups.size === 0) return [];
  const shown = [...groups.values()].map((group) => ({ group, some: all ? group : group.slice(0, groupedMax) }));
  const rows = shown
    .flatMap(({ some }) => some)
    .map(({ mailbox, host, failures, since, next_poll: next, last_success: last }) => [
      // Where no poll is tried, none has failed.
      ...[mailbox, host, failures === 0 ? '-' : `${numberText(failures)} x`],
      ...[ageText(since, nowMs), inText(next, nowMs), agoText(last, nowMs)],
    ]);
  const [head = '', ...lines] = tableLines(failingColumns, rows, width);
  const grouped = shown.flatMap(({ group, some }): readonly StyledLine[] => [
    ...lines.splice(0, some.length).map((line): StyledLine => [line]),
    ...(some.length < group.length ? [leftOff(group.length - some.length)] : []),
    ...reasonLines(group, width ?? unlimited),
  ]);
  return [[], [[head, 'bold']], ...grouped];
}

function leftOff(count: number): StyledLine {
  return [[`… ${count} more with the same reason (show them: --all)`, 'dim']];
}

/** Of several mailboxes, a command in the hint names none. */
function reasonLines([mailbox, ...others]: readonly MailboxCheck[], width: number): readonly StyledLine[] {
  if (mailbox === undefined) return [];
  const named = (hint: string): string => (others.length === 0 ? withMailboxName(hint, mailbox.mailbox) : hint);
  const lines = (text: string, style: Style): readonly StyledLine[] =>
    wrapped(text, width - 2).map((line) => ['  ', [line, style]]);
  return [
    ...(mailbox.reason === null ? [] : lines(mailbox.reason, styles[mailbox.status])),
    ...(mailbox.hint === null ? [] : lines(hintText(named(mailbox.hint)), 'bold')),
  ];
}

const otherColumns: readonly Column[] = [
  { title: 'MAILBOX', shrinks: true },
  { title: 'HOST', shrinks: true },
  { title: 'STATUS' },
  { title: 'LAST SUCCESS' },
  { title: 'NEXT POLL' },
  { title: 'PUSH', shrinks: true },
];

function otherMailboxLines({ checks, notListed }: Status, { nowMs, width, all }: ViewOptions): readonly StyledLine[] {
  const { status: known, ok, paused, list } = checks.mailboxes;
  if (known === 'unknown') return [];
  const fine = list.filter((mailbox) => !needsAttention(mailbox));
  const rows = fine.map(({ mailbox, host, status, last_success: last, next_poll: next, push }) => [
    ...[mailbox, host, status, agoText(last, nowMs), inText(next, nowMs), pushText(push, nowMs)],
  ]);
  const [head = '', ...lines] = tableLines(otherColumns, rows, width);
  const table: readonly StyledLine[] =
    all && fine.length > 0 ? [[], [[head, 'bold']], ...lines.map((line) => [line])] : [];
  const parts = [
    `${ok} ok`,
    paused > 0 && `${paused} paused`,
    notListed > 0 && `${notListed} more that are not listed`,
  ];
  const hidden = all || fine.length === 0 ? '' : ' (show them: --all)';
  return [...table, [], [[`mailboxes: ${parts.filter((part) => part !== false).join(', ')}${hidden}`, 'dim']]];
}

/** Shown above the last picture while the daemon does not answer. */
export function silenceLines(
  { message, hint }: { readonly message: string; readonly hint: string },
  since: { readonly shown: string; readonly ms: number },
  options: ViewOptions,
): readonly StyledLine[] {
  const text = `NO ANSWER since ${since.shown} (${spanText(options.nowMs - since.ms)}): ${message}`;
  return failureLines({ message: text, hint }, options);
}

export function failureLines(
  { message, hint }: { readonly message: string; readonly hint: string },
  { width }: Pick<ViewOptions, 'width'>,
): readonly StyledLine[] {
  return [
    ...wrapped(message, width ?? unlimited).map((line): StyledLine => [[line, 'bold red']]),
    ...wrapped(hintText(hint), width ?? unlimited).map((line): StyledLine => [[line, 'bold']]),
  ];
}

/** Why the answers are not from the configured address. */
export function noteLines(notes: readonly string[], { width }: ViewOptions): readonly StyledLine[] {
  return notes.flatMap((note) => wrapped(note, width ?? unlimited).map((line): StyledLine => [[line, 'yellow']]));
}

/** Title of one answer out of several. */
export function titleLine(address: string, worker: string, { width }: ViewOptions): StyledLine {
  const text = `== ${worker === '' ? 'ticketmaild' : `worker ${worker}`} at ${address} `;
  return [[cutToWidth(text.padEnd(width ?? 80, '='), width ?? unlimited), 'bold']];
}

/** An outdated picture without its colours: an old READY must not look current. */
export function dimmed(lines: readonly StyledLine[]): readonly StyledLine[] {
  const texts = lines.map((line) => line.map((piece) => (typeof piece === 'string' ? piece : piece[0])).join(''));
  return ['The last answer was:', ...texts].map((text) => [[text, 'dim']]);
}
