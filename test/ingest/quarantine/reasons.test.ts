/** Quarantine reasons: the compiler checks that each has a description, this that they differ. */
import { expect, test } from 'vitest';
import { describeReason, isQuarantineReason, quarantineReasons } from '../../../src/ingest/quarantine/reasons.ts';

test('each reason has a meaning of its own, and an unknown one describes itself', () => {
  const meanings = new Set(quarantineReasons.map((reason) => describeReason(reason).meaning));
  expect(meanings.size).toBe(quarantineReasons.length);
  expect(quarantineReasons).toContain('missed');
  expect(isQuarantineReason('newer_reason')).toBe(false);
  expect(describeReason('newer_reason').meaning).toContain('newer_reason');
  expect(isQuarantineReason('toString')).toBe(false);
});
