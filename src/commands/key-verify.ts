/**
 * `key verify FILE`: is this backup the key in use? Compared are key ids: with the key file, and with what the switch names.
 *
 * So a backup can be tried before it is put back, while the key file is lost. Without the database the key file alone is
 * compared with, and that is said.
 */
import { resolve } from 'node:path';
import type { App } from '../compose/compose.ts';
import { Failure, isFailure } from '../errors.ts';
import { type KeyId, keyIds } from '../secret/key.ts';
import { neededKeys } from '../secret/switch.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';

/** Exit code 1 when it is not the same. Throws `key_file_missing`, `key_file_refused`, `key_file_locked`. */
export async function verifyKey(options: CommonOptions & { readonly file: string }, context: Context): Promise<number> {
  const { terminal } = context;
  const file = resolve(options.file);
  return await withApp(options, context, async (app) => {
    const held = await app.keyFile.idsIn(file);
    const { ids: inUse, isSwitchRead } = await idsInUse(app, context);
    const lacks = inUse.filter((id) => !held.includes(id));
    const extra = held.filter((id) => !inUse.includes(id));
    const same = lacks.length === 0;
    if (options.json === true)
      await terminal.json({ same, file, key_ids: held, in_use: inUse, lacks, extra, switch_read: isSwitchRead });
    else await terminal.line(resultText(file, held, inUse, lacks), same ? 'green' : 'red');
    if (same && extra.length > 0) terminal.note(`It also holds what is not in use: ${extra.join(', ')}`);
    return same ? 0 : 1;
  });
}

function resultText(file: string, held: readonly KeyId[], inUse: readonly KeyId[], lacks: readonly KeyId[]): string {
  if (lacks.length === 0) return `same: ${file} holds key ${inUse.join(', ')}, which is in use`;
  if (lacks.length < inUse.length) return `not the same: ${file} lacks key ${lacks.join(', ')}, which is in use`;
  return `not the same: ${file} is another key, ${held.join(', ')}; in use is ${inUse.join(', ')}`;
}

type InUse = { readonly ids: readonly KeyId[]; readonly isSwitchRead: boolean };

async function idsInUse(app: App, { terminal }: Context): Promise<InUse> {
  const { state, problem, stored, switch: inForce } = await app.vault.refresh();
  const isSwitchRead = await isDatabaseThere(app);
  if (!isSwitchRead) terminal.note('note: the database does not answer: compared with the key file alone', 'yellow');
  if ('failure' in state) terminal.note(`note: compared with the switch alone: ${state.failure.message}`, 'yellow');
  // The row cannot be verified without its key, which is the very one that is looked for.
  const row = problem?.code === 'key_unknown' && stored !== null ? stored : inForce;
  const ids = [...new Set([...keyIds(app.vault.keys()), ...neededKeys(row)])];
  if (ids.length > 0) return { ids, isSwitchRead };
  throw new Failure('key_file_missing', `no key is in use here: there is no key file at ${app.keyFile.path}`, {
    hint: 'See ticketmaild encryption status, on the host whose key this is a backup of.',
  });
}

async function isDatabaseThere({ store }: App): Promise<boolean> {
  try {
    await store.readSwitch();
    return true;
  } catch (error) {
    if (isFailure(error) && error.code.startsWith('database_')) return false;
    throw error;
  }
}
