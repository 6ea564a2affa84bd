/**
 * Templates of the test servers, made once: the certificates and empty data folders of MariaDB and MySQL.
 *
 * The global setup of a test run makes those of most tests in the run's folder; outside a run, and for MySQL, the
 * first use does.
 */
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { runFolder } from '../temporary.ts';
import { makeCertificates } from './authority.ts';
import { runProgram } from './programs.ts';

/** Options that shape the data files: the template and every start must agree on them. */
export const mariadbFileOptions: readonly string[] = [
  '--no-defaults',
  `--user=${userInfo().username}`,
  '--innodb-log-file-size=8M',
  '--innodb-buffer-pool-size=64M',
  '--innodb-data-file-path=ibdata1:4M:autoextend',
  '--innodb-temp-data-file-path=ibtmp1:4M:autoextend',
  '--innodb-undo-tablespaces=0',
  '--character-set-server=utf8mb4',
  '--collation-server=utf8mb4_unicode_ci',
];

/** The same of MySQL. The limits of its redo log and its undo tablespaces are chosen at each start. */
export const mysqlFileOptions: readonly string[] = [
  `--user=${userInfo().username}`,
  '--innodb-buffer-pool-size=64M',
  '--innodb-buffer-pool-load-at-startup=OFF',
  '--mysqlx=OFF',
  '--secure-file-priv=NULL',
];

const made = new Map<string, Promise<string>>();

/** The folder with the certificates. */
export function certificatesTemplate(): Promise<string> {
  return once('certificates', makeCertificates);
}

/** The folder with an empty MariaDB data folder in it. */
export function mariadbTemplate(): Promise<string> {
  return once('mariadb-template', makeMariadbData);
}

async function makeMariadbData(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const own = [`--datadir=${join(folder, 'data')}`, `--tmpdir=${folder}`];
  const quick = ['--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve'];
  await runProgram('mariadb-install-db', [...mariadbFileOptions, ...own, ...quick]);
}

/** The folder with an empty MySQL data folder in it. `run` starts mysqld. */
export function mysqlTemplate(run: (args: readonly string[]) => Promise<unknown>): Promise<string> {
  return once('mysql-template', async (folder) => {
    await mkdir(folder, { recursive: true });
    const data = join(folder, 'data');
    await run([...mysqlFileOptions, `--datadir=${data}`, '--innodb-redo-log-capacity=32M', '--initialize-insecure']);
    // The identity of a server, which makes a new one.
    await rm(join(data, 'auto.cnf'), { force: true });
  });
}

/** Makes a template under another name first: a folder with the right name is always a whole one. */
function once(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const path = join(runFolder(), name);
  const running = made.get(path) ?? makeAside(path, make);
  made.set(path, running);
  return running;
}

async function makeAside(path: string, make: (folder: string) => Promise<void>): Promise<string> {
  if (existsSync(path)) return path;
  const aside = `${path}.${process.pid}`;
  await make(aside);
  // Another process may have been quicker.
  await rename(aside, path).catch((error) => {
    if (!existsSync(path)) throw error;
  });
  return path;
}
