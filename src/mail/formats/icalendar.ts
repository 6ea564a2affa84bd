/**
 * iCalendar (RFC 5545): reads a calendar into a tree of components and properties; the only importer of ical.js.
 *
 * ical.js reads single lines only: it refuses a calendar as a whole for one bad line. Only the properties that a
 * summary needs are read. A line that cannot be read is skipped, an open component is closed by the next matching END;
 * null without a VCALENDAR. Bounded: 1,000,000 characters, 20,000 lines, 500 components, eight levels. Never fails;
 * nothing is expanded.
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

/** The first VCALENDAR of a text; null for none. */
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

/** Closes the innermost open component of that name and those within it. */
function close(open: CalendarComponent[], name: string): void {
  const index = open.findLastIndex((component) => component.name === name);
  if (index > 0) open.length = index;
}

/** Unfolded content lines; empty ones are left out, long ones are cut. */
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
    // ical.js throws errors of many types for a malformed line.
    return null;
  }
}

const dateProperties: ReadonlySet<string> = new Set(['dtstart', 'dtend', 'due', 'recurrence-id', 'exdate', 'rdate']);

function isDate(value: unknown): boolean {
  return typeof value === 'string' && /^\d{4}-\d\d-\d\d/u.test(value);
}

/** Adds the missing VALUE=DATE to a date without a time. */
function repairedDate(name: string, line: string): string {
  return dateProperties.has(name) && /:\d{8}\s*$/u.test(line) && !/;value=/iu.test(line)
    ? line.replace(/^[a-z-]+/iu, '$&;VALUE=DATE')
    : line;
}

/** Adds the missing quotes around a zone name such as `(UTC+01:00) Amsterdam, Berlin`. */
function repairedZone(name: string, line: string): string {
  const valueAt = line.lastIndexOf(':');
  const zone = /;tzid="?([^";]{1,200})/iu.exec(line.slice(0, valueAt))?.[1];
  return dateProperties.has(name) && zone !== undefined ? `${name};TZID="${zone}":${line.slice(valueAt + 1)}` : '';
}

export function propertyOf(component: CalendarComponent, name: string): CalendarProperty | undefined {
  return component.properties.find((property) => property.name === name);
}

/** The text of the first property of that name; empty for none. */
export function textOf(component: CalendarComponent, name: string): string {
  const value = propertyOf(component, name)?.values[0];
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** The parts of a recurrence rule by their names in lower case, values as texts. */
export function rulePartsOf(property: CalendarProperty): ReadonlyMap<string, readonly string[]> {
  const [rule] = property.values;
  if (typeof rule !== 'object' || rule === null) return new Map();
  return new Map(Object.entries(rule).map(([part, value]) => [part, [value].flat().map(String)]));
}
