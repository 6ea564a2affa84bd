/** Database store of the admin page: implements `AdminStore`. Errors are Failures. */
import type { AdminStore } from '../../../admin/ports.ts';
import { lastAudit } from '../rows/audit.ts';
import type { SqlDialect } from '../sql/dialect.ts';
import type { SqlExecutor } from '../sql/tables.ts';
import { adminAccounts } from './accounts.ts';
import { activitySince } from './activity.ts';
import { adminAttempts } from './attempts.ts';
import { adminOperation } from './operation.ts';

export function adminStore(db: SqlExecutor, dialect: SqlDialect): AdminStore {
  return {
    ...adminAccounts(db, dialect),
    ...adminAttempts(db, dialect),
    ...adminOperation(db, dialect),
    lastAudit: (action) => lastAudit(db, action),
    activitySince: (sinceMs) => activitySince(db, sinceMs),
  };
}
