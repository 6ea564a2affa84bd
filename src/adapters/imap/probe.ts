/**
 * Looks at a mail server and changes nothing there: name, connection, certificate, login, folder (EXAMINE, RFC 9051
 * section 6.3.3), folders and capabilities. Fails like a session does, at the first stage that does not work; when
 * only the folder is missing, the failure names those that are there.
 */
import { TLSSocket } from 'node:tls';
import { Failure, isFailure } from '../../errors.ts';
import type { Connection } from '../../ingest/model.ts';
import type { FolderState, ProbeReport } from '../../ingest/ports.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import type { ImapOptions } from './client.ts';
import { listFolders, selectFolder } from './folder.ts';
import { Link } from './link.ts';
import { describeCertificate } from './tls.ts';
import type { Stage } from './transport.ts';

const foldersTextLengthMax = 500;
const told: ReadonlySet<Stage> = new Set<Stage>(['name', 'connect', 'tls', 'login', 'folder']);

async function examine(link: Link, path: string, folders: readonly string[]): Promise<FolderState> {
  try {
    return await selectFolder(link, path, true);
  } catch (error) {
    if (!isFailure(error, 'folder_missing')) throw error;
    const fields = { ...error.fields, folders: folders.join(', ').slice(0, foldersTextLengthMax) };
    throw new Failure('folder_missing', error.message, { fields, cause: error.cause });
  }
}

async function report(link: Link, connection: Connection): Promise<ProbeReport> {
  const socket = link.transport.socket();
  const address = `${socket?.remoteAddress ?? connection.host}:${socket?.remotePort ?? connection.port}`;
  const certificate = socket instanceof TLSSocket ? describeCertificate(socket) : null;
  const folders = await listFolders(link);
  const folder = await examine(link, connection.folder, folders);
  return { address, certificate, capabilities: [...link.imap.capabilities.keys()].sort(), folder, folders };
}

/** See `Sessions.probe`: `step` is told `name`, `connect`, `tls`, `login`, `folder` as each begins. */
export async function probe(
  connection: Connection,
  password: SecretBytes,
  options: ImapOptions,
  step: (name: string) => void,
): Promise<ProbeReport> {
  const enter = (stage: Stage): void => {
    if (told.has(stage)) step(stage);
  };
  const link = await Link.open(connection, password, options, new AbortController().signal, enter);
  try {
    step('folder');
    return await report(link, connection);
  } finally {
    await link.close();
  }
}
