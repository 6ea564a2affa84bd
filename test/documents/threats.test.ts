/**
 * The threat model, `src/THREATS.md`: every actor is set against all four promises and has a chapter, and every test
 * file that it names exists.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const text = readFileSync(join(root, 'src/THREATS.md'), 'utf8');

const actors = [
  'reader of the database',
  'writer of the database',
  'thief of a backup',
  'local user',
  "the service's own user, after a break-in",
  'sender of mail',
  'hostile mail server',
  'provider of tokens',
  'man in the middle',
  'reverse proxy of the admin page',
  'supply chain',
];

test('each actor is set against each promise, and has a chapter', () => {
  const table = text.slice(text.indexOf('| actor |'), text.indexOf('### '));
  const rows = table.split('\n').filter((line) => line.startsWith('| ') && !/^\| (actor|---)/.test(line));
  const cells = rows.map((row) => row.slice(2, -2).split(' | '));
  expect(cells.map(([actor]) => actors.find((name) => actor?.startsWith(name)))).toEqual(actors);
  for (const [actor, ...promises] of cells) {
    expect({ actor, promises: promises.length }).toEqual({ actor, promises: 4 });
    for (const promise of promises) expect(promise).toMatch(/^\*\*(yes|no)\*\*/);
  }
  const chapters = [...text.matchAll(/^### (.+)$/gm)].map(([, title = '']) => title.toLowerCase());
  expect(chapters).toEqual(actors);
});

test('every test file that it names exists, and every attack of the suite is named', () => {
  const named = [...text.matchAll(/`([\w/.-]+\.test\.ts)`/g)].map(([, file = '']) => file);
  expect(named.filter((file) => !existsSync(join(root, 'test', file)))).toEqual([]);
  const attacks = readdirSync(join(root, 'test/attacks'), { encoding: 'utf8', recursive: true }).filter((file) =>
    file.endsWith('.test.ts'),
  );
  expect(attacks.filter((file) => !named.includes(`attacks/${file}`))).toEqual([]);
});
