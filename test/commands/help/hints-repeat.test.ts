/** A hint says what to do; it does not say again what its message said. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hintOf } from '../../../src/errors.ts';

const root = join(import.meta.dirname, '../../..');

type Pair = { readonly where: string; readonly message: string; readonly hint: string };

const literal = /'((?:[^'\\\n]|\\.)*)'|`((?:[^`\\$]|\\.|\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})*)`/;
const failure = new RegExp(`new Failure\\(\\s*'(\\w+)',\\s*(?:${literal.source})\\s*,?\\s*(?=([{)]))`, 'g');
const ownHint = new RegExp(`\\bhint:\\s*(?:${literal.source})?`);

/** Without escapes, and with X for what is put in. */
function textOf(single: string | undefined, template: string | undefined): string {
  return (single ?? template ?? '').replaceAll(/\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}/g, 'X').replaceAll(/\\(.)/g, '$1');
}

/** Every `new Failure(CODE, MESSAGE, …)` with a literal message, and the literal hint that is shown with it. */
function pairsIn(path: string): readonly Pair[] {
  const source = readFileSync(join(root, path), 'utf8');
  return [...source.matchAll(failure)].flatMap((match): readonly Pair[] => {
    const [whole, code = '', single, template, next] = match;
    const message = textOf(single, template);
    const where = `${path}:${source.slice(0, match.index).split('\n').length}`;
    const rest = source.slice(match.index + whole.length);
    const own = next === '{' ? ownHint.exec(rest.slice(0, rest.search(/\}\)/))) : null;
    if (own === null) return [{ where, message, hint: hintOf(code) ?? '' }];
    const hint = textOf(own[1], own[2]);
    return hint === '' ? [] : [{ where, message, hint }];
  });
}

const few = new Set(
  'this that with from have been there they which what when then than into only because its'.split(' '),
);

const command = /\bticketmaild [a-z-]+( [a-z-]+)?/g;

function wordsOf(text: string): readonly string[] {
  return (
    text
      .replaceAll(command, '')
      .toLowerCase()
      .match(/[a-z_]{4,}/g) ?? []
  )
    .filter((word) => !few.has(word))
    .map((word) => word.slice(0, 6));
}

/** Sentences of the hint of which most words are in the message. */
function repeated({ message, hint }: Pair): readonly string[] {
  const said = new Set(wordsOf(message));
  return hint.split(/(?<=[.:;]) /).filter((sentence) => {
    const words = [...new Set(wordsOf(sentence))];
    return words.length >= 3 && words.filter((word) => said.has(word)).length / words.length >= 0.5;
  });
}

const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => `src/${path}`);

test('no sentence of a hint repeats its message', () => {
  const pairs = files.flatMap(pairsIn);
  expect(pairs.length).toBeGreaterThan(150);
  const found = pairs.flatMap((pair) =>
    repeated(pair).map((sentence) => `${pair.where}: ${pair.message} | ${sentence}`),
  );
  expect(found).toEqual([]);
});

test('a repetition is recognized', () => {
  const message = 'The certificate of the server is not trusted.';
  expect(
    repeated({ where: '', message, hint: 'The certificate of the server is not trusted: pass its CA.' }),
  ).toHaveLength(1);
});
