/** Locks the row of a mailbox in another transaction: a change of its password waits. */
import { createConnection } from 'mysql2/promise';
import type { AdminScene } from './admin-scene.ts';

/** A daemon waits 10 s for it, and twice in all: then its operation would fail. */
export async function lockMailbox(
  { mariadb, database }: Pick<AdminScene, 'mariadb' | 'database'>,
  id: string,
): Promise<AsyncDisposable> {
  const connection = await createConnection({ socketPath: mariadb.socketPath, user: 'root', database });
  await connection.query('start transaction');
  await connection.query('select id from mailboxes where id = ? for update', [id]);
  return { [Symbol.asyncDispose]: () => connection.end() };
}
