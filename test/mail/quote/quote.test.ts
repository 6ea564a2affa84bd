/**
 * Quoted history: attributions of many languages, header blocks, titles, replies between quotes, and text that is none.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { markText, replyTextOf } from '../../../src/mail/quote/quote.ts';

function reply(text: string, subject?: string): string {
  return replyTextOf(text, markText(text, subject));
}

const attributions: readonly (readonly [language: string, line: string])[] = [
  ['English, Gmail', 'On Tue, Jan 15, 2019 at 11:12 AM Ann Lee <ann@shop.example> wrote:'],
  [
    'English, Gmail wrapped',
    'On Tue, Jan 15, 2019 at 11:12 AM Ann Lee Longname-Longername <\nann@shop.example> wrote:',
  ],
  ['English, three lines', 'On Jan 15, 2019, at 12:47 PM, Ann Lee\n<ann@shop.example>\nwrote:'],
  ['English, Apple Mail', 'On 15 Jan 2019, at 11:12, Ann Lee <ann@shop.example> wrote:'],
  ['English, no blank', 'On Tue, Sep 25, 2012 at 8:59 AM, Ann Lee\n<ann@shop.example>wrote:'],
  ['English, Wanderlust', 'At Sun, 14 Nov 2010 19:05:02 -0800,\nAnn Lee wrote:'],
  ['English, Yahoo', '--- On Wed, 4/4/12, Ann Lee <ann@shop.example> wrote:'],
  ['English, name first', 'Ann Lee <ann@shop.example> wrote on Tuesday, 15 January 2019 at 11:12:'],
  ['English, formatting', '*On Tue, Jan 15, 2019 at 11:12 AM Ann Lee <ann@shop.example> wrote:*'],
  ['English, Zoho', '---- On Tue, 15 Jan 2019 11:12:54 +0530 Ann Lee <ann@shop.example> wrote ----'],
  ['German, Gmail', 'Am Di., 15. Jan. 2019 um 11:12 Uhr schrieb Ann Lee <ann@shop.example>:'],
  ['German, Thunderbird', 'Am 15.01.19 um 11:12 schrieb Ann Lee:'],
  ['German, Apple', 'Am 15.01.2019 um 11:12 schrieb Ann Lee <ann@shop.example>:'],
  ['German, name first', 'Ann Lee <ann@shop.example> schrieb am Di., 15. Jan. 2019, 11:12:'],
  ['French, Gmail', 'Le mar. 15 janv. 2019 à 11:12, Ann Lee <ann@shop.example> a écrit :'],
  ['French, no-break space', 'Le 15/01/2019 à 11:12, Ann Lee a écrit\u00a0:'],
  ['French, wrapped', 'Le mardi 15 janvier 2019 à 11:12, Ann Lee <ann@shop.example> a\nécrit :'],
  ['Spanish', 'El mar, 15 ene 2019 a las 11:12, Ann Lee (<ann@shop.example>) escribió:'],
  ['Spanish, Apple', 'El 15 ene 2019, a las 11:12, Ann Lee <ann@shop.example> escribió:'],
  ['Catalan', 'Missatge de Ann Lee <ann@shop.example> del dia dt., 15 de gen. 2019 a les 11:12 va escriure:'],
  ['Italian', 'Il giorno mar 15 gen 2019 alle ore 11:12 Ann Lee <ann@shop.example> ha scritto:'],
  ['Portuguese', 'Em ter., 15 de jan. de 2019 às 11:12, Ann Lee <ann@shop.example> escreveu:'],
  ['Portuguese, Portugal', 'Ann Lee <ann@shop.example> escreveu no dia terça, 15/01/2019 à(s) 11:12:'],
  ['Romanian', 'În mar., 15 ian. 2019 la 11:12, Ann Lee <ann@shop.example> a scris:'],
  ['Dutch', 'Op di 15 jan. 2019 om 11:12 schreef Ann Lee <ann@shop.example>:'],
  ['Dutch, Apple', 'Op 15 jan. 2019, om 11:12 heeft Ann Lee <ann@shop.example> het volgende geschreven:'],
  ['Swedish', 'Den tis 15 jan. 2019 kl 11:12 skrev Ann Lee <ann@shop.example>:'],
  ['Danish', 'Den tir. 15. jan. 2019 kl. 11.12 skrev Ann Lee <ann@shop.example>:'],
  ['Norwegian', 'tir. 15. jan. 2019 kl. 11:12 skrev Ann Lee <ann@shop.example>:'],
  ['Icelandic', 'Þann þri., 15. jan. 2019 kl. 11:12 skrifaði Ann Lee <ann@shop.example>:'],
  ['Finnish', 'ti 15. tammik. 2019 klo 11.12 Ann Lee (ann@shop.example) kirjoitti:'],
  ['Estonian', 'Kuupäev T, 15. jaanuar 2019 kell 11:12 kirjutas Ann Lee <ann@shop.example>:'],
  ['Polish, Gmail', 'wt., 15 sty 2019 o 11:12 Ann Lee <ann@shop.example> napisał(a):'],
  ['Polish, Thunderbird', 'W dniu 15.01.2019 o 11:12, Ann Lee pisze:'],
  ['Czech', 'út 15. 1. 2019 v 11:12 odesílatel Ann Lee <ann@shop.example> napsal:'],
  ['Slovak', 'ut 15. 1. 2019 o 11:12 Ann Lee <ann@shop.example> napísal(a):'],
  ['Hungarian', 'Ann Lee <ann@shop.example> ezt írta (időpont: 2019. jan. 15., K, 11:12):'],
  ['Croatian', 'Dana uto, 15. sij 2019. u 11:12 Ann Lee <ann@shop.example> je napisao/la:'],
  ['Russian, Gmail', 'вт, 15 янв. 2019 г. в 11:12, Ann Lee <ann@shop.example>:'],
  ['Russian, Thunderbird', '15.01.2019 11:12, Ann Lee пишет:'],
  ['Ukrainian', 'вт, 15 січ. 2019 р. о 11:12 Ann Lee <ann@shop.example> пише:'],
  ['Bulgarian', 'На вт, 15.01.2019 г. в 11:12 Ann Lee <ann@shop.example> написа:'],
  ['Greek', 'Στις Τρί, 15 Ιαν 2019 στις 11:12 π.μ., ο χρήστης Ann Lee <ann@shop.example> έγραψε:'],
  ['Turkish', 'Ann Lee <ann@shop.example>, 15 Oca 2019 Sal, 11:12 tarihinde şunu yazdı:'],
  ['Vietnamese', 'Vào Th 3, 15 thg 1, 2019 vào lúc 11:12 Ann Lee <ann@shop.example> đã viết:'],
  ['Indonesian', 'Pada tanggal Sel, 15 Jan 2019 pukul 11.12 Ann Lee <ann@shop.example> menulis:'],
  ['Japanese, Gmail', '2019年1月15日(火) 11:12 Ann Lee <ann@shop.example>:'],
  ['Japanese, Apple', '2019/01/15 11:12、Ann Lee <ann@shop.example>のメール:'],
  ['Chinese, Gmail', 'Ann Lee <ann@shop.example> 于2019年1月15日周二 上午11:12写道：'],
  ['Chinese, Apple', '在 2019年1月15日，上午11:12，Ann Lee <ann@shop.example> 写道：'],
  ['Chinese, Taiwan', 'Ann Lee <ann@shop.example> 於 2019年1月15日 週二 上午11:12寫道：'],
  ['Korean', '2019년 1월 15일 (화) 오전 11:12, Ann Lee <ann@shop.example>님이 작성:'],
  ['Thai', 'ในวันที่ อ. 15 ม.ค. 2019 เวลา 11:12 Ann Lee <ann@shop.example> เขียนว่า:'],
  [
    'Hebrew',
    '\u202bבתאריך יום ג׳, 15 בינו׳ 2019 ב-11:12 מאת \u202aAnn Lee\u202c\u200f <\u202aann@shop.example\u202c\u200f>:\u202c',
  ],
  ['Arabic', 'في الثلاثاء، 15 يناير 2019 في 11:12 ص تمت كتابة ما يلي بواسطة Ann Lee <ann@shop.example>:'],
];

describe('history is marked with its attribution', () => {
  test.each(attributions)('%s, quoted with >', (_language, line) => {
    const text = `Thank you!\nIt works.\n\n${line}\n\n> Did you try this?\n>\n> Ann\n`;
    expect(reply(text)).toBe('Thank you!\nIt works.');
  });

  test.each(attributions)('%s, as text made of HTML without quotes', (_language, line) => {
    expect(reply(`Thank you!\n\n${line}\n\nDid you try this?\n\nAnn\n`)).toBe('Thank you!');
  });

  test.each(attributions)('%s, with the reply below', (_language, line) => {
    expect(reply(`${line}\n> Did you try this?\n\nYes: it works.\n`)).toBe('Yes: it works.');
  });

  test.each([
    ['a bare name', 'Ann Lee wrote:'],
    ['an attribution of Notes', 'Ann Lee <ann@shop.example> writes:'],
    ['no word for writing', '2019-01-15 11:12 GMT+01:00 Ann Lee <ann@shop.example>:'],
    ['a word for speech', 'On 15 January 2019, Ann Lee said:'],
    ['an old format of Gmail', '2012/4/3 Ann Lee <ann@shop.example>'],
    ['no colon', 'On 15 January 2019 11:12, Ann Lee <ann@shop.example> wrote'],
  ])('%s counts before quoted lines', (_case, line) => {
    expect(reply(`Hi.\n\n${line}\n> old\n`)).toBe('Hi.');
  });

  test('an attribution at the end with nothing below is marked as well', () => {
    expect(reply('Fine.\n\nOn 15 Jan 2019, at 11:12, Ann Lee <ann@shop.example> wrote:\n')).toBe('Fine.');
  });

  test('the nearest possible first line begins an attribution', () => {
    const text =
      'On my computer\nnothing works on 1.1.2019.\nOn 15 Jan 2019 11:12, "Ann Lee" <ann@shop.example> wrote:\n> old';
    expect(reply(text)).toBe('On my computer\nnothing works on 1.1.2019.');
  });
});

describe('a header block above the older message', () => {
  const blocks = [
    ['English', 'From: Ann Lee <ann@shop.example>\nSent: Tuesday, January 15, 2019 11:12 AM\nTo: Bob\nSubject: Order'],
    [
      'English, bold',
      '*From:* Ann Lee [mailto:ann@shop.example]\n*Sent:* Tuesday\n*To:* bob@site.test\n*Subject:* Order',
    ],
    ['English, double spaced', 'From: Ann\n\nDate: Tuesday, 15 January 2019\n\nTo: Bob\n\nSubject: Order'],
    ['German', 'Von: Ann Lee\nGesendet: Dienstag, 15. Januar 2019 11:12\nAn: Bob\nBetreff: Bestellung'],
    [
      'German, GMX',
      'Gesendet: Dienstag, 15. Januar 2019 um 11:12 Uhr\nVon: "Ann Lee" <ann@shop.example>\nAn: Bob\nBetreff: X',
    ],
    ['French', 'De : Ann Lee\nEnvoyé : mardi 15 janvier 2019 11:12\nÀ : Bob\nObjet : Commande'],
    ['Spanish', 'De: Ann Lee\nEnviado el: martes, 15 de enero de 2019 11:12\nPara: Bob\nAsunto: Pedido'],
    ['Italian', 'Da: Ann Lee\nInviato: martedì 15 gennaio 2019 11:12\nA: Bob\nOggetto: Ordine'],
    ['Portuguese', 'De: Ann Lee\nEnviada em: terça-feira, 15 de janeiro de 2019\nPara: Bob\nAssunto: Pedido'],
    ['Dutch', 'Van: Ann Lee\nVerzonden: dinsdag 15 januari 2019 11:12\nAan: Bob\nOnderwerp: Order'],
    ['Swedish', 'Från: Ann Lee\nSkickat: den 15 januari 2019 11:12\nTill: Bob\nÄmne: Order'],
    ['Danish', 'Fra: Ann Lee\nSendt: 15. januar 2019 11:12\nTil: Bob\nEmne: Ordre'],
    ['Finnish', 'Lähettäjä: Ann Lee\nLähetetty: 15. tammikuuta 2019 11:12\nVastaanottaja: Bob\nAihe: Tilaus'],
    ['Polish', 'Od: Ann Lee\nWysłano: wtorek, 15 stycznia 2019 11:12\nDo: Bob\nTemat: Zamówienie'],
    ['Czech', 'Od: Ann Lee\nOdesláno: úterý 15. ledna 2019 11:12\nKomu: Bob\nPředmět: Objednávka'],
    ['Hungarian', 'Feladó: Ann Lee\nKüldve: 2019. január 15.\nCímzett: Bob\nTárgy: Rendelés'],
    ['Russian', 'От: Ann Lee\nОтправлено: 15 января 2019 г. 11:12\nКому: Bob\nТема: Заказ'],
    ['Turkish', 'Kimden: Ann Lee\nGönderildi: 15 Ocak 2019 Salı 11:12\nKime: Bob\nKonu: Sipariş'],
    ['Greek', 'Από: Ann Lee\nΣτάλθηκε: Τρίτη, 15 Ιανουαρίου 2019\nΠρος: Bob\nΘέμα: Παραγγελία'],
    ['Japanese', '差出人: Ann Lee\n送信日時: 2019年1月15日 11:12\n宛先: Bob\n件名: 注文'],
    ['Chinese', '发件人: Ann Lee\n发送时间: 2019年1月15日 11:12\n收件人: Bob\n主题: 订单'],
    ['Chinese, Taiwan', '寄件者： Ann Lee\n寄件日期： 2019年1月15日\n收件者： Bob\n主旨： 訂單'],
    ['Korean', '보낸 사람: Ann Lee\n보낸 날짜: 2019년 1월 15일\n받는 사람: Bob\n제목: 주문'],
  ] as const;

  test.each(blocks)('%s', (_language, block) => {
    expect(reply(`Done.\n\n${block}\n\nPlease do it.\n\nAnn`)).toBe('Done.');
  });

  test.each(blocks)('%s, under a drawn line', (_language, block) => {
    expect(reply(`Done.\n________________________________\n${block}\n\nPlease do it.`)).toBe('Done.');
  });

  test('replies below a quoted older message stay', () => {
    const text =
      '----- Original Message -----\nFrom: "Ann" <ann@shop.example>\n\n> Did it come?\n\nYes.\n\n> Really?\n\nYes!';
    expect(reply(text, 'Re: order')).toBe('Yes.\n\nYes!');
  });

  test('with nothing above it is unmarked, unless the subject is a reply', () => {
    const text = 'From: Ann\nSent: Tuesday\nTo: Bob\nSubject: Order\n\nPlease do it.';
    expect(reply(text, 'Order')).toBe(text);
    expect(reply(text, 'Re: Order')).toBe('');
  });

  test('a contact form is no header block', () => {
    const text = 'You have a message.\n\nFrom: Ann Lee\nPhone: 123\nSubject: Order\nMessage: Where is it?';
    expect(reply(text)).toBe(text);
  });
});

describe('titles', () => {
  test.each([
    '-----Original Message-----',
    '-------- Original message --------',
    '------- Original Message -------',
    '‐‐‐‐‐‐‐ Original Message ‐‐‐‐‐‐‐',
    '-----Ursprüngliche Nachricht-----',
    "-----Message d'origine-----",
    '-----Mensaje original-----',
    '-----Messaggio originale-----',
    '-----Mensagem original-----',
    '-----Oorspronkelijk bericht-----',
    '-----Ursprungligt meddelande-----',
    '-----Oprindelig meddelelse-----',
    '-----Alkuperäinen viesti-----',
    '-----Wiadomość oryginalna-----',
    '-----Původní zpráva-----',
    '-----Исходное сообщение-----',
    '-----Özgün İleti-----',
    '-----元のメッセージ-----',
    '------------------\u00a0原始邮件\u00a0------------------',
    '-----원본 메시지-----',
  ])('%s', (title) => {
    expect(reply(`Yes, please.\n\n${title}\nFrom: ann@shop.example\nDate: Tuesday\n\nShall I?`)).toBe('Yes, please.');
  });

  test.each([
    '##- Please type your reply above this line -##',
    '--- Reply above this line ---',
    'Please reply above this line to answer.',
    '##- Bitte antworten Sie oberhalb dieser Zeile -##',
    '## Veuillez répondre au-dessus de cette ligne ##',
    '##- Por favor, escriba su respuesta por encima de esta línea -##',
    '##- Пожалуйста, пишите ответ выше этой строки -##',
  ])('%s', (line) => {
    const text = `Thanks!\n\nOn 15 Jan 2019 11:12, Help <help@desk.example> wrote:\n\n${line}\n\nYour ticket was solved.`;
    expect(reply(text)).toBe('Thanks!');
  });

  test('a helpdesk’s own message has the text below its line unmarked', () => {
    expect(reply('##- Please type your reply above this line -##\n\nYour ticket was solved.')).toBe(
      'Your ticket was solved.',
    );
  });
});

describe('a forward', () => {
  test.each([
    '---------- Forwarded message ---------',
    '-------- Weitergeleitete Nachricht --------',
    'Begin forwarded message:',
    'Début du message réexpédié :',
    '---------- Mensaje reenviado ---------',
    '-------- Пересылаемое сообщение --------',
    '---------- 转发的邮件 ---------',
  ])('%s has its forwarded message unmarked', (title) => {
    const text = `Please look.\n\n${title}\nFrom: Ann\nDate: Tuesday\nTo: Bob\nSubject: Order\n\n> It broke.\n\n-- \nAnn`;
    expect(reply(text)).toBe(text);
  });

  test('without a title is recognised by the subject', () => {
    const text = 'Please look.\n\nFrom: Ann\nSent: Tuesday\nTo: Bob\nSubject: Order\n\nIt broke.';
    expect(reply(text, 'WG: Order')).toBe(text);
    expect(reply(text, 'AW: Order')).toBe('Please look.');
  });

  test('is unmarked where a program quotes it under an unknown title', () => {
    const text = 'Please look.\n\nHier isset:\n\n> From: Ann\n> Subject: Order\n>\n> It broke.';
    expect(reply(text, 'Fwd: Order')).toBe(text);
  });

  test('has its own signature marked above', () => {
    expect(reply('See below.\n-- \nBob\n\n---------- Forwarded message ---------\nFrom: Ann\n\nHelp')).toBe(
      'See below.\n\n---------- Forwarded message ---------\nFrom: Ann\n\nHelp',
    );
  });
});

describe('lines with >', () => {
  test('replies between them stay', () => {
    expect(reply('> One?\n\nYes.\n\n> Two?\n> > Three?\n\nNo.\n\n\n\n> Four?')).toBe('Yes.\n\nNo.');
  });

  test('lines with | count under an attribution, a table does not', () => {
    expect(reply('Hi.\n\nAnn wrote:\n| old\n| older\n')).toBe('Hi.');
    expect(reply('| a | b |\n| 1 | 2 |')).toBe('| a | b |\n| 1 | 2 |');
  });

  test('initials before > count on two lines, a comparison does not', () => {
    expect(reply('AL> One?\nAL> Two?\n\nYes.')).toBe('Yes.');
    expect(reply('A> 5\nis true')).toBe('A> 5\nis true');
  });

  test.each(['Hello\n>From there it went on.\nBye', 'See <https://site.example/a\n> for more.'])(
    '%j is no quote',
    (text) => {
      expect(reply(text)).toBe(text);
    },
  );
});

test.each([
  'Please call me on Monday 15 January 2019 at 11:12:\n+49 30 1234567',
  'On 15 January 2019 at 11:12 he said:\nit works',
  'As I wrote:\nit does not work.',
  'The error of 2019-01-15 11:12 is:\nconnection refused',
  'Steps:\n1. open\n2. close\n\nFrom: my point of view it is broken',
  'Write to ann@shop.example:\nthanks',
  'This is the original message:\nno it is not',
  'Original message:\nit is in the drawer',
])('%j has no history', (text) => {
  expect(markText(text)).toEqual([]);
});

const fragments = [
  'Thanks, it works.',
  '',
  '> old 😀',
  '>> older',
  'On 15 Jan 2019, at 11:12, Ann <ann@shop.example> wrote:',
  '-- ',
  '--',
  'Ann 😀 Lee',
  '________________________________',
  'From: Ann',
  'Sent: Tuesday',
  'To: Bob',
  'Subject: Order',
  '-----Original Message-----',
  '---------- Forwarded message ---------',
  'Sent from my iPhone',
  '##- Please type your reply above this line -##',
  'www.shop.example',
];
const anyText = fc
  .array(fc.oneof(fc.constantFrom(...fragments), fc.string({ unit: 'grapheme', maxLength: 20 })), { maxLength: 30 })
  .map((lines) => lines.join('\n'));

describe('whatever the text', () => {
  test('marks ascend, do not overlap, and cut no character in two', () => {
    fc.assert(
      fc.property(anyText, fc.constantFrom('', 'Re: a', 'Fwd: a'), (text, subject) => {
        let from = 0;
        for (const { start, end } of markText(text, subject)) {
          expect(start).toBeGreaterThanOrEqual(from);
          expect(end).toBeGreaterThan(start);
          expect(end).toBeLessThanOrEqual(text.length);
          expect((text.slice(0, start) + text.slice(end)).isWellFormed()).toBe(text.isWellFormed());
          from = end;
        }
      }),
      { numRuns: 500 },
    );
  });

  test('the reply text consists of lines of the text, in order', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        let from = 0;
        for (const line of reply(text).split('\n')) {
          const at = text.indexOf(line, from);
          expect(at).toBeGreaterThanOrEqual(0);
          from = at + line.length;
        }
      }),
      { numRuns: 500 },
    );
  });

  test('the reply text of a usual reply has no marks itself', () => {
    const body = fc.array(fc.constantFrom('Thanks.', 'It works now.', '', 'See page 4:', '- one', 'Best regards'), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(body, fc.constantFrom(...attributions.map(([, line]) => line)), (lines, attribution) => {
        const left = reply(`Hello\n${lines.join('\n')}\n-- \nAnn\n\n${attribution}\n> old\n`);
        expect(left).toBe(`Hello\n${lines.join('\n')}`.trim());
        expect(markText(left)).toEqual([]);
      }),
    );
  });
});

describe('hostile texts take linear time', () => {
  test.each([
    ['lines with >', '> a\n'.repeat(200_000)],
    ['one long line', 'wrote: '.repeat(100_000)],
    ['attributions', 'On Jan 1, 2020 12:00, x <a@b.test> wrote:\n'.repeat(20_000)],
    ['near attributions', 'x wrote a b c:\n'.repeat(20_000)],
    ['weak quotes', 'ab> \n\n'.repeat(50_000)],
    ['fields', 'From: x\n\n'.repeat(30_000)],
    ['delimiters', '--\nx\n'.repeat(50_000)],
    ['blank lines', `a\n${'\n'.repeat(500_000)}> b`],
    ['drawn lines', '-----\n'.repeat(50_000)],
    ['openings of notices', '\nThis message\n'.repeat(30_000)],
  ])('%s', (_case, text) => {
    const before = process.cpuUsage();
    markText(text, 'Re: a');
    // Time of the processor, since others may use it; far below what anything quadratic would take.
    expect(process.cpuUsage(before).user / 1000).toBeLessThan(1500);
  });
});
