/**
 * Dovecot 2.4 in a layer of Debian 13, whose configuration language is another than that of 2.3 (dovecot-settings.ts).
 */
import { chmod, chown, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../../temporary.ts';
import { readCertificates } from '../authority.ts';
import { packageLayer } from '../layers/layer.ts';
import { freePort, untilGreets } from '../programs.ts';
import { certificatesTemplate } from '../templates.ts';
import { dovecotUsers } from './dovecot-23.ts';
import type { ImapServer, Users } from './imap-server.ts';

const owner = 65_534;
const startTimeoutMs = 30_000;

export async function startDovecot24(users: Users): Promise<ImapServer> {
  const layer = await packageLayer('debian-13', ['dovecot-imapd']);
  const certificate = await readCertificates(await certificatesTemplate());
  await using building = new AsyncDisposableStack();
  const { path: folder } = building.use(await temporaryFolder('dovecot-24'));
  const [port, tlsPort] = [await freePort(), await freePort()];
  await chmod(folder, 0o755);
  await mkdir(join(folder, 'mail'));
  await chown(join(folder, 'mail'), owner, owner);
  await copyFile(certificate.certificateFile, join(folder, 'server.pem'));
  await copyFile(certificate.keyFile, join(folder, 'server.key'));
  await writeFile(join(folder, 'users'), dovecotUsers(users), { mode: 0o644 });
  await writeFile(join(folder, 'dovecot.conf'), settings(folder, port, tlsPort));
  const server = layer.start(folder, 'dovecot', ['-F', '-c', join(folder, 'dovecot.conf')]);
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

function settings(folder: string, port: number, tlsPort: number): string {
  return `dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
base_dir = ${folder}/run
state_dir = ${folder}/state
log_path = ${folder}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_server_cert_file = ${folder}/server.pem
ssl_server_key_file = ${folder}/server.key
auth_mechanisms = plain login
auth_allow_cleartext = yes
auth_failure_delay = 0
auth_username_chars =
first_valid_uid = 1
last_valid_uid = 0
mail_driver = maildir
mail_path = ~/mail
mail_max_userip_connections = 200
maildir_very_dirty_syncs = no
namespace inbox {
  inbox = yes
  separator = /
}
passdb passwd-file {
  passwd_file_path = ${folder}/users
}
userdb static {
  fields {
    uid = ${owner}
    gid = ${owner}
    home = ${folder}/mail/%{user}
  }
}
service imap-login {
  chroot =
  service_restart_request_count = unlimited
  inet_listener imap {
    port = ${port}
  }
  inet_listener imaps {
    port = ${tlsPort}
    ssl = yes
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
`;
}
