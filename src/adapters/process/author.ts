/** Who runs this program, for the audit table. */
import { hostname, userInfo } from 'node:os';
import { causeCode } from '../../errors.ts';
import type { Author } from '../../ingest/mailbox.ts';

/** `user@host`; a user without a name is shown by number. */
export function thisAuthor(): Author {
  const host = hostname().slice(0, 64);
  return { who: `${userName()}@${host}`, host };
}

function userName(): string {
  try {
    return userInfo().username.slice(0, 64);
  } catch (error) {
    // The number has no entry in the list of users, as in many containers.
    if (causeCode(error) === 'ERR_SYSTEM_ERROR' || causeCode(error) === 'ENOENT') return `uid ${process.getuid?.()}`;
    throw error;
  }
}
