/**
 * What the admin page needs from the database. Implements AdminStore of the ports; errors are Failures.
 *
 * Accounts and sessions, sign-ins that were tried, the row of the operation, and the figures of the overview each have a
 * file of their own.
 */
import type { AdminStore } from '../../admin/ports.ts';
import { adminAccounts } from './admin-accounts.ts';
import { activitySince } from './admin-activity.ts';
import { adminAttempts } from './admin-attempts.ts';
import { adminOperation } from './admin-operation.ts';
import { lastAudit } from './audit-rows.ts';
import type { DialectWords } from './dialect-words.ts';
import type { Connected } from './tables.ts';

export function adminStore(db: Connected, words: DialectWords): AdminStore {
  return {
    ...adminAccounts(db, words),
    ...adminAttempts(db, words),
    ...adminOperation(db, words),
    lastAudit: (action) => lastAudit(db, action),
    activitySince: (sinceMs) => activitySince(db, sinceMs),
  };
}
