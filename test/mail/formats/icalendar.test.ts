/** Invitations in words, broken calendars, and calendars made to be slow. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeInvitation } from '../../../src/mail/formats/invitation.ts';

/** 5 MB take under half a second on an idle machine; tests may run on a busy one. */
const limitMs = 3000;

const berlin = `BEGIN:VTIMEZONE
TZID:W. Europe Standard Time
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE
`;

const calendar = (method: string, event: string, zones = '') =>
  `BEGIN:VCALENDAR\nVERSION:2.0\n${method === '' ? '' : `METHOD:${method}\n`}${zones}BEGIN:VEVENT\n${event}\nEND:VEVENT\nEND:VCALENDAR\n`;
const summary = (event: string, method = 'REQUEST', zones = '') =>
  describeInvitation(calendar(method, event, zones)) ?? '';
const line = (event: string, label: string, zones = '') =>
  summary(event, 'REQUEST', zones)
    .split('\n')
    .find((one) => one.startsWith(`${label}: `))
    ?.slice(label.length + 2);

test('an invitation is described in plain lines', () => {
  const event = `SUMMARY:Printer\\, again
DTSTART;TZID=W. Europe Standard Time:20240701T100000
DTEND;TZID=W. Europe Standard Time:20240701T113000
LOCATION:Room 4
ORGANIZER;CN="Example, Ada":mailto:ada@example.test
ATTENDEE;CN=Bob;PARTSTAT=ACCEPTED:mailto:bob@example.test
ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:MAILTO:ca
 rol@example.test
DESCRIPTION:First line\\nSecond line
BEGIN:VALARM
DESCRIPTION:not this
END:VALARM`;
  expect(summary(event, 'REQUEST', berlin)).toBe(`Invitation: Printer, again
When: Monday, 1 July 2024, 10:00 to 11:30 (W. Europe Standard Time, UTC+02:00)
Where: Room 4
Organiser: Example, Ada <ada@example.test>
Attendees:
- Bob <bob@example.test>: accepted
- carol@example.test: no answer yet

First line
Second line`);
  expect(describeInvitation(calendar('REQUEST', event, berlin).replaceAll('\n', '\r\n'))).toBe(
    summary(event, 'REQUEST', berlin),
  );
});

describe('the first line', () => {
  test.each([
    ['REQUEST', 'SUMMARY:x', 'Invitation: x'],
    ['REQUEST', 'SUMMARY:x\nSEQUENCE:2', 'Updated invitation: x'],
    ['CANCEL', 'SUMMARY:x\nSEQUENCE:2', 'Cancellation: x'],
    ['REQUEST', 'SUMMARY:x\nSTATUS:CANCELLED', 'Cancellation: x'],
    ['COUNTER', 'SUMMARY:x', 'Proposal of a change: x'],
    ['PUBLISH', 'SUMMARY:x', 'Event: x'],
    ['', 'DTSTART:20240101T000000Z', 'Event: (without a title)'],
  ])('%s %j', (method, event, expected) => {
    expect(summary(event, method).split('\n')[0]).toBe(expected);
  });

  test.each([
    ['ACCEPTED', 'accepted'],
    ['DECLINED', 'declined'],
    ['TENTATIVE', 'tentatively accepted'],
    ['X-OTHER', 'no answer yet'],
  ])('a reply names the attendee and the answer: %s', (status, words) => {
    const event = `SUMMARY:x\nATTENDEE;CN=Bob;PARTSTAT=${status}:mailto:bob@example.test\nCOMMENT:see you`;
    expect(summary(event, 'REPLY')).toBe(`Answer: x\nAnswer of Bob <bob@example.test>: ${words}\nComment: see you`);
  });
});

describe('when', () => {
  test.each([
    ['DTSTART:20240701T100000Z\nDTEND:20240701T110000Z', 'Monday, 1 July 2024, 10:00 to 11:00 (UTC)'],
    ['DTSTART:20240701T100000\nDURATION:PT90M', 'Monday, 1 July 2024, 10:00 to 11:30 (local time)'],
    ['DTSTART:20240701T230000Z\nDURATION:PT2H', 'Monday, 1 July 2024, 23:00 to Tuesday, 2 July 2024, 01:00 (UTC)'],
    ['DTSTART;VALUE=DATE:20240701\nDTEND;VALUE=DATE:20240702', 'Monday, 1 July 2024 (all day)'],
    ['DTSTART:20240701\nDTEND:20240704', 'Monday, 1 July 2024 to Wednesday, 3 July 2024 (all day)'],
    ['DTSTART;VALUE=DATE:20240701\nDURATION:P2D', 'Monday, 1 July 2024 to Tuesday, 2 July 2024 (all day)'],
    ['DTSTART;TZID=Asia/Kolkata:20240701T100000', 'Monday, 1 July 2024, 10:00 (Asia/Kolkata, UTC+05:30)'],
    [
      'DTSTART;TZID=/maker.test/1/America/New_York:20240110T100000',
      'Wednesday, 10 January 2024, 10:00 (/maker.test/1/America/New_York, UTC-05:00)',
    ],
    ['DTSTART;TZID=Office:20240701T100000', 'Monday, 1 July 2024, 10:00 (Office)'],
    ['DTSTART;TZID=(UTC+01:00) Berlin, Rome:20240701T100000', 'Monday, 1 July 2024, 10:00 ((UTC+01:00) Berlin, Rome)'],
    [
      'DTSTART;TZID=Europe/Berlin:20240701T100000\nDTEND;TZID=Europe/London:20240701T100000',
      'Monday, 1 July 2024, 10:00 (Europe/Berlin, UTC+02:00)',
    ],
    ['DTSTART:20240701T100000Z\nDURATION:P999999999W', 'Monday, 1 July 2024, 10:00 (UTC)'],
    ['DTSTART:20240701T100000Z\nDTEND:20240601T100000Z', 'Monday, 1 July 2024, 10:00 (UTC)'],
  ])('%j', (event, expected) => {
    expect(line(event, 'When')).toBe(expected);
  });

  test.each([
    ['20240330T235959', '+01:00'],
    ['20240331T030000', '+02:00'],
    ['20241027T020000', '+02:00'],
    ['20241027T030000', '+01:00'],
    ['20240101T000000', '+01:00'],
    ['19000701T000000', '+02:00'],
    ['99990701T000000', '+02:00'],
  ])('the offset is that of the zone in the calendar: %s', (time, offset) => {
    expect(line(`DTSTART;TZID=W. Europe Standard Time:${time}`, 'When', berlin)).toContain(`UTC${offset}`);
  });

  test.each([
    ['RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU', '20240309T000000', '20240310T030000'],
    ['RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=SU;BYMONTHDAY=8,9,10,11,12,13,14', '20240309T000000', '20240310T030000'],
    ['RRULE:FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=20', '20240319T000000', '20240321T000000'],
    ['RDATE:20240315T020000', '20240314T000000', '20240316T000000'],
  ])('a zone may define summer time by other rules: %s', (rule, before, after) => {
    const part = (name: string, start: string, from: string, to: string, last: string) =>
      `BEGIN:${name}\nDTSTART:${start}\nTZOFFSETFROM:${from}\nTZOFFSETTO:${to}\n${last}\nEND:${name}\n`;
    const zone = `BEGIN:VTIMEZONE\nTZID:Z\n${part('STANDARD', '20001101T020000', '-0400', '-0500', 'RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=1SU')}${part('DAYLIGHT', '20000301T020000', '-0500', '-0400', rule)}END:VTIMEZONE\n`;
    expect(line(`DTSTART;TZID=Z:${before}`, 'When', zone)).toContain('UTC-05:00');
    expect(line(`DTSTART;TZID=Z:${after}`, 'When', zone)).toContain('UTC-04:00');
  });
});

test('summer time that began last year lasts until it ends', () => {
  const part = (name: string, from: string, to: string, rule: string) =>
    `BEGIN:${name}\nDTSTART:20000101T000000\nTZOFFSETFROM:${from}\nTZOFFSETTO:${to}\nRRULE:FREQ=YEARLY;${rule}\nEND:${name}\n`;
  const zone = `BEGIN:VTIMEZONE\nTZID:South\n${part('STANDARD', '+1100', '+1000', 'BYMONTH=4;BYDAY=1SU')}${part('DAYLIGHT', '+1000', '+1100', 'BYMONTH=10;BYDAY=1SU')}END:VTIMEZONE\n`;
  expect(line('DTSTART;TZID=South:20240110T100000', 'When', zone)).toContain('UTC+11:00');
  expect(line('DTSTART;TZID=South:20240710T100000', 'When', zone)).toContain('UTC+10:00');
});

describe('how often', () => {
  test.each([
    ['RRULE:FREQ=DAILY', 'every day'],
    ['RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE,FR;COUNT=10', 'every 2 weeks on Monday, Wednesday and Friday, 10 times'],
    [
      'RRULE:FREQ=MONTHLY;BYDAY=-1FR;UNTIL=20241231T000000Z',
      'every month on the last Friday, until Tuesday, 31 December 2024',
    ],
    ['RRULE:FREQ=MONTHLY;BYMONTHDAY=1,15', 'every month on day 1 and day 15'],
    ['RRULE:FREQ=YEARLY;BYMONTH=5;BYDAY=2SU', 'every year on the second Sunday in May'],
    ['RRULE:FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=1', 'every month on Monday and Tuesday, by further rules'],
    ['RDATE:20240801T100000Z,20240901T100000Z', 'on 2 further dates'],
    ['RRULE:FREQ=DAILY\nEXDATE:20240702T100000Z', 'every day, except on 1 date'],
    ['RRULE:FREQ=SECONDLY;COUNT=999999999', 'every second, 999999999 times'],
    ['RRULE:FREQ=NEVER', undefined],
  ])('%s', (rule, expected) => {
    expect(line(`DTSTART:20240701T100000Z\n${rule}`, 'Repeats')).toBe(expected);
  });

  test('a changed occurrence names its date, and follows the series', () => {
    const event = (more: string) => `BEGIN:VEVENT\nSUMMARY:x\n${more}\nEND:VEVENT\n`;
    const said = describeInvitation(
      `BEGIN:VCALENDAR\nMETHOD:REQUEST\n${event('RECURRENCE-ID:20240701T100000Z\nDTSTART:20240701T120000Z')}${event('RRULE:FREQ=DAILY')}END:VCALENDAR`,
    );
    expect(said).toBe(
      'Invitation: x\nRepeats: every day\n\nInvitation: x\nWhen: Monday, 1 July 2024, 12:00 (UTC)\nOnly the occurrence of: Monday, 1 July 2024, 10:00 (UTC)',
    );
  });
});

describe('what is shown', () => {
  test('is bounded', () => {
    const attendees = Array.from({ length: 30 }, (_, id) => `ATTENDEE:mailto:a${id}@example.test`).join('\n');
    const said = summary(`SUMMARY:${'s'.repeat(3000)}\n${attendees}\nDESCRIPTION:${'word '.repeat(1500)}`);
    expect(said).toContain('- a19@example.test: no answer yet\n- and 10 more\n');
    expect(said.length).toBeLessThan(4000);
    const events = 'BEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\n'.repeat(12);
    expect(describeInvitation(`BEGIN:VCALENDAR\n${events}END:VCALENDAR`)).toMatch(/And 7 more\.$/u);
  });

  test('is text, also for a description in HTML or with lines of signs', () => {
    expect(summary('SUMMARY:x\nDESCRIPTION:<p>Hello <b>you</b></p>')).toBe('Invitation: x\n\nHello you');
    expect(summary('SUMMARY:x\nDESCRIPTION:-::~:~::~:~:~:~:~:~:~:~:~\\nJoin')).toBe('Invitation: x\n\nJoin');
  });

  test('is one line in single-line fields', () => {
    expect(summary('SUMMARY:a\\nWhen: never\u0007')).toBe('Invitation: a When: never');
  });
});

describe('a broken calendar', () => {
  test('is null when there is nothing to describe', () => {
    expect(
      ['', 'hello', 'BEGIN:VCALENDAR\nEND:VCALENDAR', 'BEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT'].map(describeInvitation),
    ).toEqual([null, null, null, null]);
  });

  test('is read as far as possible: malformed lines, wrong values, missing ends', () => {
    expect(summary('SUMMARY:x\nthis is no line\nDTSTART:garbage\nRRULE:FREQ=X\nATTENDEE;CN="open:mailto:a@b')).toBe(
      'Invitation: x',
    );
    expect(describeInvitation('BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:x')).toBe('Event: x');
    const open = 'BEGIN:VEVENT\nSUMMARY:x\nBEGIN:VALARM\nEND:VEVENT\nBEGIN:VEVENT\nSUMMARY:y\nEND:VEVENT\n';
    expect(describeInvitation(`BEGIN:VCALENDAR\n${open}END:VCALENDAR`)).toBe('Event: x\n\nEvent: y');
    expect(describeInvitation('begin:vcalendar\nbegin:vevent\n\nsummary:x\nend:vcalendar')).toBe('Event: x');
  });

  test('never fails', () => {
    const whole = calendar(
      'REQUEST',
      'SUMMARY:x\nDTSTART;TZID=W. Europe Standard Time:20240701T100000\nRRULE:FREQ=DAILY',
      berlin,
    );
    for (let length = 0; length < whole.length; length++) describeInvitation(whole.slice(0, length));
    const words = fc.constantFrom(
      ...[
        'BEGIN:',
        'END:',
        'VCALENDAR',
        'VEVENT',
        'VTIMEZONE',
        'DTSTART',
        'RRULE:',
        'FREQ=YEARLY',
        ';TZID=',
        ':',
        ';',
        '\n',
        '\n ',
        '"',
      ],
      ...[
        '20240701T100000Z',
        '-1SU',
        'BYDAY=',
        'RDATE:',
        'DURATION:P',
        '99999999',
        '__proto__',
        'ATTENDEE',
        'CN=',
        '\\',
        ',',
        'é',
      ],
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 60 }), fc.string({ unit: 'binary' }), (list, other) => {
        describeInvitation(calendar('REQUEST', list.join('') + other));
        describeInvitation(list.join(''));
      }),
      { numRuns: 300 },
    );
  });

  const size = 5_000_000;
  const filled = (piece: string) => calendar('REQUEST', piece.repeat(size / piece.length), berlin);
  test.each([
    ['open components', filled('BEGIN:VEVENT\n')],
    ['components', filled('BEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\n')],
    ['continued lines', filled('\n a')],
    ['lines', filled('RDATE:20240101T000000Z\n')],
    ['zones', filled(berlin)],
    ['events in zones', filled('END:VEVENT\nBEGIN:VEVENT\nDTSTART;TZID=W. Europe Standard Time:20240101T000000\n')],
    ['one long line', filled('x')],
    ['dates in one line', calendar('REQUEST', `RDATE:${'20240101T000000Z,'.repeat(size / 20)}`)],
    ['parameters', calendar('REQUEST', `ATTENDEE${';CN="a"'.repeat(size / 7)}:x`)],
    ['lines of parameters', filled(`ATTENDEE${';CN="a"'.repeat(1400)}:x\n`)],
    ['lines of open quotes', filled(`ATTENDEE${';CN="'.repeat(1900)}:x\n`)],
    ['escapes', calendar('REQUEST', `SUMMARY:${'\\,'.repeat(size / 2)}`)],
    ['rules', filled(`RRULE:FREQ=DAILY;${'BYDAY=MO;'.repeat(1000)}\n`)],
    ['signs in a description', filled(`DESCRIPTION:${'-~'.repeat(9)}${'- '.repeat(4000)}\n`)],
    ['HTML in a description', calendar('REQUEST', `DESCRIPTION:${'<b>'.repeat(size / 3)}`)],
  ])('is read within the limit: %s', (_, ics) => {
    const startedAtMs = performance.now();
    describeInvitation(ics);
    expect(performance.now() - startedAtMs).toBeLessThan(limitMs);
  });
});
