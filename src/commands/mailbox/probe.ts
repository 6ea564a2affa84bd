/**
 * Mailbox probe for commands: logs in and opens the folder read-only, and shows each stage on the terminal.
 */

import { probeNotes } from '../../admin/mailboxes/post-actions.ts';
import type { App } from '../../compose/compose.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { Connection, Mailbox, PostAction } from '../../ingest/model.ts';
import type { Credential, ProbeReport } from '../../ingest/ports.ts';
import { beforeStored, namesMailbox } from '../../text/hints.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { isoTime } from '../../text/time.ts';
import { countText } from '../../text/units.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { printResult } from '../output.ts';

type ProbeSubject = { readonly name: string | null; readonly loginHint?: string | null };

/**
 * Throws the failures of `Sessions.probe`, with the server and the folder in their messages. `name`: of the stored
 * mailbox, for the commands in hints; null: not stored yet. `loginHint` replaces the hint of `login_refused`, where it
 * is about a password, and has a command.
 */
export async function probeMailbox(
  app: Pick<App, 'sessions'>,
  connection: Connection,
  credential: Credential,
  { terminal }: Pick<Context, 'terminal'>,
  { name, loginHint = null }: ProbeSubject,
): Promise<ProbeReport> {
  try {
    return await app.sessions.probe(connection, credential, (stage) => terminal.stage(`probing: ${stage} …`));
  } catch (error) {
    if (!isFailure(error)) throw error;
    // The stage would be on the same line.
    terminal.stage('');
    for (const line of certificateLines(error)) terminal.note(line);
    throw withLocation(error, connection, { name, loginHint });
  } finally {
    terminal.stage('');
  }
}

/** Names server and folder. A missing folder is mostly misspelt, so its hint lists the existing folders. */
function withLocation(
  failure: Failure,
  { host, port, folder }: Connection,
  { name, loginHint }: ProbeSubject,
): Failure {
  const { code, fields, cause } = failure;
  const location = code === 'folder_missing' ? `${host}:${port}, folder ${JSON.stringify(folder)}` : `${host}:${port}`;
  const folders = code === 'folder_missing' && typeof fields.folders === 'string' ? fields.folders : null;
  const pinned = code === 'tls_pin_mismatch' && typeof fields.shown === 'string' ? fields.shown : null;
  const isPassword = code === 'login_refused' && fields['credential'] !== 'token' && namesMailbox(failure.hint);
  const fingerprint = pinned ?? pinnable(failure);
  const special = isPassword ? loginHint : fingerprint === null ? null : pinHint(name, fingerprint);
  const usualHint = special ?? (name === null ? beforeStored(failure.hint) : failure.hint);
  const hint = folders === null ? usualHint : foldersHint(folders, Number(fields['left_out'] ?? 0));
  const shown = pinned === null ? '' : ` It shows ${pinned}.`;
  return new Failure(code, `${location}: ${failure.message}${shown}`, { fields, cause, hint });
}

function foldersHint(folders: string, leftOut: number): string {
  const names = folders === '' ? [] : folders.split(', ').map(quotedIfBlank);
  const list = `Existing folders: ${names.join(', ')}`;
  return leftOut === 0 ? list : `${list} (not shown: ${leftOutText(leftOut)})`;
}

function leftOutText(leftOut: number): string {
  return `${countText(leftOut, 'name')} with the password or token in it`;
}

/** As an argument is typed, and apart from the words of this program. */
function quotedIfBlank(name: string): string {
  return /\s/.test(name) ? JSON.stringify(name) : name;
}

/** Lines on the certificate of a refused handshake: words of the server, printable and bounded by the probe. */
function certificateLines({ fields }: Failure): readonly string[] {
  const { subject, issuer, valid_from: from, valid_until: until, fingerprint } = fields;
  if (typeof fingerprint !== 'string') return [];
  return [
    'The server shows this certificate:',
    `  subject  ${subject ?? ''}`,
    `  issuer   ${issuer ?? ''}`,
    `  valid    from ${day(from)} until ${day(until)}`,
    `  SHA-256  ${fingerprint}`,
  ];
}

function day(time: unknown): string {
  return typeof time === 'string' && time !== '' ? time.slice(0, 10) : 'unknown';
}

/** The fingerprint of a certificate that a pin would accept; null: none was shown, or it has expired. */
function pinnable({ code, fields }: Failure): string | null {
  const { fingerprint } = fields;
  if (code !== 'tls_untrusted' && code !== 'tls_name_mismatch') return null;
  return typeof fingerprint === 'string' && /^[0-9a-f]{64}$/.test(fingerprint) ? fingerprint : null;
}

/** `mailbox set` keeps the cursor, so no waiting message is skipped. */
function pinHint(name: string | null, fingerprint: string): string {
  const check = 'Compare the fingerprint with the operator of the mail server, not over this connection';
  if (name === null)
    return `${check}. Only if it is the same, repeat the command with --fingerprint ${fingerprint}, or name its authority with --ca-file.`;
  return `${check}; only if it is the same: ${commandOrNotice(shellCommand(`mailbox set --fingerprint ${fingerprint}`, name))}`;
}

/** One phrase about the certificate. */
export function certificateText({ certificate }: ProbeReport): string {
  if (certificate === null) return 'no TLS';
  return `certificate valid until ${isoTime(certificate.validUntilMs)?.slice(0, 10)}`;
}

/** `3 messages there; certificate valid until 2026-01-31`. */
export function probedText(report: ProbeReport): string {
  return `${countText(report.folder.messageCount, 'message')} there; ${certificateText(report)}`;
}

/** The object that `mailbox test --json` prints. */
export function probeJson(name: string, report: ProbeReport): Record<string, unknown> {
  const { certificate, folder } = report;
  return {
    mailbox: name,
    ok: true,
    address: report.address,
    certificate: certificate && {
      subject: certificate.subject,
      issuer: certificate.issuer,
      not_after: isoTime(certificate.validUntilMs),
      fingerprint: certificate.fingerprint,
    },
    mechanism: report.mechanism,
    capabilities: report.capabilities,
    messages: folder.messageCount,
    uid_validity: folder.uidValidity,
    uid_next: folder.uidNext,
    folders: report.folders,
    ...(report.isReferred ? { referred: true } : {}),
    ...(report.leftOut === 0 ? {} : { left_out: report.leftOut }),
  };
}

/** One line for each thing that an operator would not expect of this server, and of this post-action on it. */
export function noteProbe(action: PostAction, report: ProbeReport, { terminal }: Pick<Context, 'terminal'>): void {
  for (const note of probeNotes(action, report)) terminal.note(`note: ${note}`);
}

/** Probes a stored mailbox with its password or token. Throws the failures of opening it, and of `probeMailbox`. */
export async function probeStored(
  app: Pick<App, 'credentials' | 'sessions'>,
  mailbox: Mailbox,
  context: Pick<Context, 'terminal'>,
): Promise<ProbeReport> {
  return await app.credentials.withCredential(mailbox, (credential, connection) =>
    probeMailbox(app, connection, credential, context, { name: mailbox.name }),
  );
}

/**
 * `mailbox test`: probes a stored mailbox. Throws `not_found`, and the failures of opening its password and of a probe.
 */
export async function testMailbox(options: CommonOptions & { name: string }, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.name);
    await app.vault.refresh();
    const report = await probeStored(app, mailbox, context);
    noteProbe(mailbox.postAction, report, context);
    await printResult(options, context, probeJson(mailbox.name, report), reportLines(mailbox.name, report));
    return 0;
  });
}

function reportLines(name: string, report: ProbeReport): readonly string[] {
  const { certificate, folder } = report;
  const shown =
    certificate === null
      ? ['certificate   none: the connection is not encrypted']
      : [
          `certificate   ${certificate.subject}, from ${certificate.issuer}, until ${isoTime(certificate.validUntilMs)}`,
          `fingerprint   ${certificate.fingerprint}`,
        ];
  return [
    `${name} works`,
    `server        ${report.address}`,
    ...shown,
    ...(report.mechanism === null ? [] : [`login         ${report.mechanism}`]),
    `capabilities  ${report.capabilities.join(' ')}`,
    `folder        ${countText(folder.messageCount, 'message')}, next UID ${folder.uidNext}, UIDVALIDITY ${folder.uidValidity}`,
    `folders       ${report.folders.join(', ')}`,
    ...(report.leftOut === 0 ? [] : [`not shown     ${leftOutText(report.leftOut)}`]),
  ];
}
