/**
 * Completion grammar: groups, commands, options and arguments of the command line, read from its definitions
 * (commander).
 */

import type { Command } from 'commander';
import { listedCommands } from '../help/help.ts';
import { type ValueKind, valuesOf } from './values.ts';

export type CompletionOption = {
  /** `-v`, `--verbose`. */
  readonly flags: readonly string[];
  readonly description: string;
  /** null: it takes no value. */
  readonly value: ValueKind | null;
};

export type CompletionArgument = { readonly value: ValueKind; readonly isVariadic: boolean };

/** A group or a command; the path of the program itself is ''. */
export type CompletionEntry = {
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly CompletionOption[];
  readonly arguments: readonly CompletionArgument[];
};

/** In the order of the definitions, the program first. */
export function completionGrammar(program: Command): readonly CompletionEntry[] {
  return [{ path: '', command: program }, ...listedCommands(program)].map(({ path, command }) => ({
    path,
    commands: listedCommands(command)
      .filter((one) => !one.path.includes(' '))
      .map((one) => ({ name: one.path, description: one.command.description() })),
    options: command
      .createHelp()
      .visibleOptions(command)
      .map(({ short, long, description, required, optional }) => ({
        flags: [short, long].filter((flag) => flag !== undefined),
        description,
        value: required || optional ? valuesOf(path, long ?? '') : null,
      })),
    arguments: command.registeredArguments.map((one) => ({
      value: valuesOf(path, one.name()),
      isVariadic: one.variadic,
    })),
  }));
}

/** Options with a value, of any command: the word after one is no command and no argument. */
export function valueFlags(entries: readonly CompletionEntry[]): readonly string[] {
  const flags = entries.flatMap(({ options }) => options.flatMap((one) => (one.value === null ? [] : one.flags)));
  return [...new Set(flags)].sort();
}

/**
 * Keys of an entry that have values: `mailbox add --tls` for an option, `mailbox show 0` for an argument, `*` for any.
 */
export function valueCases({
  path,
  options,
  arguments: args,
}: CompletionEntry): readonly { readonly key: string; readonly value: ValueKind }[] {
  return [
    ...options.flatMap(({ flags, value }) => flags.map((flag) => ({ key: `${path} ${flag}`, value }))),
    ...args.map(({ value, isVariadic }, index) => ({ key: `${path} ${isVariadic ? '*' : index}`, value })),
  ].flatMap(({ key, value }) => (value === null || value.kind === 'none' ? [] : [{ key, value }]));
}

/** A word in single quotes, for bash and zsh. */
export function singleQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A pattern of `case`, for bash and zsh: a star at the end stays one. */
export function casePattern(key: string): string {
  return key.endsWith('*') ? `${singleQuoted(key.slice(0, -1))}*` : singleQuoted(key);
}

/** The hidden command that prints names, one a line. */
export const namesCommand = 'complete-names';
