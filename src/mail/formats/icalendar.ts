/**
 * Reads a calendar (RFC 5545) into a tree of plain values; the only importer of ical.js, which reads single lines.
 *
 * Only the properties that a summary needs are read. A line that cannot be read is left out, an open component is
 * closed by the next end that fits, and what has no VCALENDAR is null. Length, lines and depth are limited; it never
 * fails, and nothing is expanded.
 */
import ical from 'ical.js';

/** One property: names in lower case, values in the form of jCal (RFC 7265). */
export type CalendarProperty = {
  readonly name: string;
  readonly params: ReadonlyMap<string, string>;
  /** As `date`, `date-time`, `text`. */
  readonly type: string;
  readonly values: readonly unknown[];
};

export type CalendarComponent = {
  /** In lower case, as `vevent`. */
  readonly name: string;
  readonly properties: CalendarProperty[];
  readonly components: CalendarComponent[];
};

const lengthMax = 1_000_000;
const linesMax = 20_000;
const lineLengthMax = 10_000;
const componentsMax = 500;
const depthMax = 8;

const wantedProperties: ReadonlySet<string> = new Set(
  (
    'method summary description location status sequence comment organizer attendee ' +
    'dtstart dtend due duration rrule rdate exdate recurrence-id tzid tzoffsetfrom tzoffsetto'
  ).split(' '),
);

/** The first VCALENDAR of a text; null where there is none. */
export function readCalendar(ics: string): CalendarComponent | null {
  const root = makeComponent('');
  const open = [root];
  let components = 0;
  for (const line of unfoldedLines(ics)) {
    const [, word = '', sentName = ''] = /^(begin|end):\s{0,20}([a-z0-9-]{1,40})\s{0,20}$/iu.exec(line) ?? [];
    const name = sentName.toLowerCase();
    if (word.toLowerCase() === 'begin') {
      if (open.length > depthMax || ++components > componentsMax) break;
      const component = makeComponent(name);
      open.at(-1)?.components.push(component);
      open.push(component);
    } else if (word !== '') close(open, name);
    else addProperty(open.at(-1), line);
  }
  return root.components.find((component) => component.name === 'vcalendar') ?? null;
}

function makeComponent(name: string): CalendarComponent {
  return { name, properties: [], components: [] };
}

/** Closes the innermost open component of that name, and those within it. */
function close(open: CalendarComponent[], name: string): void {
  const index = open.findLastIndex((component) => component.name === name);
  if (index > 0) open.length = index;
}

/** Lines with their continuations; empty ones are left out, long ones are cut. */
function unfoldedLines(ics: string): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const part of ics.slice(0, lengthMax).split(/\r\n?|\n/u)) {
    if (part.startsWith(' ') || part.startsWith('\t')) {
      if (line.length < lineLengthMax) line += part.slice(1);
    } else if (part !== '') {
      if (lines.length >= linesMax) break;
      lines.push(line.slice(0, lineLengthMax));
      line = part;
    }
  }
  lines.push(line.slice(0, lineLengthMax));
  return lines;
}

function addProperty(component: CalendarComponent | undefined, line: string): void {
  const name = /^[a-z-]{1,40}(?=[;:])/iu.exec(line)?.[0].toLowerCase() ?? '';
  if (component === undefined || !wantedProperties.has(name)) return;
  const property = readProperty(name, repairedDate(name, line)) ?? readProperty(name, repairedZone(name, line));
  if (property !== null) component.properties.push(property);
}

function readProperty(name: string, line: string): CalendarProperty | null {
  try {
    const [, params, type, ...values] = ical.parse.property(line, ical.design.icalendar) as [string, object, string];
    if (dateProperties.has(name) && type !== 'period' && !values.every(isDate)) return null;
    const texts = Object.entries(params).map(([key, value]) => [key, String(value)] as const);
    return { name, params: new Map(texts), type, values };
  } catch {
    // The library throws errors of many kinds for a line that breaks the rules.
    return null;
  }
}

const dateProperties: ReadonlySet<string> = new Set(['dtstart', 'dtend', 'due', 'recurrence-id', 'exdate', 'rdate']);

function isDate(value: unknown): boolean {
  return typeof value === 'string' && /^\d{4}-\d\d-\d\d/u.test(value);
}

/** A day without a time is often sent without saying that it is one. */
function repairedDate(name: string, line: string): string {
  return dateProperties.has(name) && /:\d{8}\s*$/u.test(line) && !/;value=/iu.test(line)
    ? line.replace(/^[a-z-]+/iu, '$&;VALUE=DATE')
    : line;
}

/** Names of zones, as `(UTC+01:00) Amsterdam, Berlin`, are often sent without the quotes that they need. */
function repairedZone(name: string, line: string): string {
  const valueAt = line.lastIndexOf(':');
  const zone = /;tzid="?([^";]{1,200})/iu.exec(line.slice(0, valueAt))?.[1];
  return dateProperties.has(name) && zone !== undefined ? `${name};TZID="${zone}":${line.slice(valueAt + 1)}` : '';
}

/** The first property of that name. */
export function propertyOf(component: CalendarComponent, name: string): CalendarProperty | undefined {
  return component.properties.find((property) => property.name === name);
}

/** The text of the first property of that name; empty where there is none. */
export function textOf(component: CalendarComponent, name: string): string {
  const value = propertyOf(component, name)?.values[0];
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** What a recurrence rule says, by its part in lower case; each part as texts. */
function rulePartsOf(property: CalendarProperty): ReadonlyMap<string, readonly string[]> {
  const [rule] = property.values;
  if (typeof rule !== 'object' || rule === null) return new Map();
  return new Map(Object.entries(rule).map(([part, value]) => [part, [value].flat().map(String)]));
}

/**
 * Times of a calendar in words, and how far they are from UTC (RFC 5545 sections 3.3.4, 3.3.5, 3.6.5).
 *
 * A time is kept as the clock on the wall shows it. The offset comes from the zone that the calendar describes, else
 * from the name of the zone; where neither tells, none is said. Zones are looked up for one year, never expanded.
 */

/** A point of time as written. `wallMs` counts the clock on the wall as if it were UTC. */
type CalendarTime = {
  readonly wallMs: number;
  readonly isDay: boolean;
  /** `UTC`, the name of a zone as written, or empty for local time anywhere. */
  readonly zone: string;
};

const minuteMs = 60_000;
const dayMs = 86_400_000;

const weekdays = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'] as const;
const months = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November'],
  'December',
] as const;

/** Day of the week by its two letters (RFC 5545 section 3.3.10), Sunday first. */
const weekdayCodes: readonly string[] = ['SU', 'MO', 'TU', 'WE', 'TH', 'FR', 'SA'];

function weekdayName(code: string): string {
  return weekdays[weekdayCodes.indexOf(code)] ?? code;
}

/** The first time of a property; null where there is none. */
export function timeOf(property: CalendarProperty | undefined): CalendarTime | null {
  const [value] = property?.values ?? [];
  return typeof value === 'string' ? readTime(value, property?.params.get('tzid') ?? '') : null;
}

/** Reads `2024-05-01` and `2024-05-01T10:00:00Z`. */
function readTime(value: string, zone: string): CalendarTime | null {
  const [whole, year, month, day, hour, minute, second, utc] =
    /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(Z?))?$/u.exec(value) ?? [];
  if (whole === undefined) return null;
  const wall = new Date(0);
  wall.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  wall.setUTCHours(Number(hour ?? 0), Number(minute ?? 0), Number(second ?? 0));
  return { wallMs: wall.getTime(), isDay: hour === undefined, zone: utc === 'Z' ? 'UTC' : zone };
}

const durationMaxMs = 3660 * dayMs;

/** The end of what lasts as long as `duration` says (`P1DT2H`); null for what is none, or is longer than ten years. */
export function endAfter(start: CalendarTime, duration: string): CalendarTime | null {
  const [whole, weeks, days, hours, minutes, seconds] =
    /^\+?P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?$/u.exec(duration) ?? [];
  if (whole === undefined) return null;
  const time = Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0);
  const lengthMs = (Number(weeks ?? 0) * 7 + Number(days ?? 0)) * dayMs + time * 1000;
  return lengthMs > durationMaxMs ? null : { ...start, wallMs: start.wallMs + lengthMs };
}

function dayInWords(wallMs: number): string {
  const wall = new Date(wallMs);
  const day = `${wall.getUTCDate()} ${months[wall.getUTCMonth()]} ${wall.getUTCFullYear()}`;
  return `${weekdays[wall.getUTCDay()]}, ${day}`;
}

function clockOf(wallMs: number): string {
  return new Date(wallMs).toISOString().slice(-13, -8);
}

/** From when to when, with the zone as written and its offset. */
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

/** The end of whole days is the first day after them. */
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

function zoneInWords(time: CalendarTime, zones: readonly CalendarComponent[]): string {
  if (time.zone === 'UTC') return ' (UTC)';
  if (time.zone === '') return ' (local time)';
  const offset = offsetOf(time, zones);
  const name = time.zone.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ').slice(0, 100);
  return offset === null ? ` (${name})` : ` (${name}, UTC${offset})`;
}

/** As `+02:00`. */
function offsetOf(time: CalendarTime, zones: readonly CalendarComponent[]): string | null {
  const zone = zones.find((one) => propertyOf(one, 'tzid')?.values[0] === time.zone);
  const minutes = zone === undefined ? null : offsetInZone(zone, time.wallMs);
  if (minutes === null) return offsetByName(time);
  const sign = minutes < 0 ? '-' : '+';
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `${sign}${String(hours).padStart(2, '0')}:${String(rest).padStart(2, '0')}`;
}

/** By a name of the IANA database, which may stand behind a path of its maker. */
function offsetByName({ zone, wallMs }: CalendarTime): string | null {
  const name = /[A-Z][A-Za-z_]{1,20}\/[A-Za-z_/+-]{1,40}$/u.exec(zone)?.[0];
  if (name === undefined) return null;
  try {
    const format = new Intl.DateTimeFormat('en', { timeZone: name, timeZoneName: 'longOffset' });
    const said = (atMs: number) => format.formatToParts(atMs).find(({ type }) => type === 'timeZoneName')?.value ?? '';
    // The offset at the wall's time in UTC is nearly the right one; the second look takes it off.
    return offsetIn(said(wallMs - (minutesOf(offsetIn(said(wallMs))) ?? 0) * minuteMs));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return null;
  }
}

/** `GMT` alone is no offset. */
function offsetIn(said: string): string {
  return /[+-]\d\d:\d\d/u.exec(said)?.[0] ?? '+00:00';
}

/** Minutes of `+02:00`; null for what is none. */
function minutesOf(offset: unknown): number | null {
  const [, sign, hours, minutes] = /^([+-])(\d\d):(\d\d)/u.exec(String(offset)) ?? [];
  return sign === undefined ? null : (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}

const observancesMax = 100;
const onsetsMax = 500;

/** Minutes east of UTC when the wall shows that time: those of the observance that began last before it. */
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

/** When an observance begins: at first, on the dates it lists, and by its yearly rule around the time asked for. */
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

/** The first day of a year that a rule names: a month, and a weekday in it (`-1SU`) or from a day on. */
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

/**
 * Says in words how often an event comes again (RFC 5545 section 3.8.5): the rule is described, never expanded.
 *
 * Parts of a rule that have no simple words are named as such, so that the reader looks at the calendar itself.
 */

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

/** Everything that has words here, and what needs none. */
const spoken: ReadonlySet<string> = new Set('freq interval byday bymonthday bymonth count until wkst'.split(' '));

const namesMax = 12;

/** As `every 2 weeks on Monday and Friday, 10 times`; null for what happens once. */
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
    ...([...parts.keys()].every((part) => spoken.has(part)) ? [] : ['by further rules']),
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
  return `${weekdays.length === 0 ? '' : ` on ${listed(weekdays)}`}${days.length === 0 ? '' : ` on ${listed(days)}`}`;
}

function monthsOfRule(parts: RuleParts): string {
  const names = (parts.get('bymonth') ?? []).slice(0, namesMax).flatMap((month) => months[Number(month) - 1] ?? []);
  return names.length === 0 ? '' : ` in ${listed(names)}`;
}

function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
