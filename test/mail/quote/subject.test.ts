/**
 * Forwards and replies by their subjects, and forwards by their text.
 */
import { describe, expect, test } from 'vitest';
import { bareSubject, isForward, isForwardSubject, isReplySubject } from '../../../src/mail/quote/subject.ts';

test.each([
  'Fwd: a',
  'FW: a',
  'Fw : a',
  'WG: a',
  'TR: a',
  'TR : a',
  'RV: a',
  'ENC: a',
  'Enc: a',
  'I: a',
  'VB: a',
  'VL: a',
  'Doorst: a',
  'PD: a',
  'İLT: a',
  'ilt: a',
  '转发: a',
  '轉寄： a',
  '転送: a',
  'Fwd: Re: a',
  '[Fwd: a]',
  'a (fwd)',
  '[list] Fwd: a',
  '[Fwd: Re: a]',
])('%j is the subject of a forward', (subject) => {
  expect(isForwardSubject(subject)).toBe(true);
  expect(isReplySubject(subject)).toBe(false);
  expect(bareSubject(subject).replace('[list] ', '')).toBe('a');
});

test.each([
  'Re: a',
  'RE : a',
  'Re[2]: a',
  'Re(2): a',
  'Re^3: a',
  'AW: a',
  'Antw: a',
  'SV: a',
  'VS: a',
  'R: a',
  'RIF: a',
  'RES: a',
  'Odp: a',
  'YNT: a',
  'Vá: a',
  'ΑΠ: a',
  'Отв: a',
  '回复：a',
  '答复: a',
  '返信: a',
  '회신: a',
  'Trả lời: a',
  'Re: Fwd: a',
  'Re:Re: a',
  '[list] Re: a',
  'Re: AW: SV: a',
])('%j is the subject of a reply', (subject) => {
  expect(isReplySubject(subject)).toBe(true);
  expect(isForwardSubject(subject)).toBe(false);
  expect(bareSubject(subject).replace('[list] ', '')).toBe('a');
});

test.each(['', 'a', 'Order: late', 'R:drive', 'i: a', 'Reply', 'Status: ok', '[#A1] Order', 'Refund: a', '12: a'])(
  '%j has no prefix',
  (subject) => {
    expect([isForwardSubject(subject), isReplySubject(subject), bareSubject(subject)]).toEqual([false, false, subject]);
  },
);

test('tags stay', () => {
  expect(bareSubject('AW: [#A1] Re: [shop] Order')).toBe('[#A1] [shop] Order');
});

describe('the text decides where the subject is ambiguous', () => {
  const forwarded = 'Look.\n\n---------- Forwarded message ---------\nFrom: Ann\n\nHelp';

  test.each([
    ['Order', forwarded, true],
    ['VS: Order', forwarded, true],
    ['VS: Order', 'Yes.\n\n> Help?', false],
    ['Order', 'Yes.\n\nBegin forwarded message:\n\n> From: Ann', true],
    ['Re: Order', forwarded, false],
    ['Fwd: Order', 'Look.', true],
    ['Order', '> ---------- Forwarded message ---------', false],
    ['Order', 'I forwarded message one.', false],
    ['Order', '-----Original Message-----\n\n---------- Forwarded message ---------', false],
  ] as const)('%j, %j', (subject, text, expected) => {
    expect(isForward(subject, text)).toBe(expected);
  });
});

test('hostile subjects take linear time', () => {
  const before = process.cpuUsage();
  for (const subject of [
    'Re: '.repeat(250_000),
    '[a]'.repeat(300_000),
    '[fwd:'.repeat(200_000),
    `Re:${' '.repeat(1_000_000)}`,
  ]) {
    bareSubject(subject);
  }
  // Time of the processor, since others may use it; far below what anything quadratic would take.
  expect(process.cpuUsage(before).user / 1000).toBeLessThan(1500);
});
