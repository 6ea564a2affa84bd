/**
 * Calendar invitations, replies and cancellations (iTIP, RFC 5546) as plain English lines, with their times, time zones
 * and recurrence (RFC 5545 sections 3.3.4, 3.3.5, 3.6.5 and 3.8.5).
 *
 * Takes the text of a text/calendar part; null where it is no calendar, or has nothing to describe. Bounded: five
 * events, 20 attendees, 500 characters a line, 2,000 of the description. A time stays as the local clock shows it; its
 * UTC offset is taken from the VTIMEZONE, else from the IANA name of the zone; without either none is shown. Zones are
 * evaluated for one year, recurrence rules are described and never expanded. Never fails.
 */
import { plainLine } from '../mime/headers.ts';
import { textOfHtml } from '../mime/html.ts';
import { storable } from '../mime/text.ts';
import {
  type CalendarComponent,
  type CalendarProperty,
  propertyOf,
  readCalendar,
  rulePartsOf,
  textOf,
} from './icalendar.ts';

const attendeesShownMax = 20;
const eventsShownMax = 5;
const lineLengthMax = 500;
const descriptionLengthMax = 2000;
const descriptionLinesMax = 60;

/** The first word of the summary, by METHOD (RFC 5546 section 1.4). */
const methods: ReadonlyMap<string, string> = new Map([
  ['REQUEST', 'Invitation'],
  ['CANCEL', 'Cancellation'],
  ['REPLY', 'Answer'],
  ['ADD', 'Additional dates'],
  ['COUNTER', 'Proposal of a change'],
  ['DECLINECOUNTER', 'Proposal of a change declined'],
  ['REFRESH', 'Request for the latest version'],
]);

/** The components that are described, and their word where the method has none. */
const kinds: ReadonlyMap<string, string> = new Map(
  Object.entries({ vevent: 'Event', vtodo: 'Task', vjournal: 'Note', vfreebusy: 'Free and busy times' }),
);

/** PARTSTAT values (RFC 5545 section 3.2.12), of events and of tasks. */
const answers: ReadonlyMap<string, string> = new Map([
  ['ACCEPTED', 'accepted'],
  ['DECLINED', 'declined'],
  ['TENTATIVE', 'tentatively accepted'],
  ['DELEGATED', 'delegated'],
  ['COMPLETED', 'completed'],
  ['IN-PROCESS', 'in process'],
]);
const noAnswer = 'no answer yet';

/** A readable summary; null for text that is no calendar. */
export function describeInvitation(ics: string): string | null {
  const calendar = readCalendar(ics);
  if (calendar === null) return null;
  const items = calendar.components.filter(({ name }) => kinds.has(name));
  // The series before its exceptions
  const isException = (item: CalendarComponent) => Number(propertyOf(item, 'recurrence-id') !== undefined);
  const sorted = items.toSorted((one, other) => isException(one) - isException(other));
  if (sorted.length === 0) return null;
  const method = textOf(calendar, 'method').trim().toUpperCase();
  const zones = calendar.components.filter(({ name }) => name === 'vtimezone');
  const shown = sorted.slice(0, eventsShownMax).map((item) => describeItem(item, method, zones).join('\n'));
  const more = sorted.length - shown.length;
  return [...shown, ...(more > 0 ? [`And ${more} more.`] : [])].join('\n\n');
}

function describeItem(item: CalendarComponent, method: string, zones: readonly CalendarComponent[]): readonly string[] {
  const attendees = item.properties.filter(({ name }) => name === 'attendee');
  const occurrence = timeOf(propertyOf(item, 'recurrence-id'));
  const organiser = propertyOf(item, 'organizer');
  return [
    `${headline(item, method)}: ${lineOf(item, 'summary') || '(without a title)'}`,
    ...(method === 'REPLY' ? attendees.slice(0, attendeesShownMax).map((one) => `Answer of ${answerOf(one)}`) : []),
    ...labelled('When', whenOf(item, zones)),
    ...labelled('Repeats', recurrenceInWords(item)),
    ...labelled('Only the occurrence of', occurrence === null ? null : momentInWords(occurrence, zones)),
    ...labelled('Where', lineOf(item, 'location')),
    ...labelled('Organiser', organiser === undefined ? null : personOf(organiser)),
    ...(method === 'REPLY' ? [] : listAttendees(attendees)),
    ...labelled('Comment', lineOf(item, 'comment')),
    ...describeText(item),
  ];
}

function headline(item: CalendarComponent, method: string): string {
  if (textOf(item, 'status').toUpperCase() === 'CANCELLED') return 'Cancellation';
  const word = methods.get(method) ?? kinds.get(item.name) ?? 'Event';
  return method === 'REQUEST' && Number(textOf(item, 'sequence')) > 0 ? 'Updated invitation' : word;
}

function labelled(label: string, value: string | null): readonly string[] {
  return value === null || value === '' ? [] : [`${label}: ${value}`];
}

function lineOf(item: CalendarComponent, name: string): string {
  return cut(plainLine(textOf(item, name)), lineLengthMax);
}

function cut(text: string, lengthMax: number): string {
  return text.length <= lengthMax ? text : `${text.slice(0, lengthMax).toWellFormed()}…`;
}

function whenOf(item: CalendarComponent, zones: readonly CalendarComponent[]): string | null {
  const start = timeOf(propertyOf(item, 'dtstart'));
  const due = timeOf(propertyOf(item, 'due'));
  if (start === null) return due === null ? null : `due ${momentInWords(due, zones)}`;
  const end = timeOf(propertyOf(item, 'dtend')) ?? due ?? endAfter(start, textOf(item, 'duration'));
  return spanInWords(start, end, zones);
}

/** `Name <address>`, or just one of them. */
function personOf({ params, values }: CalendarProperty): string {
  const address = cut(plainLine(String(values[0] ?? '').replace(/^\s{0,20}mailto:/iu, '')), lineLengthMax);
  const name = cut(plainLine(params.get('cn') ?? ''), lineLengthMax);
  return name === '' || name === address ? address : `${name} <${address}>`;
}

function answerOf(attendee: CalendarProperty): string {
  return `${personOf(attendee)}: ${answers.get(attendee.params.get('partstat')?.toUpperCase() ?? '') ?? noAnswer}`;
}

function listAttendees(attendees: readonly CalendarProperty[]): readonly string[] {
  if (attendees.length === 0) return [];
  const more = attendees.length - attendeesShownMax;
  return [
    'Attendees:',
    ...attendees.slice(0, attendeesShownMax).map((attendee) => `- ${answerOf(attendee)}`),
    ...(more > 0 ? [`- and ${more} more`] : []),
  ];
}

/** The description, which may be HTML; without the lines of signs that conference services draw around it. */
function describeText(item: CalendarComponent): readonly string[] {
  const sent = textOf(item, 'description');
  const text = /<(?:br|p|b|i|a|div|span|html|ul)\b[^<>]{0,500}>/iu.test(sent)
    ? textOfHtml(sent.replaceAll('\n', '<br>'))
    : storable(sent);
  const plain = text
    .replace(/[^\p{L}\p{N}\s]{20,}/gu, '')
    .replace(/\n\s+\n/gu, '\n\n')
    .trim();
  const lines = cut(plain, descriptionLengthMax).split('\n');
  const shown = lines.slice(0, descriptionLinesMax).map((line) => plainLine(line));
  return plain === '' ? [] : ['', ...shown, ...(lines.length > shown.length ? ['…'] : [])];
}

// Times

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

function timeOf(property: CalendarProperty | undefined): CalendarTime | null {
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
function endAfter(start: CalendarTime, duration: string): CalendarTime | null {
  const [whole, weeks, days, hours, minutes, seconds] =
    /^\+?P(?:(\d{1,9})W)?(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?)?$/u.exec(duration) ?? [];
  if (whole === undefined) return null;
  const time = Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0);
  const lengthMs = (Number(weeks ?? 0) * 7 + Number(days ?? 0)) * dayMs + time * 1000;
  return lengthMs > durationMaxMs ? null : { ...start, wallMs: start.wallMs + lengthMs };
}

/** Start and end, with the zone as written and its offset. */
function spanInWords(start: CalendarTime, end: CalendarTime | null, zones: readonly CalendarComponent[]): string {
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
  const until = last > start.wallMs ? ` to ${dayInWords(last)}` : '';
  return `${dayInWords(start.wallMs)}${until} (all day)`;
}

/** A moment in words, as `Monday, 1 May 2023, 10:00 (UTC)`. */
function momentInWords(time: CalendarTime, zones: readonly CalendarComponent[]): string {
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
  const minutes = (zone === undefined ? null : offsetInZone(zone, time.wallMs)) ?? offsetByName(time);
  if (minutes === null) return null;
  const sign = minutes < 0 ? '-' : '+';
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `${sign}${String(hours).padStart(2, '0')}:${String(rest).padStart(2, '0')}`;
}

/** Minutes east of UTC by a name of the IANA database, which may follow a vendor's path. */
function offsetByName({ zone, wallMs }: CalendarTime): number | null {
  const name = /[A-Z][A-Za-z_]{1,20}\/[A-Za-z_/+-]{1,40}$/u.exec(zone)?.[0];
  if (name === undefined) return null;
  try {
    const format = new Intl.DateTimeFormat('en', { timeZone: name, timeZoneName: 'longOffset' });
    // `GMT+02:00`; `GMT` alone means +00:00.
    const minutesAt = (atMs: number) =>
      minutesOf(
        format
          .formatToParts(atMs)
          .find(({ type }) => type === 'timeZoneName')
          ?.value.slice('GMT'.length),
      ) ?? 0;
    // The local time read as UTC gives nearly the right offset; applying it gives the right one.
    return minutesAt(wallMs - minutesAt(wallMs) * minuteMs);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return null;
  }
}

/** Minutes of `+02:00`; null for anything else. */
function minutesOf(offset: unknown): number | null {
  const [, sign, hours, minutes] = /^([+-])(\d\d):(\d\d)/u.exec(String(offset)) ?? [];
  return sign === undefined ? null : (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}

type Onset = { readonly onset: number; readonly minutes: number };

const observancesMax = 100;
const onsetsMax = 500;

/** Minutes east of UTC at that local time: those of the observance that began last before it. */
function offsetInZone(zone: CalendarComponent, wallMs: number): number | null {
  let best: Onset | null = null;
  let before: Onset | null = null;
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
function onsetIn(year: number, parts: RuleParts, startMs: number): number {
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
function recurrenceInWords(event: CalendarComponent): string | null {
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
  const onWeekdays = (parts.get('byday') ?? []).slice(0, namesMax).map((day) => {
    const [, count = '', code = ''] = /^([+-]?\d{0,2})(\w\w)$/u.exec(day) ?? [];
    const ordinal = ordinals.get(Number(count)) ?? (count === '' ? '' : `${Number(count)}. `);
    return `${ordinal === '' ? '' : `the ${ordinal}`}${weekdays[weekdayCodes.indexOf(code)] ?? code}`;
  });
  const onDays = (parts.get('bymonthday') ?? []).slice(0, namesMax).map((day) => {
    return day === '-1' ? 'the last day' : `day ${Number(day)}`;
  });
  return `${onWeekdays.length === 0 ? '' : ` on ${joinedWords(onWeekdays)}`}${onDays.length === 0 ? '' : ` on ${joinedWords(onDays)}`}`;
}

function monthsOfRule(parts: RuleParts): string {
  const names = (parts.get('bymonth') ?? []).slice(0, namesMax).flatMap((month) => months[Number(month) - 1] ?? []);
  return names.length === 0 ? '' : ` in ${joinedWords(names)}`;
}

function joinedWords(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
