/**
 * Finds the line of a key in a TOML file that has been parsed without error.
 *
 * The parser tells no places of values, so the lines are read once more, only as far as table heads and keys go.
 * A key inside an inline table has the line of the table.
 */

/** Line (from 1) by key path, as `poll.interval_s`; tables have the line of their head. */
export function keyLines(toml: string): ReadonlyMap<string, number> {
  const lines = new Map<string, number>();
  let table: readonly string[] = [];
  let open: string | null = null;
  for (const [index, line] of toml.split('\n').entries()) {
    if (open !== null) {
      if (line.includes(open)) open = null;
      continue;
    }
    const head = /^\s*\[\[?([^\]]+)\]/.exec(line)?.[1];
    const key = /^\s*((?:[\w-]+|"[^"]*"|'[^']*'|\s*\.\s*)+?)\s*=/.exec(line)?.[1];
    if (head !== undefined) table = keyParts(head);
    const path = key === undefined ? table : [...table, ...keyParts(key)];
    if (head !== undefined || key !== undefined) remember(lines, path, index + 1);
    open = opened(line);
  }
  return lines;
}

function remember(lines: Map<string, number>, path: readonly string[], line: number): void {
  for (let depth = 1; depth <= path.length; depth++) {
    const name = path.slice(0, depth).join('.');
    if (!lines.has(name)) lines.set(name, line);
  }
}

function keyParts(key: string): readonly string[] {
  return [...key.matchAll(/[\w-]+|"([^"]*)"|'([^']*)'/g)].map(([bare, double, single]) => double ?? single ?? bare);
}

/** The mark that ends a multi-line text which begins on `line`, or null. */
function opened(line: string): string | null {
  for (const mark of ['"""', "'''"]) {
    if (line.split(mark).length % 2 === 0) return mark;
  }
  return null;
}
