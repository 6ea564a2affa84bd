/** Corpus of public messages: none stops the parser, and at least the measured number of upstream statements is met. */
import { describe, expect, test } from 'vitest';
import { parseMessage } from '../../src/mail/parse.ts';
import { compare, count, parsedFieldsOf, type Tally } from './agreement.ts';
import { corpusFolder, corpusPresent, readExpectations, readMail, readManifest } from './corpus.ts';

/** Measured agreements. Most disagreements are lossy statements, or names of parts by other rules. */
const floors: Readonly<Record<string, number>> = {
  subject: 120,
  from_addr: 114,
  from_name: 84,
  to_addrs: 58,
  message_id: 50,
  date: 14,
  text_first_line: 69,
  text_equals: 22,
  text_contains: 6,
  html_contains: 6,
  'attachment name': 71,
  'attachment type': 32,
  'attachment size': 12,
};

/** Stated bounces that are recognised, and other messages that are taken for one. */
const bouncesMin = 164;
const falseBouncesMax = 2;

describe.skipIf(!corpusPresent)(`the public messages (looked for in ${corpusFolder}, TICKETMAILD_CORPUS)`, () => {
  test('are all parsed, and agree with what is stated about them', async () => {
    const expectations = new Map(readExpectations().map((one) => [one.file, one]));
    const tally: Tally = new Map();
    const failed: string[] = [];
    let bounces = 0;
    let falseBounces = 0;
    for (const { path, tags } of readManifest()) {
      const parsed = await parseMessage(readMail(path, tags)).catch((error: unknown) => {
        failed.push(`${path}: ${String(error)}`);
        return null;
      });
      const expected = expectations.get(path);
      if (parsed === null || expected === undefined) continue;
      count(tally, compare(expected, parsedFieldsOf(parsed)));
      if (parsed.kind === 'bounce' && expected.is_bounce === true) bounces++;
      if (parsed.kind === 'bounce' && expected.is_bounce === false) falseBounces++;
    }
    expect(failed).toEqual([]);
    const missed = Object.entries(floors).filter(([field, floor]) => (tally.get(field)?.agreed ?? 0) < floor);
    expect(missed.map(([field, floor]) => `${field}: ${tally.get(field)?.agreed} instead of ${floor}`)).toEqual([]);
    expect(bounces).toBeGreaterThanOrEqual(bouncesMin);
    expect(falseBounces).toBeLessThanOrEqual(falseBouncesMax);
  });
});
