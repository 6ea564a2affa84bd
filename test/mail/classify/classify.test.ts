/** Classification: each kind by its signals, and messages of persons that resemble another kind. */
import { describe, expect, test } from 'vitest';
import type { MessageKind } from '../../../src/mail/message.ts';
import { parseMessage } from '../../../src/mail/parse.ts';

type Fields = Readonly<Record<string, string>>;

/** A message of a person, unless its fields declare otherwise. */
function mail(fields: Fields, text = 'Hello, I have a question.'): Uint8Array<ArrayBuffer> {
  const all = { From: 'Anna <anna@kunde.example>', To: 'desk@desk.example', Subject: 'Order 4711', ...fields };
  const block = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return new Uint8Array(Buffer.from([...block, '', text, ''].join('\n').replace(/\n/gu, '\r\n')));
}

function parts(type: string, list: readonly (readonly [type: string, content: string])[], fields: Fields = {}) {
  const body = list.map(([partType, content]) => `--b\nContent-Type: ${partType}\n\n${content}\n`).join('');
  return mail({ 'MIME-Version': '1.0', 'Content-Type': `multipart/${type}; boundary=b`, ...fields }, `${body}--b--`);
}

const kindOf = async (source: Uint8Array<ArrayBuffer>) => (await parseMessage(source)).kind;

const daemon = 'MAILER-DAEMON@mx.example';
const answer = { 'In-Reply-To': '<sent@desk.example>' };

describe('by its header fields a message is', () => {
  test.each<readonly [MessageKind, string, Fields]>([
    ['human', 'a person', {}],
    ['human', 'monitoring, which is unsolicited', { 'Auto-Submitted': 'auto-generated' }],
    ['human', 'a person with Auto-Submitted: no', { 'Auto-Submitted': 'no' }],
    ['human', 'a program with X-Autoreply: no', { 'X-Autoreply': 'no' }],
    ['human', 'a newsletter without List-Id', { Precedence: 'bulk' }],
    ['human', 'a shop with List-Unsubscribe', { 'List-Unsubscribe': '<https://shop.example/leave>' }],
    ['human', 'a person whose company suppresses automatic replies', { 'X-Auto-Response-Suppress': 'All', ...answer }],
    ['human', 'a person with a null reverse-path', { 'Return-Path': '<>' }],
    ['auto_reply', 'RFC 3834', { 'Auto-Submitted': 'Auto-Replied; owner="x"' }],
    ['auto_reply', 'RFC 5436', { 'Auto-Submitted': 'auto-notified' }],
    ['auto_reply', 'X-Autoreply', { 'X-Autoreply': 'yes' }],
    ['auto_reply', 'X-Autorespond', { 'X-Autorespond': 'Away' }],
    ['auto_reply', 'Precedence', { Precedence: 'auto_reply' }],
    [
      'auto_reply',
      'a rule of Exchange, in any language',
      {
        'Return-Path': '<>',
        'X-Auto-Response-Suppress': 'All',
        'X-MS-Exchange-Inbox-Rules-Loop': 'anna@kunde.example',
        ...answer,
      },
    ],
    ['human', 'a person whom a rule of Exchange redirected', { 'X-MS-Exchange-Inbox-Rules-Loop': 'info@shop.example' }],
    [
      'human',
      'a helpdesk of persons whose program sets all fields',
      { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All', ...answer },
    ],
    ['auto_reply', 'a vacation program', { 'X-Mailer': 'vacation 1.2.7' }],
    [
      'auto_reply',
      'an automatic reply of Exchange',
      { 'Return-Path': '<>', 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All', ...answer },
    ],
    ['human', 'a forwarder with a null reverse-path', { 'Return-Path': '<>', Subject: 'Re: Your order' }],
    ['human', 'a reply through a forwarder', { 'Return-Path': '<>', ...answer }],
    ['list', 'a list', { 'List-Id': '<talk.list.example>' }],
    ['list', 'an old list program', { 'List-Post': '<mailto:talk@list.example>', Precedence: 'list' }],
    [
      'list',
      'a newsletter',
      { 'List-Unsubscribe': '<https://news.example/u>', 'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click' },
    ],
    [
      'list',
      'a person on a list who writes about bounces',
      { 'List-Id': '<mta.list.example>', Subject: 'Undelivered mail: what to do?' },
    ],
    [
      'list',
      'an automatic reply that went to a list',
      { 'List-Id': '<talk.list.example>', Subject: 'Automatic reply: x' },
    ],
    [
      'bounce',
      'a report, whatever its other fields are',
      {
        'Content-Type': 'Multipart/Report; boundary=x; report-type="Delivery-Status"',
        'Auto-Submitted': 'auto-replied',
      },
    ],
    ['bounce', 'Exim and Gmail', { From: daemon, 'X-Failed-Recipients': 'ben@kunde.example' }],
    ['human', 'a person with a stray X-Failed-Recipients', { 'X-Failed-Recipients': 'ben@kunde.example' }],
    [
      'read_receipt',
      'RFC 8098',
      { 'Content-Type': 'multipart/report; report-type=disposition-notification; boundary=x' },
    ],
    ['feedback_report', 'RFC 5965', { 'Content-Type': 'multipart/report; report-type=feedback-report; boundary=x' }],
    [
      'feedback_report',
      'a mail program that unsubscribes',
      { Subject: 'unsubscribe', 'Auto-Submitted': 'auto-replied' },
    ],
  ])('%s: %s', async (kind, _, fields) => {
    expect(await kindOf(mail(fields))).toBe(kind);
  });
});

describe("a program's subject beside another sign is an automatic reply:", () => {
  test.each([
    'Automatic reply: Order',
    'Out of Office: Order',
    'Out of Office AutoReply: Order',
    'AutoReply: Order',
    'Abwesenheitsnotiz: Bestellung',
    'Abwesend: AW: Bestellung',
    '【自動返信】お問い合わせ',
    'Automatische Antwort: Bestellung',
    'Réponse automatique : commande',
    'Respuesta automática: pedido',
    'Risposta automatica: ordine',
    'Resposta automática: pedido',
    'Automatisch antwoord: bestelling',
    'Automatiskt svar: order',
    'Automatisk svar: ordre',
    'Automaattinen vastaus: tilaus',
    'Automatyczna odpowiedź: zamówienie',
    'Automatická odpověď: objednávka',
    'Automatikus válasz: rendelés',
    'Răspuns automat: comandă',
    'Автоматический ответ: заказ',
    'Автоматична відповідь: замовлення',
    'Otomatik yanıt: sipariş',
    'Αυτόματη απάντηση: παραγγελία',
    '自動応答: 注文',
    '自动回复: 订单',
    '자동 회신: 주문',
    'מענה אוטומטי: הזמנה',
    'رد تلقائي: طلب',
  ])('%s', async (subject) => {
    const outlook = { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' };
    expect(await kindOf(mail({ Subject: subject, ...outlook }))).toBe('auto_reply');
    expect(await kindOf(mail({ Subject: subject, 'X-Auto-Response-Suppress': 'All' }))).toBe('auto_reply');
    expect(await kindOf(mail({ Subject: subject, 'Return-Path': '<>' }))).toBe('auto_reply');
    expect(await kindOf(mail({ Subject: subject, Precedence: 'bulk' }, 'I am out of the office.'))).toBe('auto_reply');
    expect(await kindOf(mail({ Subject: subject, 'X-MS-Exchange-Inbox-Rules-Loop': 'x@y.example' }))).toBe(
      'auto_reply',
    );
    expect(await kindOf(mail({ Subject: subject, ...answer }, 'I am out of the office.'))).toBe('auto_reply');
    expect(await kindOf(mail({ Subject: subject }))).toBe('human');
    expect(await kindOf(mail({ Subject: subject, ...answer }))).toBe('human');
    expect(await kindOf(mail({ Subject: `Re: ${subject}` }))).toBe('human');
  });
});

describe('words of absence and receipt count only beside another sign:', () => {
  test.each([
    ['Thank you for contacting us. We have received your request.'],
    ['I am currently out of the office until Monday.'],
    ['Ich bin bis Montag nicht im Büro.'],
    ['Vielen Dank für Ihre Anfrage.'],
    ['Je suis absente du bureau.'],
  ])('%s', async (text) => {
    expect(await kindOf(mail({}, text))).toBe('human');
    expect(await kindOf(mail({ 'Auto-Submitted': 'auto-generated' }, text))).toBe('auto_reply');
    expect(await kindOf(mail({ Precedence: 'junk', 'Return-Path': '<>' }, text))).toBe('auto_reply');
    expect(await kindOf(mail({ Precedence: 'junk' }, text))).toBe('human');
    expect(await kindOf(mail({ 'X-Auto-Response-Suppress': 'All' }, text))).toBe('human');
    expect(await kindOf(mail({ 'Return-Path': '<>' }, text))).toBe('human');
  });
});

const quotedBounce =
  '> From: MAILER-DAEMON@mx.example\n> Subject: Undelivered Mail Returned to Sender\n>\n> I am sorry, your message could not be delivered.\n>\n> <ben@kunde.example>: host mx said: 550 5.1.1 User unknown\n';
const bounceParts = [
  ['text/plain', 'Your message could not be delivered.\n\n<ben@kunde.example>: User unknown'],
  [
    'message/delivery-status',
    'Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; ben@kunde.example\nAction: failed\nStatus: 5.1.1',
  ],
] as const;
const attachedBounce = [
  ['text/plain', 'What does this mean?'],
  ['message/rfc822', `From: ${daemon}\nSubject: Undelivered Mail\nContent-Type: text/plain\n\n${bounceParts[0][1]}`],
] as const;

describe('a message is from a person who', () => {
  test.each<readonly [string, Uint8Array<ArrayBuffer>]>([
    [
      'replies to a bounce',
      mail({ Subject: 'Re: Undelivered Mail Returned to Sender', ...answer }, `What is wrong?\n\n${quotedBounce}`),
    ],
    [
      'replies without any words',
      mail({ Subject: 'Re: Undelivered Mail Returned to Sender', ...answer }, quotedBounce),
    ],
    ['replies below the quote', mail({ Subject: 'AW: Unzustellbar', ...answer }, `${quotedBounce}\n\nWas heißt das?`)],
    [
      'forwards a bounce in the text',
      mail(
        { Subject: 'Fwd: Undelivered Mail Returned to Sender' },
        `What is wrong?\n\n---- Forwarded message ----\nSubject: Undelivered Mail\n\nYour message could not be delivered to ben@kunde.example`,
      ),
    ],
    ['forwards a bounce as a part', parts('mixed', attachedBounce, { Subject: 'Fwd: Undelivered mail' })],
    ['keeps its status as a part', parts('mixed', bounceParts, { Subject: 'see below' })],
    [
      'describes a bounce',
      mail(
        { Subject: 'Delivery failed' },
        'Hello,\n\nmy mail to ben@kunde.example could not be delivered. Do you know why?\n\nAnna',
      ),
    ],
    [
      'waits for a parcel',
      mail(
        { Subject: 'Delivery failure: parcel 4711' },
        'The parcel was not delivered to my address. Please answer to office@kunde.example',
      ),
    ],
    [
      'is postmaster of a firm',
      mail(
        { From: 'postmaster@kunde.example', Subject: 'Our mail server' },
        'Hello,\n\nour server refuses your mail since Monday; ben@kunde.example did not get it.',
      ),
    ],
    ['has a full mailbox', mail({ Subject: 'Mailbox full' }, 'I cannot send: my mailbox anna@kunde.example is full.')],
    ['plans a holiday', mail({ Subject: 'Urlaub im Juli' }, 'Guten Tag, ist das Hotel frei?')],
    ['asks about automatic replies', mail({ Subject: 'How do I set an automatic reply?' })],
    [
      'has an alarm system that declares itself',
      mail(
        { Subject: 'Host down', 'Auto-Submitted': 'auto-generated', Precedence: 'bulk' },
        'This is an automatically generated message, do not reply to this e-mail.\n\nHost db-1 is down.',
      ),
    ],
    [
      'administers systems, and a backup failed',
      mail(
        { From: 'System Administrator <it@kunde.example>', Subject: 'Backup' },
        'Das Backup konnte nicht laufen: fehlgeschlagen.',
      ),
    ],
    [
      'has an alarm that names a user',
      mail({ 'Return-Path': '<>', Subject: 'Login' }, 'Login failed: user ben@kunde.example not found.'),
    ],
    [
      'has a virus scanner that reports a finding',
      mail(
        { From: 'antivirus@kunde.example', Subject: 'Virus found' },
        'The file could not be delivered to quarantine.',
      ),
    ],
    [
      'writes about paper mail',
      mail(
        { Subject: 'Delivery failed' },
        'Your mail could not be delivered. Write to desk@desk.example for a new date, account desk@desk.example.',
      ),
    ],
    [
      'receives a newsletter about holidays',
      mail({ Precedence: 'bulk', Subject: 'Urlaub an der See' }, 'Jetzt buchen.'),
    ],
    [
      'replies under an automatic subject with its words on top',
      mail(
        { Subject: 'Undelivered Mail Returned to Sender', ...answer },
        'Your message could not be delivered:\n\n<ben@kunde.example>: User unknown\n\nThis came back, why?',
      ),
    ],
    ['asks for help with a bounce', mail({ Subject: 'Abwesenheitsnotiz einrichten' })],
    ['complains about a bounce', mail({ Subject: 'Automatic reply not working' })],
    ['writes only the word for it', mail({ Subject: 'Out of office' })],
    ['reads', mail({ Subject: 'Read: this' }, 'Please read the attached page.')],
  ])('%s', async (_, source) => {
    expect(await kindOf(source)).toBe('human');
  });
});

describe('an automatic reply is no bounce when it', () => {
  test.each<readonly [string, Uint8Array<ArrayBuffer>]>([
    [
      'quotes the message replied to',
      mail({ 'Return-Path': '<>', Subject: 'Re: Order', ...answer }, `I am out of the office.\n\n${quotedBounce}`),
    ],
    [
      'confirms receipt with a null reverse-path',
      mail(
        { 'Return-Path': '<>', Precedence: 'bulk', Subject: 'Thank you for your e-mail' },
        'Thank you. I will answer soon.',
      ),
    ],
    [
      'is a challenge',
      parts('report; report-type=delivery-status', [
        ['text/plain', 'Please add yourself to my guest list.'],
        [
          'message/delivery-status',
          'Final-Recipient: rfc822; ben@kunde.example\nAction: failed\nDiagnostic-Code: X-Notice; Sender not pre-approved\nStatus: 4.7.0',
        ],
      ]),
    ],
    [
      'is a challenge in a plain message',
      mail(
        { From: 'no-reply@filter.example', Subject: 'Re: Order (verification required)', ...answer },
        'Please confirm that you are a person and not a spammer: https://filter.example/1',
      ),
    ],
  ])('%s', async (_, source) => {
    expect(await kindOf(source)).toBe('auto_reply');
  });
});

describe('reports have the Message-ID of the reported message:', () => {
  test.each<readonly [string, Uint8Array<ArrayBuffer>, MessageKind]>([
    [
      'a complaint',
      parts('report; report-type=feedback-report', [
        ['text/plain', 'A complaint'],
        ['message/feedback-report', 'Feedback-Type: abuse'],
        ['message/rfc822', 'Message-ID: <sent@desk.example>\n\nx'],
      ]),
      'feedback_report',
    ],
    [
      'a complaint with the Message-ID in a field',
      parts('report; report-type=feedback-report', [
        ['message/feedback-report', 'Feedback-Type: auth-failure\nMessage-ID: <sent@desk.example>'],
      ]),
      'feedback_report',
    ],
    [
      'an old form of complaint',
      parts(
        'mixed',
        [['message/rfc822', 'X-HmXmrOriginalRecipient: <anna@kunde.example>\nMessage-ID: <sent@desk.example>\n\nx']],
        { Subject: 'complaint about message from 192.0.2.1' },
      ),
      'feedback_report',
    ],
    [
      'a read receipt',
      parts('report; report-type=disposition-notification', [
        ['text/plain', 'Displayed.'],
        [
          'message/disposition-notification',
          'Original-Message-ID: <sent@desk.example>\nDisposition: manual-action/MDN-sent-manually; displayed',
        ],
      ]),
      'read_receipt',
    ],
    [
      'a read receipt for a message deleted unread',
      parts('report', [
        [
          'message/disposition-notification',
          'Original-Message-ID: <sent@desk.example>\nDisposition: automatic-action/MDN-sent-automatically; deleted',
        ],
      ]),
      'read_receipt',
    ],
    [
      'a read receipt of Outlook in words',
      mail(
        { Subject: 'Read: Order', 'X-MS-Has-Attach': '', ...answer },
        'Your message\n\n  To: Anna\n  Subject: Order\n\nwas read on 24.11.2026 09:15.',
      ),
      'read_receipt',
    ],
  ])('%s', async (_, source, kind) => {
    const parsed = await parseMessage(source);
    expect([parsed.kind, parsed.reportedMessageId, parsed.bounce]).toEqual([kind, 'sent@desk.example', null]);
  });
});
