/**
 * Times, time zones and recurrence of calendar events in words (RFC 5545 sections 3.3.4, 3.3.5, 3.6.5 and 3.8.5).
 *
 * A time stays as the local clock shows it. Its UTC offset is taken from the VTIMEZONE, else from the IANA name of the
 * zone; without either none is shown. Zones are evaluated for one year, recurrence rules are described and never
 * expanded.
 */
import { type CalendarComponent, type CalendarProperty, propertyOf, rulePartsOf } from './icalendar.ts';

/** A point in time as written. `wallMs` is the local time read as if it were UTC. */
type CalendarTime = {
  readonly wallMs: number;
  readonly isDay: boolean;
  /** `UTC`, the name of a zone as written, or empty for floating time. */
  readonly zone: string;
};

const minuteMs = 60_000;
const dayMs = 86_400_000;

const durationMaxMs = 3660 * dayMs;

const weekdays = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'] as const;
const months = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November'],
  'December',
] as const;

/** Codes of the weekdays (RFC 5545 section 3.3.10), Sunday first. */
const weekdayCodes: readonly string[] = ['SU', 'MO', 'TU', 'WE', 'TH', 'FR', 'SA'];

function weekdayName(code: string): string {
  return weekdays[weekdayCodes.indexOf(code)] ?? code;
}

/** The first time of a property; null for none. */
export function timeOf(property: CalendarProperty | undefined): CalendarTime | null {
  const [value] = property?.values ?? [];
  return typeof value === 'string' ? readTime(value, property?.params.get('tzid') ?? '') : null;
}

/** Reads `2024-05-01` and `2024-05-01T10:00:00Z`; null for anything else. */
function readTime(value: string, zone: string): CalendarTime | null {
  const [whole, year, month, day, hour, minute, second, utc] =
    /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(Z?))?$/u.exec(value) ?? [];
  if (whole === undefined) return null;
  const wall = new Date(0);
  wall.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  wall.setUTCHours(Number(hour ?? 0), Number(minute ?? 0), Number(second ?? 0));
  return { wallMs: wall.getTime(), isDay: hour === undefined, zone: utc === 'Z' ? 'UTC' : zone };
}

/** `start` plus a duration (`P1DT2H`); null for no duration, and for one above ten years. */
export function endAfter(start: CalendarTime, duration: string): CalendarTime | null {
  const [whole, weeks, days, hours, minutes, seconds] =
    /^\+?P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?$/u.exec(duration) ?? [];
  if (whole === undefined) return null;
  const time = Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0);
  const lengthMs = (Number(weeks ?? 0) * 7 + Number(days ?? 0)) * dayMs + time * 1000;
  return lengthMs > durationMaxMs ? null : { ...start, wallMs: start.wallMs + lengthMs };
}

/** Start and end, with the zone as written and its offset. */
export function spanInWords(
  start: CalendarTime,
  end: CalendarTime | null,
  zones: readonly CalendarComponent[],
): string {
  if (start.isDay) return daysInWords(start, end);
  const zone = zoneInWords(start, zones);
  const begin = `${dayInWords(start.wallMs)}, ${clockOf(start.wallMs)}`;
  if (end === null || end.isDay || end.wallMs <= start.wallMs) return `${begin}${zone}`;
  if (end.zone !== start.zone)
    return `${begin}${zone} to ${dayInWords(end.wallMs)}, ${clockOf(end.wallMs)}${zoneInWords(end, zones)}`;
  const isSameDay = Math.floor(end.wallMs / dayMs) === Math.floor(start.wallMs / dayMs);
  return `${begin} to ${isSameDay ? '' : `${dayInWords(end.wallMs)}, `}${clockOf(end.wallMs)}${zone}`;
}

/** Whole days; their end is the first day after them. */
function daysInWords(start: CalendarTime, end: CalendarTime | null): string {
  const last = (end?.wallMs ?? 0) - dayMs;
  return last > start.wallMs
    ? `${dayInWords(start.wallMs)} to ${dayInWords(last)} (all day)`
    : `${dayInWords(start.wallMs)} (all day)`;
}

/** A moment in words, as `Monday, 1 May 2023, 10:00 (UTC)`. */
export function momentInWords(time: CalendarTime, zones: readonly CalendarComponent[]): string {
  return time.isDay ? dayInWords(time.wallMs) : spanInWords(time, null, zones);
}

function dayInWords(wallMs: number): string {
  const wall = new Date(wallMs);
  const day = `${wall.getUTCDate()} ${months[wall.getUTCMonth()]} ${wall.getUTCFullYear()}`;
  return `${weekdays[wall.getUTCDay()]}, ${day}`;
}

function clockOf(wallMs: number): string {
  return new Date(wallMs).toISOString().slice(-13, -8);
}

// Offsets from UTC

function zoneInWords(time: CalendarTime, zones: readonly CalendarComponent[]): string {
  if (time.zone === 'UTC') return ' (UTC)';
  if (time.zone === '') return ' (local time)';
  const offset = offsetOf(time, zones);
  const name = time.zone.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ').slice(0, 100);
  return offset === null ? ` (${name})` : ` (${name}, UTC${offset})`;
}

/** Offset as `+02:00`; null where it is unknown. */
function offsetOf(time: CalendarTime, zones: readonly CalendarComponent[]): string | null {
  const zone = zones.find((one) => propertyOf(one, 'tzid')?.values[0] === time.zone);
  const minutes = zone === undefined ? null : offsetInZone(zone, time.wallMs);
  if (minutes === null) return offsetByName(time);
  const sign = minutes < 0 ? '-' : '+';
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `${sign}${String(hours).padStart(2, '0')}:${String(rest).padStart(2, '0')}`;
}

/** Offset by a name of the IANA database, which may follow a vendor's path. */
function offsetByName({ zone, wallMs }: CalendarTime): string | null {
  const name = /[A-Z][A-Za-z_]{1,20}\/[A-Za-z_/+-]{1,40}$/u.exec(zone)?.[0];
  if (name === undefined) return null;
  try {
    const format = new Intl.DateTimeFormat('en', { timeZone: name, timeZoneName: 'longOffset' });
    const offsetAt = (atMs: number) =>
      format.formatToParts(atMs).find(({ type }) => type === 'timeZoneName')?.value ?? '';
    // The local time read as UTC gives nearly the right offset; applying it gives the right one.
    return offsetIn(offsetAt(wallMs - (minutesOf(offsetIn(offsetAt(wallMs))) ?? 0) * minuteMs));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return null;
  }
}

/** The offset in `GMT+02:00`; `GMT` alone means +00:00. */
function offsetIn(offsetAt: string): string {
  return /[+-]\d\d:\d\d/u.exec(offsetAt)?.[0] ?? '+00:00';
}

/** Minutes of `+02:00`; null for anything else. */
function minutesOf(offset: unknown): number | null {
  const [, sign, hours, minutes] = /^([+-])(\d\d):(\d\d)/u.exec(String(offset)) ?? [];
  return sign === undefined ? null : (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}

const observancesMax = 100;
const onsetsMax = 500;

/** Minutes east of UTC at that local time: those of the observance that began last before it. */
function offsetInZone(zone: CalendarComponent, wallMs: number): number | null {
  let best: { readonly onset: number; readonly minutes: number } | null = null;
  let before: { readonly onset: number; readonly minutes: number } | null = null;
  for (const observance of zone.components.slice(0, observancesMax)) {
    const minutes = minutesOf(propertyOf(observance, 'tzoffsetto')?.values[0]);
    const minutesBefore = minutesOf(propertyOf(observance, 'tzoffsetfrom')?.values[0]) ?? minutes;
    const start = timeOf(propertyOf(observance, 'dtstart'));
    if (minutes === null || minutesBefore === null || start === null) continue;
    if (before === null || start.wallMs < before.onset) before = { onset: start.wallMs, minutes: minutesBefore };
    for (const onset of onsetsOf(observance, start.wallMs, wallMs))
      if (onset <= wallMs && (best === null || onset > best.onset)) best = { onset, minutes };
  }
  return (best ?? before)?.minutes ?? null;
}

/** Beginnings of an observance: its first, the dates it lists, and those of its yearly rule around that local time. */
function onsetsOf(observance: CalendarComponent, startMs: number, wallMs: number): readonly number[] {
  const listed = observance.properties
    .filter(({ name }) => name === 'rdate')
    .flatMap(({ values }) => values)
    .slice(0, onsetsMax)
    .flatMap((value) => (typeof value === 'string' ? (readTime(value, '')?.wallMs ?? []) : []));
  const rule = propertyOf(observance, 'rrule');
  if (rule === undefined) return [startMs, ...listed];
  const parts = rulePartsOf(rule);
  const untilMs = readTime(parts.get('until')?.[0] ?? '', '')?.wallMs ?? Number.POSITIVE_INFINITY;
  const year = new Date(wallMs).getUTCFullYear();
  const yearly = parts.get('freq')?.[0] === 'YEARLY' ? [year - 1, year].map((one) => onsetIn(one, parts, startMs)) : [];
  return [startMs, ...listed, ...yearly.filter((onset) => onset >= startMs && onset <= untilMs + dayMs)];
}

/** The beginning in one year by a rule: a month, and a weekday in it (`-1SU`) or from a day on. */
function onsetIn(year: number, parts: ReadonlyMap<string, readonly string[]>, startMs: number): number {
  const start = new Date(startMs);
  const month = Number(parts.get('bymonth')?.[0] ?? start.getUTCMonth() + 1) - 1;
  const days = (parts.get('bymonthday') ?? []).map(Number).filter((day) => day > 0);
  const [, count, code] = /^([+-]?\d?)(\w\w)$/u.exec(parts.get('byday')?.[0] ?? '') ?? [];
  const weekday = weekdayCodes.indexOf(code ?? '');
  const timeMs = ((startMs % dayMs) + dayMs) % dayMs;
  if (weekday === -1) return Date.UTC(year, month, days[0] ?? start.getUTCDate()) + timeMs;
  const nth = Number(count || 1);
  const first = nth < 0 ? Date.UTC(year, month + 1, 0) : Date.UTC(year, month, days.length > 0 ? Math.min(...days) : 1);
  const away = weekday - new Date(first).getUTCDay();
  const near = nth < 0 ? -((7 - away) % 7) : (away + 7) % 7;
  return first + (near + (nth < 0 ? nth + 1 : nth - 1) * 7) * dayMs + timeMs;
}

// Recurrence

type RuleParts = ReadonlyMap<string, readonly string[]>;

const units: ReadonlyMap<string, string> = new Map([
  ['SECONDLY', 'second'],
  ['MINUTELY', 'minute'],
  ['HOURLY', 'hour'],
  ['DAILY', 'day'],
  ['WEEKLY', 'week'],
  ['MONTHLY', 'month'],
  ['YEARLY', 'year'],
]);

const ordinals: ReadonlyMap<number, string> = new Map([
  [1, 'first '],
  [2, 'second '],
  [3, 'third '],
  [4, 'fourth '],
  [5, 'fifth '],
  [-1, 'last '],
  [-2, 'second last '],
]);

/** Parts of a rule that are described, or need no description; others are mentioned as further rules. */
const describedParts: ReadonlySet<string> = new Set(
  'freq interval byday bymonthday bymonth count until wkst'.split(' '),
);

const namesMax = 12;

/** As `every 2 weeks on Monday and Friday, 10 times`; null for a single event. */
export function recurrenceInWords(event: CalendarComponent): string | null {
  const rule = propertyOf(event, 'rrule');
  const ruled = rule === undefined ? null : ruleInWords(rulePartsOf(rule));
  const extra = datesOf(event, 'rdate');
  const left = datesOf(event, 'exdate');
  const words = [
    ...(ruled === null ? [] : [ruled]),
    ...(extra === 0 ? [] : [`on ${extra} further ${extra === 1 ? 'date' : 'dates'}`]),
    ...(left === 0 ? [] : [`except on ${left} ${left === 1 ? 'date' : 'dates'}`]),
  ];
  return words.length === 0 ? null : words.join(', ');
}

function datesOf(event: CalendarComponent, name: string): number {
  return event.properties
    .filter((property) => property.name === name)
    .reduce((sum, { values }) => sum + values.length, 0);
}

function ruleInWords(parts: RuleParts): string | null {
  const unit = units.get(parts.get('freq')?.[0] ?? '');
  if (unit === undefined) return null;
  const interval = Number(parts.get('interval')?.[0] ?? 1);
  const every = interval > 1 ? `every ${interval} ${unit}s` : `every ${unit}`;
  const count = Number(parts.get('count')?.[0] ?? 0);
  const until = readTime(parts.get('until')?.[0] ?? '', '');
  return [
    `${every}${daysOfRule(parts)}${monthsOfRule(parts)}`,
    ...(count > 0 ? [count === 1 ? 'once' : `${count} times`] : []),
    ...(until === null ? [] : [`until ${dayInWords(until.wallMs)}`]),
    ...([...parts.keys()].every((part) => describedParts.has(part)) ? [] : ['by further rules']),
  ].join(', ');
}

function daysOfRule(parts: RuleParts): string {
  const weekdays = (parts.get('byday') ?? []).slice(0, namesMax).map((day) => {
    const [, count = '', code = ''] = /^([+-]?\d{0,2})(\w\w)$/u.exec(day) ?? [];
    const ordinal = ordinals.get(Number(count)) ?? (count === '' ? '' : `${Number(count)}. `);
    return `${ordinal === '' ? '' : `the ${ordinal}`}${weekdayName(code)}`;
  });
  const days = (parts.get('bymonthday') ?? []).slice(0, namesMax).map((day) => {
    return day === '-1' ? 'the last day' : `day ${Number(day)}`;
  });
  return `${weekdays.length === 0 ? '' : ` on ${joinedWords(weekdays)}`}${days.length === 0 ? '' : ` on ${joinedWords(days)}`}`;
}

function monthsOfRule(parts: RuleParts): string {
  const names = (parts.get('bymonth') ?? []).slice(0, namesMax).flatMap((month) => months[Number(month) - 1] ?? []);
  return names.length === 0 ? '' : ` in ${joinedWords(names)}`;
}

function joinedWords(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
