/**
 * The walks of `src/ingest/README.md` and `src/encryption/README.md`: each step names a file and a function that exist.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const source = join(import.meta.dirname, '../../src');

type Step = { readonly file: string; readonly name: string };

/** Rows `| 1 | text | `file` | `function` |`. */
function stepsOf(document: string): readonly Step[] {
  const rows = document.matchAll(/^\| \d+ \|.*\| `([\w/.-]+)` \| `(\w+)` \|$/gm);
  return [...rows].map(([, file = '', name = '']) => ({ file, name }));
}

/** True where the file declares a function, method or property of that name. */
function isDeclared({ file, name }: Step): boolean {
  const path = join(source, file);
  if (!existsSync(path)) return false;
  const declaration = new RegExp(
    `\\bfunction\\*? ${name}\\b|\\bconst ${name} =|^\\s+(?:async )?${name}(?:\\(|: async)`,
    'm',
  );
  return declaration.test(readFileSync(path, 'utf8'));
}

describe.each([
  ['ingest/README.md', 26],
  ['encryption/README.md', 31],
])('%s', (path, length) => {
  const steps = stepsOf(readFileSync(join(source, path), 'utf8'));

  test(`has ${length} steps`, () => {
    expect(steps).toHaveLength(length);
  });

  test.each(steps)('$file has $name', (step) => {
    expect(isDeclared(step)).toBe(true);
  });
});

test('a missing file and a missing function are found', () => {
  expect(isDeclared({ file: 'mail/nowhere.ts', name: 'parseMessage' })).toBe(false);
  expect(isDeclared({ file: 'mail/parse.ts', name: 'parseNothing' })).toBe(false);
});
