/**
 * `run`: the daemon. Ends when it is told to stop and what was under way is drained.
 */
import { resolve } from 'node:path';
import { type CommonOptions, type Context, composeFor } from './context.ts';

export type RunOptions = CommonOptions & {
  readonly pretty?: boolean;
  /** false for `--no-migrate`: the tables are left as they are, whatever the configuration says. */
  readonly migrate: boolean;
};

/** At a terminal it asks for the passphrase of a protected key file. Throws `config_invalid`; trouble outside is logged and tried again, never a reason to end. */
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
