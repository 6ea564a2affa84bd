/**
 * Rules for all README.md files: links lead to files and headings that exist, commands and scripts exist, tables stay
 * readable.
 */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { buildProgram } from '../../src/commands/program.ts';
import { unknownCommands, unknownScripts } from '../tidy/project.ts';

const root = join(import.meta.dirname, '../..');
const readmeLinesMax = 250;
const cellCharactersMax = 200;

const paths = globSync('**/{README,CHANGELOG,THREATS}.md', {
  cwd: root,
  exclude: (path) => /(^|\/)(node_modules|dist|\.git)$/.test(path),
}).sort();
const documents = paths.map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));

/** The text without the parts that are generated from the code. */
function handWritten(text: string): string {
  return text.replace(/<!-- generated: (\S+) -->.*?<!-- end: \1 -->/gs, '');
}

/** Anchors of all headings, as GitHub makes them: lower case, punctuation dropped, blanks as dashes. */
function anchors(text: string): readonly string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** The links of a document that lead nowhere. */
function deadLinks(path: string, text: string): readonly string[] {
  const links = [...text.replace(/^```.*?^```/gms, '').matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
  return links.filter((link) => {
    if (/^https?:/.test(link)) return false;
    const [file = '', anchor] = link.split('#');
    try {
      const content = file === '' ? text : readFileSync(join(root, dirname(path), file), 'utf8');
      return anchor !== undefined && !anchors(content).includes(anchor);
    } catch {
      return true;
    }
  });
}

describe.each(documents)('$path', ({ path, text }) => {
  test('links lead to files and headings that exist', () => {
    expect(deadLinks(path, text)).toEqual([]);
  });

  test('commands and scripts exist', () => {
    if (path === 'CHANGELOG.md') return;
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(unknownScripts(text, Object.keys(scripts))).toEqual([]);
    expect(unknownCommands(handWritten(text), commands())).toEqual([]);
  });

  test(`cells of tables have at most ${cellCharactersMax} characters`, () => {
    const rows = handWritten(text)
      .split('\n')
      .filter((line) => line.startsWith('|'));
    const cells = rows.flatMap((row) => row.split(/(?<!\\)\|/).map((cell) => cell.trim()));
    expect(cells.filter((cell) => cell.length > cellCharactersMax)).toEqual([]);
  });
});

test(`README.md has at most ${readmeLinesMax} lines`, () => {
  const readme = documents.find(({ path }) => path === 'README.md')?.text ?? '';
  expect(readme.trimEnd().split('\n').length).toBeLessThanOrEqual(readmeLinesMax);
});

test('a dead link, a dead anchor and a live one are distinguished', () => {
  const text = '# One two\n[a](#one-two) [b](#three) [c](nowhere.md) [d](README.md) [e](README.md#no-such-heading)';
  expect(deadLinks('README.md', text)).toEqual(['#three', 'nowhere.md', 'README.md#no-such-heading']);
});

test('unknown commands and scripts are found', () => {
  expect(unknownScripts('npm ci && npm test, `npm run -s sing`', ['test'])).toEqual(['sing']);
  expect(unknownCommands('`ticketmaild sing` and `src/ticketmaild run --x`', ['run'])).toEqual(['sing']);
  expect(unknownCommands('```\nticketmaild mailbox dance\n```', ['mailbox add'])).toEqual(['mailbox dance']);
});

/** Full names of all commands: `run`, `mailbox add`. */
function commands(): readonly string[] {
  const program = buildProgram(
    async () => undefined,
    () => undefined,
  );
  return program.commands.flatMap((command) =>
    command.commands.length === 0 ? [command.name()] : command.commands.map((one) => `${command.name()} ${one.name()}`),
  );
}
