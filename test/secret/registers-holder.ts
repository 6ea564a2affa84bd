/**
 * Process that opens and wipes a sealed password repeatedly, then idles, for a core dump.
 *
 * Argument `pool`: opened by Web Crypto, in a thread pool; else as the daemon does it. The password is the second
 * argument, in hex, so that it occurs nowhere in clear.
 */
import { randomFillSync } from 'node:crypto';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { generateKey } from '../../src/secret/key.ts';
import { sealPassword, unsealPassword } from '../../src/secret/sealed-password.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';

const rounds = 40;
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
  const sealed = sealPassword(password, key, context, 'command');
  for (let round = 0; round < rounds; round += 1) unsealPassword(sealed, [key], context).wipe();
}
process.stdout.write('ready\n');
setInterval(() => undefined, 1_000_000);
