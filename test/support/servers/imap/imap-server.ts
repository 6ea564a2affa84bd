/** A real IMAP server for the matrix of servers: its ports, its names, its users. */
import { type ImapClient, openImapClient } from './imap-client.ts';

/** Passwords by user; a name is an address, so that it serves as one of the mailbox. */
export type Users = ReadonlyMap<string, string>;

export type ImapServer = {
  readonly version: string;
  readonly host: 'localhost';
  /** Without TLS at first; with STARTTLS. */
  readonly port: number;
  /** TLS from the first byte. */
  readonly tlsPort: number;
  readonly caPem: string;
  readonly caFile: string;
  /** Before the name of each folder but INBOX (NAMESPACE). */
  readonly prefix: '' | 'INBOX.';
  /** All users have the same folders. */
  readonly isShared: boolean;
} & AsyncDisposable;

/** Logs in beside the program. */
export async function openClient(
  { host, tlsPort, caPem }: Pick<ImapServer, 'host' | 'tlsPort' | 'caPem'>,
  users: Users,
  user: string,
): Promise<ImapClient> {
  return await openImapClient({ host, tlsPort, caPem, user, password: users.get(user) ?? '' });
}
