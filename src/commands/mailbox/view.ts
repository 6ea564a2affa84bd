/**
 * `mailbox list` and `mailbox show`: settings and health, from the database alone.
 *
 * They never print a password or its length.
 */

import { domainToASCII } from 'node:url';
import type { App } from '../../compose/compose.ts';
import { workerLiveMs } from '../../encryption/operations/operation.ts';
import { Failure } from '../../errors.ts';
import { uidValidityOf } from '../../ingest/folder-epoch.ts';
import type { Connection, Mailbox, MailboxHealth } from '../../ingest/model.ts';
import { isoTime, shortTime } from '../../text/time.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { postActionText } from './options.ts';

/** As many as a key id has: no other certificate with the same beginning can be made. */
const shownPinDigits = 16;

type MailboxWithHealth = Mailbox & { readonly health: MailboxHealth };

/** The object that `--json` prints. Times are ISO 8601 in UTC. */
export function mailboxJson(mailbox: MailboxWithHealth): Record<string, unknown> {
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
    since: mailbox.start.from === 'all' ? 'all' : isoTime(mailbox.start.atMs),
    on_success: postActionText(mailbox.postAction),
    password_form: health.password.form,
    password_key_id: health.password.keyId,
    interval_s: mailbox.pollIntervalMs === null ? null : mailbox.pollIntervalMs / 1000,
    next_poll_at: isoTime(health.nextPollAtMs),
    failures: health.failures,
    login_failures: health.loginFailures,
    last_success_at: isoTime(health.lastSuccessAtMs),
    last_error: errorJson(health.lastError),
    cursor:
      health.cursor === null
        ? null
        : { uid_validity: uidValidityOf(health.cursor.folderEpoch), uid: health.cursor.uid },
  };
}

function errorJson(error: MailboxHealth['lastError']): Record<string, unknown> | null {
  if (error === null) return null;
  return { code: error.code, message: error.message, hint: error.hint, at: isoTime(error.atMs) };
}

/** One or two words on the health of the mailbox. */
export function stateText(mailbox: MailboxWithHealth): string {
  if (mailbox.state !== 'active') return mailbox.state;
  if (mailbox.health.failures > 0) return `failing (${mailbox.health.failures})`;
  return mailbox.health.lastSuccessAtMs === null ? 'new' : 'ok';
}

/** `user at host:port, folder`. */
export function locationText({ connection }: Pick<Mailbox, 'connection'>): string {
  return `${connection.user} at ${hostText(connection.host)}:${connection.port}, ${connection.folder}`;
}

/**
 * The server that gets the password, in a form that no user or host name can forge:
 * `user at host:port (TLS implicit, certificate pinned sha256 0123456789abcdef…, own CA)`.
 */
export function serverText({ connection }: Pick<Mailbox, 'connection'>): string {
  const { user, host, port } = connection;
  return `${quotedIfAmbiguous(user)} at ${hostText(asciiHost(host))}:${port} (${trustText(connection)})`;
}

function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** ASCII form for the DNS (RFC 5891): letters of another script may look the same. */
function asciiHost(host: string): string {
  if (/^[!-~]+$/.test(host)) return quotedIfAmbiguous(host);
  const ascii = domainToASCII(host);
  return ascii === '' ? JSON.stringify(host) : ascii;
}

/** In quotation marks if it could be read as more than one word. */
function quotedIfAmbiguous(word: string): string {
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

const columns = [
  { title: 'NAME', shrinks: true },
  { title: 'STATE' },
  { title: 'LAST SUCCESS (UTC)' },
  { title: 'PROBLEM' },
  { title: 'WHERE', shrinks: true },
];

export async function listMailboxes(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mailboxes = await app.store.listMailboxes();
    const keyIds = await availableKeys(app);
    if (options.json === true) for (const mailbox of mailboxes) await terminal.json(mailboxJson(mailbox));
    else if (mailboxes.length === 0) terminal.note('There is no mailbox yet: add one with ticketmaild mailbox add.');
    else
      await terminal.table(
        columns,
        mailboxes.map((mailbox) => tableRow(mailbox, keyIds)),
      );
    return 0;
  });
}

/** Ids of keys that this process or a running worker has. */
async function availableKeys({ vault, store }: App): Promise<ReadonlySet<string>> {
  await vault.refresh();
  const workers = (await store.listWorkers(workerLiveMs)).filter(({ live }) => live);
  return new Set([...vault.keys().map(({ id }) => id), ...workers.flatMap(({ keyIds }) => keyIds)]);
}

function tableRow(mailbox: MailboxWithHealth, availableIds: ReadonlySet<string>): readonly string[] {
  const { health } = mailbox;
  const { form, keyId } = health.password;
  const waits = form === 'sealed' && keyId !== null && !availableIds.has(keyId);
  const failure = health.lastError === null || health.failures === 0 ? '' : health.lastError.code;
  const problem = waits ? 'waits for its key' : failure;
  return [mailbox.name, stateText(mailbox), shortTime(health.lastSuccessAtMs), problem, locationText(mailbox)];
}

/** Throws `not_found`. */
export async function showMailbox(options: CommonOptions & { name: string }, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mailboxes = await app.store.listMailboxes();
    const mailbox = mailboxes.find(({ name }) => name === options.name);
    if (mailbox === undefined)
      throw new Failure('not_found', `there is no mailbox named ${JSON.stringify(options.name)}`);
    if (options.json === true) await terminal.json(mailboxJson(mailbox));
    else for (const line of detailLines(mailbox)) await terminal.line(line);
    return 0;
  });
}

function detailLines(mailbox: MailboxWithHealth): readonly string[] {
  const { ca_pem: ca, last_error: _, cursor: __, ...values } = mailboxJson(mailbox);
  const { cursor, lastError } = mailbox.health;
  const extra: Record<string, unknown> = {
    ca_file: ca === null ? null : 'stored',
    cursor: cursor === null ? null : `UID ${cursor.uid} in UIDVALIDITY ${uidValidityOf(cursor.folderEpoch)}`,
    last_error: lastError === null ? null : `${lastError.code} at ${shortTime(lastError.atMs)}: ${lastError.message}`,
    hint: lastError?.hint ?? null,
  };
  return Object.entries({ ...values, ...extra })
    .filter(([, value]) => value !== null)
    .map(([key, value]) => `${key.replaceAll('_', ' ').padEnd(16)} ${value}`);
}
