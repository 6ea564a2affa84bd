/** Ways in which the header of a message breaks. */
import type { SeededRandom } from '../../support/random.ts';
import type { Change } from './changes.ts';

type Cut = { readonly fields: readonly string[]; readonly end: string; readonly body: string };

/** Fields with their folded lines. */
function cut(text: string): Cut {
  const found = /\r?\n\r?\n/u.exec(text);
  const at = found === null ? text.length : found.index;
  return {
    fields: text.slice(0, at).split(/\r?\n(?![ \t])/u),
    end: found === null ? '' : found[0],
    body: text.slice(at + (found?.[0].length ?? 0)),
  };
}

function withFields(text: string, change: (fields: readonly string[]) => readonly string[]): string {
  const { fields, end, body } = cut(text);
  return change(fields).join('\r\n') + end + body;
}

function setField(text: string, name: string, value: string): string {
  return withFields(text, (fields) => [
    ...fields.filter((field) => !field.toLowerCase().startsWith(`${name.toLowerCase()}:`)),
    `${name}: ${value}`,
  ]);
}

const names = [
  'Subject',
  'From',
  'To',
  'Cc',
  'Date',
  'Message-ID',
  'In-Reply-To',
  'References',
  'Content-Type',
  'Reply-To',
];

const words = [
  '=?UTF-8?B?4oKs?=',
  '=?utf-8?q?=E2=82?=',
  '=?UTF-8?B?////?=',
  '=?x-unknown?Q?=FF?=',
  '=?iso-2022-jp?B?GyRCJDMk?=',
  '=?utf-8?Q?half',
  '=?utf-8??abc?=',
  '=?=?utf-8?q?a?=?=',
  '=?UTF-7?Q?+AGE-?=',
  '=?GB18030?B?gTCBMA==?=',
];

const dates = [
  'Thu, 1 Jan 1970 00:00:00 +0000',
  'Mon, 31 Feb 2026 25:61:61 +9999',
  '1 Jan 99999 00:00:00 GMT',
  '2026-11-24T10:00:00Z',
  'now',
  '(a comment) Tue, 24 Nov 2026 (another) 10:00 EST',
  '-1',
];

const ids = ['<>', '<<a@b>>', '<a b@c>', 'a@b', '<@>', '<a@b', '< a@b >', '<a@b> <c@d>', '<\u00e4@b>'];

const types = [
  'multipart/mixed',
  'multipart/mixed; boundary=""',
  'multipart/mixed; boundary="a" ; boundary="b"',
  'multipart/alternative; boundary=x; charset=utf-16',
  'multipart/report; report-type=delivery-status; boundary=r',
  'multipart/report; report-type=feedback-report; boundary=r',
  'multipart/signed; protocol="application/pkcs7-signature"; boundary=s',
  'message/rfc822',
  'message/partial; number=1; total=3; id=x',
  'text/html; charset=utf-7',
  'text/plain; charset=utf-32',
  'text/plain; charset=',
  'text; charset="utf-8',
  "text/plain; charset*0*=utf-8''u; charset*1=tf-8",
  'application/ms-tnef; name=winmail.dat',
  'application/x-pkcs7-mime; smime-type=enveloped-data',
  'text/calendar; method=REQUEST',
  '/',
  ';;;=;=;',
  'TEXT / PLAIN',
];

function someLong(random: SeededRandom): string {
  const piece = random.pick([
    'a',
    ' ',
    '<',
    '(',
    '"',
    ',',
    ';',
    '\\',
    '=?',
    'a@b.example,',
    '<a@b> ',
    '\r\n ',
    '\r\n\t',
  ]);
  return piece.repeat(Math.ceil(random.between(1_000, 60_000) / piece.length));
}

export const fieldChanges: readonly Change[] = [
  {
    name: 'a field lost',
    apply: (text, random) => withFields(text, (fields) => fields.toSpliced(random.between(0, fields.length - 1), 1)),
  },
  {
    name: 'a field twice',
    apply: (text, random) => withFields(text, (fields) => [random.pick(fields), ...fields]),
  },
  {
    name: 'fields of another mail too',
    apply: (text, _, another) => withFields(text, (fields) => [...cut(another()).fields, ...fields]),
  },
  {
    name: 'body of another mail',
    apply: (text, _, another) => cut(text).fields.join('\r\n') + cut(text).end + cut(another()).body,
  },
  { name: 'fields backwards', apply: (text) => withFields(text, (fields) => fields.toReversed()) },
  { name: 'a field very long', apply: (text, random) => setField(text, random.pick(names), someLong(random)) },
  { name: 'a field empty', apply: (text, random) => setField(text, random.pick(names), '') },
  {
    name: 'a line that is no field',
    apply: (text, random) =>
      withFields(text, (fields) =>
        fields.toSpliced(
          random.between(0, fields.length),
          0,
          random.pick([' ', ':', ': x', 'no field', 'From x', '>From y', '\t']),
        ),
      ),
  },
  {
    name: 'no end of the header',
    apply: (text) => {
      const { fields, body } = cut(text);
      return `${fields.join('\r\n')}\r\n${body}`;
    },
  },
  { name: 'no header', apply: (text) => cut(text).body },
  { name: 'an empty line first', apply: (text) => `\r\n${text}` },
  {
    name: 'odd encoded words',
    apply: (text, random) =>
      setField(
        text,
        random.pick(names),
        Array.from({ length: random.between(1, 30) }, () => random.pick(words)).join(
          random.pick(['', ' ', '\r\n ', 'x']),
        ),
      ),
  },
  { name: 'an odd date', apply: (text, random) => setField(text, 'Date', random.pick(dates)) },
  { name: 'an odd Message-ID', apply: (text, random) => setField(text, 'Message-ID', random.pick(ids)) },
  {
    name: 'many references',
    apply: (text, random) =>
      setField(
        text,
        random.pick(['References', 'In-Reply-To']),
        Array.from({ length: random.between(1, 3_000) }, (_, id) => `<${id}@${random.pick(['a', 'b'])}>`).join(' '),
      ),
  },
  { name: 'an odd Content-Type', apply: (text, random) => setField(text, 'Content-Type', random.pick(types)) },
  {
    name: 'odd addresses',
    apply: (text, random) =>
      setField(
        text,
        random.pick(['From', 'To', 'Cc', 'Reply-To']),
        random.pick([
          'group: a@b, c@d;, "e" <f@g>',
          '<<<a@b>>>',
          '"a \\" b" <c@d> (e (f) g)',
          'a@b@c@d',
          '@a,@b:c@d',
          '"unclosed <a@b>',
          '(((((',
          'undisclosed-recipients:;',
          '=?utf-8?q?a=40b?= <c@d>, \u00fc <\u00e4@\u00f6.example>',
        ]),
      ),
  },
  {
    name: 'marks of a machine',
    apply: (text, random) =>
      random.pick([
        (mail: string) => setField(mail, 'Auto-Submitted', random.pick(['auto-replied', 'auto-generated', 'no', '(x'])),
        (mail: string) => setField(mail, 'Return-Path', '<>'),
        (mail: string) => setField(mail, 'X-Failed-Recipients', someLong(random)),
        (mail: string) => setField(mail, 'List-Id', '<x.example>'),
        (mail: string) => setField(mail, 'From', 'MAILER-DAEMON'),
        (mail: string) => setField(mail, 'Subject', 'Undelivered Mail Returned to Sender'),
      ])(text),
  },
];
