/**
 * Ways in which messages break, one row each: cut, flipped, doubled, mislabelled, put together wrongly.
 *
 * A change takes any text of one character a byte, also one that is no message any more, and never fails. It may double
 * what it gets, not more, but for the rows that say so.
 */
import type { SeededRandom } from '../../support/random.ts';
import { bodyChanges } from './body-changes.ts';
import { fieldChanges } from './field-changes.ts';

export type Change = {
  readonly name: string;
  /** `another`: some other mail that parts can be taken from. */
  readonly apply: (text: string, random: SeededRandom, another: () => string) => string;
};

/** Put into the text at a place. */
function inserted(text: string, at: number, piece: string): string {
  return text.slice(0, at) + piece + text.slice(at);
}

function randomText(random: SeededRandom, length: number): string {
  return random
    .bytes(length + 4)
    .toString('latin1')
    .slice(0, length);
}

const place = (text: string, random: SeededRandom): number => random.between(0, text.length);

const byteChanges: readonly Change[] = [
  { name: 'cut off', apply: (text, random) => text.slice(0, place(text, random)) },
  { name: 'cut off at the head', apply: (text, random) => text.slice(0, random.between(1, 600)) },
  { name: 'begin lost', apply: (text, random) => text.slice(random.between(0, Math.min(text.length, 400))) },
  {
    name: 'a hole',
    apply: (text, random) => {
      const at = place(text, random);
      return text.slice(0, at) + text.slice(at + random.between(1, 400));
    },
  },
  {
    name: 'bytes flipped',
    apply: (text, random) => {
      const bytes = Buffer.from(text, 'latin1');
      for (let count = random.between(1, 40); count > 0 && bytes.length > 0; count -= 1) {
        const at = random.between(0, bytes.length - 1);
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.between(0, 7));
      }
      return bytes.toString('latin1');
    },
  },
  {
    name: 'noise',
    apply: (text, random) => inserted(text, place(text, random), randomText(random, random.between(1, 300))),
  },
  {
    name: 'NULs',
    apply: (text, random) => inserted(text, place(text, random), '\0'.repeat(random.between(1, 20))),
  },
  { name: 'NUL for blanks', apply: (text) => text.replaceAll(' ', '\0') },
  {
    name: 'all bytes 8 bit',
    apply: (text) => text.replace(/[g-t]/gu, (letter) => String.fromCharCode(letter.charCodeAt(0) + 128)),
  },
  { name: 'line ends LF', apply: (text) => text.replaceAll('\r\n', '\n') },
  { name: 'line ends CR', apply: (text) => text.replaceAll('\r\n', '\r') },
  { name: 'line ends CR CR LF', apply: (text) => text.replaceAll('\r\n', '\r\r\n') },
  {
    name: 'line ends mixed',
    apply: (text, random) => text.replace(/\r\n/gu, () => random.pick(['\r\n', '\n', '\r', '\n\r'])),
  },
  { name: 'no line ends', apply: (text) => text.replace(/\r?\n/gu, '') },
  { name: 'an end of file mark', apply: (text, random) => inserted(text, place(text, random), '\u001a') },
  { name: 'twice', apply: (text) => text + text },
  { name: 'another mail behind it', apply: (text, _, another) => text + another() },
  {
    name: 'half of it, half of another',
    apply: (text, random, another) => {
      const other = another();
      return text.slice(0, place(text, random)) + other.slice(place(other, random));
    },
  },
];

/** Bytes, fields and bodies in turn: a third of the changes is of each. */
export const changes: readonly Change[] = [...byteChanges, ...fieldChanges, ...bodyChanges];
