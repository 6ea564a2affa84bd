/** GNU Mailutils imap4d in a layer of Debian 12, with Maildir and a file of users with crypt(3) hashes. */
import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../../temporary.ts';
import { readCertificates } from '../authority.ts';
import { packageLayer } from '../layers/layer.ts';
import { makeMaildir } from '../maildir.ts';
import { freePort, runProgram, untilGreets } from '../programs.ts';
import { certificatesTemplate } from '../templates.ts';
import type { ImapServer, Users } from './imap-server.ts';

const owner = 65_534;
const startTimeoutMs = 30_000;

export async function startImap4d(users: Users): Promise<ImapServer> {
  const layer = await packageLayer('debian-12', ['mailutils-imap4d']);
  const certificate = await readCertificates(await certificatesTemplate());
  await using building = new AsyncDisposableStack();
  const { path: folder } = building.use(await temporaryFolder('imap4d'));
  const [port, tlsPort] = [await freePort(), await freePort()];
  await chmod(folder, 0o755);
  await writeUsers(folder, users);
  await copyFile(certificate.certificateFile, join(folder, 'server.pem'));
  await copyFile(certificate.keyFile, join(folder, 'server.key'));
  await copyFile(certificate.caFile, join(folder, 'ca.pem'));
  await chmod(join(folder, 'server.key'), 0o600);
  await writeFile(join(folder, 'imap4d.conf'), settings(folder, port, tlsPort));
  const server = layer.start(folder, 'imap4d', [`--config-file=${join(folder, 'imap4d.conf')}`]);
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

/** A file of passwd(5) for each domain. */
async function writeUsers(folder: string, users: Users): Promise<void> {
  await mkdir(join(folder, 'passwd'));
  const input = [...users.values()].map((password) => `${password}\n`).join('');
  const hashes = (await runProgram('openssl', ['passwd', '-6', '-stdin'], { input })).trimEnd().split('\n');
  const rows = new Map<string, string[]>();
  for (const [index, user] of [...users.keys()].entries()) {
    const [name = '', domain = ''] = user.split('@');
    const home = join(folder, 'home', name);
    // APPEND makes no INBOX.
    makeMaildir(join(home, 'INBOX'), { uid: owner, gid: owner });
    rows.set(domain, [...(rows.get(domain) ?? []), `${name}:${hashes[index]}:${owner}:${owner}::${home}:/bin/sh\n`]);
  }
  await runProgram('chown', ['-R', `${owner}:${owner}`, join(folder, 'home')]);
  for (const [domain, lines] of rows) await writeFile(join(folder, 'passwd', domain), lines.join(''));
}

function settings(folder: string, port: number, tlsPort: number): string {
  return `mode daemon;
foreground yes;
pidfile "${folder}/pid";
logging { syslog no; severity info; };
virtdomain { passwd-dir "${folder}/passwd"; };
auth { authentication "generic:virtdomain"; authorization "virtdomain"; };
gsasl { enable no; };
tcp-wrappers { enable no; };
mailbox { mail-spool "maildir:${folder}/home/\${user}/INBOX"; mailbox-type maildir; };
namespace personal { prefix "" { directory "$HOME/Mail"; delimiter "/"; mailbox-type maildir; }; };
max-children 200;
tls { ssl-certificate-file "${folder}/server.pem"; ssl-key-file "${folder}/server.key"; ssl-ca-file "${folder}/ca.pem"; };
server 127.0.0.1:${port} { tls-mode ondemand; };
server 127.0.0.1:${tlsPort} { tls-mode connection; };
`;
}
