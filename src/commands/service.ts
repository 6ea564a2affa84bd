/**
 * `run`, `log-level` and `migrate`: start the daemon, change its log level, and migrate the tables.
 */

import { resolve } from 'node:path';
import type { App } from '../compose/compose.ts';
import { oneOf } from '../config/option-values.ts';
import { logLevels } from '../events.ts';
import { asRunHere } from '../text/program-name.ts';
import { isoTime, shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, composeFor, withApp } from './context.ts';
import { printList, type TableColumn } from './output.ts';

export type RunOptions = CommonOptions & {
  readonly pretty?: boolean;
  /** False for `--no-migrate`, which overrides the configuration. */
  readonly migrate: boolean;
};

/**
 * Runs the daemon until it is asked to stop and has drained. At a terminal it asks for the passphrase of the key file.
 *
 * Throws `config_invalid`. Failures of servers and the database are logged and retried.
 */
export async function runDaemon(options: RunOptions, context: Context): Promise<number> {
  const load = async () => {
    const written = await context.loadConfig(options.config ?? null);
    return options.migrate ? written : { ...written, migrateOnStart: false };
  };
  const config = await load();
  const configFile = options.config === undefined ? null : resolve(options.config);
  await using app = await composeFor(config, context, options.pretty === true ? 'daemon_pretty' : 'daemon');
  await app.serve(context.signal, { on: context.onReload, load, configFile });
  return 0;
}

/**
 * `log-level`: changes the level of the running daemons of this data folder until their next start or reload.
 *
 * Throws `usage`, `daemon_unreachable`. Exit code 1 when one of several workers refuses.
 */
export async function setLogLevel(options: CommonOptions & { level: string }, context: Context): Promise<number> {
  const { terminal } = context;
  const level = oneOf('the level', options.level, logLevels);
  return await withApp(options, context, async ({ daemonClient }) => {
    const { answers, failures } = await daemonClient.logLevel(level);
    if (options.json === true) await terminal.json({ workers: answers });
    else
      for (const { pid, worker, before, level: now } of answers)
        await terminal.line(`${worker === '' ? '' : `worker ${worker}, `}pid ${pid}: ${before} -> ${now}`);
    if (options.json !== true) terminal.note('until its next start or reload; to keep it, set [log] level', 'dim');
    for (const { message, hint } of failures) terminal.note(`not changed: ${message} (${asRunHere(hint)})`, 'red');
    return failures.length === 0 ? 0 : 1;
  });
}

type MigrationStatus = Awaited<ReturnType<App['migrations']['status']>>[number];

const columns: readonly TableColumn<MigrationStatus>[] = [
  { title: 'NUMBER', align: 'right', cell: ({ number }) => `${number}` },
  { title: 'NAME', cell: ({ name }) => name },
  { title: 'APPLIED (UTC)', cell: ({ appliedAtMs }) => (appliedAtMs === null ? 'not yet' : shortTime(appliedAtMs)) },
];

function migrationJson({ number, name, appliedAtMs }: MigrationStatus): Record<string, unknown> {
  return { number, name, applied_at: isoTime(appliedAtMs) };
}

/** Lists every migration with its time, in one line if none was pending; `--status` applies none. Exit code 0. */
export async function migrate(options: CommonOptions & { status?: boolean }, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const applied = options.status === true ? 0 : await app.migrations.apply();
    const migrations = await app.migrations.status();
    if (options.status !== true && options.json !== true && applied === 0) {
      await context.terminal.line(`nothing to do: all ${migrations.length} migrations are applied`);
      return 0;
    }
    const view = { columns, json: migrationJson, whenEmpty: 'There is no migration.' };
    await printList(migrations, view, options, context);
    if (options.json === true) return 0;
    const pending = migrations.filter(({ appliedAtMs }) => appliedAtMs === null).length;
    context.terminal.note(options.status === true ? `${pending} to apply` : `${applied} applied`);
    return 0;
  });
}
