/**
 * Passphrase policy: a minimum length (NIST SP 800-63B section 5.1.1.2), and no repetition of a few characters.
 *
 * Each guess at a protected key file costs scrypt's 256 MiB and a second. A strength estimator would know more words;
 * it is not worth a dictionary in the program.
 */
import type { SecretBytes } from './secret-bytes.ts';

const passphraseBytesMin = 12;
const distinctBytesMin = 5;

/** Why a new passphrase is not accepted, as one sentence; null: it is. Lengths are in bytes as typed. */
export function passphraseProblem(passphrase: SecretBytes): string | null {
  if (passphrase.length < passphraseBytesMin)
    return `the passphrase is too short: at least ${passphraseBytesMin} bytes`;
  return passphrase.use(hasFewDistinctBytes)
    ? `the passphrase repeats itself: at least ${distinctBytesMin} different characters`
    : null;
}

/** Marks values in a table, which is wiped. */
function hasFewDistinctBytes(bytes: Uint8Array): boolean {
  const seen = new Uint8Array(256);
  for (let at = 0; at < bytes.length; at += 1) seen[bytes[at] ?? 0] = 1;
  const distinct = seen.reduce((sum, flag) => sum + flag, 0);
  seen.fill(0);
  return distinct < distinctBytesMin;
}
