/**
 * `config show` and `config check`: what is in force and from where, and all problems, without a connection.
 *
 * Neither opens the database or the data folder. A secret is never printed, only the name of its file.
 */

import type { ValueInForce } from '../../config/inspect.ts';
import { Failure } from '../../errors.ts';
import { hintText } from '../../text/program-name.ts';
import type { CommonOptions, Context } from '../context.ts';
import { printList, printResult, type TableColumn } from '../output.ts';

type ShowOptions = CommonOptions & { readonly changed?: boolean };

/** Throws `config_invalid` where nothing is in force. */
export async function showConfig(options: ShowOptions, context: Context): Promise<number> {
  const { file, values, problems } = await context.inspectConfig(options.config ?? null);
  const [first] = problems;
  if (first !== undefined)
    throw new Failure('config_invalid', first.message, { hint: 'ticketmaild config check lists all problems.' });
  const shown = options.changed === true ? values.filter(({ changed }) => changed) : values;
  if (options.json !== true) context.terminal.note(`configuration file: ${file ?? 'none'}`, 'dim');
  const view = {
    columns,
    json: (value: ValueInForce) => ({ ...value, file: value.from === 'file' ? file : null }),
    whenEmpty: 'Every key has its default.',
  };
  await printList(shown, view, options, context);
  return 0;
}

const columns: readonly TableColumn<ValueInForce>[] = [
  { title: 'KEY', cell: ({ key }) => key },
  { title: 'VALUE', shrinks: true, main: true, cell: ({ value }) => JSON.stringify(value) },
  { title: 'FROM', shrinks: true, cell: originText },
];

/** Of the file that is named above the list. */
function originText({ from, line, variable }: ValueInForce): string {
  if (from === 'variable') return variable ?? '';
  if (from === 'default') return 'default';
  return line === null ? 'file' : `line ${line}`;
}

/** Exit code 2 with a problem. */
export async function checkConfig(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  const { file, problems } = await context.inspectConfig(options.config ?? null);
  const isOk = problems.length === 0;
  if (options.json === true) await printResult(options, context, { ok: isOk, file, problems }, '');
  else if (isOk) await terminal.prose(`ok      ${file ?? 'no configuration file: every key has its default'}`, 'green');
  else
    for (const { message, hint } of problems) {
      await terminal.prose(`failed  ${message}`, 'red');
      if (hint !== null) await terminal.prose(`        ${hintText(hint)}`);
    }
  return isOk ? 0 : 2;
}
