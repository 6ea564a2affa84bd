/**
 * Password access: plain text that was read is wiped when the login cannot take place.
 */
import { expect, test } from 'vitest';
import { createPasswordAccess, type PasswordAccessPorts } from '../../src/encryption/passwords.ts';
import { Failure } from '../../src/errors.ts';
import { sampleMailbox } from '../adapters/database/samples.ts';

const mailbox = sampleMailbox();
const { folder: _, ...connection } = mailbox.connection;

test('plain text that was read is wiped when the switch cannot be read', async () => {
  const bytes = Buffer.from('secret');
  const unavailable = new Failure('database_unavailable', 'The database cannot be used right now.');
  const ports = {
    store: { readPassword: async () => ({ form: 'plain', bytes, connection, switchRevision: 2 }) },
    vault: {
      view: { stored: { revision: 1 }, switch: { state: 'off' } },
      refresh: async () => Promise.reject(unavailable),
      keys: () => [],
      wrapped: () => null,
    },
    sealPlaintext: async () => undefined,
  } as unknown as PasswordAccessPorts;
  const login = createPasswordAccess(ports).withPassword(mailbox, async () => 'logged in');
  await expect(login).rejects.toBe(unavailable);
  expect(bytes.toString('hex')).toBe('00'.repeat(6));
});
