/**
 * `completion SHELL`: prints the script by which a shell completes commands, options, values and names.
 */

import type { Command } from 'commander';
import { Failure } from '../../errors.ts';
import type { Context } from '../context.ts';
import { bashScript } from './bash.ts';
import { fishScript } from './fish.ts';
import { completionGrammar } from './grammar.ts';
import { zshScript } from './zsh.ts';

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript } as const;

const completedShells = Object.keys(scripts) as readonly (keyof typeof scripts)[];

/** `program` is the one that is completed. Throws `usage` for another shell. */
export async function printCompletion(
  { shell }: { readonly shell: string },
  program: Command,
  { terminal }: Pick<Context, 'terminal'>,
): Promise<number> {
  await terminal.text(completionScript(shell, program).trimEnd());
  return 0;
}

/** Throws `usage` for another shell. */
export function completionScript(shell: string, program: Command): string {
  if (!Object.hasOwn(scripts, shell))
    throw new Failure('usage', `there is no completion for ${JSON.stringify(shell)}`, {
      hint: `Choose one of: ${completedShells.join(', ')}.`,
    });
  return scripts[shell as keyof typeof scripts](completionGrammar(program));
}
