/**
 * Multi-pattern search (Rabin-Karp) for many secrets at once, in the forms in which they could turn up in a file.
 *
 * Each secret is looked for as text, base64 in every alignment, and hex, each in two halves: half a token is a leak.
 * Made for hundreds of tokens in hundreds of megabytes. Secrets of 24 bytes and more.
 */
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { causeCode } from '../../../src/errors.ts';

export type Secret = { readonly name: string; readonly text: string };
type Needle = { readonly name: string; readonly bytes: Buffer };

export type NeedleSearch = {
  /** Names of what was found, with the form, each once. */
  inBytes(bytes: Uint8Array): readonly string[];
  inText(text: string): readonly string[];
  /** In each file of the folder and of those in it: `path: name`. A file that vanishes meanwhile is empty. */
  inFolder(folder: string): Promise<readonly string[]>;
};

const pieceBytes = 8 * 1024 * 1024;
const hashBits = 18;

export function createNeedleSearch(secrets: readonly Secret[]): NeedleSearch {
  const needles = secrets.flatMap(needlesOf);
  const byStart = Map.groupBy(needles, ({ bytes }) => bytes.readInt32LE());
  const isStart = new Uint8Array(1 << hashBits);
  for (const start of byStart.keys()) isStart[hashOf(start)] = 1;
  const longest = Math.max(...needles.map(({ bytes }) => bytes.length));
  const collect = (bytes: Uint8Array, found: Set<string>): void => {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    let last = 0;
    for (let at = 0; at < buffer.length; at += 1) {
      last = (last >>> 8) | ((buffer[at] ?? 0) << 24);
      if (isStart[hashOf(last)] === 0 || at < 3) continue;
      for (const { name, bytes: needle } of byStart.get(last) ?? []) {
        const from = at - 3;
        if (buffer.subarray(from, from + needle.length).equals(needle)) found.add(name);
      }
    }
  };
  const inBytes = (bytes: Uint8Array): readonly string[] => {
    const found = new Set<string>();
    collect(bytes, found);
    return [...found];
  };
  const inFile = async (path: string): Promise<readonly string[]> => {
    const found = new Set<string>();
    try {
      await using file = await open(path);
      const buffer = Buffer.alloc(pieceBytes + longest);
      for (let [offset, kept] = [0, 0]; ; ) {
        const { bytesRead } = await file.read(buffer, kept, pieceBytes, offset);
        if (bytesRead === 0) break;
        const filled = kept + bytesRead;
        collect(buffer.subarray(0, filled), found);
        offset += bytesRead;
        kept = Math.min(filled, longest);
        buffer.copyWithin(0, filled - kept, filled);
      }
    } catch (error) {
      if (causeCode(error) !== 'ENOENT') throw error;
    }
    return [...found];
  };
  return {
    inBytes,
    inText: (text) => inBytes(Buffer.from(text)),
    inFolder: async (folder) => {
      const entries = await readdir(folder, { recursive: true, withFileTypes: true });
      const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
      const hits: string[] = [];
      for (const path of paths.toSorted())
        hits.push(...(await inFile(path)).map((name) => `${path.slice(folder.length + 1)}: ${name}`));
      return hits;
    },
  };
}

function hashOf(start: number): number {
  return Math.imul(start, 0x9e3779b1) >>> (32 - hashBits);
}

function needlesOf({ name, text }: Secret): readonly Needle[] {
  const bytes = Buffer.from(text);
  const forms: readonly (readonly [string, Buffer])[] = [
    ['text', bytes],
    ...([0, 1, 2] as const).map((offset) => [`base64 + ${offset}`, base64At(bytes, offset)] as const),
    ['hex', Buffer.from(bytes.toString('hex'))],
    ['HEX', Buffer.from(bytes.toString('hex').toUpperCase())],
  ];
  return forms.flatMap(([form, one]) => {
    const half = one.length >> 1;
    return [one.subarray(0, half), one.subarray(half)].map((part) => ({ name: `${name} as ${form}`, bytes: part }));
  });
}

/** The letters that do not depend on what stands before and after. */
function base64At(bytes: Buffer, offset: number): Buffer {
  const from = (3 - offset) % 3;
  const whole = bytes.subarray(from, from + 3 * Math.floor((bytes.length - from) / 3));
  return Buffer.from(whole.toString('base64'));
}
