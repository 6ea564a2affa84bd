/**
 * Table of promises in `test/README.md`: every claim has a short proof, and every named test file exists.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const folder = join(import.meta.dirname, '..');
const text = readFileSync(join(folder, 'README.md'), 'utf8');

type Claim = { readonly claim: string; readonly short: readonly string[]; readonly long: readonly string[] };

function filesIn(cell: string): readonly string[] {
  return [...cell.matchAll(/`([\w/.-]+\.test\.ts)`/g)].map(([, file = '']) => file);
}

/** Rows `| claim | in memory | with real servers | long form |` of one promise. */
function claimsOf(chapter: string): readonly Claim[] {
  const rows = chapter.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| --- '));
  return rows.slice(1).map((row) => {
    const [claim = '', inMemory = '', withServers = '', long = ''] = row
      .slice(1, -1)
      .split(' | ')
      .map((cell) => cell.trim());
    return { claim, short: [...filesIn(inMemory), ...filesIn(withServers)], long: filesIn(long) };
  });
}

/** True where `npm test` skips a part of the file. */
function hasLongForm(file: string): boolean {
  return /\['long'\]|databaseKinds/.test(readFileSync(join(folder, file), 'utf8'));
}

const chapters = [...text.matchAll(/^### ([1-4])\. (.+?)\n(.*?)(?=^##)/gms)].map(([, number, title, body = '']) => ({
  title: `${number}. ${title}`,
  claims: claimsOf(body),
}));

test('all four promises have claims', () => {
  expect(chapters.map(({ title }) => title[0])).toEqual(['1', '2', '3', '4']);
  expect(chapters.flatMap(({ claims }) => claims).length).toBeGreaterThanOrEqual(25);
});

describe.each(chapters)('$title', ({ claims }) => {
  test.each(claims)('$claim', ({ short, long }) => {
    expect(short).not.toEqual([]);
    expect([...short, ...long].filter((file) => !existsSync(join(folder, file)))).toEqual([]);
    expect(long.filter((file) => !hasLongForm(file))).toEqual([]);
  });
});
