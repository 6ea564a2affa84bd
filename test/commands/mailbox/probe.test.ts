/**
 * Hints of a failed probe: each names a command that keeps the cursor of the mailbox.
 */
import { expect, test } from 'vitest';
import { probeMailbox } from '../../../src/commands/mailbox/probe.ts';
import { Failure, type FailureCode, hintOf } from '../../../src/errors.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import { mailbox } from '../../ingest/samples.ts';
import { failureOf } from '../../support/promises.ts';

const shown = 'ab'.repeat(32);

const otherPin = new Failure('tls_pin_mismatch', 'another certificate', { fields: { pinned: 'cd', shown } });

async function probeFailure(name: string | null, failure = otherPin) {
  const app = { sessions: { probe: () => Promise.reject(failure) } } as unknown as Parameters<typeof probeMailbox>[0];
  const context = { terminal: { stage: () => undefined, note: () => undefined } } as unknown as Parameters<
    typeof probeMailbox
  >[3];
  const secret = SecretBytes.take(Buffer.from('pw'));
  return await failureOf(
    probeMailbox(app, mailbox('support').connection, { kind: 'password', secret }, context, { name }),
  );
}

test('another certificate than the pinned one is accepted by mailbox set, which keeps the cursor', async () => {
  const { message, hint } = await probeFailure('support desk');
  expect(message).toContain(`It shows ${shown}.`);
  expect(hint).toContain(`ticketmaild mailbox set --fingerprint ${shown} 'support desk'`);
  expect(hint).not.toMatch(/remove/);
  expect(hintOf('tls_pin_mismatch')).toContain('ticketmaild mailbox set NAME --fingerprint');
  expect(hintOf('tls_pin_mismatch')).not.toMatch(/remove/);
});

test('for a mailbox that is not stored yet the hint names the option, not a command on a mailbox', async () => {
  const { hint } = await probeFailure(null);
  expect(hint).toContain(`--fingerprint ${shown}`);
  expect(hint).not.toMatch(/mailbox set|remove/);
});

test.each<[FailureCode, boolean]>([
  ['tls_untrusted', true],
  ['tls_name_mismatch', true],
  ['tls_expired', false],
  ['tls_failed', false],
])('%s: pinning the certificate is offered: %s', async (code, isOffered) => {
  const { hint } = await probeFailure(null, new Failure(code, 'refused', { fields: { fingerprint: shown } }));
  expect(hint.includes(`--fingerprint ${shown}`)).toBe(isOffered);
});
