/**
 * A real MariaDB of our own: free loopback port, unix socket, TLS, data in a temporary folder.
 *
 * It starts from a copy of the template in about 0.3 s. `kill` is a crash (SIGKILL), `restart` comes back on the same
 * port with the same data. Syncs to disk are off unless `durable` is asked for: a killed process loses nothing
 * either way, only a dead machine would. A start that fails throws with the server's own log.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseConfig } from '../../../src/config/config.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import { temporaryFolder } from '../temporary.ts';
import { readCertificates } from './authority.ts';
import { freePort, type RunningServer, runProgram, startServer, untilGreets } from './programs.ts';
import { certificatesTemplate, mariadbFileOptions, mariadbTemplate } from './templates.ts';

export type MysqlConfig = Extract<DatabaseConfig, { kind: 'mysql' }>;

export type TestDatabase = { readonly name: string; readonly url: string; readonly config: MysqlConfig };

export type Mariadb = {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly socketPath: string;
  /** The authority of the server's certificate, which is for localhost and 127.0.0.1. */
  readonly caPem: string;
  /** What a command needs beside the URL. */
  readonly environment: Readonly<Record<string, string>>;
  readonly dataFolder: string;
  /** A new empty database that user `app`, password `app`, owns. */
  createDatabase(options?: { characterSet?: string }): Promise<TestDatabase>;
  /** Runs SQL as root; the rows as lines, the columns separated by tabs. */
  query(sql: string): Promise<string>;
  /** Ends it in order; does nothing when it is not running. */
  stop(): Promise<void>;
  /** Crashes it: SIGKILL. */
  kill(): Promise<void>;
  /** Stops it if it runs, and starts it on the same port with the same data. */
  restart(): Promise<void>;
  /** SIGSTOP or SIGCONT: it hangs, and its port still accepts connections. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
} & AsyncDisposable;

export type MariadbOptions = {
  /** Every commit reaches the disk, as in production. */
  durable?: boolean;
  /** More options of mariadbd, for example `--max-connections=5`. */
  args?: readonly string[];
};

export const startTimeoutMs = 30_000;
const stopTimeoutMs = 10_000;

/** The user `app`, who owns all databases whose names begin with app_. */
export const usersSql = ['127.0.0.1', 'localhost']
  .map(
    (host) =>
      `CREATE USER IF NOT EXISTS app@'${host}' IDENTIFIED BY 'app';\nGRANT ALL ON \`app\\_%\`.* TO app@'${host}';\n`,
  )
  .join('');

/** Starts one and waits until it answers. */
export async function startMariadb(options: MariadbOptions = {}): Promise<Mariadb> {
  const [template, certificatesFolder] = await Promise.all([mariadbTemplate(), certificatesTemplate()]);
  const certificate = await readCertificates(certificatesFolder);
  const folder = await temporaryFolder('mariadb');
  const dataFolder = join(folder.path, 'data');
  await runProgram('cp', ['-a', '--reflink=auto', '--sparse=always', join(template, 'data'), dataFolder]);
  await writeFile(join(folder.path, 'users.sql'), usersSql);
  const port = await freePort();
  const socketPath = join(folder.path, 'socket');
  const args = [
    ...mariadbArguments(folder.path, port, options),
    `--ssl-ca=${certificate.caFile}`,
    `--ssl-cert=${certificate.certificateFile}`,
    `--ssl-key=${certificate.keyFile}`,
  ];
  let server = await launch(folder.path, port, args);
  const query = (sql: string): Promise<string> =>
    runProgram('mariadb', ['--no-defaults', '-uroot', `--socket=${socketPath}`, '-NB'], { input: sql });
  const stop = (): Promise<void> => end(server, 'SIGTERM');
  const restart = async (): Promise<void> => {
    await stop();
    server = await launch(folder.path, port, args);
  };
  return {
    host: '127.0.0.1',
    port,
    socketPath,
    caPem: certificate.caPem,
    environment: {},
    dataFolder,
    query,
    createDatabase: (more = {}) => createDatabase(query, port, more.characterSet ?? 'utf8mb4'),
    stop,
    kill: () => end(server, 'SIGKILL'),
    restart,
    signal: (name) => server.signal(name),
    [Symbol.asyncDispose]: async () => {
      // The data is not needed any more, so nothing is gained by an orderly end.
      await end(server, 'SIGKILL');
      await folder[Symbol.asyncDispose]();
    },
  };
}

function mariadbArguments(folder: string, port: number, options: MariadbOptions): string[] {
  const flush = options.durable === true ? ['1'] : ['2', '--skip-innodb-doublewrite'];
  return [
    ...mariadbFileOptions,
    `--datadir=${join(folder, 'data')}`,
    `--tmpdir=${folder}`,
    `--socket=${join(folder, 'socket')}`,
    `--pid-file=${join(folder, 'pid')}`,
    `--log-error=${join(folder, 'error.log')}`,
    `--init-file=${join(folder, 'users.sql')}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    '--skip-name-resolve',
    '--skip-log-bin',
    '--innodb-immediate-scrub-data-uncompressed=ON',
    '--performance-schema=off',
    '--max-connections=500',
    // A client of a busy machine may need more than the usual 10 s for the handshake.
    '--connect-timeout=50',
    // A test that opens many connections at once must not be taken for an attack.
    '--max-connect-errors=1000000',
    `--innodb-flush-log-at-trx-commit=${flush[0]}`,
    ...flush.slice(1),
    ...(options.args ?? []),
  ];
}

async function launch(folder: string, port: number, args: readonly string[]): Promise<RunningServer> {
  const server = startServer('mariadbd', args);
  try {
    await untilGreets(server, port, startTimeoutMs, () => server.output());
  } catch (error) {
    await end(server, 'SIGKILL');
    const log = await readFile(join(folder, 'error.log'), 'utf8');
    throw new Error(`mariadbd did not start:\n${log.slice(-3_000)}`, { cause: error });
  }
  return server;
}

/** Ends it in order, or as a crash does; does nothing when it has ended. */
export async function end(server: RunningServer, how: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (server.hasEnded()) return;
  server.signal(how);
  const tooLong = setTimeout(() => server.signal('SIGKILL'), stopTimeoutMs);
  await server.exit;
  clearTimeout(tooLong);
}

let databases = 0;

export async function createDatabase(
  query: (sql: string) => Promise<string>,
  port: number,
  characterSet: string,
): Promise<TestDatabase> {
  databases += 1;
  const name = `app_${process.pid}_${databases}`;
  await query(`CREATE DATABASE ${name} CHARACTER SET ${characterSet}`);
  const config: MysqlConfig = {
    kind: 'mysql',
    hosts: [{ host: '127.0.0.1', port }],
    socketPath: null,
    user: 'app',
    password: SecretBytes.take(Buffer.from('app')),
    database: name,
    tls: 'off',
    caPem: null,
    fingerprint: null,
    serverKeyPem: null,
    connectionsMax: 10,
  };
  return { name, url: `mysql://app:app@127.0.0.1:${port}/${name}`, config };
}
