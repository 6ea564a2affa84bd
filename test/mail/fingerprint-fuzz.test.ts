/**
 * Differential fuzz of the content hash: a message with further fields, other white space, another order or other line
 * ends that has the same hash is read in the same way, so that no copy sent first takes the place of the genuine one.
 */
import { expect, test } from 'vitest';
import type { ParsedMessage } from '../../src/mail/message.ts';
import { parseMessage } from '../../src/mail/parse.ts';
import { threadKeysOf } from '../../src/mail/thread/keys.ts';

const variantsOfEach = 1_500;

const fields = [
  ...[
    'From: Ada <ada@customer.test>',
    'To: support@desk.test, "B, C" <b@x.test>',
    'Subject: Re: =?utf-8?q?Gr=C3=BC=C3=9Fe?= order',
  ],
  ...['Cc: support+261124-7kq3mx-w0akqv3m0ja5epwh@desk.test', 'Date: Tue, 24 Nov 2026 10:00:00 +0000'],
  ...['Message-ID: <m@customer.test>', 'In-Reply-To: <p@desk.test>', 'References: <a@x> <p@desk.test>'],
];
const mixed =
  '--a  b\r\nContent-Type: text/plain\r\n\r\nHello\r\n--a  b\r\nContent-Type: application/pdf; name="x  y.pdf"\r\n' +
  'Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n--a  b--\r\n';
const bodies: readonly (readonly [readonly string[], string])[] = [
  [[], 'Please cancel [#261124-7KQ3MX]\r\n\r\n-- \r\nAda'],
  [['Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: base64'], 'R3LDvMOfZQ=='],
  [
    ['Content-Type: text/html; charset="iso-8859-1"', 'Content-Transfer-Encoding: quoted-printable'],
    '<p>Gr=FC=DFe = \r\n</p>',
  ],
  [['MIME-Version: 1.0', 'Content-Type: multipart/mixed; boundary="a  b"'], mixed],
  [
    ['Content-Type: multipart/alternative; boundary=zz'],
    '--zz\r\n\r\nplain\r\n--zz\r\nContent-Type: text/html\r\n\r\n<b>html</b>\r\n--zz--\r\n',
  ],
  [['Content-Type: text/plain; charset=koi8-r; format=flowed; delsp=yes'], 'a \r\nb \r\n> c\r\n\xf0\xf2\r\n'],
  [['Content-Type: text/plain'], '\xe4\xf6\xfc \xdf und so\r\n'],
  [['Content-Type: application/pdf; name="a  b.pdf"', 'Content-Transfer-Encoding: binary'], '%PDF\r\nx\n'],
];
const further = [
  ...[
    'Content-Disposition: inline; filename=x.html',
    'Content-Disposition: attachment',
    'Content-ID: <x@y>',
    'Content-Base: x',
  ],
  ...[
    'Content-Description: a',
    'Content-Location: http://x/',
    'Content-Language: de',
    'Content-Class: urn:content-classes:message',
  ],
  ...[
    'X-Junk: \x1b$B',
    'X-Junk: \xe4\xf6\xfc\xdf',
    'X-Junk: \xd0\xcf\xe5\xf4',
    'Encoding: 7 text',
    'X-MS-TNEF-Correlator: x',
  ],
  ...[
    'Delivered-To: support@desk.test',
    'X-Original-To: a+261124-7kq3mx-w0akqv3m0ja5epwh@desk.test',
    'Return-Path: <>',
  ],
  ...[
    'Resent-Message-ID: <r@x>',
    'Original-Message-ID: <o@x>',
    'X-Failed-Recipients: q@x',
    'Precedence: list',
    'Precedence: bulk',
  ],
  ...['Auto-Submitted: no', 'Auto-Submitted: foo', 'X-Auto-Response-Suppress: OOF', 'Disposition-Notification-To: a@b'],
  ...[
    'no colon here',
    'boundary=qq',
    ' folded',
    'charset=utf-7',
    'X: y;',
    'MIME-Version: 1.0',
    'MIME-Version: 2',
    'X-Loop: a',
  ],
  ...[
    'Message-ID : <q@x>',
    'Message-Id\x0c: <q@x>',
    'Subject\x0b: other',
    'From\xa0: x@y',
    'Content-Type\x0c: text/html',
  ],
  ...['Bcc: z@x', 'Apparently-To: z@x', 'Mail-Followup-To: z@x', 'Errors-To: a@b', 'Feedback-ID: x', 'List-Id: <x.y>'],
  ...[
    'List-Unsubscribe: <mailto:a@b>',
    'List-Unsubscribe-Post: a',
    'X-Autoreply: yes',
    'Thread-Topic: y',
    'Importance: high',
  ],
];
const space = [' ', '  ', '\t', '\x0b', '\x0c', '\r\n ', '\r\n\t', '\x00', '\x85', '\r'];

/** Numbers below `end`, the same in each run. */
function numbersFrom(seed: number): (end: number) => number {
  let state = seed;
  return (end) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * end);
  };
}

function variant(lines: readonly string[], body: string, below: (end: number) => number): string {
  const out = [...lines];
  let changed = body;
  const one = (list: readonly string[]) => list[below(list.length)] ?? '';
  for (let changes = 1 + below(3); changes > 0; changes -= 1) {
    const kind = below(20);
    const at = below(out.length);
    const line = out[at] ?? '';
    const place = line.indexOf(' ', below(line.length + 1));
    if (kind < 9) out.splice(below(out.length + 1), 0, one(further));
    else if (kind < 15 && place > 0) out[at] = line.slice(0, place) + one(space) + line.slice(place + below(2));
    else if (kind < 17) out.splice(below(out.length), 0, ...out.splice(at, 1));
    else if (kind < 18) changed += one(['\r\n', '\r', '\n\r', '\r\r\n', '\n\n']);
    else if (kind < 19) changed = changed.replaceAll('\r\n', one(['\n', '\r']));
    else changed = one(['\r\n', ' ', '\t', '\r']) + changed;
  }
  return [...out, '', changed].join(one(['\r\n', '\n']));
}

const parsedFrom = (text: string) => parseMessage(Buffer.from(text, 'latin1'));

/** What the helpdesk gets to see, white space aside: a server may fold fields again, and end a text otherwise. */
function readingOf(parsed: ParsedMessage) {
  const { kind, from, replyTo, to, cc, subject, sentAtMs, text, html, attachments, bounce, protection } = parsed;
  const { messageId, referencedIds, ownToken, recipientTokens, textTags, isForward, isAutomatic } =
    threadKeysOf(parsed);
  const plain = (words: string | null) => words?.replaceAll(/\s+/gu, ' ').trim() ?? null;
  return {
    ...{ kind, sentAtMs, bounce, protection, messageId, referencedIds, ownToken, textTags, isForward, isAutomatic },
    ...{ subject: plain(subject), text: plain(text), html: plain(html) },
    people: [from, ...replyTo, ...to, ...cc].map((one) => [plain(one?.name ?? ''), one?.address]),
    tokens: [...new Set(recipientTokens.map(({ ref, mac }) => `${ref} ${mac}`))].toSorted(),
    files: attachments.map(({ name, type, inline, contentId }) => [plain(name), type, inline, contentId]),
  };
}

test.each(bodies.map((body) => [body[0].at(-1) ?? 'no Content-Type', body] as const))(
  'what has the hash of a message with %s is read as it',
  async (_, [more, body]) => {
    const below = numbersFrom(body.length);
    const lines = [...fields, ...more];
    const genuine = await parsedFrom([...lines, '', body].join('\r\n'));
    let same = 0;
    for (let count = 0; count < variantsOfEach; count += 1) {
      const source = variant(lines, body, below);
      const other = await parsedFrom(source);
      if (other.contentHash !== genuine.contentHash || other.messageId !== genuine.messageId) continue;
      same += 1;
      expect(readingOf(other), JSON.stringify(source)).toEqual(readingOf(genuine));
    }
    expect(same).toBeGreaterThan(variantsOfEach / 10);
  },
);
