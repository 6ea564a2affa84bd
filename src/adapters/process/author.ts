/** Who runs this program, for the audit table. */
import { hostname } from 'node:os';
import { processEnvironment } from '../../config/load.ts';
import { thisUser } from '../../config/machine.ts';
import type { Author } from '../../ingest/model.ts';

/**
 * `user@host`; a user without a name is shown by number. Behind sudo, and behind the command that becomes the user of the
 * service, it is who called.
 */
export function thisAuthor(environment: { readonly SUDO_USER?: string | undefined } = processEnvironment()): Author {
  const host = hostname().slice(0, 64);
  const caller = /^[\w.@-]{1,64}$/.exec(environment.SUDO_USER ?? '')?.[0];
  return { who: `${caller ?? thisUser().slice(0, 64)}@${host}`, host };
}
