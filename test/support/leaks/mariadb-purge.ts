/**
 * Clean-up of the files of a MariaDB (InnoDB) after `encryption enable`, step by step, as the program recommends it:
 * freed space, undo, changed pages, redo log, binary logs.
 */
import { until } from '../promises.ts';
import type { Mariadb } from '../servers/mariadb.ts';

/** Every commit is in the binary log, and the redo log is that of a small server. */
export const loggingArgs = ['--log-bin=mysql-bin', '--server-id=1', '--innodb-log-file-size=64M'] as const;

export async function scrub(mariadb: Mariadb): Promise<void> {
  await mariadb.query('SET GLOBAL innodb_immediate_scrub_data_uncompressed = ON');
}

/** Asks again and again; throws when the answer never comes. */
export async function untilPurged(mariadb: Mariadb): Promise<void> {
  await until('history list 0', async () =>
    /History list length 0\b/.test(await mariadb.query('SHOW ENGINE INNODB STATUS')),
  );
}

export async function flushPages(mariadb: Mariadb): Promise<void> {
  const limits = ['innodb_max_dirty_pages_pct_lwm', 'innodb_max_dirty_pages_pct'] as const;
  const before = (await mariadb.query(`SELECT ${limits.map((name) => `@@${name}`).join()}`)).trim().split('\t');
  for (const name of limits) await mariadb.query(`SET GLOBAL ${name} = 0`);
  await until('no changed pages', async () =>
    /\t0$/m.test(await mariadb.query("SHOW STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")),
  );
  for (const [index, name] of [...limits.entries()].toReversed())
    await mariadb.query(`SET GLOBAL ${name} = ${before[index]}`);
}

export async function resizeRedoLog(mariadb: Mariadb): Promise<void> {
  const size = async () => Number(await mariadb.query('SELECT @@innodb_log_file_size'));
  const wanted = 2 * (await size());
  await mariadb.query(`SET GLOBAL innodb_log_file_size = ${wanted}`);
  await until('another size of the redo log', async () => (await size()) === wanted);
}

/** A log is kept, without an error, until the server has noted that recovery needs it no more. */
export async function purgeBinaryLogs(mariadb: Mariadb): Promise<void> {
  await until('one binary log', async () => {
    await mariadb.query('FLUSH BINARY LOGS');
    const logs = (await mariadb.query('SHOW BINARY LOGS')).trim().split('\n');
    await mariadb.query(`PURGE BINARY LOGS TO '${logs.at(-1)?.split('\t')[0]}'`);
    return (await mariadb.query('SHOW BINARY LOGS')).trim().split('\n').length === 1;
  });
}

/** What `enable` names, after it; `scrub` comes before it. */
export async function purgeFiles(mariadb: Mariadb): Promise<void> {
  await flushPages(mariadb);
  await untilPurged(mariadb);
  await flushPages(mariadb);
  await resizeRedoLog(mariadb);
  await purgeBinaryLogs(mariadb);
}
