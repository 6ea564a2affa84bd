/**
 * Process that hashes, verifies and wipes an admin password, then idles, for a core dump.
 *
 * The password is the first argument, in hex, so that it occurs nowhere in clear. With a second argument, `kept`, it is
 * not wiped: the search must find it then.
 */
import { randomBytes } from 'node:crypto';
import { hashAdminPassword, verifyAdminPassword } from '../../src/secret/admin-password.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';

const [, , hex = '', isKept] = process.argv;
const given = Buffer.from(new ArrayBuffer(4096), 0, hex.length / 2);
given.write(hex, 'hex');
const password = SecretBytes.take(given);
const hash = await hashAdminPassword(password, randomBytes(16));
const verified = await Promise.all(Array.from({ length: 4 }, () => verifyAdminPassword(password, hash)));
if (isKept === undefined) password.wipe();
process.stdout.write(`${verified.every(({ ok }) => ok)}\n`);
setInterval(() => password.length, 1_000_000);
