/**
 * `admin log`: who signed in to the admin page or was refused there, and what was changed about its accounts, the newest
 * first.
 */
import type { StoredAudit } from '../encryption/ports.ts';
import { shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { limitOf, rowJson } from './encryption-log.ts';

const adminLogColumns = [
  { title: 'WHEN (UTC)' },
  { title: 'WHO', shrinks: true },
  { title: 'WHAT' },
  { title: 'DETAIL', shrinks: true },
];

/** Scripts (`--json`) get all of it, people the newest, unless told a limit. Throws `usage`. */
export async function listAdminLog(
  options: CommonOptions & { readonly limit?: string },
  context: Context,
): Promise<number> {
  const { terminal } = context;
  const limit = limitOf(options);
  return await withApp(options, context, async (app) => {
    const rows = await app.store.readAudit(limit, 'admin');
    if (options.json === true) for (const row of rows) await terminal.json(rowJson(row));
    else if (rows.length === 0) terminal.note('Nothing has happened about the admin page yet.');
    else await terminal.table(adminLogColumns, rows.map(adminLogCells));
    return 0;
  });
}

function adminLogCells({ atMs, who, action, detail }: StoredAudit): readonly string[] {
  return [shortTime(atMs), who, action, detail ?? ''];
}
