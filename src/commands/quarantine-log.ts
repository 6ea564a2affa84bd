/**
 * `quarantine log`: who took what out of quarantine, or discarded it, by a command or on the admin page.
 */
import type { StoredAudit } from '../encryption/ports.ts';
import { shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { limitOf, rowJson } from './encryption-log.ts';

const quarantineLogColumns = [
  { title: 'WHEN (UTC)' },
  { title: 'WHO', shrinks: true },
  { title: 'WHAT' },
  { title: 'DETAIL', shrinks: true },
];

/** Scripts (`--json`) get all of it, people the newest, unless told a limit. Throws `usage`. */
export async function listQuarantineLog(
  options: CommonOptions & { limit?: string },
  context: Context,
): Promise<number> {
  const { terminal } = context;
  const limit = limitOf(options);
  return await withApp(options, context, async (app) => {
    const rows = await app.store.readAudit(limit, 'quarantine');
    if (options.json === true) for (const row of rows) await terminal.json(rowJson(row));
    else if (rows.length === 0) terminal.note('Nobody has taken anything out of quarantine yet.');
    else await terminal.table(quarantineLogColumns, rows.map(quarantineLogCells));
    return 0;
  });
}

function quarantineLogCells({ atMs, who, action, detail }: StoredAudit): readonly string[] {
  return [shortTime(atMs), who, action, detail ?? ''];
}
