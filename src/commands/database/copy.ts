/**
 * `database copy`: moves everything from the configured database into an empty one, of the other dialect or the same.
 *
 * The daemon then continues with the other database: cursors, outcomes, tickets, sealed passwords and the encryption
 * switch are the same rows. The source stays as it is.
 */
import { silentProgress } from '../../adapters/terminal/screen.ts';
import type { App } from '../../compose/compose.ts';
import type { DatabaseConfig } from '../../config/config.ts';
import { readTargetDatabase, type TargetSettings } from '../../config/target-database.ts';
import { Failure, isFailure } from '../../errors.ts';
import { countText } from '../../text/units.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { printLines, printResult } from '../output.ts';

export type CopyDatabaseOptions = CommonOptions & {
  readonly to: string;
  readonly toPasswordFile?: string;
  readonly toTls?: string;
  readonly toCaFile?: string;
  readonly toFingerprint?: string;
  readonly toServerKeyFile?: string;
};

type CopyReport = Awaited<ReturnType<App['copyTo']>>;

/**
 * `database copy`. Throws `usage`, `worker_running` and `operation_running` while the database is in use,
 * `copy_refused` for a target that is not empty, `copy_mismatch`, and the failures of both databases.
 */
export async function copyDatabase(options: CopyDatabaseOptions, context: Context): Promise<number> {
  const settings = settingsOf(options);
  // Before the configuration is loaded: root may read files that the user of the daemon may not.
  const written = readTargetDatabase(settings, context.readFile, process.cwd());
  const target = await withPassword(written, context);
  return await withApp(options, context, async (app, config) => {
    refuseSameFile(config.database, target);
    const report = await copied(app, target, context);
    const { before, tables } = report;
    const rows = tables.reduce((sum, table) => sum + table.rows, 0);
    const fields = {
      rows,
      resumed: before === 'unfinished',
      was_complete: before === 'complete',
      tables,
      to: settings,
    };
    const text =
      before === 'complete'
        ? 'the target is a complete copy already; nothing was changed'
        : `${countText(rows, 'row')} of ${tables.length} tables copied, and compared with the source`;
    await printResult(options, context, fields, text, 'green');
    await printLines(options, context, nextSteps(settings, target, config.database));
    return 0;
  });
}

function settingsOf({
  to,
  toPasswordFile,
  toTls,
  toCaFile,
  toFingerprint,
  toServerKeyFile,
}: CopyDatabaseOptions): TargetSettings {
  return {
    url: to,
    ...(toPasswordFile === undefined ? {} : { password_file: toPasswordFile }),
    ...(toTls === undefined ? {} : { tls: toTls }),
    ...(toCaFile === undefined ? {} : { ca_file: toCaFile }),
    ...(toFingerprint === undefined ? {} : { fingerprint: toFingerprint }),
    ...(toServerKeyFile === undefined ? {} : { server_key_file: toServerKeyFile }),
  };
}

/** At a terminal it is asked for, where no file has it; none is none, as with the login of a unix socket. */
async function withPassword(target: DatabaseConfig, { isAttended, terminal }: Context): Promise<DatabaseConfig> {
  if (target.kind === 'sqlite' || target.password !== null || !isAttended) return target;
  try {
    const password = await terminal.askPassword(`Password of ${target.user} for ${target.database} (empty: none): `);
    return { ...target, password };
  } catch (error) {
    if (isFailure(error, 'password_missing')) return target;
    throw error;
  }
}

function refuseSameFile(source: DatabaseConfig, target: DatabaseConfig): void {
  if (source.kind === 'sqlite' && target.kind === 'sqlite' && source.path === target.path)
    throw new Failure('usage', '--to names the configured database itself');
}

/** Without a terminal, a line now and then. */
const noteEveryMs = 10_000;
/** Waits for a lock may hold no other handle open. */
const keepAliveMs = 60_000;

async function copied(app: App, target: DatabaseConfig, { terminal }: Context): Promise<CopyReport> {
  const bars = { copying: await terminal.progress('copying rows'), comparing: await terminal.progress('comparing') };
  const isShown = bars.copying !== silentProgress;
  const keepAlive = setInterval(() => undefined, keepAliveMs);
  let notedAtMs = performance.now();
  try {
    return await app.copyTo(target, (step, done, total) => {
      bars[step].update(done, total);
      if (isShown || performance.now() - notedAtMs < noteEveryMs) return;
      notedAtMs = performance.now();
      terminal.note(`${step === 'copying' ? 'copied' : 'compared'} ${done} of ${total} rows`);
    });
  } catch (error) {
    throw isFailure(error, 'disk_full', 'database_unavailable') ? resumable(error) : error;
  } finally {
    clearInterval(keepAlive);
    bars.comparing.clear();
    bars.copying.clear();
  }
}

/** The message names the database; the hint of the code is for the one of the configuration. */
function resumable({ code, message, fields, cause }: Failure): Failure {
  const hint = 'Correct that, then run the same command again: a copy that has begun continues where it ended.';
  return new Failure(code, message, { fields, cause, hint });
}

function nextSteps(settings: TargetSettings, target: DatabaseConfig, source: DatabaseConfig): readonly string[] {
  const url = target.kind === 'sqlite' ? `sqlite:${target.path}` : settings.url;
  const entries = Object.entries({ ...settings, url });
  const former = source.kind === 'sqlite' ? source.path : `the database ${source.database}`;
  return [
    '',
    'Put this into the configuration file in place of the former lines:',
    '',
    '[database]',
    ...entries.map(([key, value]) => `${key} = ${JSON.stringify(value)}`),
    '',
    'Then start the daemon. data_dir stays as it is: attachments and raw sources are files there.',
    `Nothing was changed in ${former}.`,
    'It still holds every password: never run a daemon on it again, and delete it soon.',
  ];
}
