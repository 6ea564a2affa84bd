/** The generated references are current, and true to the code. */

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { allSettings } from '../../src/config/schema.ts';
import { eventDefinitions, events } from '../../src/events.ts';
import { references, withPart } from './documents.ts';

const root = join(import.meta.dirname, '../..');

const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts') && path !== 'events.ts')
  .map((path) => readFileSync(join(root, 'src', path), 'utf8'));
const source = sources.join('\n');

test.each(references().map(({ path, ...texts }) => [relative(root, path), texts] as const))(
  '%s is current (npm run reference)',
  (_path, { current, next }) => {
    expect(current).toBe(next);
  },
);

test('no generated table cell has more than 200 characters', () => {
  const cells = references()
    .flatMap(({ next }) => [...next.matchAll(/<!-- generated: .*?<!-- end: /gs)].flatMap(([part]) => part.split('\n')))
    .filter((line) => line.startsWith('| '))
    .flatMap((line) => line.split(' | '));
  expect(cells.filter((cell) => cell.length > 200)).toEqual([]);
  expect(allSettings.filter(({ meaning }) => !meaning.endsWith('.')).map(({ path }) => path)).toEqual([]);
});

test('a part replaces what is between its markers alone', () => {
  const part = { name: 'x', text: () => 'new' };
  const document = 'before\n<!-- generated: x -->\nold\n<!-- end: x -->\nafter\n';
  const replaced = 'before\n<!-- generated: x -->\n\nnew\n\n<!-- end: x -->\nafter\n';
  expect(withPart(document, part)).toBe(replaced);
  expect(withPart(replaced, part)).toBe(replaced);
  expect(withPart('# Title\n', part)).toBe('# Title\n\n<!-- generated: x -->\n\nnew\n\n<!-- end: x -->\n');
});

test('every event is logged, and only at the levels that the catalogue has', () => {
  const constants = new Map(Object.entries(events).map(([constant, name]) => [name as string, constant]));
  for (const { name, levels } of eventDefinitions) {
    const constant = constants.get(name);
    expect(source, name).toMatch(new RegExp(`events\\.${constant}\\b`));
    const call = new RegExp(`\\.(debug|info|warn|error)\\(\\s*[^;]{0,300}?\\bevents\\.${constant}\\b`, 'g');
    const found = [...source.matchAll(call)].map(([, level]) => level);
    expect(levels, name).toEqual(expect.arrayContaining(found));
  }
});

test('every field of the catalogue is a name in the source', () => {
  const fields = new Set(eventDefinitions.flatMap((event) => event.fields));
  expect([...fields].filter((field) => !new RegExp(`\\b${field}\\b`).test(source))).toEqual([]);
});
