/**
 * Says in words how often an event comes again (RFC 5545 section 3.8.5): the rule is described, never expanded.
 *
 * Parts of a rule that have no simple words are named as such, so that the reader looks at the calendar itself.
 */
import { type CalendarComponent, propertyOf, rulePartsOf } from './calendar-lines.ts';
import { dayInWords, months, readTime, weekdayName } from './calendar-times.ts';

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
