/**
 * Calendar invitations, replies and cancellations (iTIP, RFC 5546) as plain English lines.
 *
 * Takes the text of a text/calendar part; null where it is no calendar, or has nothing to describe. Bounded: five
 * events, 20 attendees, 500 characters a line, 2,000 of the description. Times stay as written, recurrences are
 * described and never expanded. Never fails.
 */

import { plainLine } from '../mime/headers.ts';
import { textOfHtml } from '../mime/html.ts';
import { storable } from '../mime/text.ts';
import { endAfter, momentInWords, recurrenceInWords, spanInWords, timeOf } from './calendar-times.ts';
import { type CalendarComponent, type CalendarProperty, propertyOf, readCalendar, textOf } from './icalendar.ts';

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
const kinds: ReadonlyMap<string, string> = new Map([
  ['vevent', 'Event'],
  ['vtodo', 'Task'],
  ['vjournal', 'Note'],
  ['vfreebusy', 'Free and busy times'],
]);

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
  const sorted = items.toSorted((one, other) => Number(isException(one)) - Number(isException(other)));
  if (sorted.length === 0) return null;
  const method = textOf(calendar, 'method').trim().toUpperCase();
  const zones = calendar.components.filter(({ name }) => name === 'vtimezone');
  const shown = sorted.slice(0, eventsShownMax).map((item) => describeItem(item, method, zones).join('\n'));
  const more = sorted.length - shown.length;
  return [...shown, ...(more > 0 ? [`And ${more} more.`] : [])].join('\n\n');
}

function isException(item: CalendarComponent): boolean {
  return propertyOf(item, 'recurrence-id') !== undefined;
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
