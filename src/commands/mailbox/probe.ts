/**
 * A probe as commands show it: each stage in place on the terminal, and a failure that says all there is to say.
 */
import type { App } from '../../compose/compose.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { Connection, PostAction } from '../../ingest/model.ts';
import type { ProbeReport } from '../../ingest/ports.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { isoTime } from '../../text/time.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';

/** Read-only: nothing is changed on the server. Throws the failures of `Sessions.probe`. */
export async function probeMailbox(
  app: Pick<App, 'sessions'>,
  connection: Connection,
  password: SecretBytes,
  { terminal }: Pick<Context, 'terminal'>,
): Promise<ProbeReport> {
  try {
    return await app.sessions.probe(connection, password, (stage) => terminal.stage(`probing: ${stage} …`));
  } catch (error) {
    throw isFailure(error) ? withLocation(error, connection) : error;
  } finally {
    terminal.stage('');
  }
}

/** The failure with the place where it happened. A missing folder is mostly misspelt: the hint lists those there are. */
function withLocation(failure: Failure, { host, port, folder }: Connection): Failure {
  const { code, fields, cause } = failure;
  const place = code === 'folder_missing' ? `${host}:${port}, folder ${JSON.stringify(folder)}` : `${host}:${port}`;
  const folders = code === 'folder_missing' && typeof fields.folders === 'string' ? fields.folders : null;
  const hint = folders === null ? failure.hint : `The folders there are: ${folders}`;
  const shown = code === 'tls_pin_mismatch' && fields.shown ? ` It shows ${fields.shown}.` : '';
  return new Failure(code, `${place}: ${failure.message}${shown}`, { fields, cause, hint });
}

/** What is known of the certificate, in a few words. */
export function certificateText({ certificate }: ProbeReport): string {
  if (certificate === null) return 'no TLS';
  return `certificate valid until ${isoTime(certificate.validUntilMs)?.slice(0, 10)}`;
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
    capabilities: report.capabilities,
    messages: folder.messageCount,
    uid_validity: folder.uidValidity,
    uid_next: folder.uidNext,
    folders: report.folders,
  };
}

/** A folder that mails are moved to is made by the first move; a misspelt one, too. */
export function noteMissingTarget(
  after: PostAction,
  { folders }: ProbeReport,
  { terminal }: Pick<Context, 'terminal'>,
): void {
  if (after.kind !== 'move' || folders.includes(after.folder)) return;
  terminal.note(`note: there is no folder ${after.folder} yet: the first move makes it, if the server allows the name`);
}

/**
 * `mailbox test`: probes a stored mailbox, read-only, and says what it found.
 */

/** Throws `not_found`, what keeps its password from being opened, and all that a probe throws. */
export async function testMailbox(options: CommonOptions & { name: string }, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.name);
    await app.vault.refresh();
    const report = await app.passwords.withPassword(mailbox, (password) =>
      probeMailbox(app, mailbox.connection, password, context),
    );
    noteMissingTarget(mailbox.postAction, report, context);
    if (options.json === true) await context.terminal.json(probeJson(mailbox.name, report));
    else for (const line of reportLines(mailbox.name, report)) await context.terminal.line(line);
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
    `capabilities  ${report.capabilities.join(' ')}`,
    `folder        ${folder.messageCount} messages, next UID ${folder.uidNext}, UIDVALIDITY ${folder.uidValidity}`,
    `folders       ${report.folders.join(', ')}`,
  ];
}
