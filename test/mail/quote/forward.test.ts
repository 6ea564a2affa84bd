/**
 * Forwards and replies by their subjects, and forwards by their text.
 */
import { describe, expect, test } from 'vitest';
import { isForward, subjectKind } from '../../../src/mail/quote/forward.ts';

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
  expect(subjectKind(subject)).toBe('forward');
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
  expect(subjectKind(subject)).toBe('reply');
});

test.each(['VS: a', 'vs: a', '[list] VS: a'])('%j is a reply in one language and a forward in another', (subject) => {
  expect(subjectKind(subject)).toBe('either');
});

test.each(['', 'a', 'Order: late', 'R:drive', 'i: a', 'Reply', 'Status: ok', '[#A1] Order', 'Refund: a', '12: a'])(
  '%j has no prefix',
  (subject) => {
    expect(subjectKind(subject)).toBeNull();
  },
);

test('the first of several prefixes counts, whatever tags are between them', () => {
  expect(subjectKind('AW: [#A1] Fwd: [shop] Order')).toBe('reply');
  expect(subjectKind('[#A1] [shop] Fwd: AW: Order')).toBe('forward');
});

describe('the text decides where the subject is ambiguous', () => {
  const forwarded = 'Look.\n\n---------- Forwarded message ---------\nFrom: Ann\n\nHelp';

  test.each([
    ['Order', forwarded, false],
    ['VS: Order', forwarded, true],
    ['VS: Order', 'Yes.\n\n> Help?', false],
    ['VS: Order', 'Yes.\n\nBegin forwarded message:\n\n> From: Ann', true],
    ['Re: Order', forwarded, false],
    ['Fwd: Order', 'Look.', true],
    ['VS: Order', '> ---------- Forwarded message ---------', false],
    ['VS: Order', 'I forwarded message one.', false],
    ['VS: Order', '-----Original Message-----\n\n---------- Forwarded message ---------', false],
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
    subjectKind(subject);
  }
  // Time of the processor, since others may use it; far below what anything quadratic would take.
  expect(process.cpuUsage(before).user / 1000).toBeLessThan(1500);
});
