/**
 * Rows of the audit table about the key file. The key file is worth more than the row: a database that is away is told,
 * and stops nothing.
 */
import type { App } from '../compose/compose.ts';
import { isFailure } from '../errors.ts';
import type { Context } from './context.ts';

/** False, after a note, when the database is away. The keys in the row are those that the switch names. */
export async function recordKeyChange(
  { store, author }: Pick<App, 'store' | 'author'>,
  { terminal }: Pick<Context, 'terminal'>,
  action: string,
  detail: string | null,
): Promise<boolean> {
  try {
    const { row } = await store.readSwitch();
    const keys = { keyId: row?.keyId ?? null, nextKeyId: row?.nextKeyId ?? null };
    await store.audit([{ ...author, ...keys, action, mailboxId: null, detail }]);
    return true;
  } catch (error) {
    if (!isFailure(error) || !error.code.startsWith('database_')) throw error;
    terminal.note(`note: this could not be recorded in the database: ${error.message}`);
    return false;
  }
}
