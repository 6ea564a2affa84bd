/**
 * The password of a mailbox, for the length of one login.
 *
 * It is read as bytes, lent to one function, and wiped when that function is done, whatever it did. A sealed password
 * without a key, and a form that is not known, are refused: never taken for a plain one.
 */
import { Failure } from '../errors.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';
import type { MailboxStore } from './ports.ts';

/** Lends the password of mailbox `id` to `use`. Throws `not_found` when the mailbox is gone, `password_sealed`. */
export async function withPassword<T>(
  store: Pick<MailboxStore, 'readPassword'>,
  id: string,
  use: (password: SecretBytes) => Promise<T>,
): Promise<T> {
  const stored = await store.readPassword(id);
  if (stored === null) throw new Failure('not_found', 'the mailbox is gone');
  using password = SecretBytes.take(stored.bytes);
  if (stored.form !== 'plain') throw new Failure('password_sealed', 'the password is sealed and no key is open');
  return await use(password);
}
