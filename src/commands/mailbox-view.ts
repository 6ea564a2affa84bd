/**
 * Mailboxes as they are shown: never the password, nor how long it is.
 */

import { domainToASCII } from 'node:url';
import { uidValidityOf } from '../ingest/folder-epoch.ts';
import type { Connection, Mailbox, MailboxHealth } from '../ingest/model.ts';
import { isoTime } from '../text/time.ts';
import { afterText } from './mailbox-options.ts';

/** As many as a key id has: nobody makes a certificate that begins alike. */
const shownPinDigits = 16;

type Listed = Mailbox & { readonly health: MailboxHealth };

/** The object that `--json` prints. Times are ISO 8601 in UTC. */
export function mailboxJson(mailbox: Listed): Record<string, unknown> {
  const { connection, health } = mailbox;
  return {
    id: mailbox.id,
    name: mailbox.name,
    state: mailbox.state,
    host: connection.host,
    port: connection.port,
    tls: connection.tls,
    ca_pem: connection.caPem,
    fingerprint: connection.fingerprint,
    allow_plaintext: connection.allowPlaintext,
    user: connection.user,
    folder: connection.folder,
    addresses: mailbox.addresses,
    from: mailbox.start.from === 'all' ? 'all' : isoTime(mailbox.start.atMs),
    after: afterText(mailbox.after),
    password_form: health.password.form,
    password_key_id: health.password.keyId,
    interval_s: mailbox.pollIntervalMs === null ? null : mailbox.pollIntervalMs / 1000,
    next_poll_at: isoTime(health.nextPollAtMs),
    failures: health.failures,
    login_refusals: health.loginRefusals,
    last_success_at: isoTime(health.lastSuccessAtMs),
    last_error: errorJson(health.lastError),
    cursor:
      health.cursor === null
        ? null
        : { uid_validity: uidValidityOf(health.cursor.uidValidity), uid: health.cursor.uid },
  };
}

function errorJson(error: MailboxHealth['lastError']): Record<string, unknown> | null {
  if (error === null) return null;
  return { code: error.code, message: error.message, hint: error.hint, at: isoTime(error.atMs) };
}

/** How the mailbox fares, in a word or two. */
export function stateText(mailbox: Listed): string {
  if (mailbox.state !== 'active') return mailbox.state;
  if (mailbox.health.failures > 0) return `failing (${mailbox.health.failures})`;
  return mailbox.health.lastSuccessAtMs === null ? 'new' : 'ok';
}

/** Where it is, as one text: `user at host:port, folder`. */
export function placeText({ connection }: Pick<Mailbox, 'connection'>): string {
  return `${connection.user} at ${hostText(connection.host)}:${connection.port}, ${connection.folder}`;
}

/**
 * The server that gets the password, as one text that no user or host name can make look like another:
 * `user at host:port (TLS implicit, certificate pinned sha256 0123456789abcdef…, own CA)`.
 */
export function serverText({ connection }: Pick<Mailbox, 'connection'>): string {
  const { user, host, port } = connection;
  return `${unmistakable(user)} at ${hostText(asciiHost(host))}:${port} (${trustText(connection)})`;
}

function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** As the name is looked up (RFC 5891): letters of another script may look like those that are meant. */
function asciiHost(host: string): string {
  if (/^[!-~]+$/.test(host)) return unmistakable(host);
  const ascii = domainToASCII(host);
  return ascii === '' ? JSON.stringify(host) : ascii;
}

/** In quotation marks when it could be taken for more than one word of the line. */
function unmistakable(word: string): string {
  return /[\s()"\p{C}]/u.test(word) ? JSON.stringify(word) : word;
}

function trustText({ tls, fingerprint, caPem }: Connection): string {
  const parts = [
    tls === 'none' ? 'no TLS' : `TLS ${tls}`,
    fingerprint !== null && `certificate pinned sha256 ${fingerprint.slice(0, shownPinDigits)}…`,
    caPem !== null && 'own CA',
  ];
  return parts.filter((part) => part !== false).join(', ');
}
