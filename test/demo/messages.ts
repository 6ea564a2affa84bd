/**
 * The messages of the demo: one of each kind that a helpdesk meets.
 *
 * Sources as they travel: ASCII alone, CRLF line ends. All names and addresses are made up, in the domains that are
 * kept for examples (RFC 2606). Their dates count back from the moment that is given.
 */

const helpdesk = 'Helpdesk <help@helpdesk.example>';
const anna = 'Anna Keller <anna@keller-bikes.example>';
const firstId = '<printer-jam@keller-bikes.example>';
const answerId = '<answer-1@helpdesk.example>';
const boundary = '=_demo_part';
const minuteMs = 60_000;

const sampleTable = Buffer.from('article;ordered;delivered\nsaddle;12;12\nbell;40;4\n').toString('base64');
/** ISO-2022-JP (RFC 1468), as Japanese mail programs write it: a subject that says that the printer jams. */
const japanese = {
  from: '=?ISO-2022-JP?B?GyRCRURDZhsoQiAbJEIyVjtSGyhC?= <hanako@tanaka.example>',
  subject: '=?ISO-2022-JP?B?GyRCJVclaiVzJT8hPCQsO2Y1TSReJGokNyReJDkbKEI=?=',
  body: [
    'GyRCJCpAJE9DJEskSiRDJEYkKiRqJF4kOSEjGyhCDQobJEI3UE19SXQkTkVEQ2YkRyQ5ISMbKEINCg0K',
    'MxskQjMsJE4lVyVqJXMlPyE8JCxLaEQrO2Y1TSReJGokNyReJDkhIxsoQg0KGyRCM05HJyRyJCo0aiQk',
    'JCQkPyQ3JF4kOSEjGyhCDQo=',
  ],
};

/** What lies in the mailbox when the daemon starts: four tickets' worth, a reply and a bounce. */
export function waitingMessages(nowMs: number): readonly string[] {
  const at = (minutesAgo: number) => mailDate(nowMs - minutesAgo * minuteMs);
  return [plain(at(50)), html(at(42)), attachment(at(35)), reply(at(20)), bounce(at(15)), fromJapan(at(5))];
}

/** The message that arrives while the daemon runs. */
export function arrivingMail(nowMs: number): string {
  return source(
    'From: Pat Okafor <pat@okafor-travel.example>',
    'Subject: VPN drops every hour',
    `Date: ${mailDate(nowMs)}`,
    'Message-ID: <vpn@okafor-travel.example>',
    ...textFields,
    '',
    'Since this morning the VPN drops every hour, on the hour.',
    'Could somebody call me back today?',
  );
}

const textFields = ['Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: 7bit'];
const firstFields = [`To: ${helpdesk}`, 'MIME-Version: 1.0'];

function source(...lines: readonly string[]): string {
  return [...firstFields, ...lines, ''].join('\r\n');
}

function mailDate(atMs: number): string {
  return new Date(atMs).toUTCString().replace('GMT', '+0000');
}

function plain(date: string): string {
  return source(
    `From: ${anna}`,
    'Cc: Jonas Keller <jonas@keller-bikes.example>',
    'Subject: Printer on floor 3 jams',
    `Date: ${date}`,
    `Message-ID: ${firstId}`,
    ...textFields,
    '',
    'The printer on floor 3 has jammed four times since Monday.',
    'The code on its display is E-17.',
  );
}

function html(date: string): string {
  return source(
    'From: =?UTF-8?Q?Jos=C3=A9_Garc=C3=ADa?= <jose@garcia-foto.example>',
    'Subject: =?UTF-8?Q?Where_is_my_order_from_last_week=3F_=F0=9F=93=A6?=',
    `Date: ${date}`,
    'Message-ID: <order-4711@garcia-foto.example>',
    'Content-Type: text/html; charset=utf-8',
    'Content-Transfer-Encoding: 7bit',
    '',
    '<html><body><p>Order <b>4711</b> should have been here on Friday.</p>',
    '<p>Where is it now?</p></body></html>',
  );
}

function attachment(date: string): string {
  return source(
    'From: Olga Ivanova <olga@ivanova-garten.example>',
    'Subject: Delivery incomplete',
    `Date: ${date}`,
    'Message-ID: <delivery@ivanova-garten.example>',
    `Content-Type: multipart/mixed; boundary="${boundary}"`,
    '',
    `--${boundary}`,
    ...textFields,
    '',
    '36 bells are missing, see the table.',
    `--${boundary}`,
    'Content-Type: text/csv; name="delivery.csv"',
    'Content-Disposition: attachment; filename="delivery.csv"',
    'Content-Transfer-Encoding: base64',
    '',
    sampleTable,
    `--${boundary}--`,
  );
}

function reply(date: string): string {
  return source(
    `From: ${anna}`,
    'Subject: Re: Printer on floor 3 jams',
    `Date: ${date}`,
    'Message-ID: <printer-jam-2@keller-bikes.example>',
    `In-Reply-To: ${firstId}`,
    `References: ${firstId}`,
    ...textFields,
    '',
    'It jams with the new paper only; the old paper is fine.',
  );
}

/** A delivery report (RFC 3464): an answer of the helpdesk in the first thread did not reach a colleague. */
function bounce(date: string): string {
  return source(
    'Return-Path: <>',
    'From: Mail Delivery System <MAILER-DAEMON@mx.helpdesk.example>',
    'Subject: Undelivered Mail Returned to Sender',
    `Date: ${date}`,
    'Message-ID: <report-1@mx.helpdesk.example>',
    `In-Reply-To: ${answerId}`,
    `References: ${firstId} ${answerId}`,
    'Auto-Submitted: auto-replied',
    `Content-Type: multipart/report; report-type=delivery-status; boundary="${boundary}"`,
    '',
    `--${boundary}`,
    ...textFields,
    '',
    'Your message could not be delivered to jonas@keller-bikes.example.',
    `--${boundary}`,
    'Content-Type: message/delivery-status',
    '',
    'Reporting-MTA: dns; mx.helpdesk.example',
    '',
    'Final-Recipient: rfc822; jonas@keller-bikes.example',
    'Action: failed',
    'Status: 5.1.1',
    'Diagnostic-Code: smtp; 550 5.1.1 no such user',
    '',
    `--${boundary}`,
    'Content-Type: message/rfc822-headers',
    '',
    `From: ${helpdesk}`,
    `To: ${anna}`,
    'Cc: Jonas Keller <jonas@keller-bikes.example>',
    'Subject: Re: Printer on floor 3 jams',
    `Message-ID: ${answerId}`,
    `In-Reply-To: ${firstId}`,
    '',
    `--${boundary}--`,
  );
}

function fromJapan(date: string): string {
  return source(
    `From: ${japanese.from}`,
    `Subject: ${japanese.subject}`,
    `Date: ${date}`,
    'Message-ID: <kami@tanaka.example>',
    'Content-Type: text/plain; charset=iso-2022-jp',
    'Content-Transfer-Encoding: base64',
    '',
    ...japanese.body,
  );
}
