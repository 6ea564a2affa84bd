/**
 * The addresses of all mailboxes: who writes from one of them is one of us.
 *
 * They are read again when they are some seconds old, so that thousands of mailboxes are not read for every window; a
 * visit knows the addresses of its own mailbox besides.
 */
import { withoutPlus } from '../../mail/thread/reply-token.ts';
import { shortColumn, toAddresses } from './mailbox-rows.ts';
import type { Connected } from './tables.ts';

const freshMs = 10_000;

export function createOwnAddresses(db: Connected): () => Promise<ReadonlySet<string>> {
  let read: { readonly atMs: number; readonly addresses: Promise<ReadonlySet<string>> } | null = null;
  return async () => {
    if (read === null || performance.now() - read.atMs > freshMs) {
      const reading = { atMs: performance.now(), addresses: readAll(db) };
      read = reading;
      reading.addresses.catch(() => {
        if (read === reading) read = null;
      });
    }
    return await read.addresses;
  };
}

async function readAll(db: Connected): Promise<ReadonlySet<string>> {
  const rows = await db
    .selectFrom('mailboxes')
    .select([shortColumn('addresses'), shortColumn('username')])
    .execute();
  return new Set(rows.flatMap((row) => toAddresses(row).map(withoutPlus)));
}
