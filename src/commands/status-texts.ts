/**
 * What each check of `status` says about itself in numbers: one short text each, in the words of an operator.
 */
import type { Checks, ConfigCheck } from './status-answer.ts';

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
export function sinceText(time: string | null, nowMs: number): string {
  const ms = time === null ? Number.NaN : Date.parse(time);
  return Number.isNaN(ms) ? '-' : spanText(nowMs - ms);
}

/** `12 min ago`; `never` for null. */
export function agoText(time: string | null, nowMs: number): string {
  return time === null ? 'never' : `${sinceText(time, nowMs)} ago`;
}

/** `in 40 s`, `now`; `-` for null. */
export function inText(time: string | null, nowMs: number): string {
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

export function databaseText({ pool }: Checks['database']): string {
  if (pool === null) return 'a SQLite file';
  const waiting = pool.waiting === 0 ? '' : `, ${numberText(pool.waiting)} waiting`;
  return `${numberText(pool.busy)} busy, ${numberText(pool.open)} open of ${counted(pool.max, 'connection')}${waiting}`;
}

/** What was free is from before the trouble. */
export function diskText({ status, free_bytes: free }: Checks['disk']): string {
  if (status === 'failing') return 'cannot be written to';
  return free === null ? 'free space not known' : `${bytesText(free)} free`;
}

export function schedulerText({ lag_ms: lag, visits, due, due_ms: dueMs }: Checks['scheduler']): string {
  const waiting = due === 0 ? '0 due' : `${numberText(due)} due for up to ${spanText(dueMs)}`;
  const late = lag === null ? ', not awake yet' : lag >= 3000 ? `, last awake ${spanText(lag)} ago` : '';
  return `${counted(visits, 'visit')} under way, ${waiting}${late}`;
}

export function vaultText({ state, key_ids: keys }: Checks['vault']): string {
  return keys.length === 0 ? state : `${state}, key ${keys.join(', ')}`;
}

export function switchText({ state, revision }: Checks['switch']): string {
  return `encryption ${state}, revision ${numberText(revision)}`;
}

export function configText(check: ConfigCheck): string {
  if (check.needs_restart.length > 0) return `waits for a restart: ${check.needs_restart.join(', ')}`;
  return check.status === 'ok' ? 'in force as it was read' : 'the one that was read before stays in force';
}

export function workersText({ live, list }: Checks['workers'], nowMs: number): string {
  const gone = list.filter((worker) => !worker.live);
  const told = gone
    .slice(0, 3)
    .map(({ host, pid, seen_at: seen }) => `${host}:${numberText(pid)} ${agoText(seen, nowMs)}`);
  const more = gone.length > told.length ? ', …' : '';
  // A worker writes that it is there a moment after it began to answer.
  const reporting = live === 0 ? 'none has reported yet' : `${numberText(live)} live`;
  return `${reporting}${gone.length === 0 ? '' : `, ${gone.length} gone (${told.join(', ')}${more})`}`;
}

export function serversText({ list }: Checks['servers'], nowMs: number): string {
  if (list.length === 0) return 'none left alone';
  const told = list
    .slice(0, 5)
    .map(({ host, port, next_try: next }) => `${host}:${numberText(port)} (next try ${inText(next, nowMs)})`);
  return `left alone: ${told.join(', ')}${list.length > told.length ? `, and ${list.length - told.length} more` : ''}`;
}

/** Those that end first. */
export function certificatesText({ list }: Checks['certificates']): string {
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

export function clockText({ offset_ms: offset }: Checks['clock']): string {
  if (offset === null) return 'not compared yet';
  if (Math.abs(offset) < 1000) return 'agrees with the database';
  return `${spanText(Math.abs(offset))} ${offset > 0 ? 'ahead of' : 'behind'} the database`;
}

export function pushText({ open, max }: Checks['push']): string {
  return max === 0 ? 'off' : `${numberText(open)} of ${counted(max, 'connection')} open`;
}

export function quarantineText({ status, count, oldest }: Checks['quarantine'], nowMs: number): string {
  if (status === 'unknown') return 'not known now';
  if (count === 0) return 'empty';
  return `${counted(count, 'message')}${oldest === null ? '' : `, the oldest from ${agoText(oldest, nowMs)}`}`;
}

export function mailboxesText({ status, ok, failing, waiting, paused }: Checks['mailboxes']): string {
  if (status === 'unknown') return 'not known now';
  const parts = [
    `${numberText(ok)} ok`,
    `${numberText(failing)} failing`,
    waiting > 0 && `${waiting} waiting for a key`,
    paused > 0 && `${paused} paused`,
  ];
  return parts.filter((part) => part !== false).join(', ');
}
