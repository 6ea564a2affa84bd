/**
 * The configuration file of the test Dovecot.
 *
 * Any user name is good with password `pw`, but for the special user, who has a password full of characters that
 * have to be quoted, and those whose names begin with `own-`, who have what is set for each. Nothing in it slows a
 * test down: no delay after a refused login, no penalty for the next ones, no limit that a test with many connections
 * would meet. Run as root, mail belongs to an unprivileged user.
 */
import { execFileSync } from 'node:child_process';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { ServerCertificate } from './authority.ts';

export const password = 'pw';

export const specialUser = { name: 'special', password: 'p"w \\ü€{3}' } as const;

/** Who owns the message: Dovecot refuses to read mail as root. */
export function mailOwner(): { readonly uid: number; readonly gid: number } {
  const { uid, gid } = userInfo();
  return uid === 0 ? { uid: 65_534, gid: 65_534 } : { uid, gid };
}

export type DovecotLayout = {
  readonly folder: string;
  readonly port: number;
  readonly tlsPort: number;
  readonly certificate: ServerCertificate;
  /** Lines to add at the end, which win over the ones before. */
  readonly more: string;
  /** A file with `password=` and the password of every user; null: it is `pw`. */
  readonly passwordFile: string | null;
  /** Takes OAuth tokens too (`dovecot-oauth.ts`). */
  readonly takesTokens: boolean;
};

const connectionsMax = 2_000;

/** The content of the file of users with their own password. */
export function passwordFile(): string {
  return `${specialUser.name}:{PLAIN}${specialUser.password}::::::\n`;
}

export function dovecotSettings(layout: DovecotLayout): string {
  return [general(layout), users(layout), tokenUsers(layout), services(layout), layout.more, ''].join('\n');
}

function general({ folder, certificate, takesTokens }: DovecotLayout): string {
  return `
base_dir = ${join(folder, 'run')}
state_dir = ${join(folder, 'state')}
log_path = ${join(folder, 'log')}
${internalUsers()}
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <${certificate.certificateFile}
ssl_key = <${certificate.keyFile}
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = no
auth_mechanisms = plain login${takesTokens ? ' xoauth2 oauthbearer' : ''}
auth_failure_delay = 0
auth_username_chars =
first_valid_uid = 1
last_valid_uid = 0
mail_location = maildir:~/mail:LAYOUT=fs:UTF-8
mailbox_list_index = no
mail_max_userip_connections = ${connectionsMax}
mail_fsync = never
default_process_limit = ${connectionsMax}
default_client_limit = ${connectionsMax * 4}
default_vsz_limit = 512M
namespace inbox {
  inbox = yes
  separator = /
  mailbox Sent {
    auto = subscribe
    special_use = \\Sent
  }
  mailbox Trash {
    auto = subscribe
    special_use = \\Trash
  }
}`;
}

function internalUsers(): string {
  const { uid, username } = userInfo();
  if (uid === 0) return 'default_internal_user = dovecot\ndefault_login_user = dovenull';
  const group = execFileSync('id', ['-gn'], { encoding: 'utf8' }).trim();
  return `default_internal_user = ${username}\ndefault_internal_group = ${group}\ndefault_login_user = ${username}`;
}

function users({ folder, passwordFile: file, takesTokens }: DovecotLayout): string {
  const { uid, gid } = mailOwner();
  const onlyPasswords = takesTokens ? '\n  mechanisms = plain login' : '';
  const passwordOfAll = file === null ? `password=${password}` : `<${file}`;
  return `
passdb {
  driver = passwd-file${onlyPasswords}
  args = scheme=PLAIN username_format=%u ${join(folder, 'users')}
}
passdb {
  driver = static${onlyPasswords}
  args = ${passwordOfAll}
  username_filter = * !${specialUser.name} !own-*
}
userdb {
  driver = static
  args = uid=${uid} gid=${gid} home=${join(folder, 'mail')}/%u${takesTokens ? ' allow_all_users=yes' : ''}
}`;
}

/** A token of an application opens every mailbox but those whose name begins with `private`. */
function tokenUsers({ folder, takesTokens }: DovecotLayout): string {
  if (!takesTokens) return '';
  return `
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = ${join(folder, 'oauth-person.conf')}
}
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  username_filter = !private*
  args = ${join(folder, 'oauth-application.conf')}
}`;
}

function services({ port, tlsPort }: DovecotLayout): string {
  return `
service imap-login {
  chroot =
  service_count = 0
  process_min_avail = 1
  process_limit = 2
  client_limit = ${connectionsMax * 2}
  inet_listener imap {
    port = ${port}
  }
  inet_listener imaps {
    port = ${tlsPort}
    ssl = yes
  }
}
service imap {
  process_limit = ${connectionsMax}
  service_count = 200
}
service anvil {
  chroot =
  client_limit = ${connectionsMax * 2 + 200}
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  client_limit = ${connectionsMax * 3}
}
service stats {
  chroot =
  client_limit = ${connectionsMax * 2 + 200}
}`;
}
