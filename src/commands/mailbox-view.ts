/**
 * Mailboxes as they are shown: never the password, nor how long it is.
 */
import type { AfterAction, Mailbox, MailboxHealth } from '../ingest/mailbox.ts';
import { isoTime } from './times.ts';

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
    from: mailbox.start.from === 'all' ? 'all' : isoTime(mailbox.start.atMs),
    after: afterText(mailbox.after),
    interval_s: mailbox.pollIntervalMs === null ? null : mailbox.pollIntervalMs / 1000,
    next_poll_at: isoTime(health.nextPollAtMs),
    failures: health.failures,
    last_success_at: isoTime(health.lastSuccessAtMs),
    last_error: errorJson(health.lastError),
    cursor: health.cursor === null ? null : { uid_validity: health.cursor.uidValidity, uid: health.cursor.uid },
  };
}

function errorJson(error: MailboxHealth['lastError']): Record<string, unknown> | null {
  if (error === null) return null;
  return { code: error.code, message: error.message, hint: error.hint, at: isoTime(error.atMs) };
}

/** As the option `--after` is written. */
export function afterText(after: AfterAction): string {
  return after.kind === 'move' ? `move:${after.folder}` : after.kind;
}

/** How the mailbox fares, in a word or two. */
export function stateText(mailbox: Listed): string {
  if (mailbox.state === 'paused') return 'paused';
  if (mailbox.health.failures > 0) return `failing (${mailbox.health.failures})`;
  return mailbox.health.lastSuccessAtMs === null ? 'new' : 'ok';
}

/** Where it is, as one text: `user at host:port, folder`. */
export function placeText({ connection }: Pick<Mailbox, 'connection'>): string {
  const host = connection.host.includes(':') ? `[${connection.host}]` : connection.host;
  return `${connection.user} at ${host}:${connection.port}, ${connection.folder}`;
}
