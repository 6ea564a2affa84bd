/** Who runs this program, for the audit table. */
import { hostname } from 'node:os';
import { thisUser } from '../../config/this-user.ts';
import type { Author } from '../../ingest/mailbox.ts';

/** `user@host`; a user without a name is shown by number. */
export function thisAuthor(): Author {
  const host = hostname().slice(0, 64);
  return { who: `${thisUser().slice(0, 64)}@${host}`, host };
}
