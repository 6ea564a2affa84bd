/** `mailbox add` on a server of the matrix. */
import type { ImapClient } from '../support/servers/imap/imap-client.ts';
import type { ImapServer } from '../support/servers/imap/imap-server.ts';
import { mainUser, users } from './accounts.ts';
import type { MatrixMessage } from './messages.ts';
import type { Program } from './program.ts';

/** One server with the program and a client beside it. */
export type Scene = {
  readonly server: ImapServer;
  readonly program: Program;
  readonly client: ImapClient;
  /** All that a mailbox had to ingest so far. */
  readonly sent: MatrixMessage[];
};

export type NewMailbox = {
  readonly name: string;
  readonly user?: string;
  readonly folder?: string;
  readonly onSuccess?: string;
  readonly tls?: 'implicit' | 'starttls';
  readonly port?: number;
  readonly since?: 'all' | 'now';
};

export function addArguments({ server }: Pick<Scene, 'server'>, mailbox: NewMailbox): readonly string[] {
  const { name, user = mainUser, folder = 'INBOX', onSuccess = 'leave', tls = 'implicit', since = 'all' } = mailbox;
  const port = mailbox.port ?? (tls === 'implicit' ? server.tlsPort : server.port);
  const connection = ['--host', server.host, '--port', `${port}`, '--tls', tls, '--ca-file', server.caFile];
  const what = ['--user', user, '--folder', folder, '--on-success', onSuccess, '--since', since];
  return ['mailbox', 'add', '--name', name, ...connection, ...what, '--password-stdin'];
}

export function passwordInput(user: string): string {
  return `${users.get(user)}\n`;
}

/** Throws with the words of the program when it refuses. */
export async function addMailbox(scene: Pick<Scene, 'server' | 'program'>, mailbox: NewMailbox): Promise<void> {
  await scene.program.run(addArguments(scene, mailbox), passwordInput(mailbox.user ?? mainUser));
}
