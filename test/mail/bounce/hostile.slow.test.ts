/** Hostile messages for classification and bounce reading: the time is linear in the text. */
import { describe, expect, test } from 'vitest';
import { classify } from '../../../src/mail/classify/classify.ts';
import { makeAttachments } from '../../../src/mail/mime/attachments.ts';

const length = 1_000_000;
/** Generous, since tests share the machine; quadratic time would be minutes. */
const msMax = 2000;

const pieces = [
  'a',
  '@',
  'a@',
  ' ',
  '\n',
  ' \n',
  '-',
  '"',
  '"@',
  '5.1.',
  '550 5.1.1.',
  'message-id: <',
  '\nmessage-id: ',
  'RCPT TO:<',
  'Final-Recipient: a@b\n',
  '<a@b.example>: x\n',
  'Recipient: ',
  'could not ',
  'delivery of ',
  'user ',
  'address of ',
  'konnte ',
  'wurde am ',
  'your ',
  'i am ',
  'ich bin ',
  'thank you ',
  '. A',
  'copy of the original message ',
  '{"Message":',
  '{"notificationType":"Bounce",',
  '\\x{41}',
  '(',
  '<',
  ': ',
  '=?utf-8?q?',
  'nicht ',
  'ません',
] as const;

function attached(type: string, text: string) {
  const content = new Uint8Array(Buffer.from(text));
  return makeAttachments([{ name: '', type, disposition: '', contentId: null, content }], new Set());
}

/** From each kind of sender, with the same piece in each text. */
function timeOf(piece: string, contentType: string, from: string): number {
  const text = piece.repeat(Math.ceil(length / piece.length));
  const facts = {
    fields: (name: string) => [name === 'content-type' ? contentType : text],
    from: { name: '', address: from },
    subject: text,
    text,
    html: null,
    attachments: ['message/delivery-status', 'message/rfc822', 'message/feedback-report'].flatMap((type) =>
      attached(type, text),
    ),
  };
  const start = performance.now();
  classify(facts);
  classify({ ...facts, fields: (name) => (name === 'content-type' ? [contentType] : []) });
  return performance.now() - start;
}

describe('a megabyte of one repeated piece is read within the limit:', () => {
  test.each(pieces)('%j', (piece) => {
    expect(timeOf(piece, 'multipart/report; report-type=delivery-status', 'a@b.example')).toBeLessThan(msMax);
    expect(timeOf(piece, 'text/plain', 'MAILER-DAEMON@b.example')).toBeLessThan(msMax);
    expect(timeOf(piece, 'multipart/report', 'postmaster@b.example')).toBeLessThan(msMax);
  });
});
