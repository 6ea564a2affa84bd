/**
 * Courier IMAP in a layer of Debian 12: Maildir++, all folders below INBOX. Passwords are checked in this process
 * (authdaemond).
 */
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../../temporary.ts';
import { readCertificates } from '../authority.ts';
import { packageLayer } from '../layers/layer.ts';
import { makeMaildir } from '../maildir.ts';
import { freePort, untilGreets } from '../programs.ts';
import { certificatesTemplate } from '../templates.ts';
import type { ImapServer, Users } from './imap-server.ts';
import { listenAsAuthdaemond } from './password-socket.ts';

const owner = 65_534;
const startTimeoutMs = 30_000;

export async function startCourier(users: Users): Promise<ImapServer> {
  const layer = await packageLayer('debian-12', ['courier-imap']);
  const certificate = await readCertificates(await certificatesTemplate());
  await using building = new AsyncDisposableStack();
  const { path: folder } = building.use(await temporaryFolder('courier'));
  const [port, tlsPort] = [await freePort(), await freePort()];
  await chmod(folder, 0o755);
  const home = (user: string): string => join(folder, 'mail', user);
  for (const user of users.keys()) makeMaildir(join(home(user), 'Maildir'), { uid: owner, gid: owner });
  const identity = [await readFile(certificate.keyFile), await readFile(certificate.certificateFile)];
  await writeFile(join(folder, 'imapd.pem'), Buffer.concat(identity), { mode: 0o644 });
  await writeFile(join(folder, 'start.sh'), startScript(folder, port, tlsPort));
  building.use(await listenAsAuthdaemond(join(folder, 'auth'), users, { uid: owner, gid: owner, home }));
  const server = layer.start(folder, 'bash', ['-e', join(folder, 'start.sh')]);
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
    ...{ prefix: 'INBOX.', isShared: false, [Symbol.asyncDispose]: () => undo.disposeAsync() },
  };
}

/** The socket of the password check is at a path that is compiled in. */
function startScript(folder: string, port: number, tlsPort: number): string {
  const usual = '-maxprocs=200 -maxperip=200 -nodnslookup -noidentlookup';
  const session = '/usr/lib/courier/courier/imaplogin /usr/bin/imapd Maildir';
  return `set -a
mkdir -p /run/courier/authdaemon
ln -s ${folder}/auth /run/courier/authdaemon/socket
. /etc/courier/imapd
. /etc/courier/imapd-ssl
IMAP_CAPABILITY='IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE AUTH=PLAIN'
IMAP_CAPABILITY_TLS=$IMAP_CAPABILITY
TLS_PROTOCOL= TLS_CERTFILE=${folder}/imapd.pem TLS_CACHEFILE= TLS_DHPARAMS= TLS_TRUSTCERTS= IMAP_TLS_REQUIRED=0
IMAP_EMPTYTRASH= IMAP_STARTTLS=YES
cd /
/usr/sbin/couriertcpd -address=127.0.0.1 ${usual} ${port} ${session} &
IMAP_TLS=1 IMAP_STARTTLS=NO
/usr/sbin/couriertcpd -address=127.0.0.1 ${usual} ${tlsPort} /usr/bin/couriertls -server -tcpd ${session} &
wait
`;
}
