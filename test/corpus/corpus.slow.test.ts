/**
 * The public messages and a thousand broken ones through the real program: what their suites state is met as before
 * and as listed, each message has an outcome, none stops a parse, and memory stays flat.
 */
import { describe, expect, test } from 'vitest';
import { corpusFolder, corpusPresent } from '../mail/corpus.ts';
import { corpusViolations } from './corpus.ts';
import { readCorpus } from './expectations/stated.ts';
import { ingestCorpus } from './ingest.ts';
import { readBases } from './mutations/mutants.ts';
import { runMutations } from './mutations/mutation-run.ts';

const silent = { now: () => undefined, counting: () => ({ [Symbol.dispose]: () => undefined }) };

describe.skipIf(!corpusPresent)(`the public messages (looked for in ${corpusFolder}, TICKETMAILD_CORPUS)`, () => {
  test('are stored and read back as their own test suites state, but for the known differences', async () => {
    const run = await ingestCorpus(readCorpus(), silent);
    expect(corpusViolations(run)).toEqual([]);
  }, 180_000);
});

test('a thousand broken messages have one outcome each and do no harm', async () => {
  const options = { seed: 1, count: 1_000, isSqlite: false, stop: new AbortController().signal };
  const { messages, violations } = await runMutations(options, readBases(), silent);
  expect(violations.map(({ mutant, what }) => `${mutant?.index ?? 'program'}: ${what}`)).toEqual([]);
  expect(messages).toBe(1_000);
}, 120_000);
