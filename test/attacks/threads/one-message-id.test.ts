/**
 * An attacker sends many messages with one Message-ID, Date, sender and subject, whose texts are made to be slow to
 * compare: no turn of the event loop takes more than a tenth of a second of CPU, whether they are in one batch or
 * stored already.
 */
import { expect, test } from 'vitest';
import { threadProgram } from '../../mail/thread/thread-program.ts';
import { type Letter, sourceOf } from '../../mail/thread/thread-scene.ts';

/** Of CPU. */
const stretchMsMax = 100;

const wrapped = (text: string) => text.match(/.{1,76}/g)?.join('\r\n') ?? '';
const spark: Letter = {
  ...{ from: 'mallory@evil.test', id: 'one@evil.test', subject: 'hello' },
  fields: ['Date: Tue, 24 Nov 2026 10:00:00 +0000'],
};
const letters = (count: number, more: (n: number) => Partial<Letter>): readonly Letter[] =>
  Array.from({ length: count }, (_, n) => ({ ...spark, ...more(n) }));
const people = (domain: string) => Array.from({ length: 490 }, (_, n) => `p${n}@${domain}`).join(', ');
/** Each is the one before with another blank. */
const alike = (n: number) => `${'word '.repeat(n + 1)}${'x '.repeat(100)}`;

test.each<readonly [string, readonly Letter[]]>([
  [
    'of one letter that stands in each other almost',
    letters(100, (n) => ({
      text: wrapped(n % 2 === 0 ? `${n}x${'a'.repeat(63_000)}` : `aaaaaaaaaa${n}b${'a'.repeat(31_500)}`),
    })),
  ],
  ['of equal short lines', letters(100, (n) => ({ text: `${'a\r\n'.repeat(16_000 + n)}${n}` }))],
  ['of 32,000 blanks', letters(100, (n) => ({ text: `${n} ${'a '.repeat(32_000)}` }))],
  ['of tags', letters(100, (n) => ({ subject: `${'[a'.repeat(400)}${n}`, text: wrapped('['.repeat(60_000)) }))],
  [
    'to the same thousand people, who are compared as well',
    letters(60, (n) => ({
      to: people('a.test'),
      cc: 'c@c.test',
      replyTo: people('b.test'),
      text: `x${' '.repeat(n)}y`,
    })),
  ],
  ['that say the same', letters(100, (n) => ({ text: `${wrapped('a'.repeat(63_000))}${' '.repeat(n)}` }))],
  ['that add to each other', letters(100, (n) => ({ text: alike(n) }))],
])('many messages %s hold up no other work', async (_, load) => {
  await using stack = new AsyncDisposableStack();
  const arrive = await stretches(stack);
  const atOnce = await arrive(load);
  const again = await arrive(load.map((letter) => ({ ...letter, text: `${letter.text}.` })));
  expect(atOnce).toBeLessThan(stretchMsMax);
  expect(again).toBeLessThan(stretchMsMax);
});

test('nor do answers to hundreds of people that name many messages with each of 21 Message-IDs', async () => {
  await using stack = new AsyncDisposableStack();
  const arrive = await stretches(stack);
  const ids = Array.from({ length: 21 }, (_, n) => `${n}@evil.test`);
  const from = `${'m'.repeat(200)}100@evil.test`;
  const to = Array.from({ length: 70 }, (_, n) => `${'m'.repeat(200)}${n + 101}@evil.test`).join(', ');
  for (let round = 0; round < 10; round += 1)
    await arrive(letters(100, (n) => ({ from, id: ids[n % 21] ?? '', fields: [] })));
  const answer = { from: 'other@evil.test', to, references: ids.join(' '), fields: [] };
  expect(await arrive(letters(50, (n) => ({ ...answer, id: `answer-${n}@evil.test` })))).toBeLessThan(2 * stretchMsMax);
});

/** Has letters arrive in one batch: the longest stretch of it. */
async function stretches(stack: AsyncDisposableStack): Promise<(letters: readonly Letter[]) => Promise<number>> {
  const program = await threadProgram(stack);
  let last = 0;
  const arrive = (some: readonly Letter[]) => {
    const arrivals = some.map((letter) => {
      last += 1;
      return { uid: last, source: sourceOf(letter, last), receivedAtMs: Date.now() + last * 1000 };
    });
    return longestStretchMs(() => program.commit('support', arrivals));
  };
  // What runs for the first time takes longer.
  await arrive([{ from: 'ada@customer.test' }]);
  return arrive;
}

/** CPU time of the longest turn of the event loop during `work`: it does not grow with the load of the machine. */
async function longestStretchMs(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let isDone = false;
  let last = process.threadCpuUsage();
  const turn = () => {
    const { user, system } = process.threadCpuUsage(last);
    longest = Math.max(longest, user + system);
    last = process.threadCpuUsage();
    if (!isDone) setImmediate(turn);
  };
  setImmediate(turn);
  try {
    await work();
    turn();
  } finally {
    isDone = true;
  }
  return longest / 1000;
}
