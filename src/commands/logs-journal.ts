/**
 * How `logs` asks the journal, and what it makes of an answer.
 *
 * Each line of journalctl is a JSON object (journalctl(1), "Journal JSON Format"), since a plain line does not say which unit
 * it is from. A message that is no clean text comes as a list of bytes, one of several lines is several lines here.
 */
import type { LogsWish } from './logs-options.ts';

/** A log line; `worker` is the N of the unit ticketmaild@N, '' for any other. */
export type JournalLine = { readonly text: string; readonly worker: string };

/** The daemon, or its workers. */
export const ownUnits = ['ticketmaild', 'ticketmaild@*'] as const;

const fields = ['MESSAGE', '_SYSTEMD_UNIT', 'UNIT'];

/** Arguments for journalctl. `--all`: it leaves long messages out otherwise. */
export function journalArgs(
  units: readonly string[],
  { follow, sinceMs, linesMax }: Pick<LogsWish, 'follow' | 'sinceMs' | 'linesMax'>,
): readonly string[] {
  return [
    ...units.map((unit) => `--unit=${unit}`),
    ...['--output=json', `--output-fields=${fields.join(',')}`, '--all', '--no-pager'],
    ...(follow ? ['--follow'] : []),
    ...(sinceMs === null ? [] : [`--since=@${Math.floor(sinceMs / 1000)}`]),
    ...(linesMax === null ? [] : [`--lines=${linesMax}`]),
  ];
}

/** The lines of one entry; what is no entry is a line as it is. */
export function readJournalLine(text: string): readonly JournalLine[] {
  const entry = parsed(text);
  if (entry === null || !('MESSAGE' in entry)) return [{ text, worker: '' }];
  // What systemd says about a unit is of its own unit, and names the other one.
  const unit = [entry['UNIT'], entry['_SYSTEMD_UNIT']].find((name) => typeof name === 'string') ?? '';
  const worker = /^ticketmaild@(.+)\.service$/.exec(unit)?.[1] ?? '';
  return textOf(entry['MESSAGE'])
    .replace(/\n$/, '')
    .split('\n')
    .map((line) => ({ text: line, worker }));
}

function parsed(text: string): Readonly<Record<string, unknown>> | null {
  if (!text.startsWith('{')) return null;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** A field that an entry has several times is a list of its values; the first is the message. */
function textOf(message: unknown): string {
  if (typeof message === 'string') return message;
  if (!Array.isArray(message)) return '';
  if (message.every((byte) => typeof byte === 'number')) return Buffer.from(message).toString();
  return textOf(message[0]);
}
