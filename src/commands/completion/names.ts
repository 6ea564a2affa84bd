/**
 * `complete-names KIND`: names for the completion of a shell, one a line; a hidden command.
 *
 * It prints nothing on any failure, asks for nothing, and gives up after a second. The names come from the database, so
 * from anyone who can write to it: one with control or invisible characters, or that would be read as an option, is
 * left out, and so is what exceeds a few hundred. The scripts of the shells evaluate none of them.
 */

import { existsSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import type { App } from '../../compose/compose.ts';
import type { CommonOptions, Context } from '../context.ts';
import type { NameKind } from './values.ts';

const namesMax = 300;
const lengthMax = 100;
const deadlineMs = 1000;

type Readers = Readonly<Record<NameKind, (app: App) => Promise<readonly { readonly name: string }[]>>>;

const readers: Readers = {
  mailboxes: ({ store }) => store.listMailboxes(),
  providers: async ({ oauth }) => oauth.providers(),
  grants: ({ store }) => store.listGrants(),
  admins: ({ store }) => store.listAccounts(),
};

/** Always exit code 0. */
export async function printNames(
  options: CommonOptions & { readonly kind: string },
  context: Context,
): Promise<number> {
  const names = await Promise.race([
    readNames(options, context).catch((): readonly string[] => []),
    wait(deadlineMs, [], { ref: false }),
  ]);
  for (const name of names.filter(isCompletable).slice(0, namesMax)) await context.terminal.line(name);
  return 0;
}

async function readNames(
  { kind, config: file }: CommonOptions & { readonly kind: string },
  context: Context,
): Promise<readonly string[]> {
  if (!Object.hasOwn(readers, kind)) return [];
  const config = await context.loadConfig(file ?? null);
  // A query would create the file.
  if (config.database.kind === 'sqlite' && !existsSync(config.database.path)) return [];
  await using app = await context.compose(config, 'quiet');
  return (await readers[kind as NameKind](app)).map(({ name }) => name);
}

function isCompletable(name: string): boolean {
  return name.length <= lengthMax && !/^$|^-|^\s|\s$|[\p{C}\p{Zl}\p{Zp}\ufffd]/u.test(name);
}
