/**
 * Help of the commands (commander): examples, `help COMMAND…`, and help with exit code 0 where a command is missing.
 */

import { Command, type ErrorOptions } from 'commander';
import { Failure } from '../../errors.ts';
import { examples } from './examples.ts';
import { nearestCommand } from './synonyms.ts';

/** A command with its path: `mailbox add`, '' for the program itself. */
export type CommandPath = { readonly path: string; readonly command: Command };

/** Where no command is given, commander reports an error; here it prints help like `--help`. */
export class HelpedCommand extends Command {
  override createCommand(name?: string): HelpedCommand {
    return new HelpedCommand(name);
  }

  override help(): never {
    return super.help();
  }

  override error(message: string, options?: ErrorOptions): never {
    const [word] = this.args;
    if (options?.code !== 'commander.unknownCommand' || word === undefined) return super.error(message, options);
    return super.error(`error: ${unknownCommand(this, word)}`, options);
  }
}

/** Every command that help lists, groups too, in the order of their definitions. */
export function listedCommands(program: Command): readonly CommandPath[] {
  const below = (command: Command, above: string): readonly CommandPath[] =>
    command
      .createHelp()
      .visibleCommands(command)
      .filter((one) => command.commands.includes(one))
      .flatMap((one) => {
        const path = `${above}${one.name()}`;
        return [{ path, command: one }, ...below(one, `${path} `)];
      });
  return below(program, '');
}

/** Commands that do something; the others are groups. */
export function leafCommands(program: Command): readonly CommandPath[] {
  return listedCommands(program).filter(({ command }) => command.commands.length === 0);
}

/** Command lines that show how a command is called, without the name of the program. */
export function examplesOf(path: string): readonly string[] {
  return examples[path] ?? [];
}

/** Adds the examples to the help of every command, as lines to copy. */
export function addExamples(program: Command): void {
  for (const { path, command } of leafCommands(program)) {
    const lines = examplesOf(path).map((line) => `  ${program.name()} ${line.replaceAll('\n', '\n    ')}`);
    if (lines.length === 0) continue;
    command.addHelpText('after', `\nExample${lines.length === 1 ? '' : 's'}:\n${lines.join('\n')}`);
  }
}

/** `help mailbox add`, in place of commander's own command, which takes one word. */
export function addHelpCommand(program: Command): void {
  program.helpCommand(false);
  program
    .command('help')
    .description('Show the help of a command')
    .argument('[command...]', 'such as: mailbox add')
    .action((words: readonly string[]) => commandAt(program, words).help());
}

function commandAt(program: Command, words: readonly string[]): Command {
  return words.reduce((group, word) => {
    const found = group.commands.find((one) => one.name() === word);
    if (found !== undefined) return found;
    throw new Failure('usage', unknownCommand(group, word), { hint: 'ticketmaild help lists every command.' });
  }, program);
}

function unknownCommand(group: Command, word: string): string {
  const names = group.commands.map((one) => one.name());
  const near = nearestCommand(pathOf(group), word, names);
  return `unknown command '${word}'${near === null ? '' : ` (Did you mean ${near}?)`}`;
}

function pathOf(group: Command): readonly string[] {
  return group.parent === null ? [] : [...pathOf(group.parent), group.name()];
}
