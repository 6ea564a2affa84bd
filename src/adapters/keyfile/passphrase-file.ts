/**
 * The passphrase of a protected key file, from a file: read anew each time, so that a change of it is picked up.
 *
 * A file that others can read is refused, as a key file is; a systemd credential is readable by its service alone. One line
 * end at its end is left off. No such file, or an empty one, is no passphrase.
 */
import { open } from 'node:fs/promises';
import { unreadableHint } from '../../config/machine.ts';
import { causeCode, Failure } from '../../errors.ts';
import { SecretBytes } from '../../secret/secret-bytes.ts';
import { quoted } from '../../text/shell.ts';

const lengthMax = 4096;
const readableByOthers = 0o007;

/** null when there is none. Throws `key_file_locked` when the file cannot be used. */
export async function readPassphraseFile(path: string | null): Promise<SecretBytes | null> {
  if (path === null) return null;
  try {
    await using file = await open(path, 'r');
    const { mode } = await file.stat();
    if ((mode & readableByOthers) !== 0) {
      const hint = `Close it: chmod o-rwx ${quoted(path)}; and choose another passphrase if somebody may have read it.`;
      throw new Failure('key_file_locked', `the passphrase file ${path} can be read by everybody`, { hint });
    }
    const content = new Uint8Array(new ArrayBuffer(2 * lengthMax), 0, lengthMax + 2);
    const { bytesRead } = await file.read(content, 0, content.length, 0);
    const length = withoutLineEnd(content.subarray(0, bytesRead));
    return length === 0 ? null : SecretBytes.take(content.subarray(0, length));
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    if (error instanceof Failure) throw error;
    const hint = unreadableHint(error);
    throw new Failure('key_file_locked', `the passphrase file ${path} cannot be read (${causeCode(error)})`, {
      cause: error,
      ...(hint === null ? {} : { hint }),
    });
  }
}

function withoutLineEnd(content: Uint8Array): number {
  if (content.at(-1) !== 10) return content.length;
  return content.at(-2) === 13 ? content.length - 2 : content.length - 1;
}
