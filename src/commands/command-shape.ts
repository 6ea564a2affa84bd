/**
 * What the commands have in common as commander declares them: their options, and how their actions are run.
 */
import type { Command } from 'commander';
import type { Context } from './context.ts';

/** How a called command is run. `drains`: the first signal to stop lets it finish what is under way. */
export type Start = (
  command: (context: Context) => Promise<number>,
  how: { readonly drains: boolean },
) => Promise<void>;

/** Makes the action of a command of the function that `load` gives. */
type Action = <T>(load: () => Promise<(args: T, context: Context) => Promise<number>>) => (args: T) => Promise<void>;

export type Actions = { readonly plain: Action; readonly draining: Action };

/** A command's module is loaded when the command is called, so that the others do not pay for it. */
export function actionsOf(start: Start): Actions {
  const action =
    (drains: boolean): Action =>
    (load) =>
    (args) =>
      start(async (context) => (await load())(args, context), { drains });
  return { plain: action(false), draining: action(true) };
}

export function configured(parent: Command, name: string, purpose: string): Command {
  return parent.command(name).description(purpose).option('--config <file>', 'the configuration file');
}

export function listing(parent: Command, name: string, purpose: string): Command {
  return configured(parent, name, purpose).option('--json', 'print JSON, one object a line');
}

export function reporting(parent: Command, name: string, purpose: string): Command {
  return configured(parent, name, purpose).option('--json', 'print the result as one JSON object');
}
