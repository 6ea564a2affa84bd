/**
 * Process that seals and opens a password that is never a string, then searches its own heap for it.
 *
 * Prints whether the password is there, and whether the search finds a control string.
 */
import { randomFillSync } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { isFailure } from '../../src/errors.ts';
import { generateKey } from '../../src/secret/key.ts';
import { sealPassword, unsealPassword } from '../../src/secret/sealed-password.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { heapSnapshot, randomLetters } from '../support/leaks/heap.ts';

async function refused(sealed: Uint8Array): Promise<void> {
  try {
    unsealPassword(sealed, [key], context);
  } catch (error) {
    if (!isFailure(error, 'password_damaged')) throw error;
    kept.push(error);
  }
}

const none = { caPem: null, fingerprint: null, allowPlaintext: false };
const context = { mailboxId: '1', connection: { host: '127.0.0.1', port: 993, tls: 'implicit', user: 'ada', ...none } };
const key = generateKey((bytes) => randomFillSync(bytes));
const password = randomLetters();
const control = randomLetters();
const kept: unknown[] = [Buffer.from(control).toString('latin1')];
for (let count = 0; count < 20; count += 1) {
  using secret = SecretBytes.take(Uint8Array.from(password));
  const sealed = sealPassword(secret, key, context);
  using opened = unsealPassword(sealed, [key], context);
  kept.push(opened, sealed);
  await refused(password);
  await refused(sealed.with(-1, 65).with(-2, 65));
}
await setImmediate();
const text = await heapSnapshot();
process.stdout.write(JSON.stringify({ control: text.includes(control), password: text.includes(password) }));
