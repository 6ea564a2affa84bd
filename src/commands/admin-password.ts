/**
 * The password of an admin as a person gives it: from the prompt, twice, or all of standard input. Never an argument.
 */
import { timingSafeEqual } from 'node:crypto';
import { Failure } from '../errors.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import type { Context } from './context.ts';

/** `check` sees it before it is asked for again. Throws what that throws, `password_missing`, `usage` for two that differ. */
export async function newAdminPassword(
  { passwordStdin }: { readonly passwordStdin?: boolean },
  { terminal }: Context,
  { name, check }: { readonly name: string; readonly check: (password: SecretBytes) => void },
): Promise<SecretBytes> {
  const isPiped = passwordStdin === true;
  const first = isPiped
    ? await terminal.readPassword()
    : await terminal.askPassword(`New password of admin ${JSON.stringify(name)}: `);
  try {
    check(first);
    if (!isPiped) {
      using second = await terminal.askPassword('The same again: ');
      if (!isEqual(first, second)) throw different();
    }
    return first;
  } catch (error) {
    first.wipe();
    throw error;
  }
}

function isEqual(a: SecretBytes, b: SecretBytes): boolean {
  return a.length === b.length && a.use((first) => b.use((second) => timingSafeEqual(first, second)));
}

function different(): Failure {
  return new Failure('usage', 'the two passwords are not the same', { hint: 'Nothing was changed: try it again.' });
}
