/**
 * The commands of the admin page's accounts, with their options, as commander reads them.
 */
import type { Command } from 'commander';
import { type Actions, configured, listing } from './command-shape.ts';

const adminName = ['<name>', 'name of the admin'] as const;
const passwordStdin = ['--password-stdin', 'read the password from standard input instead of asking for it'] as const;

export function addAdminCommands(program: Command, { plain }: Actions): void {
  const admin = program.command('admin').description('who may sign in to the admin page');
  const add = plain(async () => (await import('./admin-accounts.ts')).addAdmin);
  configured(admin, 'add', 'let somebody sign in to the admin page')
    .argument(...adminName)
    .option(...passwordStdin)
    .action((name, options) => add({ ...options, name }));
  listing(admin, 'list', 'list who may sign in, and when they last did').action(
    plain(async () => (await import('./admin-accounts.ts')).listAdmins),
  );
  const setPassword = plain(async () => (await import('./admin-accounts.ts')).setAdminPassword);
  configured(admin, 'set-password', 'store another password, and sign out whoever used the former one')
    .argument(...adminName)
    .option(...passwordStdin)
    .action((name, options) => setPassword({ ...options, name }));
  const remove = plain(async () => (await import('./admin-accounts.ts')).removeAdmin);
  configured(admin, 'remove', 'remove an admin, and sign them out')
    .argument(...adminName)
    .option('--yes', 'do not ask')
    .action((name, options) => remove({ ...options, name }));
  configured(admin, 'unlock', 'let every address and name try to sign in again, which tried too often').action(
    plain(async () => (await import('./admin-accounts.ts')).unlockAdmins),
  );
  listing(admin, 'log', 'show who signed in or was refused, and what changed about accounts')
    .option('--limit <count>', 'at most so many (default: 50, with --json all)')
    .action(plain(async () => (await import('./admin-log.ts')).listAdminLog));
}
