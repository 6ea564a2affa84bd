/** Manual pages: complete, without a warning of mandoc, readable at 80 columns, the same bytes each time. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { leafCommands } from '../../src/commands/help/help.ts';
import { buildProgram } from '../../src/commands/program.ts';
import { allSettings, providerSettings } from '../../src/config/schema.ts';
import { manPageNames, writeManPages } from '../../systemd/packaging/man/man-pages.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts';

let folder: TemporaryFolder;
let page: (name: string) => string;

beforeAll(async () => {
  folder = await temporaryFolder('man');
  await writeManPages(join(folder.path, 'new/man'));
  page = (name) => join(folder.path, 'new/man', name);
});

afterAll(() => folder[Symbol.asyncDispose]());

/** As a reader sees it at 80 columns. */
function shown(name: string): string {
  const text = execFileSync('mandoc', ['-T', 'utf8', '-O', 'width=78', page(name)], { encoding: 'utf8' });
  return text.replaceAll(/.\x08/g, '');
}

test.each(manPageNames)('%s has no warning of mandoc', (name) => {
  expect(execFileSync('mandoc', ['-T', 'lint', '-W', 'warning', page(name)], { encoding: 'utf8' })).toBe('');
});

test.each(manPageNames)('%s fits 80 columns', (name) => {
  expect(
    shown(name)
      .split('\n')
      .filter((line) => line.length > 80),
  ).toEqual([]);
});

test('ticketmaild(8) has every command with its options', () => {
  const text = shown('ticketmaild.8');
  const program = buildProgram(
    async () => undefined,
    () => undefined,
  );
  for (const { path, command } of leafCommands(program)) {
    expect(text).toMatch(new RegExp(`^ +${path}\\b`, 'm'));
    for (const { long } of command.options) expect(text).toContain(long);
  }
  for (const title of ['EXIT STATUS', 'FILES', 'ENVIRONMENT', 'SIGNALS', 'EXAMPLES', 'SEE ALSO'])
    expect(text).toMatch(new RegExp(`^${title}$`, 'm'));
  expect(text).not.toContain('complete-names');
});

test('ticketmaild.toml(5) has every key and variable', () => {
  const text = shown('ticketmaild.toml.5');
  for (const { path, variable } of allSettings) {
    expect(text).toMatch(new RegExp(`^ +${path.at(-1)}\\b`, 'm'));
    expect(text).toContain(variable);
  }
  for (const { path } of providerSettings) expect(text).toMatch(new RegExp(`^ +${path.at(-1)}\\b`, 'm'));
});

test('the same sources give the same bytes, with the date of SOURCE_DATE_EPOCH', async () => {
  const before = process.env['SOURCE_DATE_EPOCH'];
  process.env['SOURCE_DATE_EPOCH'] = '1764633600';
  try {
    const texts = await Promise.all(
      ['a', 'b'].map(async (name) =>
        (await writeManPages(join(folder.path, name))).map((path) => readFileSync(path, 'utf8')),
      ),
    );
    expect(texts[0]).toEqual(texts[1]);
    expect(texts[0]?.[0]).toContain('.TH TICKETMAILD 8 2025-12-02 ');
  } finally {
    if (before === undefined) delete process.env['SOURCE_DATE_EPOCH'];
    else process.env['SOURCE_DATE_EPOCH'] = before;
  }
});
