/**
 * Size limits of files, folders and functions.
 *
 * Groups of tests are no functions in this sense. Functions are found by their shape after formatting: a header that
 * ends a line with `{`, and the first later line that closes at the same indentation.
 */
import { posix } from 'node:path';
import type { Problem, Rule, Source } from './source.ts';

const fileLinesMax = 450;
const folderFilesMax = 16;
const functionLinesMax = 70;

export const fileLength: Rule = ({ path, text }) => {
  const lines = text.trimEnd().split('\n').length;
  return lines <= fileLinesMax ? [] : [{ path, line: lines, what: `${lines} lines, at most ${fileLinesMax}` }];
};

/** Folders with too many files of their own; sub-folders count separately. */
export function crowdedFolders(sources: readonly Source[]): Problem[] {
  const folders = Map.groupBy(sources, ({ path }) => posix.dirname(path));
  return [...folders]
    .filter(([, members]) => members.length > folderFilesMax)
    .map(([path, { length }]) => ({ path, line: 1, what: `${length} files, at most ${folderFilesMax}` }));
}

export const functionLength: Rule = (source) =>
  functionsOf(source)
    .filter(({ lines }) => lines > functionLinesMax)
    .map(
      ({ line, lines }): Problem => ({ path: source.path, line, what: `${lines} lines, at most ${functionLinesMax}` }),
    );

export type FunctionSize = { readonly line: number; readonly lines: number };

const block = /^(\s*)(?!\s)(?!(?:\} )?(?:if|else|for|while|do|switch|try|catch|finally|describe)\b)(.*)\{$/;
const header = /=>\s*$|\bfunction\b|\)(?:: .+)?\s*$/;
const noFunction = /^(?:export )?(?:abstract )?(?:class|interface|type|enum)\b/;

/** Every function of a file that has a block of its own: where it begins and how many lines it has. */
export function functionsOf({ code }: Source): FunctionSize[] {
  const lines = code.split('\n');
  return lines.flatMap((text, index) => {
    const [, indent = '', rest = ''] = block.exec(text) ?? [];
    if (!block.test(text) || noFunction.test(rest) || !header.test(rest)) return [];
    const start = rest.startsWith(')') ? headerStart(lines, index, indent) : index;
    if (/^\s*(?:\} )?(?:if|else|for|while|switch|catch|describe)\b/.test(lines[start] ?? '')) return [];
    const length = lines.slice(index + 1).findIndex((line) => line.startsWith(`${indent}}`));
    return length === -1 ? [] : [{ line: start + 1, lines: index + 1 + length - start + 1 }];
  });
}

/** The line at which a header over several lines begins. */
function headerStart(lines: readonly string[], end: number, indent: string): number {
  for (let at = end - 1; at >= 0; at -= 1) {
    const line = lines[at] ?? '';
    if (line.trim() !== '' && line.search(/\S/) <= indent.length) return at;
  }
  return end;
}

/** The value below which the given share of all sizes lies. */
export function percentile(sizes: readonly number[], share: number): number {
  const sorted = sizes.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
