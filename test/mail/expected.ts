/**
 * Expected readings of the messages in `test/fixtures/messages/`, written by hand: all fields but hashes and bytes.
 *
 * Only differences from a plain message are listed; `expectedOf` adds the rest.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Attachment, ParsedMessage } from '../../src/mail/message.ts';
import { crlf } from './corpus.ts';

const folder = join(import.meta.dirname, '../fixtures/messages');

/** A message of the fixtures as a server sends it. */
export const readFixture = (name: string) => crlf(readFileSync(join(folder, `${name}.eml`)));

export type ShortAttachment = Omit<Attachment, 'content' | 'sha256'>;
export type ShortMessage = Omit<ParsedMessage, 'attachments' | 'contentHash'> & {
  readonly attachments: readonly ShortAttachment[];
};

/** Without hashes and bytes. */
export function short({ contentHash: _, attachments, ...rest }: ParsedMessage): ShortMessage {
  return { ...rest, attachments: attachments.map(({ content: _content, sha256: _sha256, ...kept }) => kept) };
}

const defaults: Omit<ShortMessage, 'messageId'> = {
  messageIdMissing: false,
  inReplyTo: [],
  references: [],
  from: { name: 'Anna Berg', address: 'anna.berg@kunde.example' },
  replyTo: [],
  to: [{ name: 'Support', address: 'support@desk.example' }],
  cc: [],
  subject: '',
  sentAtMs: Date.UTC(2026, 10, 24, 8, 15),
  text: '',
  html: null,
  headers: [],
  kind: 'human',
  bounce: null,
  reportedMessageId: null,
  marks: [],
  protection: null,
  hopCount: 0,
  attachments: [],
};

const part = (name: string, type: string, sizeBytes: number, more: Partial<ShortAttachment> = {}): ShortAttachment => ({
  name,
  type,
  sizeBytes,
  contentId: null,
  inline: false,
  ...more,
});

const differences: Readonly<Record<string, Partial<ShortMessage> & { readonly messageId: string }>> = {
  plain: {
    messageId: 'plain-1@kunde.example',
    subject: 'Printer on floor three does not answer',
    text: 'Hello,\n\nthe printer does not answer since this morning.\n\nAnna\n',
    headers: [['content-type', 'text/plain; charset=us-ascii']],
  },
  'html-only': {
    messageId: 'html-1@kunde.example',
    subject: 'Invoice question',
    text: 'Invoice\n\nIs invoice 4711 paid? It says 12\u00a0€.\n\nSee the invoice [https://desk.example/i/4711].',
    html: '<html><head><style>p { color: red }</style></head><body><h1>Invoice</h1><p>Is <b>invoice 4711</b> paid? It says 12&nbsp;€.</p><p>See <a href="https://desk.example/i/4711">the invoice</a>.</p></body></html>\n',
    headers: [['content-type', 'text/html; charset=utf-8']],
  },
  alternative: {
    messageId: 'alternative-1@kunde.example',
    subject: 'Order status',
    text: 'Wo ist die Bestellung für Müller?',
    html: '<p>Wo ist die <i>Bestellung</i> für Müller?</p>',
    headers: [['content-type', 'multipart/alternative; boundary="=_a1"']],
  },
  'attachment-rfc2231': {
    messageId: 'attachment-1@kunde.example',
    subject: 'Rechnung',
    text: 'Attached.',
    headers: [['content-type', 'multipart/mixed; boundary="=_m1"']],
    attachments: [part('Rechnung März 2026 €.pdf', 'application/pdf', 276), part('orders.csv', 'text/csv', 14)],
  },
  'inline-image': {
    messageId: 'inline-1@kunde.example',
    subject: 'Screenshot',
    text: 'This appears:\n\nWhy?',
    html: '<p>This appears:</p><img src="cid:shot%201@kunde.example"><p>Why?</p>',
    headers: [['content-type', 'multipart/related; boundary="=_r1"']],
    attachments: [
      part('image.png', 'image/png', 33, { contentId: 'shot 1@kunde.example', inline: true }),
      part('logo.png', 'image/png', 33, { contentId: 'logo@kunde.example' }),
    ],
  },
  reply: {
    messageId: 'reply-1@kunde.example',
    inReplyTo: ['answer-1@desk.example'],
    references: ['plain-1@kunde.example', 'answer-1@desk.example'],
    replyTo: [
      { name: 'Berg, Anna', address: 'anna@privat.example' },
      { name: '', address: 'team@kunde.example' },
    ],
    cc: [
      { name: '', address: 'carl@kunde.example' },
      { name: 'Dora', address: 'dora@kunde.example' },
    ],
    subject: 'Re: Printer on floor three does not answer',
    text: 'It works again, thank you.\n\nOn Tue, 24 Nov 2026, Support wrote:\n> Please try once more.\n',
    marks: [{ kind: 'quote', start: 28, end: 88 }],
    headers: [
      ['reply-to', '"Berg, Anna" <anna@privat.example>, team@kunde.example'],
      ['content-type', 'text/plain; charset=utf-8'],
    ],
  },
  bounce: {
    messageId: 'bounce-1@mx.kunde.example',
    from: { name: 'Mail Delivery System', address: 'MAILER-DAEMON@mx.kunde.example' },
    to: [{ name: '', address: 'support@desk.example' }],
    subject: 'Undelivered Mail Returned to Sender',
    sentAtMs: Date.UTC(2026, 10, 24, 10),
    text: 'Your message could not be delivered.',
    headers: [
      ['return-path', '<>'],
      ['auto-submitted', 'auto-replied'],
      ['content-type', 'multipart/report; report-type=delivery-status; boundary="=_d1"'],
    ],
    kind: 'bounce',
    bounce: {
      recipients: [{ address: 'gone@kunde.example', status: '5.1.1', hard: true, diagnostic: '' }],
      status: '5.1.1',
      hard: true,
    },
    reportedMessageId: 'answer-7@desk.example',
    attachments: [
      part('delivery-status.txt', 'message/delivery-status', 116),
      part('Antwort für Sie.eml', 'message/rfc822', 149),
    ],
  },
  'bounce-headers-only': {
    messageId: 'bounce-2@mx.kunde.example',
    from: { name: '', address: 'postmaster@mx.kunde.example' },
    to: [{ name: '', address: 'support@desk.example' }],
    subject: 'Delivery failed',
    sentAtMs: Date.UTC(2026, 10, 24, 10),
    text: 'Failed.',
    headers: [
      ['return-path', '<>'],
      ['content-type', 'multipart/report; report-type="delivery-status"; boundary="=_d2"'],
    ],
    kind: 'bounce',
    bounce: { recipients: [], status: null, hard: false },
    reportedMessageId: 'answer-8@desk.example',
    attachments: [
      part('delivery-status.txt', 'message/delivery-status', 36),
      part('headers.txt', 'text/rfc822-headers', 75),
    ],
  },
  'auto-reply': {
    messageId: 'auto-1@kunde.example',
    inReplyTo: ['answer-1@desk.example'],
    subject: 'Out of office: Re: your order',
    text: 'I am away until Monday.\n',
    headers: [
      ['auto-submitted', 'auto-replied (vacation)'],
      ['x-auto-response-suppress', 'All'],
      ['content-type', 'text/plain; charset=utf-8'],
    ],
    kind: 'auto_reply',
  },
  'mailing-list': {
    messageId: 'list-1@lists.example',
    from: { name: 'Carl via Users', address: 'users@lists.example' },
    subject: '[users] Release 2',
    text: 'Release 2 is out.\n',
    headers: [
      ['list-id', 'Users of things <users.lists.example>'],
      ['list-unsubscribe', '<mailto:leave@lists.example>'],
      ['precedence', 'list'],
      ['sender', 'users-bounces@lists.example'],
      ['content-type', 'text/plain; charset=utf-8'],
    ],
    kind: 'list',
  },
  'japanese-iso-2022-jp': {
    messageId: 'jp-1@kyaku.example',
    from: { name: '田中 花子', address: 'tanaka@kyaku.example' },
    subject: '印刷できません',
    text: 'お世話になります。\n三階のプリンターが動きません。\n',
    headers: [['content-type', 'text/plain; charset=iso-2022-jp']],
  },
  'japanese-raw': {
    messageId: 'jp-2@kyaku.example',
    from: { name: '', address: 'tanaka@kyaku.example' },
    to: [{ name: '', address: 'support@desk.example' }],
    subject: '印刷できません',
    sentAtMs: Date.UTC(2026, 10, 24, 18),
    text: '動きません。\n',
  },
  'split-words': {
    messageId: 'split-1@kunde.example',
    from: { name: 'Jörg Müller', address: 'joerg@kunde.example' },
    subject: 'Rückfrage zur 👍 Best ellung',
    text: 'x\n',
    headers: [['content-type', 'text/plain']],
  },
  'no-message-id': {
    messageId: 'ab7f9e6fd7281a6314bb54fc96b6bdbca1fdcff1e601702b8c234e5c0b25fa7f@missing.invalid',
    messageIdMissing: true,
    subject: 'No id',
    text: 'A mail without an id.\n',
    headers: [['content-type', 'text/plain']],
  },
  'no-from-no-date-no-subject': {
    messageId: 'bare-1@kunde.example',
    from: null,
    sentAtMs: null,
    text: 'Who wrote this?\n',
  },
  'huge-subject': {
    messageId: 'huge-1@kunde.example',
    subject: Array.from({ length: 3000 }, (_, index) => `word${index}`).join(' '),
    text: 'short\n',
  },
  'raw-8bit': {
    messageId: 'raw-1@kunde.example',
    from: { name: 'Jörg Müller', address: 'joerg@kunde.example' },
    subject: 'Rückfrage',
    sentAtMs: Date.UTC(2026, 10, 24, 9, 15),
    text: 'Die Tür ist zu.\n',
  },
  'nul-bytes': {
    messageId: 'nul-1@kunde.example',
    from: { name: '', address: 'anna@kunde.example' },
    to: [{ name: '', address: 'support@desk.example' }],
    subject: 'abc',
    sentAtMs: Date.UTC(2026, 10, 24, 9, 15),
    text: 'onetwo\n',
  },
  'path-in-file-name': {
    messageId: 'path-1@kunde.example',
    subject: 'Config',
    headers: [['content-type', 'multipart/mixed; boundary="=_p1"']],
    attachments: [
      part('.._.._etc_passwd', 'application/octet-stream', 4),
      part('C_Users_anna_evil.exe', 'application/octet-stream', 2),
      part('attachment.txt', 'text/x-log', 3),
      part(`${'あ'.repeat(83)}.txt`, 'text/plain', 4),
      part('fdp_.exe', 'application/pdf', 4),
      part('attachment-2.bin', 'application/octet-stream', 8),
    ],
  },
  'boundary-never-appears': {
    messageId: 'lost-1@kunde.example',
    subject: 'Cut off',
    text: 'The only text there is.\n',
    headers: [['content-type', 'multipart/mixed; boundary="=_gone"']],
  },
  'forwarded-mail': {
    messageId: 'forward-1@kunde.example',
    subject: 'Fwd: see below',
    text: 'See the attached mail.',
    headers: [['content-type', 'multipart/mixed; boundary="=_f1"']],
    attachments: [part('a_b.eml', 'message/rfc822', 115), part('message.eml', 'message/rfc822', 38, { inline: true })],
  },
};

export const fixtureNames = Object.keys(differences);

export function expectedOf(name: string): ShortMessage {
  const difference = differences[name];
  if (difference === undefined) throw new Error(`nothing is written down about ${name}`);
  return { ...defaults, ...difference };
}
