/**
 * Process that opens and wipes a sealed password repeatedly, then idles, for a core dump.
 *
 * Argument `pool`: opened by Web Crypto, in a thread pool; `daemon`: as the daemon does it; `deoptimized`: as the
 * daemon does it when encryption is enabled, plain passwords until V8 has optimized the code, then sealed ones. The
 * password is the second argument, in hex, so that it occurs nowhere in clear.
 */
import { randomFillSync } from 'node:crypto';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { generateKey } from '../../src/secret/key.ts';
import { isValidPassword, sealPassword, unsealPassword } from '../../src/secret/sealed-password.ts';
import { copySecret, SecretBytes, secretBuffer } from '../../src/secret/secret-bytes.ts';

const rounds = 40;
/** Enough for V8 to optimize the functions that handle a password. */
const optimizingRounds = 30_000;
const mixedRounds = 3_000;
const [, , how, hex = ''] = process.argv;
const given = Buffer.from(new ArrayBuffer(4096), 0, hex.length / 2);
given.write(hex, 'hex');
const key = generateKey((bytes) => randomFillSync(bytes));
const server = { host: 'mail.example.test', port: 993, tls: 'implicit', user: 'desk' };
const context = { mailboxId: '1', connection: { ...server, caPem: null, fingerprint: null, allowPlaintext: false } };
if (how === 'pool') {
  const made = key.object.toCryptoKey('AES-GCM', false, ['encrypt', 'decrypt']);
  const sealed = await new CompactEncrypt(given).setProtectedHeader({ alg: 'dir', enc: 'A256GCM' }).encrypt(made);
  given.fill(0);
  for (let round = 0; round < rounds; round += 1) (await compactDecrypt(sealed, made)).plaintext.fill(0);
} else {
  using password = SecretBytes.take(given);
  const sealed = sealPassword(password, key, context);
  if (how === 'deoptimized') {
    for (let round = 0; round < optimizingRounds; round += 1) takePlain(password);
    for (let round = 0; round < mixedRounds; round += 1) unsealPassword(sealed, [key], context).wipe();
    for (let round = 0; round < mixedRounds; round += 1) takePlain(password);
  }
  for (let round = 0; round < rounds; round += 1) unsealPassword(sealed, [key], context).wipe();
}
process.stdout.write('ready\n');
setInterval(() => undefined, 1_000_000);

/** As a plain password is read from the table and wiped after the login. */
function takePlain(password: SecretBytes): void {
  const bytes = secretBuffer(password.length);
  password.use((plain) => copySecret(plain, bytes));
  if (!isValidPassword(bytes)) throw new Error('the password of the test is not valid');
  SecretBytes.take(bytes).wipe();
}
