/**
 * Mails of persons that have signs of machines: what a desk gets from people who write about bounces, absences and
 * deliveries, and what forms, forwarders and rules write on their way. Each opens a ticket, so each is from a person.
 */
import { describe, expect, test } from 'vitest';
import { parseMessage } from '../../../src/mail/parse.ts';

type Fields = Readonly<Record<string, string>>;
type Case = readonly [what: string, fields: Fields, text: string];

function source(fields: Fields, text: string): Uint8Array<ArrayBuffer> {
  const all = { From: 'Anna <anna@kunde.example>', To: 'desk@desk.example', 'Return-Path': '<anna@kunde.example>' };
  const block = Object.entries({ ...all, ...fields }).map(([name, value]) => `${name}: ${value}`);
  return new Uint8Array(Buffer.from([...block, '', text, ''].join('\n').replace(/\n/gu, '\r\n')));
}

function mixed(...parts: readonly (readonly [type: string, content: string])[]): string {
  return `${parts.map(([type, content]) => `--b\nContent-Type: ${type}\n\n${content}\n`).join('')}--b--`;
}

const withParts = { 'MIME-Version': '1.0', 'Content-Type': 'multipart/mixed; boundary=b' };
const answer = { 'In-Reply-To': '<sent@desk.example>', References: '<sent@desk.example>' };
const suppressed = { 'X-Auto-Response-Suppress': 'All' };
const nobody = { 'Return-Path': '<>' };
const absence = 'I am out of the office next week';
const report =
  '<ben@kunde.example>: host mx.kunde.example said: 550 5.1.1 <ben@kunde.example>: User unknown (in reply to RCPT TO command)';
const bounce = `This is the mail system at host mx.example.\n\nYour message could not be delivered.\n\n${report}`;
const status =
  'Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; ben@kunde.example\nAction: failed\nStatus: 5.1.1';

const absences: readonly Case[] = [
  ['wants one set up', { Subject: 'Abwesenheitsnotiz: bitte für Frau Berg einrichten' }, 'Sie ist ab Montag weg.'],
  [
    'wants one set up while away',
    { Subject: 'Abwesenheitsnotiz: bitte einrichten' },
    'Guten Tag,\n\nich bin ab Montag nicht im Büro und komme an die Einstellung nicht heran.',
  ],
  ['wants one for a colleague', { Subject: 'Out of office: please enable it for Bob' }, 'He is ill.'],
  ['has a broken one', { Subject: 'Autoresponder: does not work any more' }, 'Since Monday nobody gets an answer.'],
  ['has one too many', { Subject: 'Auto-reply: how do I switch it off?' }, 'I am back from vacation.'],
  [
    'writes it with Outlook, which repeats the subject',
    { Subject: 'Out of office: please enable it', 'Thread-Topic': 'Out of office: please enable it' },
    'For Bob.',
  ],
  ['is away next week', { Subject: 'Out of office: next week' }, `${absence}`],
  [
    'wants one set up, and whom a rule of Exchange redirected',
    { Subject: 'Abwesenheitsnotiz: bitte einrichten', 'X-MS-Exchange-Inbox-Rules-Loop': 'info@shop.example' },
    'Für Frau Berg.',
  ],
  ['wants one set up in a form', { Subject: 'Out of office: please enable it', ...nobody }, 'For Bob.'],
  ['has a broken one, in a firm that suppresses answers', { Subject: 'Autoresponder: is broken', ...suppressed }, ''],
];

const forms: readonly Case[] = [
  [
    'came through a rule of Exchange',
    { Subject: 'Printer', 'X-MS-Exchange-Inbox-Rules-Loop': 'info@shop.example' },
    'It does not print.',
  ],
  [
    'came through a rule that makes the envelope empty',
    { Subject: 'WG: Drucker', 'X-MS-Exchange-Inbox-Rules-Loop': 'info@shop.example', ...nobody, ...suppressed },
    'Er druckt nicht.',
  ],
  ['answers through a form', { Subject: 'Re: printer', ...nobody }, 'It still does not print.'],
  ['answers through a forwarder', { Subject: 'printer', ...nobody, ...answer }, 'It still does not print.'],
  [
    'thanks through a forwarder',
    { Subject: 'Re: printer', ...nobody, ...answer },
    'Thank you for your message. It still does not print.',
  ],
  [
    'used a form that thanks',
    { Subject: 'Contact', ...suppressed },
    'Thank you for contacting us\n\nMessage: no network',
  ],
  ['will be away', { Subject: 'Laptop', ...suppressed }, 'I will be on vacation next week, can I return it today?'],
  [
    'will be away, and answers from a firm that suppresses answers',
    { Subject: 'Re: Laptop', ...suppressed, ...answer },
    'I will be on vacation next week, can I return it today?',
  ],
  [
    'thanks from a firm that suppresses answers',
    { Subject: 'AW: Laptop', ...suppressed, ...answer },
    'Vielen Dank für Ihre Nachricht. Es geht leider immer noch nicht.',
  ],
  ['is bulk by mistake', { Subject: 'Key card', Precedence: 'bulk' }, `Hi,\n\n${absence}, who takes my key card?`],
  [
    'asks for leave in a form',
    { Subject: 'Vacation: 3 to 7 May', ...suppressed },
    'I will be on vacation from 3 May. Please approve.',
  ],
  ['asks for leave in a form without path', { Subject: 'Urlaub: Antrag', ...nobody }, 'Ich bin im Urlaub ab Montag.'],
  [
    'answers by hand in a desk that writes all fields',
    { Subject: 'Re: Order', 'Auto-Submitted': 'auto-generated', ...suppressed, ...answer },
    'The part is in stock again, do you still want it?',
  ],
  [
    'confirms and objects',
    { Subject: 'Re: Laptop', ...suppressed, ...answer },
    'We have received your message, but the link in it does not work.',
  ],
  [
    'cannot leave a list, in a form',
    { Subject: 'Unsubscribe button does not work', 'Auto-Submitted': 'auto-generated' },
    'I click and nothing happens.',
  ],
];

const failures: readonly Case[] = [
  [
    'tells us of it',
    { Subject: 'Mail could not be delivered' },
    'Hello,\n\nyour message to bob@cust.example could not be delivered, our server was down. Please resend it.\n\nAnna',
  ],
  [
    'tells us of it without a greeting',
    { Subject: 'Mail could not be delivered' },
    'Your message to bob@cust.example could not be delivered.',
  ],
  [
    'quotes an error',
    { Subject: 'Unable to send' },
    'Outlook says:\n\nYour message to bob@cust.example could not be sent: 550 5.7.1 relaying denied',
  ],
  [
    'warns us',
    { Subject: 'Warning: mail from you not delivered' },
    'Your message to carl@cust.example was not delivered, it was in our spam folder.',
  ],
  [
    'minds the mail',
    { From: 'Postmaster <post@kunde.example>', Subject: 'Mail delivery problem' },
    'Mail could not be delivered all day.',
  ],
  [
    'minds the mail, has its address, and a screenshot',
    { From: 'Postmaster <postmaster@kunde.example>', Subject: 'Delivery problems with your newsletter', ...withParts },
    mixed(['text/plain', 'It could not be delivered to ben@kunde.example, see the picture.'], ['image/png', 'x']),
  ],
  [
    'is called like a program',
    { From: 'Mail System <it@kunde.example>', Subject: 'Delivery problems with your newsletter' },
    'Your newsletter could not be delivered since Monday.',
  ],
  [
    'sends from a form whose address sounds like a program',
    { From: 'mailer@shop.example', Subject: 'Delivery failed' },
    'Order 4711 was not delivered, where is it?',
  ],
  [
    'administers',
    { From: 'System Administrator <it@kunde.example>', Subject: 'Warning: mail server disk full' },
    'Disk full: mail cannot be delivered soon.',
  ],
  [
    'answers as postmaster with the log',
    { From: 'postmaster@kunde.example', Subject: 'Re: no mail', ...answer },
    'The log says:\n\nRCPT TO:<ben@kunde.example>\n550 User unknown',
  ],
  [
    'asks as postmaster for help with the log',
    { From: 'postmaster@kunde.example', Subject: 'Undeliverable mail' },
    `Hello colleagues,\n\ncan you tell me why your server refuses this?\n\n${report}`,
  ],
  [
    'forwards a report as postmaster, part by part',
    { From: 'postmaster@kunde.example', Subject: 'Fwd: Undeliverable', ...withParts },
    mixed(['text/plain', 'Please look into this.'], ['message/delivery-status', status]),
  ],
  [
    'writes above a bounce',
    { Subject: 'Undelivered Mail Returned to Sender' },
    `What is wrong with Ben's mailbox?\n\n-----Original Message-----\nFrom: MAILER-DAEMON@mx.example\n\n${bounce}`,
  ],
  ['pastes a bounce and nothing else', { Subject: 'Undelivered Mail Returned to Sender' }, bounce],
  [
    'forwards a bounce as a part with a comment',
    { Subject: 'Undelivered Mail Returned to Sender', ...withParts },
    mixed(
      ['text/plain', 'Your message to ben@kunde.example came back to me: could not be delivered.'],
      ['message/rfc822', `From: MAILER-DAEMON@mx.example\nSubject: Undelivered Mail\n\n${bounce}`],
    ),
  ],
  [
    'forwards a bounce in a form without path',
    { Subject: 'Delivery failed', ...nobody },
    `Hello,\n\nI got this, why?\n\n${bounce}`,
  ],
  [
    'reports it in a form without path',
    { Subject: 'Mail could not be delivered', ...nobody },
    'Your message to bob@cust.example could not be delivered. Please resend.',
  ],
  [
    'carries parcels',
    { From: 'Parcels <noreply@parcels.example>', Subject: 'Delivery failed: parcel 123' },
    'Your parcel for anna@kunde.example could not be delivered. Choose a new date.',
  ],
  [
    'carries parcels, by machine',
    {
      From: 'Parcels <noreply@parcels.example>',
      Subject: 'Delivery failed: parcel 123',
      'Auto-Submitted': 'auto-generated',
      Precedence: 'bulk',
    },
    'The parcel could not be delivered. Reach us at office@parcels.example.',
  ],
  [
    'carries parcels, without path',
    { From: 'noreply@parcels.example', Subject: 'Zustellung fehlgeschlagen: Paket 123', ...nobody },
    'Ihr Paket konnte nicht zugestellt werden.',
  ],
  [
    'minds a newsletter',
    { Subject: 'Bounced mail: 120 of our readers' },
    'Our newsletter was not delivered to these:\n\nben@kunde.example\ncarl@kunde.example\n\nWhat should we do?',
  ],
  [
    'cannot get into the mailbox',
    { Subject: 'Mailbox full', ...suppressed },
    'Your mail tells me my mailbox anna@kunde.example is full, mail could not be delivered.',
  ],
  [
    'has a form that says who could not be reached',
    { Subject: 'Mail could not be delivered', ...nobody },
    'Mail from a customer to ben@kunde.example could not be delivered: 550 5.1.1 user unknown',
  ],
];

const others: readonly Case[] = [
  ['cannot prove it', { Subject: 'Re: login', ...answer }, '"Please confirm that you are a human". It never works.'],
  [
    'cannot prove it, with the link',
    { Subject: 'Re: login', ...answer },
    'It says "please confirm that you are a human" on https://login.example/1. It never works.',
  ],
  ['reads', { Subject: 'Read: the manual' }, 'The tape was read on Monday and failed.'],
  [
    'reads, with Outlook',
    { Subject: 'Read: the manual', 'X-MS-Has-Attach': '', ...answer },
    'The tape was read on Monday and failed.',
  ],
  [
    'asks about a confirmation',
    { Subject: 'Read: Order', ...answer },
    'What is this?\n\nYour message\n\n  To: Anna\n  Subject: Order\n\nwas read on 24.11.2026 09:15.',
  ],
];

const systems: readonly Case[] = [
  [
    'minds systems and has a transcript in a sentence',
    { From: 'System Administrator <sa@kunde.example>', Subject: 'Mail delivery failed for user ben' },
    'Ben (ben@kunde.example) could not be reached by mail: 550 5.1.1 unknown. Create his mailbox.',
  ],
  [
    'is postmaster and asks for a restart',
    { From: 'postmaster@kunde.example', Subject: 'Delivery failure on mx2' },
    'Since 9:00 mx2 could not deliver to carl@cust.example: 451 4.4.1 timeout. Restart the queue.',
  ],
  [
    'is called like a delivery program',
    { From: 'Mail Delivery System <it@kunde.example>', Subject: 'Printer' },
    'The job could not be delivered to the printer.',
  ],
  [
    'has a backup that failed',
    { Subject: 'Failed: backup of db1', 'Auto-Submitted': 'auto-generated', ...nobody },
    'Backup failed: could not be sent to backup@kunde.example: 550 denied',
  ],
  [
    'has a long queue',
    { Subject: 'Warning: mail queue is long', 'Auto-Submitted': 'auto-generated', Precedence: 'bulk' },
    'Mail for ben@kunde.example could not be delivered yet, 300 in queue.',
  ],
  [
    'asks for leave through a workflow',
    { Subject: 'Leave request: Anna', 'Auto-Submitted': 'auto-generated' },
    'Anna asked for leave.\nComment: I will be on vacation.',
  ],
  [
    'fills in a form',
    { Subject: 'New request', 'Auto-Submitted': 'auto-generated', ...nobody },
    'Name: Anna\nMessage: I am out of the office next week',
  ],
  [
    'is told of by a workflow',
    { Subject: 'Out of office: Bob left', 'Auto-Submitted': 'auto-generated' },
    'Please disable the account of Bob.',
  ],
];

describe('a person stays a person who', () => {
  test.each([...absences, ...forms, ...failures, ...systems, ...others])('%s', async (_, fields, text) => {
    expect((await parseMessage(source(fields, text))).kind).toBe('human');
  });
});
