/**
 * A real MySQL of our own, that of Debian unstable: free loopback port, unix socket, TLS, data in a temporary folder.
 *
 * It is used as a MariaDB of mariadb.ts is, with TLS in the settings of its databases: the login of MySQL wants a
 * proven server. Its programs are those of a root folder (debian-root.ts), run by the loader there: they need neither
 * chroot nor rights. Long tests make that folder; others are left out, with a sentence, where it is missing.
 */
import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { debianRoot, whyNoDebianRoot } from '../systemd/debian-root.ts';
import { temporaryFolder } from '../temporary.ts';
import { readCertificates } from './authority.ts';
import { createDatabase, end, type Mariadb, startTimeoutMs, usersSql } from './mariadb.ts';
import { freePort, type RunningServer, runProgram, startServer, untilGreets } from './programs.ts';
import { certificatesTemplate, mysqlFileOptions, mysqlTemplate } from './templates.ts';

export type Mysql = Mariadb & {
  /** SHA-256 of the server's certificate, as openssl shows it. */
  readonly fingerprint: string;
  readonly caFile: string;
};

export type MysqlOptions = {
  /** Every commit reaches the disk, as in production. */
  durable?: boolean;
  /** With binary log, as MySQL is by default. */
  binaryLog?: boolean;
  /** `innodb_redo_log_capacity`, in MB; 8 is the least that MySQL takes. */
  redoCapacityMb?: number;
  /** The certificate that MySQL makes at its first start, with no host name in it, in place of one of the authority. */
  ownCertificate?: boolean;
  /** More options of mysqld, for example `--max-connections=5`. */
  args?: readonly string[];
};

/** For long tests: null when it is here or can be made. */
export function whyNoMysql(): string | null {
  return whyNoDebianRoot('mysql');
}

/** Starts one and waits until it answers; makes the root folder where it is missing. */
export async function startMysql(options: MysqlOptions = {}): Promise<Mysql> {
  const root = await debianRoot('mysql');
  const template = await mysqlTemplate((args) => runProgram(loader(root), [...mysqld(root), ...args]));
  const folder = await temporaryFolder('mysql');
  const dataFolder = join(folder.path, 'data');
  await runProgram('cp', ['-a', '--reflink=auto', '--sparse=always', join(template, 'data'), dataFolder]);
  await writeFile(join(folder.path, 'users.sql'), usersSql);
  const port = await freePort();
  const socketPath = join(folder.path, 'socket');
  const identity = await identityOf(dataFolder, options);
  const args = [...mysqld(root), ...mysqlArguments(folder.path, port, options), ...identity.args];
  let server = await launch(root, folder.path, port, args);
  const query = (sql: string): Promise<string> =>
    runProgram(
      loader(root),
      [...inRoot(root, 'bin/mysql'), '--no-defaults', '-uroot', `--socket=${socketPath}`, '-NB'],
      { input: sql },
    );
  return {
    host: '127.0.0.1',
    port,
    socketPath,
    caPem: identity.caPem,
    caFile: identity.caFile,
    fingerprint: identity.fingerprint,
    environment: { TICKETMAILD_DATABASE_TLS: 'verify', TICKETMAILD_DATABASE_CA_FILE: identity.caFile },
    dataFolder,
    query,
    createDatabase: async ({ characterSet = 'utf8mb4' } = {}) => {
      const database = await createDatabase(query, port, characterSet);
      return { ...database, config: { ...database.config, tls: 'verify', caPem: identity.caPem } };
    },
    stop: () => end(server, 'SIGTERM'),
    kill: () => end(server, 'SIGKILL'),
    restart: async () => {
      await end(server, 'SIGTERM');
      server = await launch(root, folder.path, port, args);
    },
    signal: (name) => server.signal(name),
    [Symbol.asyncDispose]: async () => {
      await end(server, 'SIGKILL');
      await folder[Symbol.asyncDispose]();
    },
  };
}

function loader(root: string): string {
  return join(root, process.arch === 'arm64' ? 'lib/ld-linux-aarch64.so.1' : 'lib64/ld-linux-x86-64.so.2');
}

/** A program of the root folder with the libraries there, as arguments of its loader. */
function inRoot(root: string, program: string): readonly string[] {
  const libraries = join(root, 'usr/lib', `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`);
  return ['--library-path', libraries, join(root, 'usr', program)];
}

/** `--no-defaults` must be the first option. */
function mysqld(root: string): readonly string[] {
  return [...inRoot(root, 'sbin/mysqld'), '--no-defaults', `--basedir=${join(root, 'usr')}`];
}

type Identity = Pick<Mysql, 'caPem' | 'caFile' | 'fingerprint'> & { readonly args: readonly string[] };

async function identityOf(dataFolder: string, { ownCertificate = false }: MysqlOptions): Promise<Identity> {
  if (ownCertificate) {
    const certificate = new X509Certificate(await readFile(join(dataFolder, 'server-cert.pem')));
    const caFile = join(dataFolder, 'ca.pem');
    return { args: [], caFile, caPem: await readFile(caFile, 'utf8'), fingerprint: certificate.fingerprint256 };
  }
  const { certificateFile, keyFile, ...own } = await readCertificates(await certificatesTemplate());
  return { args: [`--ssl-ca=${own.caFile}`, `--ssl-cert=${certificateFile}`, `--ssl-key=${keyFile}`], ...own };
}

function mysqlArguments(folder: string, port: number, options: MysqlOptions): readonly string[] {
  const flush = options.durable === true ? ['1'] : ['2', '--innodb-doublewrite=OFF', '--sync-binlog=0'];
  return [
    ...mysqlFileOptions,
    `--datadir=${join(folder, 'data')}`,
    `--tmpdir=${folder}`,
    `--socket=${join(folder, 'socket')}`,
    `--pid-file=${join(folder, 'pid')}`,
    `--log-error=${join(folder, 'error.log')}`,
    `--init-file=${join(folder, 'users.sql')}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    '--skip-name-resolve',
    '--performance-schema=OFF',
    '--max-connections=500',
    '--connect-timeout=50',
    '--max-connect-errors=1000000',
    `--innodb-redo-log-capacity=${options.redoCapacityMb ?? 32}M`,
    ...(options.binaryLog === true ? ['--log-bin=mysql-bin', '--server-id=1'] : ['--skip-log-bin']),
    `--innodb-flush-log-at-trx-commit=${flush[0]}`,
    ...flush.slice(1),
    ...(options.args ?? []),
  ];
}

async function launch(root: string, folder: string, port: number, args: readonly string[]): Promise<RunningServer> {
  const server = startServer(loader(root), args);
  try {
    await untilGreets(server, port, startTimeoutMs, () => server.output());
  } catch (error) {
    await end(server, 'SIGKILL');
    const log = await readFile(join(folder, 'error.log'), 'utf8');
    throw new Error(`mysqld did not start:\n${log.slice(-3_000)}`, { cause: error });
  }
  return server;
}
