/** Outcome seals: valid for one outcome under one key, and for nothing else. */
import { randomFillSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { generateKey } from '../../src/secret/key.ts';
import { isOutcomeSealed, type SealableOutcome, sealOutcome } from '../../src/secret/outcome-seal.ts';

const newKey = () => generateKey((bytes) => randomFillSync(bytes));
const outcome: SealableOutcome = { mailboxId: 'm', folderEpoch: 7, uid: 3, receivedAtMs: 1000, sizeBytes: 20 };

test('a seal is valid for its outcome, under any of the keys', () => {
  const [key, other] = [newKey(), newKey()];
  const seal = sealOutcome(outcome, key);
  expect(seal).toMatch(/^[0-9a-f]{16}:[A-Za-z0-9_-]{43}$/);
  expect(isOutcomeSealed(outcome, seal, [other, key])).toBe(true);
  expect(isOutcomeSealed(outcome, seal, [other])).toBe(false);
});

test.each<Partial<SealableOutcome>>([
  { mailboxId: 'n' },
  { folderEpoch: 8 },
  { uid: 4 },
  { receivedAtMs: 1001 },
  { receivedAtMs: null },
  { sizeBytes: 21 },
])('a seal is not valid for an outcome with %o', (change) => {
  const key = newKey();
  expect(isOutcomeSealed({ ...outcome, ...change }, sealOutcome(outcome, key), [key])).toBe(false);
});

test.each([null, '', 'x', `${'0'.repeat(16)}:${'A'.repeat(43)}`])('%o is no seal', (seal) => {
  expect(isOutcomeSealed(outcome, seal, [newKey()])).toBe(false);
});
