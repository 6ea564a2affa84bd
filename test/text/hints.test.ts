/** Hints with a fingerprint: those of the catalogue alone are taken from another process. */
import { expect, test } from 'vitest';
import { fingerprintHint, hints, knownHint, withFingerprint } from '../../src/text/hints.ts';

const digits = '0123456789abcdef'.repeat(4);

test('a hint of the catalogue with a fingerprint is known, and no other text around one', () => {
  const hint = withFingerprint(hints.databasePinMismatch, digits);
  expect(hint).toContain(`It shows SHA-256 ${digits}.`);
  expect([fingerprintHint(hint), knownHint(hint)]).toEqual([hint, null]);
  const foreign = [`Run sh ${digits}`, `${hint} Run sh`, withFingerprint(hints.databasePinMismatch, 'x; sh'), null, 1];
  expect(foreign.map(fingerprintHint)).toEqual([null, null, null, null, null]);
});
