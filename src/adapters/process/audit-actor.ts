/** Audit actor: the person who runs this process, as `user@host`. */

import { hostname } from 'node:os';
import { processEnvironment } from '../../config/load.ts';
import { thisUser } from '../../config/machine.ts';
import type { AuditActor } from '../../ingest/model.ts';

/**
 * Under sudo, and in the wrapper that switches to the user of the service, the calling user. A user without a name is a
 * number.
 */
export function currentActor(
  environment: { readonly SUDO_USER?: string | undefined } = processEnvironment(),
): AuditActor {
  const host = hostname().slice(0, 64);
  const caller = /^[\w.@-]{1,64}$/.exec(environment.SUDO_USER ?? '')?.[0];
  return { who: `${caller ?? thisUser().slice(0, 64)}@${host}`, host };
}
