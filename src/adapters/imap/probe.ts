/**
 * Probe of a mail server (RFC 9051): name resolution, TCP, TLS, login, EXAMINE; read-only.
 *
 * A certificate that is not trusted is read by a second handshake, which sends nothing. Names of folders and
 * capabilities that repeat the secret are left out (echo/echo-check.ts).
 */
import { TLSSocket } from 'node:tls';
import { Failure, isFailure } from '../../errors.ts';
import type { Connection } from '../../ingest/model.ts';
import type { Credential, FolderState, ProbeReport } from '../../ingest/ports.ts';
import type { ImapOptions } from './client.ts';
import { ImapConnection } from './connection.ts';
import { EchoCheck } from './echo/echo-check.ts';
import { listFolders, selectFolder } from './folder.ts';
import { certificateNames, describeCertificate, withFields } from './tls.ts';
import type { ConnectionStage } from './transport.ts';

const foldersTextLengthMax = 500;
const reportedStages: ReadonlySet<ConnectionStage> = new Set<ConnectionStage>([
  'name',
  'connect',
  'tls',
  'login',
  'folder',
]);

type ShownFolders = Pick<ProbeReport, 'folders' | 'leftOut'>;

async function examine(opened: ImapConnection, path: string, { folders, leftOut }: ShownFolders): Promise<FolderState> {
  try {
    return await selectFolder(opened, path, true);
  } catch (error) {
    if (!isFailure(error, 'folder_missing')) throw error;
    const text = folders.join(', ').slice(0, foldersTextLengthMax);
    const fields = { ...error.fields, folders: text, ...(leftOut === 0 ? {} : { left_out: leftOut }) };
    throw new Failure('folder_missing', error.message, { fields, cause: error.cause });
  }
}

async function report(opened: ImapConnection, connection: Connection, echo: EchoCheck): Promise<ProbeReport> {
  const socket = opened.transport.socket();
  const address = `${socket?.remoteAddress ?? connection.host}:${socket?.remotePort ?? connection.port}`;
  const certificate = socket instanceof TLSSocket ? describeCertificate(socket) : null;
  const listed = await listFolders(opened);
  const folders = echo.without(listed);
  const folder = await examine(opened, connection.folder, { folders, leftOut: listed.length - folders.length });
  const { capabilities: offered, mechanism, responses } = opened.imap;
  const capabilities = echo.without([...offered.keys()].sort());
  return {
    ...{ address, mechanism, capabilities, folder, folders, isReferred: responses.isReferred },
    certificate: certificate && {
      ...certificate,
      subject: echo.redacted(certificate.subject),
      issuer: echo.redacted(certificate.issuer),
    },
    leftOut: listed.length - folders.length + offered.size - capabilities.length,
  };
}

/** Subject and issuer are words of a server that may know the secret from an earlier login. */
function withoutEcho(failure: Failure, credential: Credential): Failure {
  using echo = new EchoCheck(credential);
  const names = certificateNames.flatMap((name) => {
    const value = failure.fields[name];
    return typeof value === 'string' ? [[name, echo.redacted(value)] as const] : [];
  });
  return withFields(failure, { ...failure.fields, ...Object.fromEntries(names) });
}

const untrusted = ['tls_untrusted', 'tls_name_mismatch', 'tls_expired'] as const;
const noFingerprint = '0'.repeat(64);

/**
 * A second handshake, pinned to a fingerprint that no certificate has: it ends with the certificate that the server
 * shows, and before anything is sent.
 */
async function withCertificate(
  failure: Failure,
  connection: Connection,
  credential: Credential,
  options: ImapOptions,
): Promise<Failure> {
  const pinned = { ...connection, caPem: null, fingerprint: noFingerprint };
  const ignore = (): void => undefined;
  try {
    const opened = await ImapConnection.open(pinned, credential, options, new AbortController().signal, ignore);
    await opened.close();
  } catch (error) {
    if (!isFailure(error, 'tls_pin_mismatch')) return failure;
    const { pinned: _, shown: __, ...fields } = error.fields;
    return withoutEcho(withFields(failure, { ...failure.fields, ...fields }), credential);
  }
  return failure;
}

/**
 * Read-only probe of a mail server: name, connection, certificate, login, folder (EXAMINE, RFC 9051 section 6.3.3),
 * list of folders and capabilities. Calls `step` with `name`, `connect`, `tls`, `login`, `folder` as each stage begins.
 * Fails like a session, at the first stage that fails; a missing folder is reported with the existing ones, and a
 * certificate that is not trusted with its subject, issuer, dates and fingerprint.
 */
export async function probe(
  connection: Connection,
  credential: Credential,
  options: ImapOptions,
  step: (name: string) => void,
): Promise<ProbeReport> {
  const enter = (stage: ConnectionStage): void => {
    if (reportedStages.has(stage)) step(stage);
  };
  const signal = new AbortController().signal;
  const opened = await ImapConnection.open(connection, credential, options, signal, enter).catch(
    async (error: unknown) => {
      if (isFailure(error, 'tls_pin_mismatch')) throw withoutEcho(error, credential);
      throw isFailure(error, ...untrusted) ? await withCertificate(error, connection, credential, options) : error;
    },
  );
  using echo = new EchoCheck(credential);
  try {
    step('folder');
    return await report(opened, connection, echo);
  } finally {
    await opened.close();
  }
}
