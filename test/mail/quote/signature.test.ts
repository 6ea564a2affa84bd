/**
 * Signatures: delimiters, lines of mobile devices, contact blocks, legal notices; and closing words, which are none.
 */
import { describe, expect, test } from 'vitest';
import { markText, replyTextOf } from '../../../src/mail/quote/quote.ts';

function reply(text: string): string {
  return replyTextOf(text, markText(text));
}

describe('a signature is marked as one', () => {
  test.each([
    ['the delimiter of RFC 3676', '-- \nAnn Lee\nShop Ltd'],
    ['the delimiter without its blank', '--\nAnn Lee'],
    ['a dash as Apple writes it', '—\nAnn Lee\nShop Ltd'],
    ['the delimiter as PGP escapes it', '- -- \nAnn Lee'],
    ['a drawn line and contact data', '______________\nAnn Lee\nTel. +49 30 1234567\nwww.shop.example'],
    [
      'the footer of a list',
      '_______________________________________________\nshop mailing list\nshop@lists.example\nhttps://lists.example/shop',
    ],
    ['armor', '-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----'],
    [
      'a notice',
      'This e-mail and any attachments are confidential and intended only for the addressee.\nDelete it otherwise.',
    ],
    ['a notice under a line', '-----\nDiese E-Mail enthält vertrauliche Informationen.'],
    ['a notice in French', 'Ce message et ses pièces jointes sont confidentiels et réservés à leur destinataire.'],
    [
      'the footer of a service',
      `—\nReply to this directly or view it there [https://shop.example/${'a'.repeat(200)}].`,
    ],
    ['a scanner', 'This email has been checked for viruses by a scanner.\nwww.scanner.example'],
    ['two signatures', 'Sent from my iPad\n\nThis message is confidential.'],
  ])('%s', (_case, signature) => {
    const text = `Hello,\n\nit works now.\nThank you\n\n${signature}\n`;
    expect(reply(text)).toBe('Hello,\n\nit works now.\nThank you');
    expect(markText(text).map(({ kind }) => kind)).toEqual(['signature']);
  });

  test.each([
    'Sent from my iPhone',
    'Sent from my iPhone.',
    'Sent from my Verizon Wireless BlackBerry',
    'Sent from Mail [https://go.site.example/1] for Windows',
    'Sent from Yahoo Mail on Android',
    'Sent from Outlook for iOS <https://site.example/x>',
    'Get Outlook for Android<https://site.example/x>',
    'Sent with Proton Mail secure email.',
    'Sent via BlackBerry from a phone',
    'Sent from my Galaxy, please excuse any spelling mistakes.',
    'Von meinem iPhone gesendet',
    'Gesendet von Outlook für iOS',
    'Diese Nachricht wurde von meinem Android-Gerät gesendet.',
    'Envoyé de mon iPhone',
    'Envoyé depuis mon téléphone Samsung',
    'Enviado desde mi iPhone',
    'Enviado do meu iPhone',
    'Inviato da iPhone',
    'Verstuurd vanaf mijn iPhone',
    'Skickat från min iPhone',
    'Sendt fra min iPhone',
    'Lähetetty iPhonesta',
    'Wysłane z iPhone’a',
    'Odesláno z iPhonu',
    'Trimis de pe iPhone-ul meu',
    'Отправлено с iPhone',
    'Надіслано з iPhone',
    'Στάλθηκε από το iPhone μου',
    'iPhone’umdan gönderildi',
    'Đã gửi từ iPhone của tôi',
    'Dikirim dari iPhone saya',
    'iPhoneから送信',
    '发自我的iPhone',
    '從我的iPhone傳送',
    '나의 iPhone에서 보냄',
    'ส่งจาก iPhone ของฉัน',
    'נשלח מה-iPhone שלי',
    'أُرسلت من الـ iPhone',
  ])('%s', (line) => {
    expect(reply(`It works.\n\n${line}\n`)).toBe('It works.');
    expect(reply(`It works.\n\n${line}\n\nAnn wrote:\n> old\n`)).toBe('It works.');
  });

  test('a signature ends where the history begins', () => {
    const text = 'Fine.\n-- \nAnn\n\nOn 15 Jan 2019, at 11:12, Bob <bob@site.test> wrote:\n> old\n';
    expect(markText(text).map(({ kind, start, end }) => [kind, text.slice(start, end)])).toEqual([
      ['signature', '-- \nAnn\n'],
      ['quote', 'On 15 Jan 2019, at 11:12, Bob <bob@site.test> wrote:\n> old\n'],
    ]);
  });
});

test.each([
  ['closing words', 'Hello\n\nit works.\n\nBest regards\nAnn Lee\nShop Ltd\n+49 30 1234567'],
  ['a dash in a sentence', 'It works -- at last.\n\nBye'],
  ['a sentence about sending', 'Hello\n\nSent from my desk, is much easier than my phone.'],
  ['a heading that is underlined', 'New request\n-----------\nsee https://site.example/1'],
  ['a contact form', 'New message:\n\n-----\nName: Ann\nCity: Rome\nMail: ann@shop.example'],
  [
    'a form of three fields',
    'Hello,\nthere is a new request.\n\n-----\nProduct: Lamp\nColour: red\nMail: ann@shop.example',
  ],
  ['a form under a drawn line', '==========\nsee https://site.example/1'],
  ['a long text after a delimiter', `Hello\n--\n${'a line of the report\n'.repeat(20)}`.trim()],
  ['a letter about viruses', 'Hello\n\nThis email contains a virus!\n\nPlease help.'],
  ['a question about secrets', 'Hello\n\nIs it safe?\n\nThis message is confidential. Who reads it?'],
  ['a secret in the middle', 'Hello\n\nThis message is confidential.\n\nI need a new password.'],
  ['a sentence that begins as a notice', 'Hello\n\nThis message came back. Why?'],
])('%s is no signature', (_case, text) => {
  expect(markText(text)).toEqual([]);
  expect(reply(text)).toBe(text);
});
