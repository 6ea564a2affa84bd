/**
 * The key of the reply tokens: 32 random bytes in the database, so that every worker and a restored backup share it.
 *
 * Made once, by whoever asks for a token first; of several at the same moment one is the first. It opens no password: it
 * keeps strangers out of tickets.
 */
import { randomBytes } from 'node:crypto';
import { Failure } from '../../errors.ts';
import type { DialectWords } from './dialect-words.ts';
import type { Connected } from './tables.ts';

const keyBytes = 32;

/** null as long as nobody needed one. */
export async function readReplyKey(db: Connected): Promise<Uint8Array | null> {
  const row = await db.selectFrom('reply_key').select('secret').where('id', '=', 1).executeTakeFirst();
  return row?.secret ?? null;
}

/** Makes it if there is none. */
export async function replyKey(db: Connected, words: DialectWords): Promise<Uint8Array> {
  const stored = await readReplyKey(db);
  if (stored !== null) return stored;
  const insert = db.insertInto('reply_key').values({ id: 1, secret: randomBytes(keyBytes), created_at: words.now });
  await (words.kind === 'mysql' ? insert.ignore() : insert.onConflict((at) => at.doNothing())).execute();
  const made = await readReplyKey(db);
  if (made === null) throw new Failure('database_failed', 'The key of the reply tokens was stored and is not there.');
  return made;
}
