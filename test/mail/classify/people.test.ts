/**
 * Messages of persons with signs of programs, as a helpdesk receives them: from people who write about bounces,
 * absences and deliveries, and through forms, forwarders and rules. Each opens a ticket, so each must be classified as
 * a person.
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
const emptyReturnPath = { 'Return-Path': '<>' };
const absence = 'I am out of the office next week';
const report =
  '<ben@kunde.example>: host mx.kunde.example said: 550 5.1.1 <ben@kunde.example>: User unknown (in reply to RCPT TO command)';
const bounce = `This is the mail system at host mx.example.\n\nYour message could not be delivered.\n\n${report}`;
const status =
  'Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; ben@kunde.example\nAction: failed\nStatus: 5.1.1';

const absences: readonly Case[] = [
  [
    'wants an automatic reply set up',
    { Subject: 'Abwesenheitsnotiz: bitte für Frau Berg einrichten' },
    'Sie ist ab Montag weg.',
  ],
  [
    'wants an automatic reply set up while away',
    { Subject: 'Abwesenheitsnotiz: bitte einrichten' },
    'Guten Tag,\n\nich bin ab Montag nicht im Büro und komme an die Einstellung nicht heran.',
  ],
  ['wants an automatic reply for a colleague', { Subject: 'Out of office: please enable it for Bob' }, 'He is ill.'],
  [
    'has a broken automatic reply',
    { Subject: 'Autoresponder: does not work any more' },
    'Since Monday nobody gets an answer.',
  ],
  [
    'receives too many automatic replies',
    { Subject: 'Auto-reply: how do I switch it off?' },
    'I am back from vacation.',
  ],
  [
    'writes about it with Outlook, which repeats the subject',
    { Subject: 'Out of office: please enable it', 'Thread-Topic': 'Out of office: please enable it' },
    'For Bob.',
  ],
  ['is away next week', { Subject: 'Out of office: next week' }, `${absence}`],
  [
    'wants an automatic reply set up, and is redirected by an Exchange rule',
    { Subject: 'Abwesenheitsnotiz: bitte einrichten', 'X-MS-Exchange-Inbox-Rules-Loop': 'info@shop.example' },
    'Für Frau Berg.',
  ],
  [
    'wants an automatic reply set up, through a form',
    { Subject: 'Out of office: please enable it', ...emptyReturnPath },
    'For Bob.',
  ],
  [
    'has a broken automatic reply, in a company that suppresses them',
    { Subject: 'Autoresponder: is broken', ...suppressed },
    '',
  ],
];

const forms: readonly Case[] = [
  [
    'is redirected by an Exchange rule',
    { Subject: 'Printer', 'X-MS-Exchange-Inbox-Rules-Loop': 'info@shop.example' },
    'It does not print.',
  ],
  [
    'is redirected by a rule that nulls the reverse-path',
    {
      Subject: 'WG: Drucker',
      'X-MS-Exchange-Inbox-Rules-Loop': 'info@shop.example',
      ...emptyReturnPath,
      ...suppressed,
    },
    'Er druckt nicht.',
  ],
  ['replies through a form', { Subject: 'Re: printer', ...emptyReturnPath }, 'It still does not print.'],
  ['replies through a forwarder', { Subject: 'printer', ...emptyReturnPath, ...answer }, 'It still does not print.'],
  [
    'thanks through a forwarder',
    { Subject: 'Re: printer', ...emptyReturnPath, ...answer },
    'Thank you for your message. It still does not print.',
  ],
  [
    'uses a form that thanks',
    { Subject: 'Contact', ...suppressed },
    'Thank you for contacting us\n\nMessage: no network',
  ],
  ['will be away', { Subject: 'Laptop', ...suppressed }, 'I will be on vacation next week, can I return it today?'],
  [
    'will be away, in a company that suppresses automatic replies',
    { Subject: 'Re: Laptop', ...suppressed, ...answer },
    'I will be on vacation next week, can I return it today?',
  ],
  [
    'thanks, in a company that suppresses automatic replies',
    { Subject: 'AW: Laptop', ...suppressed, ...answer },
    'Vielen Dank für Ihre Nachricht. Es geht leider immer noch nicht.',
  ],
  [
    'has Precedence: bulk by mistake',
    { Subject: 'Key card', Precedence: 'bulk' },
    `Hi,\n\n${absence}, who takes my key card?`,
  ],
  [
    'asks for leave in a form',
    { Subject: 'Vacation: 3 to 7 May', ...suppressed },
    'I will be on vacation from 3 May. Please approve.',
  ],
  [
    'asks for leave in a form with a null reverse-path',
    { Subject: 'Urlaub: Antrag', ...emptyReturnPath },
    'Ich bin im Urlaub ab Montag.',
  ],
  [
    'replies by hand in a helpdesk that sets all fields',
    { Subject: 'Re: Order', 'Auto-Submitted': 'auto-generated', ...suppressed, ...answer },
    'The part is in stock again, do you still want it?',
  ],
  [
    'confirms receipt and objects',
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
    'reports a bounce',
    { Subject: 'Mail could not be delivered' },
    'Hello,\n\nyour message to bob@cust.example could not be delivered, our server was down. Please resend it.\n\nAnna',
  ],
  [
    'reports a bounce without a greeting',
    { Subject: 'Mail could not be delivered' },
    'Your message to bob@cust.example could not be delivered.',
  ],
  [
    'quotes an error',
    { Subject: 'Unable to send' },
    'Outlook says:\n\nYour message to bob@cust.example could not be sent: 550 5.7.1 relaying denied',
  ],
  [
    'warns about a failure',
    { Subject: 'Warning: mail from you not delivered' },
    'Your message to carl@cust.example was not delivered, it was in our spam folder.',
  ],
  [
    'is a mail administrator',
    { From: 'Postmaster <post@kunde.example>', Subject: 'Mail delivery problem' },
    'Mail could not be delivered all day.',
  ],
  [
    'is a mail administrator by address, with a screenshot',
    { From: 'Postmaster <postmaster@kunde.example>', Subject: 'Delivery problems with your newsletter', ...withParts },
    mixed(['text/plain', 'It could not be delivered to ben@kunde.example, see the picture.'], ['image/png', 'x']),
  ],
  [
    'is named like a delivery program',
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
    'replies as postmaster with the log',
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
    'forwards a bounce in a form with a null reverse-path',
    { Subject: 'Delivery failed', ...emptyReturnPath },
    `Hello,\n\nI got this, why?\n\n${bounce}`,
  ],
  [
    'reports a bounce in a form with a null reverse-path',
    { Subject: 'Mail could not be delivered', ...emptyReturnPath },
    'Your message to bob@cust.example could not be delivered. Please resend.',
  ],
  [
    'delivers parcels',
    { From: 'Parcels <noreply@parcels.example>', Subject: 'Delivery failed: parcel 123' },
    'Your parcel for anna@kunde.example could not be delivered. Choose a new date.',
  ],
  [
    'delivers parcels, notified by a program',
    {
      From: 'Parcels <noreply@parcels.example>',
      Subject: 'Delivery failed: parcel 123',
      'Auto-Submitted': 'auto-generated',
      Precedence: 'bulk',
    },
    'The parcel could not be delivered. Reach us at office@parcels.example.',
  ],
  [
    'delivers parcels, with a null reverse-path',
    { From: 'noreply@parcels.example', Subject: 'Zustellung fehlgeschlagen: Paket 123', ...emptyReturnPath },
    'Ihr Paket konnte nicht zugestellt werden.',
  ],
  [
    'runs a newsletter',
    { Subject: 'Bounced mail: 120 of our readers' },
    'Our newsletter was not delivered to these:\n\nben@kunde.example\ncarl@kunde.example\n\nWhat should we do?',
  ],
  [
    'cannot get into the mailbox',
    { Subject: 'Mailbox full', ...suppressed },
    'Your mail tells me my mailbox anna@kunde.example is full, mail could not be delivered.',
  ],
  [
    'has a form about a person who could not be reached',
    { Subject: 'Mail could not be delivered', ...emptyReturnPath },
    'Mail from a customer to ben@kunde.example could not be delivered: 550 5.1.1 user unknown',
  ],
];

const others: readonly Case[] = [
  [
    'cannot pass a challenge',
    { Subject: 'Re: login', ...answer },
    '"Please confirm that you are a human". It never works.',
  ],
  [
    'cannot pass a challenge, with the link',
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
    'administers systems and has a transcript in a sentence',
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
    { Subject: 'Failed: backup of db1', 'Auto-Submitted': 'auto-generated', ...emptyReturnPath },
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
    { Subject: 'New request', 'Auto-Submitted': 'auto-generated', ...emptyReturnPath },
    'Name: Anna\nMessage: I am out of the office next week',
  ],
  [
    'is reported by a workflow',
    { Subject: 'Out of office: Bob left', 'Auto-Submitted': 'auto-generated' },
    'Please disable the account of Bob.',
  ],
];

describe('a message is from a person who', () => {
  test.each([...absences, ...forms, ...failures, ...systems, ...others])('%s', async (_, fields, text) => {
    expect((await parseMessage(source(fields, text))).kind).toBe('human');
  });
});
