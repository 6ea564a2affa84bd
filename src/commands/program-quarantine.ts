/**
 * The commands of quarantine and replay, with their options, as commander reads them.
 */
import type { Command } from 'commander';
import { type Actions, configured, listing } from './command-shape.ts';

export function addReconcileCommand(program: Command, { draining }: Actions): void {
  const reconcile = draining(async () => (await import('./reconcile.ts')).reconcile);
  listing(program, 'reconcile', 'count whether every mail seen is accounted for')
    .argument('[mailbox]', 'compare with the folder of this mailbox on its server')
    .option('--repair', 'fetch the mails of that mailbox that were passed over, and put lost messages back')
    .option('--files', 'look whether attachments and raw sources are on the disk, too')
    .action((name, options) => reconcile({ ...options, name }));
}

export function addQuarantineCommands(program: Command, { plain, draining }: Actions): void {
  const quarantine = program.command('quarantine').description('look at mails that were kept aside, and resolve them');
  filtered(listing(quarantine, 'list', 'list the mails that wait in quarantine, and why'))
    .option('--discarded', 'those that were discarded, instead of those that wait')
    .action(plain(async () => (await import('./quarantine-list.ts')).listQuarantine));
  const show = plain(async () => (await import('./quarantine-list.ts')).showHeldMail);
  listing(quarantine, 'show', 'show one mail in quarantine')
    .argument('<id>', 'as quarantine list shows it')
    .action((id, options) => show({ ...options, id }));
  const retry = draining(async () => (await import('./quarantine-resolve.ts')).retryHeldMails);
  settling(listing(quarantine, 'retry', 'parse and decide mails again, under the rules and limits of now')).action(
    (ids, options) => retry({ ...options, ids }),
  );
  const release = draining(async () => (await import('./quarantine-resolve.ts')).releaseHeldMails);
  settling(listing(quarantine, 'release', 'take mails in as they are, whatever held them back')).action(
    (ids, options) => release({ ...options, ids }),
  );
  const discard = draining(async () => (await import('./quarantine-resolve.ts')).discardHeldMails);
  selecting(listing(quarantine, 'discard', 'give mails up, without a ticket'))
    .option('--yes', 'do not ask')
    .action((ids, options) => discard({ ...options, ids }));
  const save = plain(async () => (await import('./quarantine-export.ts')).exportHeldMails);
  selecting(configured(quarantine, 'export', 'save what was kept of mails as files'))
    .option('--output <file>', 'the file to write, for one id; it must not exist yet')
    .option('--folder <dir>', 'the folder to write files into; it is made where there is none')
    .action((ids, options) => save({ ...options, ids }));
  listing(quarantine, 'log', 'show who took what out of quarantine, or discarded it')
    .option('--limit <count>', 'at most so many (default: 50, with --json all)')
    .action(plain(async () => (await import('./quarantine-log.ts')).listQuarantineLog));
}

export function addReplayCommand(message: Command, { draining }: Actions): void {
  const replay = draining(async () => (await import('./message-replay.ts')).replayMessages);
  listing(message, 'replay', 'read stored mails again from their sources, under the rules of now')
    .argument('[id]', 'id of one message, as message list --full --json shows it')
    .option('--mailbox <name>', 'all of this mailbox')
    .option('--since <time>', 'of those, what arrived since: 2h, 3d, today, 2026-01-31')
    .action((id, options) => replay({ ...options, id }));
}

function filtered(command: Command): Command {
  return command
    .option('--mailbox <name>', 'those of this mailbox')
    .option('--reason <code>', 'those with this reason, such as too_large')
    .option('--sender <address>', 'those from this address');
}

function selecting(command: Command): Command {
  return filtered(command.argument('[ids...]', 'ids, as quarantine list shows them')).option('--all', 'all there are');
}

function settling(command: Command): Command {
  return selecting(command)
    .option('--discarded', 'of those that were discarded, instead of those that wait')
    .option('-v, --verbose', 'a line for each of many mails');
}
