/**
 * Process that opens and wipes a sealed password or token repeatedly, then idles, for a core dump.
 *
 * Argument `pool`: opened by Web Crypto, in a thread pool; `daemon`: as the daemon does it; `deoptimized`: as the
 * daemon does it when encryption is enabled, plain secrets until V8 has optimized the code, then sealed ones. The
 * secret is the second argument, in hex, so that it occurs nowhere in clear; the third is `password` or `token`.
 */
import { randomFillSync } from 'node:crypto';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { generateKey } from '../../src/secret/key.ts';
import { isValidPassword, sealPassword, unsealPassword } from '../../src/secret/sealed-password.ts';
import { isValidToken, sealToken, unsealToken } from '../../src/secret/sealed-token.ts';
import { copySecret, SecretBytes, secretBuffer } from '../../src/secret/secret-bytes.ts';

const rounds = 40;
/** Enough for V8 to optimize the functions that handle a password. */
const optimizingRounds = 30_000;
const mixedRounds = 3_000;
const [, , how, hex = '', kind] = process.argv;
const given = Buffer.from(new ArrayBuffer(4096), 0, hex.length / 2);
given.write(hex, 'hex');
const key = generateKey((bytes) => randomFillSync(bytes));
const server = { host: 'mail.example.test', port: 993, tls: 'implicit', user: 'desk' };
const context = { mailboxId: '1', connection: { ...server, caPem: null, fingerprint: null, allowPlaintext: false } };
const grant = { grantId: '1', binding: ['desk'], account: 'desk', kind: 'refresh', username: '' } as const;
const sealer =
  kind === 'token'
    ? {
        isValid: isValidToken,
        seal: (token: SecretBytes) => sealToken(token, key, grant),
        open: (sealed: Uint8Array) => unsealToken(sealed, [key], grant),
      }
    : {
        isValid: isValidPassword,
        seal: (password: SecretBytes) => sealPassword(password, key, context),
        open: (sealed: Uint8Array) => unsealPassword(sealed, [key], context),
      };
if (how === 'pool') {
  const made = key.object.toCryptoKey('AES-GCM', false, ['encrypt', 'decrypt']);
  const sealed = await new CompactEncrypt(given).setProtectedHeader({ alg: 'dir', enc: 'A256GCM' }).encrypt(made);
  given.fill(0);
  for (let round = 0; round < rounds; round += 1) (await compactDecrypt(sealed, made)).plaintext.fill(0);
} else {
  using secret = SecretBytes.take(given);
  const sealed = sealer.seal(secret);
  if (how === 'deoptimized') {
    for (let round = 0; round < optimizingRounds; round += 1) takePlain(secret);
    for (let round = 0; round < mixedRounds; round += 1) sealer.open(sealed).wipe();
    for (let round = 0; round < mixedRounds; round += 1) takePlain(secret);
  }
  for (let round = 0; round < rounds; round += 1) sealer.open(sealed).wipe();
}
process.stdout.write('ready\n');
setInterval(() => undefined, 1_000_000);

/** As a plain secret is read from the table and wiped after the login. */
function takePlain(secret: SecretBytes): void {
  const bytes = secretBuffer(secret.length);
  secret.use((plain) => copySecret(plain, bytes));
  if (!sealer.isValid(bytes)) throw new Error(`the ${kind} of the test is not valid`);
  SecretBytes.take(bytes).wipe();
}
