/**
 * Reads the Message-IDs of Message-ID, In-Reply-To and References fields (RFC 5322 section 3.6.4), broken ones too.
 *
 * What stands in angle brackets is an id, white space inside it dropped. Where a field has no bracket at all, each
 * word with an @ is taken, and for a Message-ID field whatever is there. It never fails: nothing readable is no id.
 */

/** References of a long thread; the nearest ones are kept. */
const idsMax = 1000;

const notInIds = /[\s\u0000-\u001f\u007f-\u009f]+/gu;
const bracketed = /<([^<>]*)(?:>|$|(?=<))/gu;
const comment = /\([^()]*\)/gu;

const tidy = (id: string) => id.replace(notInIds, '');

/** Ids without brackets, in the order of the field, each once. `value` is the unfolded field. */
export function readMessageIds(value: string): readonly string[] {
  const inBrackets = [...value.matchAll(bracketed)].map((match) => tidy(match[1] ?? '')).filter((id) => id !== '');
  const ids = inBrackets.length > 0 ? inBrackets : bareIds(value);
  return [...new Set(ids)].slice(-idsMax);
}

function bareIds(value: string): readonly string[] {
  const words = value.replace(comment, ' ').split(/[\s,;<>"]+/u);
  return words.map(tidy).filter((word) => /.@./u.test(word));
}

/** The id of a Message-ID field, or null where there is none. */
export function readMessageId(value: string): string | null {
  return readMessageIds(value)[0] ?? (tidy(value.replace(comment, ' ').replace(/[<>]/gu, '')) || null);
}
