/**
 * Cyrus IMAP in a layer of Debian 12: virtual domains, folders beside INBOX, a mailbox for each user at the first
 * login. Passwords are checked in this process (saslauthd).
 */
import { chmod, chown, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../../temporary.ts';
import { readCertificates } from '../authority.ts';
import { packageLayer } from '../layers/layer.ts';
import { freePort, untilGreets } from '../programs.ts';
import { certificatesTemplate } from '../templates.ts';
import type { ImapServer, Users } from './imap-server.ts';
import { listenAsSaslauthd } from './password-socket.ts';

const programs = '/usr/lib/cyrus/bin';
const startTimeoutMs = 30_000;
/** An unprivileged user: Cyrus refuses to be root. */
const owner = 65_534;

export async function startCyrus(users: Users): Promise<ImapServer> {
  const layer = await packageLayer('debian-12', ['cyrus-imapd']);
  const certificate = await readCertificates(await certificatesTemplate());
  await using building = new AsyncDisposableStack();
  const { path: folder } = building.use(await temporaryFolder('cyrus'));
  const [port, tlsPort] = [await freePort(), await freePort()];
  for (const name of ['conf', 'conf/socket', 'conf/proc', 'conf/db', 'conf/log', 'conf/lock', 'spool', 'run'])
    await mkdir(join(folder, name));
  await copyFile(certificate.certificateFile, join(folder, 'server.pem'));
  await copyFile(certificate.keyFile, join(folder, 'server.key'));
  await writeFile(join(folder, 'imapd.conf'), imapdSettings(folder));
  await writeFile(join(folder, 'cyrus.conf'), serviceSettings(folder, port, tlsPort));
  await giveAway(folder);
  building.use(await listenAsSaslauthd(join(folder, 'run/mux'), users));
  const asOwner = ['--reuid', `${owner}`, '--regid', `${owner}`, '--clear-groups', '--'];
  const files = ['-C', join(folder, 'imapd.conf'), '-M', join(folder, 'cyrus.conf'), '-p', join(folder, 'run/pid')];
  const server = layer.start(folder, 'setpriv', [...asOwner, join(programs, 'master'), '-D', ...files]);
  building.defer(async () => {
    server.killAll();
    await server.exit;
  });
  await untilGreets(server, port, startTimeoutMs, () => server.output());
  const undo = building.move();
  return {
    ...{
      version: layer.version,
      host: 'localhost',
      port,
      tlsPort,
      caPem: certificate.caPem,
      caFile: certificate.caFile,
    },
    ...{ prefix: '', isShared: false, [Symbol.asyncDispose]: () => undo.disposeAsync() },
  };
}

async function giveAway(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const name of ['', 'conf', 'conf/socket', 'conf/proc', 'conf/db', 'conf/log', 'conf/lock', 'spool', 'run'])
    await chown(join(folder, name), owner, owner);
  await chown(join(folder, 'server.key'), owner, owner);
}

function imapdSettings(folder: string): string {
  return `configdirectory: ${folder}/conf
defaultpartition: default
partition-default: ${folder}/spool
proc_path: ${folder}/conf/proc
mboxname_lockpath: ${folder}/conf/lock
cyrus_user: nobody
admins: cyrus
servername: localhost
virtdomains: userid
defaultdomain: localhost
unixhierarchysep: yes
altnamespace: yes
hashimapspool: yes
fulldirhash: yes
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: ${folder}/run/mux
sasl_mech_list: PLAIN LOGIN
allowplaintext: yes
autocreate_post: yes
autocreate_quota: 0
tls_server_cert: ${folder}/server.pem
tls_server_key: ${folder}/server.key
tls_session_timeout: 0
conversations: no
idlesocket: ${folder}/conf/socket/idle
imapidlepoll: 1
`;
}

function serviceSettings(folder: string, port: number, tlsPort: number): string {
  const configured = `-C ${folder}/imapd.conf`;
  return `START {
  recover cmd="${programs}/ctl_cyrusdb ${configured} -r"
}
SERVICES {
  imap cmd="${programs}/imapd ${configured} -U 200" listen="127.0.0.1:${port}" prefork=1 maxchild=200
  imaps cmd="${programs}/imapd ${configured} -s -U 200" listen="127.0.0.1:${tlsPort}" prefork=1 maxchild=200
}
DAEMON {
  idled cmd="${programs}/idled ${configured}"
}
EVENTS {
}
`;
}
