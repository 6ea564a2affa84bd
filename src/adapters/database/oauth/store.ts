/** Grant store: the tables `oauth_grant` and `oauth_access` behind the port of `oauth/`. Errors are Failures. */
import type { GrantStore } from '../../../oauth/ports.ts';
import { bindDatabase } from '../sql/statements.ts';
import type { SqlExecutor } from '../sql/tables.ts';
import {
  ensureGrant,
  grantByName,
  listGrants,
  mailboxesOfGrant,
  readAccess,
  readRefresh,
  removeGrant,
  revokeGrant,
  setGrantState,
  storeConsent,
  troubledGrants,
} from './grants.ts';
import { claimRenewal, markAsked, releaseRenewal, storeRenewal } from './renewals.ts';
import { dueRenewals, forgetUnusedAccess, nextRenewalInMs } from './schedule.ts';

export function grantStore(db: SqlExecutor): GrantStore {
  return bindDatabase(db, {
    ...{ grantByName, listGrants, troubledGrants, mailboxesOfGrant, readAccess, readRefresh },
    ...{ ensureGrant, setGrantState, storeConsent, revokeGrant, removeGrant },
    ...{ claimRenewal, markAsked, releaseRenewal, storeRenewal },
    ...{ dueRenewals, nextRenewalInMs, forgetUnusedAccess },
  });
}
