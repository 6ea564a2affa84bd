/**
 * A real Galera cluster of our own: three MariaDB nodes on free loopback ports, each with its own data, in sync in some
 * seconds.
 *
 * `kill` is a crash of one node, `freeze` stops it as a dead network would (SIGSTOP): it neither answers nor goes away.
 * A silent node is given up after two to three seconds. A node that comes back takes a full copy from another one, by a
 * script of our own: those of MariaDB come with a package that would start a service. A start that fails throws with
 * the node's own log.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import { temporaryFolder } from '../temporary.ts';
import { copyMethod, writeCopyScript } from './galera-copy.ts';
import { type MysqlConfig, usersSql } from './mariadb.ts';
import { findProgram, freePort, type RunningServer, runProgram, startServer } from './programs.ts';
import { mariadbFileOptions, mariadbTemplate } from './templates.ts';

/** Where Debian, Fedora and SUSE keep it. */
export const galeraLibraries: readonly string[] = [
  '/usr/lib/galera/libgalera_smm.so',
  '/usr/lib64/galera/libgalera_smm.so',
  '/usr/lib64/galera-4/libgalera_smm.so',
];

export type GaleraNode = {
  readonly host: '127.0.0.1';
  readonly port: number;
  /** Runs SQL as root on this node; the rows as lines, the columns separated by tabs. */
  query(sql: string): Promise<string>;
  /** Crashes it: SIGKILL. */
  kill(): Promise<void>;
  /** Ends it in order; the others know that it left. */
  stop(): Promise<void>;
  /** Starts it again on the same ports, after `kill` or `stop`; it is in sync when it resolves. */
  restart(): Promise<void>;
  freeze(): void;
  thaw(): void;
  /** Waits until it takes part in a cluster with quorum. */
  untilReady(): Promise<void>;
};

/** A database on all nodes, which user `app`, password `app`, owns. `first` is the node that is named first. */
export type ClusterDatabase = {
  readonly name: string;
  url(first: number): string;
  config(first: number): MysqlConfig;
};

export type Galera = {
  readonly nodes: readonly [GaleraNode, GaleraNode, GaleraNode];
  /** By way of the first node, which must run. */
  createDatabase(): Promise<ClusterDatabase>;
} & AsyncDisposable;

const startTimeoutMs = 40_000;

/** Once more when it fails: of nine ports that were free, one may be taken by then. */
export async function startGalera(): Promise<Galera> {
  try {
    return await startNodes();
  } catch {
    return await startNodes();
  }
}

/** One after the other: only a node in sync can give the next one its data. */
async function startNodes(): Promise<Galera> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('galera'));
  await writeCopyScript(folder.path);
  const ports = await freePorts(9);
  const members = [0, 1, 2].map((index): Member => {
    const [port = 0, groupPort = 0, copyPort = 0] = ports.slice(index * 3);
    return { name: `node${index + 1}`, folder: join(folder.path, `node${index + 1}`), port, groupPort, copyPort };
  });
  const nodes = members.map((member) => building.use(makeNode(folder.path, member, members)));
  for (const [index, node] of nodes.entries()) {
    await node.begin(index === 0);
    if (index === 0) await node.query(usersSql);
  }
  const [one, two, three] = nodes;
  if (one === undefined || two === undefined || three === undefined) throw new Error('three nodes were made');
  const undo = building.move();
  return {
    nodes: [one, two, three],
    createDatabase: () => createDatabase([one, two, three]),
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

/** `groupPort` is for the group's own messages; `copyPort` for changes that a node missed, and as a name for a copy. */
type Member = {
  readonly name: string;
  readonly folder: string;
  readonly port: number;
  readonly groupPort: number;
  readonly copyPort: number;
};

async function freePorts(count: number): Promise<readonly number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

function makeNode(
  folder: string,
  member: Member,
  members: readonly Member[],
): GaleraNode & AsyncDisposable & { begin(isFirst: boolean): Promise<void> } {
  const socketPath = join(member.folder, 'socket');
  let server: RunningServer | null = null;
  const query = (sql: string): Promise<string> =>
    runProgram('mariadb', ['--no-defaults', '-uroot', `--socket=${socketPath}`, '-NB'], { input: sql });
  const end = async (how: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    if (server === null) return;
    if (how === 'SIGKILL') server.killAll();
    else server.signal(how);
    await server.exit;
    server = null;
  };
  const untilReady = () => untilInSync(member, query, () => server?.hasEnded() ?? true);
  const begin = async (isFirst: boolean): Promise<void> => {
    await makeFolder(member, isFirst);
    const args = [...nodeArguments(member, members), ...(isFirst ? ['--wsrep-new-cluster'] : [])];
    server = startServer('env', [...environment(folder), findProgram('mariadbd') ?? 'mariadbd', ...args]);
    await untilReady();
  };
  return {
    host: '127.0.0.1',
    port: member.port,
    query,
    begin,
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    restart: () => begin(false),
    freeze: () => server?.signal('SIGSTOP'),
    thaw: () => server?.signal('SIGCONT'),
    untilReady,
    [Symbol.asyncDispose]: () => end('SIGKILL'),
  };
}

/** The first node begins with the template; the others get everything from it. */
async function makeFolder({ folder }: Member, isFirst: boolean): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { mode: 0o700 });
  const data = join(folder, 'data');
  if (!isFirst) await mkdir(data);
  else await runProgram('cp', ['-a', '--reflink=auto', '--sparse=always', join(await mariadbTemplate(), 'data'), data]);
}

function environment(folder: string): readonly string[] {
  return [`PATH=${join(folder, 'bin')}:${process.env.PATH ?? ''}`, `COPY_FOLDER=${folder}`];
}

function nodeArguments(member: Member, members: readonly Member[]): readonly string[] {
  const { folder, port, groupPort, copyPort, name } = member;
  const at = '127.0.0.1';
  return [
    ...mariadbFileOptions,
    '--innodb-buffer-pool-size=32M',
    '--innodb-flush-log-at-trx-commit=0',
    '--skip-innodb-doublewrite',
    `--datadir=${join(folder, 'data')}`,
    `--tmpdir=${folder}`,
    `--socket=${join(folder, 'socket')}`,
    `--pid-file=${join(folder, 'pid')}`,
    `--log-error=${join(folder, 'error.log')}`,
    `--port=${port}`,
    `--bind-address=${at}`,
    '--skip-name-resolve',
    '--performance-schema=off',
    '--max-connections=300',
    '--max-connect-errors=1000000',
    '--binlog-format=ROW',
    '--innodb-autoinc-lock-mode=2',
    '--innodb-immediate-scrub-data-uncompressed=ON',
    '--wsrep-on=ON',
    `--wsrep-provider=${libraryPath()}`,
    '--wsrep-cluster-name=test',
    `--wsrep-node-name=${name}`,
    `--wsrep-node-address=${at}:${groupPort}`,
    `--wsrep-sst-method=${copyMethod}`,
    `--wsrep-sst-receive-address=${at}:${copyPort}`,
    `--wsrep-cluster-address=gcomm://${members.map((one) => `${at}:${one.groupPort}`).join(',')}`,
    `--wsrep-provider-options=${providerOptions(member)}`,
  ];
}

/** Small buffers; who is silent is suspected after 1.5 s and given up after 3. */
function providerOptions({ folder, groupPort, copyPort }: Member): string {
  const at = '127.0.0.1';
  return [
    `base_port=${groupPort}`,
    `gmcast.listen_addr=tcp://${at}:${groupPort}`,
    `ist.recv_addr=${at}:${copyPort}`,
    `ist.recv_bind=${at}:${copyPort}`,
    'gcache.size=16M',
    `gcache.dir=${join(folder, 'data')}`,
    'gmcast.peer_timeout=PT1.5S',
    'evs.keepalive_period=PT0.3S',
    'evs.inactive_check_period=PT0.3S',
    'evs.suspect_timeout=PT1.5S',
    'evs.inactive_timeout=PT3S',
    'evs.install_timeout=PT3S',
    'pc.announce_timeout=PT1S',
  ].join(';');
}

function libraryPath(): string {
  const path = galeraLibraries.find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error('Galera is not installed: run npm test, which installs it or says how');
  return path;
}

async function untilInSync(
  { name, folder }: Member,
  query: (sql: string) => Promise<string>,
  hasEnded: () => boolean,
): Promise<void> {
  for (const endMs = performance.now() + startTimeoutMs; ; await sleep(50)) {
    const status = await query(`show status like 'wsrep_local_state_comment'; show status like 'wsrep_ready'`).catch(
      () => '',
    );
    if (/\tSynced\n.*\tON\n/.test(status)) return;
    if (!hasEnded() && performance.now() < endMs) continue;
    const log = await readFile(join(folder, 'error.log'), 'utf8').catch(() => '');
    throw new Error(`${name} is not in sync (${status.trim()}):\n${log.slice(-6_000)}`);
  }
}

let databases = 0;

async function createDatabase(nodes: Galera['nodes']): Promise<ClusterDatabase> {
  databases += 1;
  const name = `app_cluster_${process.pid}_${databases}`;
  await nodes[0].query(`CREATE DATABASE ${name}`);
  const hosts = (first: number) => [...nodes.slice(first), ...nodes.slice(0, first)];
  return {
    name,
    url: (first) => {
      const list = hosts(first).map(({ host, port }) => `${host}:${port}`);
      return `mysql://app:app@${list.join(',')}/${name}`;
    },
    config: (first) => ({
      kind: 'mysql',
      hosts: hosts(first).map(({ host, port }) => ({ host, port })),
      socketPath: null,
      user: 'app',
      password: SecretBytes.take(Buffer.from('app')),
      database: name,
      tls: 'off',
      caPem: null,
      fingerprint: null,
      serverKeyPem: null,
      connectionsMax: 10,
    }),
  };
}
