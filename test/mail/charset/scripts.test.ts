/** Raw header fields of few words are read in the charset of their script, and Latin ones as Latin. */
import iconv from 'iconv-lite';
import { expect, test } from 'vitest';
import { charsetOfWords } from '../../../src/mail/charset/scripts.ts';
import { parseMessage } from '../../../src/mail/parse.ts';

const subjects = ['Счёт за ноябрь', 'Ваш заказ номер 15 готов к отправке', 'Re: Вопрос по договору', 'Дякуємо за лист'];

const message = (text: string, charset: string, label: string) =>
  parseMessage(
    Buffer.concat([
      iconv.encode(`From: "Иван Петров" <ivan.petrov@kunde.example>\r\nSubject: ${text}\r\n`, charset),
      Buffer.from(`Content-Type: text/plain${label}\r\n\r\nplain words\r\n`),
    ]),
  );

test.each(['koi8-u', 'windows-1251'].flatMap((charset) => subjects.map((subject) => [charset, subject] as const)))(
  'raw fields in %s are read: %s',
  async (charset, subject) => {
    for (const label of ['', '; charset=us-ascii', '; charset=iso-8859-1']) {
      const mail = await message(subject, charset, label);
      expect([mail.subject, mail.from?.name]).toEqual([subject, 'Иван Петров']);
    }
  },
);

test.each(['Grüße aus Köln', 'Überweisung für Müller', 'Año nuevo, mañana', 'Þórður Ægisson', 'ÅÄÖ', 'Déjà vu'])(
  'raw Latin stays Latin: %s',
  async (text) => {
    const raw = Buffer.concat([
      Buffer.from('Subject: '),
      iconv.encode(text, 'windows-1252'),
      Buffer.from('\r\n\r\nHi'),
    ]);
    expect((await parseMessage(raw)).subject).toBe(text);
  },
);

test.each([
  ['Καλημέρα σας, η παραγγελία', 'windows-1253'],
  ['שלום וברכה, הזמנה חדשה', 'windows-1255'],
])('%s is not taken for Cyrillic', (text, charset) => {
  expect(charsetOfWords(iconv.encode(text, charset))).toBe(charset);
});

test.each([
  ['关于您的订单', 'gb18030'],
  ['お問い合わせの件について', 'euc-jp'],
  ['お問い合わせの件について', 'shift_jis'],
  ['주문 확인 안내', 'euc-kr'],
])('%s in %s has no letters of a single-byte script', (text, charset) => {
  expect(charsetOfWords(iconv.encode(text, charset))).toBeNull();
});

test('a field of a million bytes takes no longer than its beginning', () => {
  expect(charsetOfWords(Buffer.alloc(1_000_000, 0xc1))).toBe(charsetOfWords(Buffer.alloc(4096, 0xc1)));
});
