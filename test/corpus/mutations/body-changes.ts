/**
 * Ways in which the parts of a message break: boundaries, labels, encodings, and what is put together from several
 * messages.
 */
import type { SeededRandom } from '../../support/random.ts';
import type { Change } from './changes.ts';

const charsets =
  'utf-8 UTF8 us-ascii iso-8859-1 iso-8859-15 windows-1252 cp1251 koi8-r gb2312 gb18030 big5 shift_jis euc-jp iso-2022-jp iso-2022-kr ks_c_5601-1987 utf-7 utf-16 utf-16le utf-32 cp437 x-user-defined unknown-8bit none binary'.split(
    ' ',
  );

const encodings = [
  'base64',
  'quoted-printable',
  '7bit',
  '8bit',
  'binary',
  'x-uuencode',
  'uue',
  'x-gzip64',
  'BASE64;',
  '',
];

/** Lines that look like boundaries. */
const boundaryLine = /^--[^\r\n]{1,100}\r?\n/gmu;

function onOneMatch(text: string, pattern: RegExp, random: SeededRandom, change: (found: string) => string): string {
  const found = [...text.matchAll(pattern)];
  const [match] = found.length === 0 ? [] : [random.pick(found)];
  if (match === undefined) return text;
  return text.slice(0, match.index) + change(match[0]) + text.slice(match.index + match[0].length);
}

/** `text` as the one part of a multipart, with the fields that name it in front. */
function wrapped(text: string, boundary: string, type: string): string {
  const at = text.search(/\r?\n\r?\n/u);
  const head =
    at === -1
      ? ''
      : text
          .slice(0, at)
          .replace(/^(?:content-[a-z-]+|mime-version):[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*(?:\r?\n|$)/gimu, '');
  const own = (/^content-type:[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*/imu.exec(text.slice(0, Math.max(at, 0))) ?? [''])[0];
  const body = at === -1 ? text : text.slice(at);
  return `${head.trimEnd()}\r\nContent-Type: ${type}; boundary="${boundary}"\r\n\r\n--${boundary}\r\n${own}${body}\r\n--${boundary}--\r\n`;
}

const hostileBodies: readonly ((random: SeededRandom) => string)[] = [
  (random) => '>'.repeat(random.between(1, 5_000)),
  (random) => '> > >\r\n'.repeat(random.between(1, 2_000)),
  (random) => 'On Tue, 24 Nov 2026, A wrote:\r\n> x\r\n'.repeat(random.between(1, 500)),
  (random) => '-- \r\n'.repeat(random.between(1, 2_000)),
  (random) => `${' '.repeat(random.between(1, 20_000))}x\r\n`,
  (random) => 'From: a@b\r\nSent: x\r\nTo: c@d\r\nSubject: s\r\n'.repeat(random.between(1, 200)),
  (random) => '<div>'.repeat(random.between(1, 5_000)),
  (random) => '<blockquote><table><tr><td>'.repeat(random.between(1, 500)),
  (random) => '<a href="'.repeat(random.between(1, 2_000)),
  (random) => '&#x10ffff;&#0;&amp;amp;'.repeat(random.between(1, 500)),
  (random) => `begin 644 ${'a'.repeat(random.between(0, 300))}\r\n${'M'.repeat(61)}\r\n`.repeat(random.between(1, 50)),
  (random) =>
    `<x@y.example>: host z[1.2.3.4] said: 5${random.between(0, 99)} 5.1.1 no\r\n`.repeat(random.between(1, 300)),
  (random) =>
    `Final-Recipient: rfc822; a@b\r\nAction: failed\r\nStatus: 5.${random.between(0, 999)}.1\r\n\r\n`.repeat(
      random.between(1, 300),
    ),
  (random) => '=\r\n=3D=\r\n==='.repeat(random.between(1, 2_000)),
];

export const bodyChanges: readonly Change[] = [
  { name: 'a boundary lost', apply: (text, random) => onOneMatch(text, boundaryLine, random, () => '') },
  { name: 'a boundary twice', apply: (text, random) => onOneMatch(text, boundaryLine, random, (line) => line + line) },
  {
    name: 'a boundary that closes early',
    apply: (text, random) => onOneMatch(text, boundaryLine, random, (line) => `${line.trimEnd()}--\r\n`),
  },
  {
    name: 'a boundary that continues',
    apply: (text, random) =>
      onOneMatch(
        text,
        boundaryLine,
        random,
        (line) => `${line.trimEnd()}${random.pick(['x', ' ', '-', '\t x', '--x'])}\r\n`,
      ),
  },
  {
    name: 'boundaries many times',
    apply: (text, random) => onOneMatch(text, boundaryLine, random, (line) => line.repeat(random.between(2, 500))),
  },
  {
    name: 'another boundary announced',
    apply: (text, random) =>
      onOneMatch(
        text,
        /boundary\s*=\s*"?[^\r\n";]{1,100}/giu,
        random,
        () => `boundary="${random.pick(['x', '', '--', ' ', '='])}"`,
      ),
  },
  {
    name: 'charset swapped',
    apply: (text, random) =>
      text.replace(/charset\s*=\s*"?[\w.:-]{1,40}"?/giu, () => `charset=${random.pick(charsets)}`),
  },
  {
    name: 'charset of encoded words swapped',
    apply: (text, random) => text.replace(/=\?[\w-]{1,40}\?/gu, () => `=?${random.pick(charsets)}?`),
  },
  {
    name: 'transfer encoding lied about',
    apply: (text, random) =>
      text.replace(
        /^(content-transfer-encoding:)[^\r\n]*/gimu,
        (_, name: string) => `${name} ${random.pick(encodings)}`,
      ),
  },
  {
    name: 'types swapped',
    apply: (text, random) =>
      text.replace(
        /^(content-type:\s*)[\w+.-]+\/[\w+.-]+/gimu,
        (_, name: string) =>
          name +
          random.pick([
            'text/plain',
            'text/html',
            'multipart/mixed',
            'multipart/related',
            'message/rfc822',
            'message/delivery-status',
            'application/ms-tnef',
            'application/octet-stream',
          ]),
      ),
  },
  {
    name: 'dispositions swapped',
    apply: (text, random) =>
      text.replace(
        /^(content-disposition:\s*)[\w-]+/gimu,
        (_, name: string) => name + random.pick(['inline', 'attachment', 'x', '']),
      ),
  },
  {
    name: 'wrapped deep',
    apply: (text, random) => {
      let mail = text;
      for (let depth = random.between(1, 40); depth > 0; depth -= 1)
        mail = wrapped(
          mail,
          `b${random.pick(['', 'b', 'bb'])}${depth}`,
          random.pick(['multipart/mixed', 'multipart/alternative', 'multipart/x']),
        );
      return mail;
    },
  },
  {
    name: 'another mail inside',
    apply: (text, random, another) =>
      onOneMatch(
        text,
        boundaryLine,
        random,
        (line) =>
          `${line}Content-Type: ${random.pick(['message/rfc822', 'message/global', 'text/rfc822-headers'])}\r\n\r\n${another()}\r\n${line}`,
      ),
  },
  {
    name: 'a mail in a mail in a mail',
    apply: (text, random) => {
      let mail = text;
      for (let depth = random.between(1, 30); depth > 0; depth -= 1)
        mail = `Subject: ${depth}\r\nContent-Type: message/rfc822\r\n\r\n${mail}`;
      return mail;
    },
  },
  {
    name: 'parts of another mail',
    apply: (text, random, another) => {
      const other = another();
      const at = random.between(0, other.length);
      return onOneMatch(text, boundaryLine, random, (line) => line + other.slice(at, at + 20_000));
    },
  },
  {
    name: 'a hostile text',
    apply: (text, random) => {
      const at = text.search(/\r?\n\r?\n/u);
      return `${at === -1 ? text : text.slice(0, at)}\r\n\r\n${random.pick(hostileBodies)(random)}`;
    },
  },
  {
    name: 'a hostile text among the parts',
    apply: (text, random) =>
      onOneMatch(text, boundaryLine, random, (line) => line + random.pick(hostileBodies)(random)),
  },
  {
    name: 'many parameters',
    apply: (text, random) =>
      onOneMatch(
        text,
        /^content-(?:type|disposition):[^\r\n]*/gimu,
        random,
        (field) =>
          field +
          Array.from(
            { length: random.between(1, 500) },
            (_, at) => `;\r\n filename*${at}*=%E2%82${random.pick(['%AC', '', "''"])}`,
          ).join(''),
      ),
  },
];
