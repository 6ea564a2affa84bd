/** Delivery reports of each family of programs, as small messages, and the recipients read from them. */
import { describe, expect, test } from 'vitest';
import { parseMessage } from '../../../src/mail/parse.ts';

const bytes = (lines: readonly string[]) =>
  new Uint8Array(Buffer.from(`${lines.join('\n').replace(/\n/gu, '\r\n')}\r\n`));

/** A message of a delivery program, or with another From field, and a text. */
function note(
  text: string,
  headers: readonly string[] = [],
  from = 'MAILER-DAEMON@mx.example',
): Uint8Array<ArrayBuffer> {
  const subject = headers.some((header) => header.startsWith('Subject:')) ? [] : ['Subject: Undelivered mail'];
  return bytes([`From: ${from}`, 'To: desk@desk.example', ...subject, ...headers, '', text]);
}

/** A report of RFC 3464 with that machine-readable part, and the original message. */
function report(
  status: string,
  words = 'It failed.',
  returned = 'Message-ID: <sent@desk.example>',
): Uint8Array<ArrayBuffer> {
  return bytes([
    'Return-Path: <>',
    'From: Postmaster <postmaster@mx.example>',
    'To: desk@desk.example',
    'Subject: Delivery report',
    'MIME-Version: 1.0',
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"',
    '',
    '--b',
    'Content-Type: text/plain; charset=utf-8',
    '',
    words,
    '--b',
    'Content-Type: message/delivery-status',
    '',
    'Reporting-MTA: dns; mx.example',
    '',
    status,
    '',
    '--b',
    'Content-Type: message/rfc822',
    '',
    returned,
    'To: anna@kunde.example',
    '',
    'Hello',
    '--b--',
  ]);
}

/** Status (or `-`), hard or soft, and address of each recipient. */
async function read(mail: Uint8Array<ArrayBuffer>): Promise<readonly string[]> {
  const { kind, bounce } = await parseMessage(mail);
  expect(kind).toBe('bounce');
  return (bounce?.recipients ?? []).map(
    ({ address, status, hard }) => `${status ?? '-'} ${hard ? 'hard' : 'soft'} ${address}`,
  );
}

type Case = readonly [what: string, mail: Uint8Array<ArrayBuffer>, recipients: readonly string[]];

const reports: readonly Case[] = [
  [
    'its status',
    report('Final-Recipient: rfc822; anna@kunde.example\nAction: failed\nStatus: 5.1.1'),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'a status with words, and an address type without a blank',
    report('Final-Recipient: RFC822;<anna@kunde.example>\nAction: failed\nStatus: 5.2.2 (mailbox full)'),
    ['5.2.2 soft anna@kunde.example'],
  ],
  [
    'the original recipient, not the final one',
    report(
      'Original-Recipient: rfc822;anna@kunde.example\nFinal-Recipient: rfc822;a.berg@inside.kunde.example\nAction: failed\nStatus: 5.1.1',
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'each recipient, in order, once',
    report(
      'Final-Recipient: rfc822; anna@kunde.example\nAction: failed\nStatus: 5.1.1\n\nFinal-Recipient: rfc822; ben@kunde.example\nAction: failed\nStatus: 5.2.2\n\nFinal-Recipient: rfc822; Anna@kunde.example\nAction: failed\nStatus: 5.1.1',
    ),
    ['5.1.1 hard anna@kunde.example', '5.2.2 soft ben@kunde.example'],
  ],
  [
    'groups without an empty line between them',
    report(
      'Final-Recipient: rfc822; anna@kunde.example\nAction: failed\nStatus: 5.1.1\nFinal-Recipient: rfc822; ben@kunde.example\nAction: failed\nStatus: 5.1.2',
    ),
    ['5.1.1 hard anna@kunde.example', '5.1.2 hard ben@kunde.example'],
  ],
  [
    'a delay, which is never hard',
    report(
      'Final-Recipient: rfc822; anna@kunde.example\nAction: delayed\nStatus: 4.4.1\nDiagnostic-Code: smtp; 450 user unknown here yet',
    ),
    ['4.4.1 soft anna@kunde.example'],
  ],
  [
    'a delay reported with a final status',
    report('Final-Recipient: rfc822; anna@kunde.example\nAction: delayed\nStatus: 5.1.1'),
    ['5.1.1 soft anna@kunde.example'],
  ],
  [
    'a successful delivery',
    report('Final-Recipient: rfc822; anna@kunde.example\nAction: delivered\nStatus: 2.0.0'),
    ['2.0.0 soft anna@kunde.example'],
  ],
  [
    'only the failed recipients beside successful ones',
    report(
      'Final-Recipient: rfc822; ben@kunde.example\nAction: relayed\nStatus: 2.0.0\n\nFinal-Recipient: rfc822; anna@kunde.example\nAction: failed\nStatus: 5.1.1',
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'the status of the refusing server, before a vague one',
    report(
      'Final-Recipient: rfc822; anna@kunde.example\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 5.1.1\n <anna@kunde.example>: User unknown',
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'and before a wrong one (sendmail takes every refusal for an unknown user)',
    report(
      'Final-Recipient: rfc822; anna@kunde.example\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.7.1 refused by policy',
    ),
    ['5.7.1 soft anna@kunde.example'],
  ],
  [
    'a refusal after the content, whatever it states about the user',
    report(
      'Final-Recipient: rfc822; anna@kunde.example\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 Unknown user (in reply to end of DATA command)',
    ),
    ['5.0.0 soft anna@kunde.example'],
  ],
  [
    'a source route, cut off',
    report('Final-Recipient: rfc822; @relay.example:anna@kunde.example\nAction: failed\nStatus: 5.1.1'),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'an address that only the text names',
    report('Final-Recipient: x400; /S=berg/\nAction: failed\nStatus: 5.1.1', 'Failed:\n\n  <anna@kunde.example>\n'),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'an internationalised address (RFC 6533)',
    report('Final-Recipient: utf-8; j\\x{F6}rg@kunde.example\nAction: failed\nStatus: 5.1.1'),
    ['5.1.1 hard jörg@kunde.example'],
  ],
  [
    'a quoted local part',
    report('Final-Recipient: rfc822; "anna berg"@kunde.example\nAction: failed\nStatus: 5.1.1'),
    ['5.1.1 hard "anna berg"@kunde.example'],
  ],
  [
    'the reason in the text where the status is vague',
    report(
      'Final-Recipient: rfc822; anna@kunde.example\nAction: failed\nStatus: 5.0.0',
      "Your message wasn't delivered to anna@kunde.example because the address couldn't be found.",
    ),
    ['5.0.0 hard anna@kunde.example'],
  ],
];

const original = '\nReturn-Path: <desk@desk.example>\nMessage-ID: <sent@desk.example>\nTo: other@kunde.example\n';

const notes: readonly Case[] = [
  [
    'Postfix',
    note(
      `could not be delivered to one or more destinations.\n\n<anna@kunde.example>: host mx.kunde.example[192.0.2.1] said: 550 5.1.1\n    <anna@kunde.example>: User unknown (in reply to RCPT TO command)\n`,
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'qmail',
    note(
      `Hi. This is the qmail-send program at mx.example.\nI wasn't able to deliver your message to the following addresses.\n\n<anna@kunde.example>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n<ben@kunde.example>:\nThe user's mailfolder is full.\n\n--- Below this line is a copy of the message.\n${original}`,
      ['Subject: failure notice'],
    ),
    ['5.1.1 hard anna@kunde.example', '5.2.2 soft ben@kunde.example'],
  ],
  [
    'Exim',
    note(
      `A message that you sent could not be delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  anna@kunde.example\n    SMTP error from remote mail server after RCPT TO:<anna@kunde.example>:\n    host mx.kunde.example [192.0.2.1]: 550 no such user\n\n------ This is a copy of the message, including all the headers. ------\n${original}`,
      ['X-Failed-Recipients: anna@kunde.example'],
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'a delay warning of Exim',
    note(
      'A message that you sent has not yet been delivered to one or more of its\nrecipients after more than 24 hours.\n\nThe message has not yet been delivered to the following addresses:\n\n  anna@kunde.example\n    host mx.kunde.example: connection refused\n',
      ['Subject: Warning: message 1a-b2 delayed 24 hours'],
    ),
    ['4.4.1 soft anna@kunde.example'],
  ],
  [
    'sendmail 8 without parts',
    note(
      `   ----- The following addresses had permanent fatal errors -----\n<anna@kunde.example>\n\n   ----- Transcript of session follows -----\n550 5.1.2 <anna@kunde.example>... Host unknown (Name server: kunde.example: host not found)\n`,
    ),
    ['5.1.2 hard anna@kunde.example'],
  ],
  [
    'sendmail 5',
    note(
      `   ----- Transcript of session follows -----\n>>> RCPT To:<anna@kunde.example>\n<<< 550 User unknown\n550 <anna@kunde.example>... User unknown\n\n   ----- Unsent message follows -----\n${original}`,
      ['Subject: Returned mail: User unknown'],
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'Exchange 5.5 and 2000',
    note(
      'Your message\n\n  To:      anna@kunde.example\n  Subject: Order\n\ndid not reach the following recipient(s):\n\nanna@kunde.example on Tue, 24 Nov 2026 09:15:00 +0100\n    The recipient name is not recognized\n    MSEXCH:IMS:KUNDE:MX 0 (000C05A6) Unknown Recipient\n',
      ['Subject: Undeliverable: Order'],
      'System Administrator <postmaster@kunde.example>',
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'Exchange 2007 without parts',
    note(
      "Delivery has failed to these recipients or distribution lists:\n\nAnna\nThe recipient's e-mail address was not found.\n\nDiagnostic information for administrators:\n\nGenerating server: mx.example\n\nanna@kunde.example\n#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##\n",
      ['Subject: Undeliverable: Order'],
      'Microsoft Exchange <MicrosoftExchange329e71ec@mx.example>',
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'Lotus Domino',
    note(
      'Your message\n\n  Subject: Order\n\nwas not delivered to:\n\n  anna@kunde.example\n\nbecause:\n\n  User anna (anna@kunde.example) not listed in Domino Directory\n',
      ['Subject: DELIVERY FAILURE: User anna (anna@kunde.example) not listed in Domino Directory'],
      'postmaster@kunde.example',
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'Lotus Notes',
    note(
      `------- Failure Reasons  --------\n\nUser not listed in public Name & Address Book\nanna@kunde.example\n\n------- Returned Message --------\n${original}`,
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'GroupWise',
    note('The message that you sent was undeliverable to the following:\n\tanna@kunde.example (user not found)\n', [
      'Subject: Message status - undeliverable',
    ]),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'MailEnable',
    note(
      'MailEnable: Message could not be delivered to some recipients.\nThe following recipient(s) could not be reached:\n\n\tRecipient: [SMTP:anna@kunde.example]\n\tReason: Remote SMTP Server Returned: 550 mailbox unavailable\n',
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'IMail',
    note(
      `User mailbox exceeds allowed size: anna@kunde.example\n\nOriginal message follows.\n${original}`,
      [],
      'Postmaster <postmaster@mx.example>',
    ),
    ['5.2.2 soft anna@kunde.example'],
  ],
  [
    'Courier',
    note(
      `This is a delivery status notification from mx.example.\n\nUNDELIVERABLE MAIL\n\nYour message to the following recipients cannot be delivered:\n\n<anna@kunde.example>:\n    mx.kunde.example [192.0.2.1]:\n>>> RCPT TO:<anna@kunde.example>\n<<< 550 5.1.1 User unknown\n`,
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'Yahoo',
    note(
      "Message from mail.example.\nUnable to deliver message to the following address(es).\n\n<anna@kunde.example>:\nThis user doesn't have a kunde.example account (anna@kunde.example) [0]\n",
      ['Subject: Delivery failure'],
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'AOL',
    note(
      `The original message was received.\n\n   ----- The following addresses had permanent fatal errors -----\n<anna@kunde.example>\n\n   ----- Transcript of session follows -----\n... while talking to mx.kunde.example.:\n>>> RCPT To:<anna@kunde.example>\n<<< 550 MAILBOX NOT FOUND\n`,
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'an old format of Gmail',
    note(
      `Delivery to the following recipient failed permanently:\n\n     anna@kunde.example\n\nTechnical details of permanent failure:\nThe error that the other server returned was: 550 550 5.1.1 User unknown (state 14).\n\n   ----- Original message -----\n${original}`,
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'Google Groups',
    note(
      'Hello desk@desk.example,\n\nYour message to the group could not be delivered: the group you tried to contact (anna@kunde.example) may not exist.\n',
      ['Subject: Delivery Status Notification (Failure)'],
    ),
    ['5.0.0 soft anna@kunde.example'],
  ],
  [
    'GMX and 1&1',
    note(
      `A message that you sent could not be delivered to\none or more of its recipients. This is a permanent error. The following address\nfailed:\n\n"anna@kunde.example":\nSMTP error from remote server after RCPT command:\nhost: mx.kunde.example\n5.1.1 <anna@kunde.example>... User Unknown\n\n--- The header of the original message is following. ---\n${original}`,
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'KDDI',
    note(
      'Your mail sent on: Tue, 24 Nov 2026 09:15:00 +0900\n     Could not be delivered to: <anna@kunde.example>\n     As their mailbox is full.\n',
      ['Return-Path: <>', 'Subject: Mail'],
      'no-reply@mobile.example',
    ),
    ['5.2.2 soft anna@kunde.example'],
  ],
  [
    'Japanese carriers',
    note(
      '次のあて先へのメッセージはエラーのため送信できませんでした。\n\nEach of the following recipients was rejected by a remote mail server.\n\n    Recipient: <anna@kunde.example>\n    >>> RCPT TO:<anna@kunde.example>\n    <<< 550 <anna@kunde.example>: User unknown\n',
      ['Subject: Mail System Error - Returned Mail'],
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'm-FILTER',
    note(
      '以下のメールアドレスへの送信に失敗しました。\nanna@kunde.example\n\n-------server message\n550 anna@kunde.example... User unknown\n\n-------SMTP command\nRCPT\n\n-------original mail info\nFrom: desk@desk.example\n',
      ['Subject: failure notice'],
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'an antivirus gateway',
    note(
      'Your message with Subject: Order\ncould not be delivered to the following recipients:\n\nanna@kunde.example\n\nPlease do not resend your original message.\nDelivery attempts will continue to be made for 5 day(s).\n',
      ['Subject: Delivery failure notification'],
      'AntiVirus_for_SMTP_Gateways@mx.example',
    ),
    ['4.4.7 soft anna@kunde.example'],
  ],
  [
    'an antispam gateway',
    note(
      'Your message to anna@kunde.example was blocked by our spam filter and has not been delivered.\n',
      ['Subject: Message delivery failed: blocked as spam', 'Return-Path: <>'],
      'filter@mx.example',
    ),
    ['5.7.1 soft anna@kunde.example'],
  ],
  [
    'MailMarshal',
    note(
      'Your message:\n   From:    desk@desk.example\n   Subject: Order\n\nCould not be delivered because of\n\n550 5.1.1 User unknown\n\nThe following recipients were affected:\n    anna@kunde.example\n',
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'MXLogic and Postini',
    note(
      `This message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered to one or more recipients.\nThe following address failed:\n\n <anna@kunde.example>: 550 No such user\n\n Included is a copy of the message header:\n${original}`,
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'OpenSMTPD',
    note(
      `    Hi!\n\n    This is the MAILER-DAEMON, please DO NOT REPLY to this e-mail.\n\n    An error has occurred while attempting to deliver a message for\n    the following list of recipients:\n\nanna@kunde.example: 550 5.2.2 Mailbox full\n\n    Below is a copy of the original message:\n${original}`,
    ),
    ['5.2.2 soft anna@kunde.example'],
  ],
  [
    'DragonFly',
    note(
      `There was an error delivering your mail to <anna@kunde.example>.\n\nDNS lookup failure: host kunde.example not found\n\nMessage headers follow.\n${original}`,
    ),
    ['5.1.2 hard anna@kunde.example'],
  ],
  [
    'Zoho',
    note(
      'This message was created automatically by mail delivery software.\nA message that you sent could not be delivered to one or more of its recipients. This is a permanent error.\n\nanna@kunde.example Invalid Address, ERROR_CODE :550, ERROR_CODE :5.1.1 User unknown\n',
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'a server that counts the errors',
    note(
      'We had trouble delivering your message. Full details follow:\n\nSubject: Order\n\n1 error(s):\n\nSMTP Server <mx.kunde.example> rejected recipient <anna@kunde.example> (Error following RCPT command). It responded as follows: [550 5.1.1 User unknown]\n',
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'SMTP with a scheme before the address',
    note(
      'This Message was undeliverable due to the following reason:\n\nThe following destination addresses were unknown (please check\nthe addresses and re-mail the message):\n\n\t\tSMTP <anna@kunde.example>\n\nPlease reply to Postmaster@mx.example\nif you feel this message to be in error.\n',
    ),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'a list for members only',
    note(
      'You are not a member of this mailing list <talk@list.example>.\n',
      ['Subject: You desk@desk.example are not member (talk ML)'],
      'talk-admin@list.example',
    ),
    ['5.7.1 soft talk@list.example'],
  ],
  [
    'German',
    note('Ihre Nachricht an anna@kunde.example konnte nicht zugestellt werden.\nEmpfänger unbekannt.\n', [
      'Subject: Unzustellbar: Bestellung',
    ]),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'French',
    note(
      "Votre message n'a pas pu être remis à\n\nanna@kunde.example\n\nBoîte aux lettres pleine\n",
      ['Subject: Non remis : commande'],
      'postmaster@mx.example',
    ),
    ['5.2.2 soft anna@kunde.example'],
  ],
  [
    'Spanish',
    note('No se ha podido entregar su mensaje a:\n\nanna@kunde.example\n\nUsuario desconocido\n', [
      'Subject: Mensaje no entregado',
    ]),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'Italian',
    note('Non è stato possibile recapitare il messaggio a:\n\nanna@kunde.example\n\nUtente sconosciuto\n', [
      'Subject: Mancato recapito',
    ]),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'Portuguese',
    note('A sua mensagem não pôde ser entregue a:\n\nanna@kunde.example\n\nCaixa de correio cheia\n', [
      'Subject: Falha na entrega',
    ]),
    ['5.2.2 soft anna@kunde.example'],
  ],
  [
    'Polish',
    note('Nie można dostarczyć wiadomości:\n\nanna@kunde.example\n\nNieznany użytkownik\n', [
      'Subject: Niedostarczona wiadomość',
    ]),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'Russian',
    note('Не удалось доставить сообщение:\n\nanna@kunde.example\n\nпользователь не найден\n', [
      'Subject: Недоставленное сообщение',
    ]),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'Japanese',
    note('メールを配信できませんでした。\n\nanna@kunde.example\n\nユーザーが見つかりません。\n', ['Subject: 配信不能']),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'Chinese',
    note('无法投递您的邮件：\n\nanna@kunde.example\n\n收件人不存在\n', ['Subject: 系统退信']),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'a content filter',
    note(
      'BANNED CONTENTS ALERT\n\nOur content checker found\n    banned name: .exe\n\nin email from you\nto the following recipient:\n-> anna@kunde.example\n\nDelivery of the email was stopped!\n',
      ['Subject: BANNED contents from you (.exe)', 'Return-Path: <>'],
      'Content-filter <postmaster@mx.example>',
    ),
    ['5.7.1 soft anna@kunde.example'],
  ],
  [
    'a transcript only',
    note(
      '   ----- Transcript of session follows -----\n550 kunde.example (TCP)... 550 Host unknown\n554 <anna@kunde.example>... 550 Host unknown (Authoritative answer from name server)\n',
      ['Subject: Returned mail: Host unknown'],
    ),
    ['5.1.2 hard anna@kunde.example'],
  ],
  [
    'local users of the server, without a domain',
    note(
      'Your mail to the following recipients could not be delivered because they are not accepting mail with attachments:\n\tanna\n\tben\n',
      ['Subject: Mail Delivery Problem'],
    ),
    ['5.7.1 soft anna@mx.example', '5.7.1 soft ben@mx.example'],
  ],
  [
    'a report that wraps another one',
    bytes([
      'From: MAILER-DAEMON@mx.example',
      'Subject: Returned mail: User unknown',
      'MIME-Version: 1.0',
      'Content-Type: multipart/mixed; boundary=o',
      '',
      '--o',
      '',
      '----- The following addresses had permanent delivery errors -----',
      '--o',
      'Content-Type: message/rfc822',
      '',
      Buffer.from(report('Final-Recipient: rfc822; anna@kunde.example\nAction: failed\nStatus: 5.1.1'))
        .toString()
        .replaceAll('\r', ''),
      '--o--',
    ]),
    ['5.1.1 hard anna@kunde.example'],
  ],
  [
    'an envelope address that names the recipient (VERP)',
    bytes([
      'Return-Path: <>',
      'From: MAILER-DAEMON@mx.example',
      'To: bounces+anna=kunde.example@desk.example',
      'Subject: Mail delivery failed',
      '',
      'It could not be delivered.',
    ]),
    ['5.0.0 soft anna@kunde.example'],
  ],
];

const notification = (event: object) =>
  JSON.stringify({ ...event, mail: { headers: [{ name: 'Message-ID', value: '<sent@desk.example>' }] } });
const sesBounce = notification({
  notificationType: 'Bounce',
  bounce: {
    bounceType: 'Permanent',
    bouncedRecipients: [
      {
        emailAddress: 'anna@kunde.example',
        action: 'failed',
        status: '5.1.1',
        diagnosticCode: 'smtp; 550 5.1.1 user unknown',
      },
    ],
  },
});
const fromSns = (text: string) => note(text, ['Subject: AWS Notification Message'], 'SES <no-reply@sns.example>');

describe('a delivery report yields', () => {
  test.each(reports)('%s', async (_, mail, recipients) => {
    expect(await read(mail)).toEqual(recipients);
  });
});

describe('delivery reports in prose are read:', () => {
  test.each(notes)('%s', async (_, mail, recipients) => {
    expect(await read(mail)).toEqual(recipients);
  });

  test.each([
    ['a language without a sentence of failure', 'Zure mezua anna@kunde.example helbidera ez da iritsi.'],
    ['a contact beside it', 'Ez da iritsi: mezua [anna@kunde.example] 5\nQuestions? Contact help-line@mx.example'],
  ])('the only other address that %s mentions is the recipient', async (_, text) => {
    expect((await read(note(text))).map((line) => line.split(' ').at(-1))).toEqual(['anna@kunde.example']);
  });

  test('of two addresses that are only mentioned, neither is the recipient', async () => {
    expect(await read(note('Ez: mezua [anna@kunde.example] [ben@kunde.example] 5'))).toEqual([]);
  });

  test.each([
    [
      'a mail program states a reason',
      'Subject: Rejected: Hi',
      "<anna@kunde.example>\n\nSorry, I couldn't find any host by that name.",
      undefined,
    ],
    [
      'a subject is a whole sentence of failure',
      'Subject: Ihre Nachricht konnte nicht zugestellt werden',
      'Ihre E-Mail an anna@kunde.example konnte nicht zugestellt werden: Postfach voll.',
      'Mailservice <mailservice@mx.example>',
    ],
    [
      'a program greets the sender by this word',
      'Subject: Mail Delivery Error',
      'Dear sender,\nthe e-mail to anna@kunde.example could not be sent. The account is disabled.',
      'Freemail <mailer@mx.example>',
    ],
  ])('%s', async (_, subject, text, from) => {
    const mail = note(text, ['Return-Path: <>', subject, 'Content-Type: text/plain; charset=utf-8'], from);
    expect((await read(mail)).map((line) => line.split(' ').at(-1))).toEqual(['anna@kunde.example']);
  });

  test.each([
    ['plain', sesBounce],
    [
      'as a string, followed by an explanation',
      `${JSON.stringify({ Type: 'Notification', Message: sesBounce })}\n\n--\nTo stop {this}, follow the link`,
    ],
    ['with broken lines', sesBounce.replace('bouncedRecipients', 'bounced!\n Recipients')],
  ])('JSON of SES, %s', async (_, text) => {
    const { bounce, reportedMessageId } = await parseMessage(fromSns(text));
    expect(bounce).toEqual({
      recipients: [
        { address: 'anna@kunde.example', status: '5.1.1', hard: true, diagnostic: '550 5.1.1 user unknown' },
      ],
      status: '5.1.1',
      hard: true,
    });
    expect(reportedMessageId).toBe('sent@desk.example');
  });

  test('JSON that breaks off is no report', async () => {
    expect((await parseMessage(fromSns(sesBounce.slice(0, 100)))).kind).toBe('human');
  });
});

describe('the whole report', () => {
  test('has the status of the first hard bounce', async () => {
    const { bounce } = await parseMessage(
      report(
        'Final-Recipient: rfc822; ben@kunde.example\nAction: failed\nStatus: 5.2.2\n\nFinal-Recipient: rfc822; anna@kunde.example\nAction: failed\nStatus: 5.1.1',
      ),
    );
    expect([bounce?.status, bounce?.hard]).toEqual(['5.1.1', true]);
  });

  test('may name no recipient, and then has only a stated status', async () => {
    const { bounce } = await parseMessage(
      note('<<< No Message Collected >>>', ['Content-Type: multipart/report; report-type=delivery-status']),
    );
    expect(bounce).toEqual({ recipients: [], status: null, hard: false });
  });

  test('gives the diagnostic as one line', async () => {
    const { bounce } = await parseMessage(
      report(
        'Final-Recipient: rfc822; anna@kunde.example\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1\n  no\n\tsuch user',
      ),
    );
    expect(bounce?.recipients[0]?.diagnostic).toBe('550 5.1.1 no such user');
  });
});

describe('the Message-ID of the reported message is found', () => {
  test.each<readonly [string, Uint8Array<ArrayBuffer>, string | null]>([
    ['in the original message', report('Final-Recipient: rfc822; anna@kunde.example'), 'sent@desk.example'],
    [
      'in a header block of the text',
      note(`Could not be delivered:\n\n<anna@kunde.example>: full\n\n--- Original message follows.\n${original}`),
      'sent@desk.example',
    ],
    [
      'in a quoted header block',
      note('Could not be delivered.\n\n> Message-Id:\n>  <sent@desk.example>\n'),
      'sent@desk.example',
    ],
    [
      'in a field of the report',
      note(
        'This report relates to a message you sent:\n\n  Message-id: <sent@desk.example>\n\nIt could not be delivered.',
      ),
      'sent@desk.example',
    ],
    [
      'in In-Reply-To of the report',
      note('Could not be delivered.', ['In-Reply-To: <sent@desk.example>']),
      'sent@desk.example',
    ],
    [
      'as the last of its References',
      note('Could not be delivered.', ['References: <first@desk.example> <sent@desk.example>']),
      'sent@desk.example',
    ],
    ['nowhere', note('Could not be delivered.'), null],
  ])('%s', async (_, mail, id) => {
    expect((await parseMessage(mail)).reportedMessageId).toBe(id);
  });
});
