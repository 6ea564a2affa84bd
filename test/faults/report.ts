/**
 * The report of a campaign for people: one row for each kind of fault, the workers, the count of messages, what was
 * broken.
 */
import { columnsText } from '../bench/measure/columns.ts';
import type { Injected } from './campaign.ts';
import type { Report } from './run.ts';

const heads = [
  'fault',
  'lasts s',
  'times',
  'visible',
  'seen after s',
  'checks ok after s',
  'caught up after s',
  'lines/min',
  'seen by',
];

export function reportText(report: Report): string {
  const rows = report.kinds.map((kind) => {
    const faults = report.faults.filter((fault) => fault.kind === kind.name);
    const judged = faults.filter((fault) => fault.judged);
    const seen = judged.filter(({ visibleAfterMs }) => visibleAfterMs !== null).length;
    return [
      kind.name,
      `${kind.secondsMin}-${kind.secondsMax}`,
      String(faults.length),
      judged.length === 0 ? '-' : `${seen} of ${judged.length}`,
      spread(faults, ({ visibleAfterMs }) => visibleAfterMs),
      spread(faults, ({ checksOkAfterMs }) => checksOkAfterMs),
      spread(faults, ({ caughtUpAfterMs }) => caughtUpAfterMs),
      faults.length === 0 ? '-' : String(Math.max(...faults.map(({ linesPerMinute }) => linesPerMinute))),
      [...new Set(judged.flatMap(({ seenBy }) => seenBy ?? []))].join(', '),
    ];
  });
  return [
    `Fault campaign, seed ${report.seed}, ${report.durationS} s, ${report.faults.length} faults${report.isWhole ? '' : ' (ended early)'}`,
    ...report.limits,
    '',
    columnsText(heads, rows),
    'Times are median / maximum. A fault is visible when:',
    ...[...Map.groupBy(report.kinds, ({ visibleBy }) => visibleBy)].map(
      ([visibleBy, group]) => `  ${group.map(({ name }) => name).join('; ')}: ${visibleBy}`,
    ),
    '',
    ...mailLines(report),
    ...report.workers.map(workerLine),
    '',
    ...violationLines(report),
    '',
  ].join('\n');
}

function spread(faults: readonly Injected[], of: (fault: Injected) => number | null): string {
  const values = faults.flatMap((fault) => of(fault) ?? []).toSorted((one, other) => one - other);
  const [median, most] = [values[Math.floor((values.length - 1) / 2)], values.at(-1)];
  if (median === undefined || most === undefined) return '-';
  return `${(median / 1000).toFixed(1)} / ${(most / 1000).toFixed(1)}`;
}

function mailLines({ verification }: Report): readonly string[] {
  const { sent, harmed, tickets, messages, outcomes, attachmentsIdentical, seen } = verification;
  const each = Object.entries(outcomes).map(([outcome, count]) => `${outcome} ${count}`);
  return [
    `${sent} messages: ${harmed.lost} lost, ${harmed.doubled} doubled, ${harmed.half} half done;`,
    `${each.join(', ')}; ${tickets} tickets, ${messages} messages,`,
    `${attachmentsIdentical} attachments identical on disk, ${seen} marked as seen.`,
  ];
}

function workerLine({
  worker,
  memoryNowMb,
  memoryPeakMb,
  lines,
  ownEnds,
  stopCode,
}: Report['workers'][number]): string {
  return `${worker}: ${memoryNowMb} MB (peak ${memoryPeakMb}), ${lines} log lines, exited unasked ${ownEnds} times, stopped with ${stopCode}`;
}

function violationLines({ violations, traces }: Report): readonly string[] {
  if (violations.length === 0) return ['Nothing lost, doubled, half done, hidden or leaked.'];
  return [
    `${violations.length} VIOLATIONS`,
    ...violations.map((text) => `- ${text}`),
    ...traces.flatMap(({ about, what, lines, faults }) => [
      '',
      `${about}: ${what}`,
      ...faults.map((fault) => `  fault ${fault}`),
      ...lines.map((line) => `  ${line}`),
    ]),
  ];
}
