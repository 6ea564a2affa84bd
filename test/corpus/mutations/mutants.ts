/**
 * Broken messages without end: number `index` of a seed is always the same message, so that one that does harm can be
 * made again.
 *
 * A mutant begins as a base (messages of our own, generated ones, the public messages where they are there), and one
 * to five changes are made to it, each drawn from the table of `changes.ts`; few are made whole by a recipe of
 * `extremes.ts`. Messages are handled as text of one character a byte.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateMessages } from '../../bench/messages/generate.ts';
import { corpusPresent, crlf } from '../../mail/corpus.ts';
import { type SeededRandom, seededRandom } from '../../support/random.ts';
import { readCorpus } from '../expectations/stated.ts';
import { changes } from './changes.ts';
import { extremes, usualSize } from './extremes.ts';

export type Mutant = {
  readonly index: number;
  /** Name of the base, then of each change. */
  readonly made: readonly string[];
  readonly bytes: Uint8Array<ArrayBuffer>;
};

export type Base = { readonly name: string; readonly read: () => string };

const generatedCount = 60;
const extremeShare = 0.02;
const changesMax = 5;
const baseBytesMax = 300_000;
const fixtures = join(import.meta.dirname, '../../fixtures/messages');
/** Any odd number that spreads neighbours: each mutant has a sequence of its own. */
const spreading = 0x9e3779b1;

/** The same order on every machine. Public messages come last. */
export function readBases(): readonly Base[] {
  const ours = readdirSync(fixtures)
    .sort()
    .map((name) => baseOf(name, crlf(readFileSync(join(fixtures, name)))));
  const generated = [...generateMessages({ count: generatedCount })].map(({ name, bytes }) =>
    baseOf(`generated-${name}`, crlf(bytes)),
  );
  const small = [...ours, ...generated];
  if (!corpusPresent) return small;
  const corpus = readCorpus().filter(({ sizeBytes }) => sizeBytes > 0 && sizeBytes <= baseBytesMax);
  return [...small, ...corpus.map(({ file, read }) => ({ name: file, read: () => textOf(read()) }))];
}

function baseOf(name: string, bytes: Uint8Array): Base {
  const text = textOf(bytes);
  return { name, read: () => text };
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

export function mutantOf(seed: number, index: number, bases: readonly Base[]): Mutant {
  const random = seededRandom(Math.imul(seed ^ 0x5bd1e995, 0x85ebca6b) ^ Math.imul(index + 1, spreading));
  const { made, text } = random.chance(extremeShare) ? extreme(random) : changed(random, bases);
  const bytes = new Uint8Array(Buffer.from(text === '' ? '\n' : text, 'latin1'));
  return { index, made, bytes };
}

/** Each recipe once, all about as long: number `index` is the recipe's place in the table. */
export function extremeOf(seed: number, index: number, bytes: number): Mutant | null {
  const recipe = extremes[index];
  if (recipe === undefined) return null;
  const text = recipe.make(seededRandom(seed), bytes);
  return { index, made: [`extreme: ${recipe.name}`], bytes: new Uint8Array(Buffer.from(text, 'latin1')) };
}

function extreme(random: SeededRandom): { made: readonly string[]; text: string } {
  const recipe = random.pick(extremes);
  return { made: [`extreme: ${recipe.name}`], text: recipe.make(random, usualSize(random)) };
}

function changed(random: SeededRandom, bases: readonly Base[]): { made: readonly string[]; text: string } {
  const base = random.pick(bases);
  const made = [base.name];
  let text = base.read();
  const another = (): string => random.pick(bases).read();
  for (let count = random.between(1, changesMax); count > 0; count -= 1) {
    const change = random.pick(changes);
    made.push(change.name);
    text = change.apply(text, random, another);
  }
  return { made, text };
}
