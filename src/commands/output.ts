/**
 * Output of commands: lists and results, as JSON for scripts with `--json`, else as text for people; confirmations and
 * progress.
 */

import type { Column, Style } from '../adapters/terminal/text-layout.ts';
import type { Failure } from '../errors.ts';
import type { CommonOptions, Context } from './context.ts';

type WithTerminal = Pick<Context, 'terminal'>;

/** A column with the text of its cell in each row. */
export type TableColumn<T> = Column & { readonly cell: (row: T) => string };

type ListView<T> = {
  readonly columns: readonly TableColumn<T>[];
  /** The object of `--json` for a row. Its field names are stable for scripts. */
  readonly json: (row: T) => Record<string, unknown>;
  readonly whenEmpty: string;
};

const rowsPerTable = 200;

/**
 * Prints a list and returns the number of its rows. An asynchronous list is printed in tables of 200 rows, so that
 * memory stays flat.
 */
export async function printList<T>(
  rows: readonly T[] | AsyncIterable<T>,
  { columns, json, whenEmpty }: ListView<T>,
  options: CommonOptions,
  { terminal }: WithTerminal,
): Promise<number> {
  const pageRows = Symbol.asyncIterator in rows ? rowsPerTable : Number.POSITIVE_INFINITY;
  let page: (readonly string[])[] = [];
  let count = 0;
  for await (const row of rows) {
    count += 1;
    if (options.json === true) await terminal.json(json(row));
    else if (page.push(cellsOf(columns, row)) === pageRows) {
      await terminal.table(columns, page);
      page = [];
    }
  }
  if (page.length > 0) await terminal.table(columns, page);
  if (count === 0 && options.json !== true) terminal.advice(whenEmpty);
  return count;
}

/** Prints a table, also one without rows. */
export async function printTable<T>(
  columns: readonly TableColumn<T>[],
  rows: readonly T[],
  { terminal }: WithTerminal,
): Promise<void> {
  await terminal.table(
    columns,
    rows.map((row) => cellsOf(columns, row)),
  );
}

function cellsOf<T>(columns: readonly TableColumn<T>[], row: T): readonly string[] {
  return columns.map(({ cell }) => cell(row));
}

/** Prints one JSON object with `--json`, else lines. */
export async function printResult(
  { json }: CommonOptions,
  { terminal }: WithTerminal,
  fields: object,
  text: string | readonly string[],
  style?: Style,
): Promise<void> {
  if (json === true) await terminal.json(fields);
  else for (const line of [text].flat()) await terminal.prose(line, style);
}

/** True when a command line asks for JSON; also one that is refused before its options are known. */
export function asksForJson(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return (end === -1 ? args : args.slice(0, end)).includes('--json');
}

/** The object that a failed command prints last on standard output, with `--json`. */
export function failureJson({ code, message, hint }: Failure): Record<string, unknown> {
  return { error: { code, message, hint } };
}

/** `KEY, next KEY`, as far as there are any. */
export function keyIdsText(keyId: string | null | undefined, nextKeyId: string | null | undefined): string {
  return [keyId, nextKeyId].filter((id) => typeof id === 'string').join(', next ');
}

/** Prints lines for people, to standard error with `--json`. */
export async function printLines(
  { json }: CommonOptions,
  { terminal }: WithTerminal,
  lines: readonly string[],
): Promise<void> {
  for (const line of lines)
    if (json === true) terminal.note(line);
    else await terminal.line(line);
}

/** True with `--yes`, and for a yes at the prompt. Throws `usage` without a terminal. */
export async function isConfirmed(
  { yes }: { readonly yes?: boolean },
  { terminal }: WithTerminal,
  question: string,
): Promise<boolean> {
  return yes === true || (await terminal.confirm(question, 'Confirm it with --yes.'));
}

/** The exit code of a command that was not confirmed, after a note. */
export function nothingChanged({ terminal }: WithTerminal): number {
  terminal.note('Nothing was changed.');
  return 1;
}

/** Works on each item behind a progress bar, until a stop is requested. `hideBar`: before a line is printed. */
export async function forEachWithProgress<T>(
  label: string,
  items: readonly T[],
  { terminal, signal }: Context,
  work: (item: T, hideBar: () => void) => Promise<void>,
): Promise<void> {
  const bar = await terminal.progress(label);
  try {
    for (const [done, item] of items.entries()) {
      if (signal.aborted) return;
      bar.update(done, items.length);
      await work(item, bar.clear);
    }
  } finally {
    bar.clear();
  }
}
