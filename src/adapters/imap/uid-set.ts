/**
 * UIDs as IMAP sequence sets (RFC 9051 section 9): `4:9,12`. Only the given UIDs are named, never a gap between them.
 *
 * A set is cut where a command line would grow past what servers accept (RFC 7162 section 4 asks for 8,192 bytes).
 */

const setBytesMax = 7000;

/** Any number of UIDs, in any order, as one or more sets in ascending order; none for no UID. */
export function* uidSets(uids: readonly number[]): Generator<string> {
  const sorted = uids.toSorted((a, b) => a - b);
  let set = '';
  for (let from = 0; from < sorted.length; ) {
    let to = from;
    while (to + 1 < sorted.length && (sorted[to + 1] ?? 0) <= (sorted[to] ?? 0) + 1) to += 1;
    const first = sorted[from];
    const last = sorted[to];
    const part = first === last ? `${first}` : `${first}:${last}`;
    if (set.length + 1 + part.length > setBytesMax) {
      yield set;
      set = '';
    }
    set = set === '' ? part : `${set},${part}`;
    from = to + 1;
  }
  if (set !== '') yield set;
}
