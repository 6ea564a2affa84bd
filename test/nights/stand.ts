/**
 * Scene of the nights: a machine with a real systemd and the installed service, two mail servers, a database.
 *
 * Of the 50 mailboxes most are on a Dovecot that announces new messages (IDLE), behind a proxy and under a name; four
 * are on one that does not, so they are only polled. Passwords are sealed, data_dir is a file system of its own, and
 * intervals and timeouts are those of a new installation, but for the interval of the four. Everything is on loopback
 * and in memory, and vanishes with this process.
 */
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { type FaultProxy, startFaultProxy } from '../support/faults/proxy.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../support/servers/mariadb.ts';
import { freePort } from '../support/servers/programs.ts';
import { copyCheckout, copyPackages, socketAddress } from '../support/systemd/checkout.ts';
import { bootSystemd, type Machine } from '../support/systemd/systemd.ts';
import { temporaryFolder } from '../support/temporary.ts';

/** `push`: on the server with IDLE. `polled`: on the other one. */
export type Mailbox = {
  readonly name: string;
  readonly kind: 'push' | 'polled';
  readonly user: string;
  readonly folder: string;
};

/** The way to a mail server, which can end and come back at the same address. */
export type Link = {
  proxy(): FaultProxy;
  /** Nothing listens any more. */
  down(): Promise<void>;
  up(): Promise<void>;
};

export type Stand = {
  readonly machine: Machine;
  /** With IDLE, and without. */
  readonly push: Dovecot;
  readonly polled: Dovecot;
  readonly pushLink: Link;
  readonly polledLink: Link;
  readonly mariadb: Mariadb;
  readonly database: string;
  readonly databaseUrl: string;
  readonly httpPort: number;
  readonly mailboxes: readonly Mailbox[];
  /** Runs a command of the installed program as root; throws when it fails. */
  command(args: string, input?: string): Promise<string>;
} & AsyncDisposable;

/** Checkout and packages, as they are seen inside: copied once, for all stands. */
export type Sources = { readonly folders: Readonly<Record<string, string>> } & AsyncDisposable;

/** Of the mailboxes that are only polled; the others have the default. */
export const pollIntervalS = 10;
export const dataDir = '/var/lib/ticketmaild';
export const configuration = '/etc/ticketmaild/ticketmaild.toml';
export const install = '/srv/checkout/systemd/install --packages /srv/packages';
export const mailHost = 'mail.example.test';
/** More than what the disk check warns of. Memory is taken only as it is filled. */
export const dataMb = 1_400;
const pushMailboxes = 44;
export const withoutIdle = 'imap_capability = IMAP4rev1 LITERAL+ UIDPLUS MOVE CONDSTORE';

export async function copySources(): Promise<Sources> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('nights'));
  await chmod(folder.path, 0o755);
  const [checkout, packages] = [join(folder.path, 'checkout'), join(folder.path, 'packages')];
  await Promise.all([copyCheckout(checkout), copyPackages(packages)]);
  const undo = building.move();
  const folders = { [checkout]: '/srv/checkout', [packages]: '/srv/packages' };
  return { folders, [Symbol.asyncDispose]: () => undo.disposeAsync() };
}

/** Everything runs, every mailbox was polled once. */
export async function openStand(sources: Sources): Promise<Stand> {
  await using building = new AsyncDisposableStack();
  const push = building.use(await startDovecot({ certificate: 'other_name' }));
  const polled = building.use(await startDovecot({ settings: withoutIdle }));
  const pushLink = building.use(await openLink(push.tlsPort));
  const polledLink = building.use(await openLink(polled.tlsPort));
  const mariadb = building.use(await startMariadb());
  const { name: database, url: databaseUrl } = await mariadb.createDatabase();
  const machine = building.use(await bootSystemd(sources.folders));
  const mailboxes = mailboxesOf(push, polled);
  const httpPort = await installService(machine, databaseUrl);
  const stand = {
    ...{ machine, push, polled, pushLink, polledLink, mariadb, database, databaseUrl, httpPort, mailboxes },
    command: async (args: string, input = '') => {
      const { code, stdout, stderr } = await machine.run(`ticketmaild ${args}`, { input });
      if (code !== 0) throw new Error(`ticketmaild ${args} ended with ${code}:\n${stdout}${stderr}`);
      return stdout;
    },
  };
  await fill(stand);
  await machine.get('systemctl start ticketmaild-health.socket ticketmaild-page.socket ticketmaild');
  await untilPolled(stand);
  const undo = building.move();
  return { ...stand, [Symbol.asyncDispose]: () => undo.disposeAsync() };
}

async function openLink(tlsPort: number): Promise<Link & AsyncDisposable> {
  const target = { host: '127.0.0.1', port: tlsPort };
  let proxy = await startFaultProxy(target, { host: '127.0.0.1', port: await freePort() });
  const { host, port } = proxy;
  const down = async (): Promise<void> => await proxy[Symbol.asyncDispose]();
  return {
    proxy: () => proxy,
    down,
    up: async () => {
      proxy = await startFaultProxy(target, { host, port });
    },
    // One that is down is closed already.
    [Symbol.asyncDispose]: () => down().catch(() => undefined),
  };
}

function mailboxesOf(push: Dovecot, polled: Dovecot): readonly Mailbox[] {
  const one = (name: string, kind: Mailbox['kind'], user: string, folder = 'INBOX'): Mailbox => ({
    ...{ name, kind, user, folder },
  });
  return [
    ...Array.from({ length: pushMailboxes }, (_, index) => one(`push-${index + 1}`, 'push', push.newUser())),
    one('own-push', 'push', 'own-push@example.test'),
    one('folder', 'push', push.newUser(), 'Tickets'),
    ...[1, 2].map((index) => one(`polled-${index}`, 'polled', polled.newUser())),
    one('own-polled', 'polled', 'own-polled@example.test'),
    one('pinned', 'polled', polled.newUser()),
  ];
}

/** The port of its health endpoints. It is installed, and does not run yet. */
async function installService(machine: Machine, databaseUrl: string): Promise<number> {
  const [httpPort, pagePort] = [await freePort(), await freePort()];
  await machine.get(`mkdir -p ${dataDir} && mount -t tmpfs -o size=${dataMb}m,mode=700 data ${dataDir}`);
  await machine.get(`printf '127.0.0.1 ${mailHost}\\n' >>/etc/hosts`);
  // No question about a name leaves the machine.
  await machine.get(
    "rm -f /etc/resolv.conf && printf 'nameserver 127.0.0.1\\noptions attempts:1\\n' >/etc/resolv.conf",
  );
  await machine.get(`${install} --no-start`);
  await machine.run(`cat >>${configuration}`, { input: settings(databaseUrl, httpPort, pagePort) });
  await machine.get(socketAddress('ticketmaild-health', `127.0.0.1:${httpPort}`));
  await machine.get(socketAddress('ticketmaild-page', `127.0.0.1:${pagePort}`));
  return httpPort;
}

function settings(databaseUrl: string, httpPort: number, pagePort: number): string {
  return `
[database]
url = "${databaseUrl}"
[http]
listen = "127.0.0.1:${httpPort}"
[admin]
listen = "127.0.0.1:${pagePort}"
[limits]
sender_limit_per_hour = 0
`;
}

/** Rows as a helpdesk would write them, sealed by `encryption enable`. */
async function fill(stand: Omit<Stand, typeof Symbol.asyncDispose>): Promise<void> {
  const { push, polled, pushLink, polledLink, mariadb, database, mailboxes, command } = stand;
  for (const { name, kind, user, folder } of mailboxes) {
    const server = kind === 'push' ? push : polled;
    if (name.startsWith('own-')) await server.setPassword(user, 'pw');
    await server.append(user, folder, []);
  }
  await command('migrate');
  const rows = mailboxes.map(({ name, kind, user, folder }) => {
    const [host, link, server] = kind === 'push' ? [mailHost, pushLink, push] : ['localhost', polledLink, polled];
    const fingerprint = name === 'pinned' ? `'${server.fingerprint.replaceAll(':', '').toLowerCase()}'` : 'NULL';
    const ca = name === 'pinned' ? 'NULL' : `'${server.caPem}'`;
    const port = link.proxy().port;
    const intervalMs = kind === 'polled' ? pollIntervalS * 1_000 : 'NULL';
    return `('${name}', '${host}', ${port}, ${ca}, ${fingerprint}, '${user}', '${folder}', 'pw', 'all', ${intervalMs})`;
  });
  const columns = 'name, host, port, ca_pem, fingerprint, username, folder, password, since_kind, poll_interval_ms';
  await mariadb.query(`USE ${database}; INSERT INTO mailboxes (${columns}) VALUES ${rows.join(',')};`);
  await command('encryption enable --accept-key-loss --backup-prepared');
}

async function untilPolled({ machine, mailboxes, mariadb, database }: Omit<Stand, typeof Symbol.asyncDispose>) {
  const polled = `SELECT COUNT(*) FROM ${database}.mailbox_state WHERE last_success_at IS NOT NULL`;
  for (const endMs = performance.now() + 60_000; performance.now() < endMs; ) {
    if (Number(await mariadb.query(polled)) === mailboxes.length) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`not every mailbox was polled:\n${await machine.get('journalctl -u ticketmaild -n 20 -o cat')}`);
}
