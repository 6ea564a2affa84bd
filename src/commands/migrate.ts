/**
 * `migrate`: brings the tables up to date, and shows every migration with the time it was applied.
 */

import { isoTime, shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';

const columns = [{ title: 'NUMBER', align: 'right' as const }, { title: 'NAME' }, { title: 'APPLIED (UTC)' }];

/** Changes nothing with `--status`. Exit code 0 also when nothing was to be done. */
export async function migrate(options: CommonOptions & { status?: boolean }, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const applied = options.status === true ? 0 : await app.migrations.apply();
    const migrations = await app.migrations.status();
    if (options.json === true) {
      for (const { number, name, appliedAtMs } of migrations)
        await terminal.json({ number, name, applied_at: isoTime(appliedAtMs) });
      return 0;
    }
    const rows = migrations.map(({ number, name, appliedAtMs }) => [
      `${number}`,
      name,
      appliedAtMs === null ? 'not yet' : shortTime(appliedAtMs),
    ]);
    await terminal.table(columns, rows);
    const pending = migrations.filter(({ appliedAtMs }) => appliedAtMs === null).length;
    terminal.note(options.status === true ? `${pending} to apply` : `${applied} applied`);
    return 0;
  });
}
