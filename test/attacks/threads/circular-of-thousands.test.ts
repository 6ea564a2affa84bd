/**
 * An attacker sends messages to 15,000 recipients each, which name the same missing messages or have one Message-ID,
 * and then a small one that names them: it is decided within two seconds and 300 MB.
 */
import { expect, test } from 'vitest';
import { type Letter, threadScene } from '../../mail/thread/thread-scene.ts';

const messagesOf15000 = 20;
const missing = Array.from({ length: 21 }, (_, number) => `missing-${number}@nowhere.test`);

const longList = (of: string, domain: string) =>
  Array.from({ length: 4_990 }, (_, number) => `${of}${number}${'x'.repeat(58)}@${domain}`).join(', ');
const domain = `${'y'.repeat(25)}.test`;
const big = {
  to: `support@desk.test, ${longList('t', domain)}`,
  cc: longList('c', domain),
  replyTo: longList('r', domain),
};
const loads = (more: Partial<Letter>): readonly Letter[] =>
  Array.from({ length: messagesOf15000 }, (_, n) => ({
    subject: `Mail ${n}`,
    ...big,
    ...more,
    from: `u@evil${n}.test`,
  }));

test.each<readonly [string, Partial<Letter>, Partial<Letter>]>([
  ['name 21 missing messages', { references: missing.join(' ') }, { references: missing.join(' ') }],
  ['have one Message-ID', { id: 'same@nowhere.test' }, { inReplyTo: 'same@nowhere.test' }],
])('messages to thousands that %s cost little time and memory', async (_, load, spark) => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  await scene.arrive(...loads(load));
  const before = { ms: performance.now(), kilobytes: process.resourceUsage().maxRSS };
  const sparks = Array.from(
    { length: 20 },
    (_, n): Letter => ({ from: `v${n}@evil.test`, subject: `s ${n}`, ...spark }),
  );
  const arrived = await scene.arrive(...sparks);
  const after = { ms: performance.now(), kilobytes: process.resourceUsage().maxRSS };
  expect(new Set(arrived.map(({ outcome }) => outcome))).toEqual(new Set(['ticket_opened']));
  expect(after.ms - before.ms).toBeLessThan(2_000);
  expect(after.kilobytes - before.kilobytes).toBeLessThan(300_000);
});
