/**
 * Counts the forms of a canary in something long that is read in pieces: memory, a core, a file.
 *
 * Pieces overlap, so that nothing is missed at their edges, and each hit counts once. A hit is whole, or half: the
 * first or the second half of a form without the other one, as in a piece of memory that was partly used again. Only
 * `Buffer.indexOf` looks at every byte, and pieces of zeros are skipped, so a gigabyte takes a second or two.
 */
import { type Form, type FormName, formsOf } from './canary.ts';

export type FormCount = { readonly form: FormName; readonly whole: boolean; readonly count: number };

/** Fills `target` with what stands at `offset`, as far as there is something; gives the bytes, 0 at the end. */
export type ReadAt = (target: Buffer, offset: number) => Promise<number>;

/** Small enough to stay in the processor's cache while every form is looked for. */
const pieceBytes = 512 * 1024;
const zeros = Buffer.alloc(2 * pieceBytes);

/** Reads up to `sizeBytes`; a source that ends earlier is fine. */
export async function countForms(canary: Uint8Array, read: ReadAt, sizeBytes: number): Promise<readonly FormCount[]> {
  const forms = formsOf(canary);
  const marginBytes = Math.max(...forms.map(({ bytes }) => bytes.length));
  const buffer = Buffer.allocUnsafeSlow(2 * marginBytes + Math.min(pieceBytes, sizeBytes));
  const found = new Map<string, FormCount>();
  let filled = 0;
  let counted = 0;
  for (let offset = 0; offset < sizeBytes; ) {
    const got = await read(buffer.subarray(filled, Math.min(buffer.length, filled + sizeBytes - offset)), offset);
    if (got === 0) break;
    offset += got;
    filled += got;
    // What begins in the last stretch may continue in the next piece, and is counted there.
    const until = Math.max(counted, filled - marginBytes);
    countIn(buffer.subarray(0, filled), forms, { from: counted, until }, found);
    const dropped = Math.max(0, until - marginBytes);
    buffer.copyWithin(0, dropped, filled);
    filled -= dropped;
    counted = until - dropped;
  }
  countIn(buffer.subarray(0, filled), forms, { from: counted, until: filled }, found);
  return [...found.values()];
}

/** The same for bytes that are at hand. */
export function countFormsIn(canary: Uint8Array, bytes: Uint8Array): readonly FormCount[] {
  const found = new Map<string, FormCount>();
  countIn(
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    formsOf(canary),
    { from: 0, until: bytes.length },
    found,
  );
  return [...found.values()];
}

/** Hits that begin from `from` on and before `until`. */
type Stretch = { readonly from: number; readonly until: number };

function countIn(piece: Buffer, forms: readonly Form[], stretch: Stretch, found: Map<string, FormCount>): void {
  if (piece.length <= zeros.length && piece.equals(zeros.subarray(0, piece.length))) return;
  for (const { name, bytes } of forms) {
    const half = bytes.length >> 1;
    const [head, tail] = [bytes.subarray(0, half), bytes.subarray(half)];
    const add = (whole: boolean): void => {
      const key = `${name} ${whole}`;
      found.set(key, { form: name, whole, count: (found.get(key)?.count ?? 0) + 1 });
    };
    for (const at of placesOf(head, piece, stretch)) add(startsAt(tail, piece, at + half));
    for (const at of placesOf(tail, piece, stretch)) if (!startsAt(head, piece, at - half)) add(false);
  }
}

function* placesOf(pattern: Buffer, piece: Buffer, { from, until }: Stretch): Iterable<number> {
  const searched = piece.subarray(0, Math.min(piece.length, until + pattern.length - 1));
  for (let at = searched.indexOf(pattern, from); at !== -1; at = searched.indexOf(pattern, at + 1)) yield at;
}

function startsAt(pattern: Buffer, piece: Buffer, at: number): boolean {
  return at >= 0 && at + pattern.length <= piece.length && piece.subarray(at, at + pattern.length).equals(pattern);
}
