/**
 * Who this process is to the system: the user who was refused a file.
 *
 * A command that root runs becomes the user of the service, who cannot read all that root can.
 */
import { userInfo } from 'node:os';
import { causeCode } from '../errors.ts';

/** The name of the user; `uid 995` for one without a name. */
export function thisUser(): string {
  try {
    return userInfo().username;
  } catch (error) {
    // The number has no entry in the list of users, as in many containers.
    if (causeCode(error) === 'ERR_SYSTEM_ERROR' || causeCode(error) === 'ENOENT') return `uid ${process.getuid?.()}`;
    throw error;
  }
}

/** What to do about a file that could not be read; null where it is not for want of a right. */
export function unreadableHint(error: unknown): string | null {
  const code = causeCode(error);
  if (code !== 'EACCES' && code !== 'EPERM') return null;
  return `The user ${thisUser()} tried to read it: let that user read the file and enter the folders above it.`;
}
