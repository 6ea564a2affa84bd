/**
 * The rules of the corpus run themselves: what is a miss, what breaks the list and the ratchet, and that mutants come
 * again.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runMeasured } from '../support/processes/child.ts';
import { differenceViolations } from './expectations/known-differences.ts';
import { sameAddresses, sameField, sameMarkdown, sameText } from './expectations/loose.ts';
import { floorViolations, ratchetViolations } from './expectations/ratchet.ts';
import { type Check, checkMail } from './expectations/rules.ts';
import type { CorpusMail } from './expectations/stated.ts';
import type { Stored } from './expectations/stored.ts';
import { type Checked, keyed } from './expectations/tally.ts';
import { mutantOf, readBases } from './mutations/mutants.ts';

const mail: CorpusMail = {
  file: 'suite/one.eml',
  source: 'suite',
  sizeBytes: 1,
  isHeldOut: false,
  stated: {},
  read: () => new Uint8Array(),
};

const stored: Stored = {
  message_id: 'a@b.example',
  from: { name: 'Anna', address: 'Anna@kunde.example' },
  reply_to: [],
  to: [],
  cc: [],
  subject: 'One  two',
  sent_at: '2026-11-24T10:00:00.000Z',
  kind: 'bounce',
  auto_submitted: null,
  bounce: {
    recipients: ['a@b.example'],
    status: '4.2.2',
    hard: false,
    details: [{ address: 'a@b.example', status: '4.2.2', hard: false }],
  },
  text: 'text\n',
  reply_text: 'text',
  html: null,
  in_reply_to: [],
  references: [],
  attachments: [],
};

const missed = (stated: Record<string, unknown>): readonly string[] =>
  checkMail({ source: 'suite', file: mail.file, stated, stored, placed: null, ticketOf: () => null })
    .filter(({ met }) => !met)
    .map(({ field }) => field);

const checked = (...met: readonly boolean[]): readonly Checked[] =>
  keyed(
    mail,
    met.map((one): Check => ({ field: 'subject', met: one, expected: 1, got: 1 })),
  );

describe('a stated field', () => {
  test('is met by what is stored, and missed by anything else', () => {
    expect(missed({ subject: 'One two', from_addr: 'anna@kunde.example', is_bounce: true, temporary: true })).toEqual(
      [],
    );
    expect(missed({ subject: 'One', from_addr: 'b@kunde.example', is_bounce: false, temporary: false })).toEqual([
      'subject',
      'from_addr',
      'is_bounce',
      'temporary',
    ]);
    expect(missed({ bounce: [{ status: '4.0.901', hard: false }] })).toEqual([]);
    expect(missed({ bounce: [{ status: '5.0.901', hard: true }] })).toEqual(['bounce status', 'bounce hard']);
    expect(missed({ attachments: [{ name: 'a.pdf', size: 1 }], attachment_count: 1 })).toEqual([
      'attachment name',
      'attachment size',
      'attachment_count',
    ]);
  });

  test('without a rule stops the run', () => {
    expect(() => missed({ colour: 'red' })).toThrow('colour');
    expect(missed({ structure: 'left out, and said why' })).toEqual([]);
  });
});

test('a comparison is as loose as it says, and no looser', () => {
  expect(sameText(' a\r\n b', 'a b')).toBe(true);
  expect(sameText('a b', 'ab')).toBe(false);
  expect(sameText('Fr\ufffdsche (1)', 'Frösche (1)')).toBe(true);
  expect(sameText('Fr\ufffdsche', 'Frosche')).toBe(false);
  expect(sameAddresses(['A@b', 'c@d'], ['c@d', 'a@b'])).toBe(true);
  expect(sameAddresses(['a@b'], ['a@b', 'c@d'])).toBe(false);
  expect(sameField('a@b.example (Anna Berg)', [{ name: 'Anna Berg', address: 'a@b.example' }])).toBe(true);
  expect(sameField('a@b.example', [{ name: 'Anna', address: 'a@b.example' }])).toBe(false);
  expect(sameMarkdown('a **b**', 'a b')).toBe(true);
  expect(sameMarkdown('a b', 'a c')).toBe(false);
});

describe('a run is refused', () => {
  const known = (key: string, reason = 'why', category = 'policy') => [{ file: mail.file, key, category, reason }];

  test('for a miss that is not listed, and for a listed one that is met or that nothing states', () => {
    expect(differenceViolations(checked(true, false), known('subject 2'))).toEqual([]);
    expect(differenceViolations(checked(true, false), [])).toHaveLength(1);
    expect(differenceViolations(checked(true, true), known('subject 2'))).toHaveLength(1);
    expect(differenceViolations(checked(true), known('text'))).toHaveLength(1);
  });

  test('for a listed one without a reason, or of no category', () => {
    expect(differenceViolations(checked(false), known('subject', 'undecided'))).toHaveLength(1);
    expect(differenceViolations(checked(false), known('subject', ''))).toHaveLength(1);
    expect(differenceViolations(checked(false), known('subject', 'why', 'other'))).toHaveLength(1);
  });

  test('for a figure that falls, and for less than the floor', () => {
    const ratchet = { suite: { subject: [1, 2] } } as const;
    expect(ratchetViolations(checked(true, false), ratchet)).toEqual([]);
    expect(ratchetViolations(checked(true, true), ratchet)).toEqual([]);
    expect(ratchetViolations(checked(false, false), ratchet)).toHaveLength(1);
    expect(ratchetViolations([], ratchet)).toHaveLength(1);
    expect(floorViolations(checked(true, true))).toEqual([]);
    expect(floorViolations(checked(true, false))).toHaveLength(1);
  });
});

test('without the folder of public messages the corpus is left out, and that is said', async () => {
  const script = join(import.meta.dirname, 'corpus.ts');
  const { stdout } = await runMeasured([script], { env: { TICKETMAILD_CORPUS: join(import.meta.dirname, 'none') } });
  expect(stdout).toBe('');
});

test('a mutant is the same whenever it is made, and another for another seed or number', () => {
  const bases = readBases();
  const hashOf = (seed: number, index: number): string =>
    createHash('sha256')
      .update(mutantOf(seed, index, bases).bytes)
      .digest('hex');
  const first = Array.from({ length: 60 }, (_, index) => hashOf(7, index));
  expect(Array.from({ length: 60 }, (_, index) => hashOf(7, index))).toEqual(first);
  expect(new Set(first).size).toBeGreaterThan(55);
  expect(hashOf(8, 0)).not.toBe(first[0]);
  expect(mutantOf(7, 3, bases).bytes.length).toBeGreaterThan(0);
});
