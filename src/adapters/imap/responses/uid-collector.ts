/**
 * Reader of SEARCH and ESEARCH responses (RFC 9051 sections 7.3.4 and 7.3.5), in time proportional to their bytes.
 *
 * Numbers are read from the bytes, in slices between which the event loop turns. Ranges stay ranges until the end,
 * where no more than EXISTS UIDs are taken of them. What is not a UID is skipped. The lowest are kept, ascending, and
 * `isCut` says that there were more.
 */

/** UIDs and UIDVALIDITY have 32 bits (RFC 9051 section 9). */
export const uidMax = 2 ** 32 - 1;
/** UIDs kept of one SEARCH; those above are listed by the next. */
export const listedMax = 250_000;

const sliceBytes = 256 * 1024;
const space = 0x20;
const zero = 0x30;
const nine = 0x39;
const searchHead = /^\* SEARCH */i;
const searchHeadBytesMax = 16;
const allOfEsearch = / ALL ([0-9:,]+)/i;

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Ascending, without duplicates. Typed arrays are sorted without calls of a comparator. */
function ascending(numbers: readonly number[]): Uint32Array {
  const sorted = Uint32Array.from(numbers).sort();
  return sorted.filter((uid, at) => at === 0 || uid !== sorted[at - 1]);
}

export class UidCollector {
  readonly #existsMax: number;
  #numbers: number[] = [];
  #isAscending = true;
  #isCut = false;
  #ranges: readonly (readonly [first: number, last: number])[] | null = null;

  /** `existsMax`: EXISTS of the folder. */
  constructor(existsMax: number) {
    this.#existsMax = Math.min(existsMax, listedMax);
  }

  async read(kind: 'SEARCH' | 'ESEARCH', line: Buffer): Promise<void> {
    if (kind === 'SEARCH') await this.#readNumbers(line);
    // A SEARCH has one such response (RFC 9051 section 7.3.4).
    else this.#ranges ??= rangesIn(line);
  }

  /** UIDs, ascending, at most `listedMax`; `isCut`: the response named higher ones too. */
  result(): { readonly uids: readonly number[]; readonly isCut: boolean } {
    const numbers = this.#isAscending ? this.#numbers : this.#lowest(this.#numbers);
    const expanded = expand(this.#ranges ?? [], this.#existsMax + 1);
    const uids =
      expanded.length === 0 ? numbers : this.#lowest(numbers.length === 0 ? expanded : [...numbers, ...expanded]);
    return { uids, isCut: this.#isCut };
  }

  async #readNumbers(line: Buffer): Promise<void> {
    const start = searchHead.exec(line.toString('latin1', 0, searchHeadBytesMax))?.[0].length ?? 0;
    let value = 0;
    for (let at = start; at < line.length; at += 1) {
      const byte = line[at] ?? 0;
      if (byte >= zero && byte <= nine) {
        value = value * 10 + (byte - zero);
      } else if (byte === space) {
        this.#add(value);
        value = 0;
        // Of CONDSTORE: `(MODSEQ 9)` follows the numbers.
      } else return;
      if ((at + 1) % sliceBytes === 0) await turn();
    }
    this.#add(value);
  }

  #add(uid: number): void {
    if (uid < 1 || uid > uidMax) return;
    const last = this.#numbers.at(-1) ?? 0;
    if (uid === last) return;
    this.#isAscending &&= uid > last;
    if (this.#isAscending && this.#numbers.length >= listedMax) {
      this.#isCut = true;
      return;
    }
    this.#numbers.push(uid);
    if (!this.#isAscending && this.#numbers.length >= 2 * listedMax) this.#numbers = this.#lowest(this.#numbers);
  }

  #lowest(numbers: readonly number[]): number[] {
    const sorted = ascending(numbers);
    this.#isCut ||= sorted.length > listedMax;
    return Array.from(sorted.subarray(0, listedMax));
  }
}

function rangesIn(line: Buffer): readonly (readonly [number, number])[] {
  const parts = (allOfEsearch.exec(line.toString('latin1'))?.[1] ?? '').split(',');
  const ranges = parts.map((part): readonly [number, number] => {
    const [first = 0, last = first] = part.split(':').map(Number);
    return [Math.min(first, last), Math.max(first, last)];
  });
  return ranges.filter(([first, last]) => first >= 1 && last <= uidMax).sort((a, b) => a[0] - b[0]);
}

function expand(ranges: readonly (readonly [number, number])[], countMax: number): readonly number[] {
  const uids: number[] = [];
  for (const [first, last] of ranges) {
    for (let uid = Math.max(first, (uids.at(-1) ?? 0) + 1); uid <= last && uids.length < countMax; uid += 1)
      uids.push(uid);
  }
  return uids;
}
