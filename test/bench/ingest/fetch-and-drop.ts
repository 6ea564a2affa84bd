/**
 * The yardstick of the ingest benchmark: imapflow fetches every message of a mailbox and drops it.
 *
 * Reads one JSON object from standard input (`host`, `port`, `caPem`, `user`, `password`) and prints one: `messages`,
 * `bytes`, and `duration_ms` from before the connection to after the logout. Anything that goes wrong ends it with
 * exit code 1.
 */
import { json } from 'node:stream/consumers';
import { ImapFlow } from 'imapflow';

export type Account = {
  readonly host: string;
  readonly port: number;
  readonly caPem: string;
  readonly user: string;
  readonly password: string;
};

export type Dropped = { readonly messages: number; readonly bytes: number; readonly duration_ms: number };

/** imapflow as it comes, not connected yet. */
export function clientOf({ host, port, caPem, user, password }: Account): ImapFlow {
  return new ImapFlow({
    host,
    port,
    secure: true,
    tls: { ca: caPem },
    auth: { user, pass: password },
    logger: false,
  });
}

async function fetchAndDrop(account: Account): Promise<Dropped> {
  const startedAtMs = performance.now();
  const client = clientOf(account);
  await client.connect();
  const lock = await client.getMailboxLock('INBOX', { readOnly: true });
  let messages = 0;
  let bytes = 0;
  for await (const { source } of client.fetch('1:*', { source: true }, { uid: true })) {
    messages += 1;
    bytes += source?.length ?? 0;
  }
  lock.release();
  await client.logout();
  return { messages, bytes, duration_ms: performance.now() - startedAtMs };
}

if (import.meta.main) {
  const account = (await json(process.stdin)) as Account;
  process.stdout.write(`${JSON.stringify(await fetchAndDrop(account))}\n`);
}
