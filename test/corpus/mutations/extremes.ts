/**
 * Messages that cost as much as they can: very many, very deep, very long of one thing, 0.1 to 2 MB. One row a thing.
 */
import type { SeededRandom } from '../../support/random.ts';

export type Extreme = {
  readonly name: string;
  /** About `bytes` long. */
  readonly make: (random: SeededRandom, bytes: number) => string;
};

const head = (random: SeededRandom): string =>
  `From: a@example.test\r\nTo: b@example.test\r\nMessage-ID: <${random.between(1, 1e9)}@example.test>\r\nSubject: s\r\n`;

/** Mostly a tenth of it, sometimes all. */
export const usualSize = (random: SeededRandom): number =>
  random.between(20_000, random.chance(0.1) ? 2_000_000 : 200_000);

const filled = (piece: string, length: number): string => piece.repeat(Math.ceil(length / piece.length));

const text = (name: string, type: string, piece: string): Extreme => ({
  name,
  make: (random, bytes) => `${head(random)}Content-Type: ${type}\r\n\r\n${filled(piece, bytes)}\r\n`,
});

const field = (name: string, fieldName: string, piece: string): Extreme => ({
  name,
  make: (random, bytes) => `${head(random)}${fieldName}: ${filled(piece, bytes)}\r\n\r\nx\r\n`,
});

const report = (name: string, piece: string): Extreme => ({
  name,
  make: (random, bytes) =>
    `${head(random)}Content-Type: multipart/report; report-type=delivery-status; boundary=r\r\n\r\n--r\r\n\r\nfailed\r\n--r\r\nContent-Type: message/delivery-status\r\n\r\n${filled(piece, bytes)}\r\n--r--\r\n`,
});

export const extremes: readonly Extreme[] = [
  text('quotation marks', 'text/plain', '>'),
  text('quoted lines', 'text/plain', '> > a\r\n'),
  text('openings of quotations', 'text/plain', 'On Tue, 24 Nov 2026 at 10:00, A <a@b> wrote:\r\n'),
  text('an opening without end', 'text/plain', 'On a '),
  text('signature marks', 'text/plain', '-- \r\n'),
  text('blanks', 'text/plain', ' '),
  text('empty lines', 'text/plain', '\r\n'),
  text('one long line', 'text/plain', 'a'),
  text('underscores', 'text/plain', '________\r\n'),
  text('mail heads in the text', 'text/plain', 'From: a\r\nSent: b\r\n'),
  text('half mail heads', 'text/plain', 'From: '),
  text('uuencoded files', 'text/plain', 'begin 644 a\r\n#86)C\r\n`\r\nend\r\n'),
  text('addresses in brackets', 'text/plain', '<a@b.example>: '),
  text('codes of status', 'text/plain', '550 5.1.1 a@b.example '),
  text('stars', 'text/plain', '*'),
  text('UTF-7', 'text/plain; charset=utf-7', '+AGE-'),
  text('escapes of ISO-2022-JP', 'text/plain; charset=iso-2022-jp', '\u001b$B'),
  text('bytes of no charset', 'text/plain', '\u0080\u00ff'),
  text('open elements', 'text/html', '<div>'),
  text('quotations in HTML', 'text/html', '<blockquote>'),
  text('tables in tables', 'text/html', '<table><tr><td>'),
  text('smaller than', 'text/html', '<'),
  text('ampersands', 'text/html', '&'),
  text('comments that do not end', 'text/html', '<!--'),
  text('attributes', 'text/html', '<a a="'),
  text('styles', 'text/html', '<style>'),
  text('Content-IDs', 'text/html', '<img src=cid:a>'),
  text('quoted-printable that is none', 'text/plain\r\nContent-Transfer-Encoding: quoted-printable', '='),
  text('base64 that is none', 'text/plain\r\nContent-Transfer-Encoding: base64', '=A='),
  text('boundaries', 'multipart/mixed; boundary=b', '--b\r\n'),
  text('closed boundaries', 'multipart/mixed; boundary=b', '--b--\r\n'),
  text('nearly boundaries', 'multipart/mixed; boundary=b', '--bb\r\n'),
  text('parts', 'multipart/mixed; boundary=b', '--b\r\nContent-Type: image/png; name=a.png\r\n\r\nx\r\n'),
  text('parts of the same type', 'multipart/alternative; boundary=b', '--b\r\nContent-Type: text/html\r\n\r\n<p>x\r\n'),
  text('messages in messages', 'message/rfc822', 'Content-Type: message/rfc822\r\n\r\n'),
  text('TNEF', 'application/ms-tnef\r\nContent-Transfer-Encoding: base64', 'eJ8+IgAAAAAB'),
  text('lines of an event', 'text/calendar', 'BEGIN:VEVENT\r\n'),
  field('a long subject', 'Subject', 'a '),
  field('encoded words', 'Subject', '=?utf-8?q?a?= '),
  field('half encoded words', 'Subject', '=?utf-8?q?'),
  field('prefixes of answers', 'Subject', 'Re: '),
  field('brackets in the subject', 'Subject', '['),
  field('addresses', 'To', 'a@b.example, '),
  field('comments', 'To', '('),
  field('quotes', 'From', '"\\'),
  field('groups', 'Cc', 'a: b@c.example; '),
  field('references', 'References', '<a@b> '),
  field('half references', 'References', '<a'),
  field('a long Message-ID', 'In-Reply-To', '<'),
  field('comments in the date', 'Date', '('),
  field('parameters', 'Content-Type', 'a; b=c;'),
  field('parameters in pieces', 'Content-Disposition', 'a; filename*0*=a;'),
  field('folded blanks', 'X-Blank', '\r\n '),
  field('fields', 'X-Many', 'a\r\nX-Many: '),
  field('traces', 'Received', 'from a by b; x\r\nReceived: '),
  field('lists', 'List-Id', '<'),
  report('recipients of a report', 'Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n'),
  report('empty groups of a report', '\r\n'),
  report('a long diagnostic', 'Diagnostic-Code: smtp; 550 5.1.1 a '),
  {
    name: 'parts in parts',
    make: (random, bytes) => {
      const depth = Math.min(random.between(100, 2_000), bytes);
      const open = Array.from(
        { length: depth },
        (_, at) => `Content-Type: multipart/mixed; boundary=b${at}\r\n\r\n--b${at}\r\n`,
      );
      return `${head(random)}${open.join('')}\r\nx\r\n`;
    },
  },
  {
    name: 'parts in parts, all ended',
    make: (random, bytes) => {
      const depth = Math.min(random.between(50, 500), bytes);
      const open = Array.from(
        { length: depth },
        (_, at) => `Content-Type: multipart/mixed; boundary=b${at}\r\n\r\n--b${at}\r\n`,
      );
      const close = Array.from({ length: depth }, (_, at) => `\r\n--b${depth - 1 - at}--\r\n`);
      return `${head(random)}${open.join('')}\r\nx\r\n${close.join('')}`;
    },
  },
  { name: 'noise alone', make: (random, bytes) => random.bytes(bytes).toString('latin1') },
  { name: 'NULs alone', make: (_, bytes) => '\0'.repeat(bytes) },
  { name: 'a header without end', make: (random, bytes) => `${head(random)}X: ${filled('a', bytes)}` },
];
