/**
 * The admin page, composed: the workflows of `src/admin` behind the web server, loaded at the start of the daemon.
 */
import { randomFillSync } from 'node:crypto';
import { systemClock } from '../adapters/clock/clock.ts';
import type { Database } from '../adapters/database/database.ts';
import type { AdminPageConfig } from '../adapters/web/server.ts';
import type { Operations } from '../admin/operations/operations.ts';
import type { AdminService } from '../admin/service.ts';

import type { DatabaseConfig } from '../config/config.ts';
import { thisUser } from '../config/machine.ts';
import type { EncryptionControl } from '../encryption/control.ts';
import type { Log } from '../events.ts';
import type { RawSources, Sessions, WorkerIdentity } from '../ingest/ports.ts';
import type { Resolver } from '../ingest/quarantine/resolve.ts';
import type { Readiness } from '../ingest/readiness.ts';
import type { Encryption } from './encryption.ts';
import type { OAuth } from './oauth.ts';

export type AdminParts = {
  readonly config: AdminPageConfig;
  readonly database: DatabaseConfig;
  /** Absolute; null: the daemon was started without one. */
  readonly configFile: string | null;
  readonly store: Database;
  readonly encryption: Encryption;
  readonly control: EncryptionControl;
  readonly operations: Operations;
  readonly oauth: Pick<OAuth, 'consents' | 'providers' | 'credentials' | 'revocations'>;
  readonly sessions: Sessions;
  /** Size limit of a message. */
  readonly sizeBytesMax: number;
  /** `[poll] login_failures_max` in force. */
  readonly loginFailuresMax: () => number;
  readonly resolve: Resolver['resolve'];
  readonly raw: RawSources;
  readonly worker: WorkerIdentity;
  readonly log: Log;
};

/** Serves the page until it is disposed. A failure of the page is logged and stops nothing else. */
export async function startAdmin(parts: AdminParts, readiness: () => Promise<Readiness>): Promise<AsyncDisposable> {
  const { config, log } = parts;
  const { serveAdminPage } = await import('../adapters/web/server.ts');
  await using building = new AsyncDisposableStack();
  const service = await openService(parts, readiness, building);
  building.use(await serveAdminPage(config, service, log));
  return building.move();
}

async function openService(
  parts: AdminParts,
  readiness: () => Promise<Readiness>,
  building: AsyncDisposableStack,
): Promise<AdminService> {
  const [
    { createSignIn },
    { createRefusals },
    { createEncryptionService },
    { createOverviewViews },
    mailboxes,
    actions,
    { createOAuthSignIn, labelOf },
    { createMailboxActions },
    { createProbeRunner },
    { createMailboxRetries },
  ] = await Promise.all([
    import('../admin/sign-in/sign-in.ts'),
    import('../admin/sign-in/refusals.ts'),
    import('../admin/encryption-service.ts'),
    import('../admin/views/overview.ts'),
    import('../admin/mailboxes/confirmation.ts'),
    import('../admin/quarantine-actions.ts'),
    import('../admin/oauth-sign-in.ts'),
    import('../admin/mailboxes/actions.ts'),
    import('../admin/mailboxes/probe-runner.ts'),
    import('../admin/mailboxes/retry.ts'),
  ]);
  const { config, database, configFile, store, encryption, control, operations, resolve, raw, worker, log, oauth } =
    parts;
  const { actor } = encryption;
  const common = { store, actor, log, worker, clock: systemClock };
  const refusals = building.use(createRefusals(common));
  const random = (bytes: Uint8Array): Uint8Array => randomFillSync(bytes);
  const { verifyPassword, ...signIn } = createSignIn({ ...common, random, idleMs: () => config.sessionTimeoutMs });
  const page = { control, operations, configFile, user: thisUser(), database };
  const encryptionService = createEncryptionService({ ...encryption, ...common, ...page });
  const views = createOverviewViews({ ...common, readiness, raw, sizeBytesMax: parts.sizeBytesMax });
  const { resolveQuarantined } = building.use(
    actions.createQuarantineActions({ ...common, resolve }, views.quarantineChanged),
  );
  const recordRefusal: AdminService['recordRefusal'] = (refusal) => refusals.recordRefusal(refusal);
  const { signInOf, ...oauthSignIn } = createOAuthSignIn({ ...common, ...oauth });
  const { confirmations, vault, passwords } = encryption;
  const providers = () => oauth.providers().map((one) => ({ name: one.name, label: labelOf(one) }));
  const ofMailboxes = { ...common, confirmations, vault, passwords };
  const confirmation = mailboxes.createMailboxConfirmation({ ...ofMailboxes, signInOf, providers });
  const { credentials } = oauth;
  const probes = createProbeRunner(systemClock);
  const changed = views.mailboxesChanged;
  const { sessions } = parts;
  const mailboxActions = createMailboxActions({
    ...{ ...ofMailboxes, credentials, sessions, oauth, probes, verifyPassword, changed },
  });
  return {
    ...signIn,
    ...encryptionService,
    ...views,
    ...confirmation,
    ...mailboxActions,
    ...createMailboxRetries({ ...common, loginFailuresMax: parts.loginFailuresMax, changed }),
    ...oauthSignIn,
    recordRefusal,
    resolveQuarantined,
  };
}
