/**
 * Header blocks in text: the fields (From, Sent, To, Subject) that Outlook and others put above the message replied to.
 *
 * A block has the sender and two more fields of different meaning, close together. One such line alone, or the fields of a
 * contact form, are no block. Each line is read once; at most 5,000 blocks are tried. Never fails.
 */
import { lengthOf, lineKinds, startOf, type TextLines } from './lines.ts';
import { firstCharacter, lowered } from './titles.ts';
import { type HeaderRole, headerLabels } from './words.ts';

const labelLengthMax = 24;
const blockLinesMax = 24;
/** A long list of recipients is wrapped. */
const wrappedHeaderLinesMax = 6;
/** A text with more labels than that is data, and no block is looked for in the rest of it. */
const triesMax = 5_000;

/** A bit for each meaning; a word may mean several things, and `read` says that the line was looked at. */
const bits: Readonly<Record<HeaderRole, number>> = { from: 1, sent: 2, to: 4, subject: 8, other: 16 };
const read = 32;
const labels = new Map<string, number>();
for (const [role, row] of headerLabels) {
  for (const label of row.split('|')) labels.set(label, (labels.get(label) ?? 0) | bits[role]);
}

const formatting = /[*_\p{Cf}]/gu;

/** The line after a block of fields that begins with the line `index`; -1 where none does. */
export type HeaderBlockFinder = (index: number) => number;

/** Each line is read once, however many blocks it could belong to. */
export function headerBlockFinder(lines: TextLines): HeaderBlockFinder {
  let known: Uint8Array | null = null;
  let tries = 0;
  const rolesAt: RolesAt = (index) => {
    if (lines.kinds[index] !== lineKinds.text) return 0;
    known ??= new Uint8Array(lines.count);
    const before = known[index] ?? 0;
    if (before !== 0) return before - read;
    const found = readRoles(lines, index);
    known[index] = found + read;
    return found;
  };
  return (index) => {
    // Nearly all lines have no label, and need no note of it.
    const first = known === null ? readRoles(lines, index) : rolesAt(index);
    if (first === 0 || tries >= triesMax) return -1;
    tries += 1;
    return blockEnd(lines, index, rolesAt);
  };
}

type RolesAt = (index: number) => number;

/** Meanings of the label with which a line begins, 0 where it has none. */
function readRoles(lines: TextLines, index: number): number {
  const start = firstCharacter(lines, index);
  const limit = Math.min(start + labelLengthMax, startOf(lines, index + 1));
  for (let at = start; at < limit; at += 1) {
    const code = lines.text.charCodeAt(at);
    if (code !== 58 && code !== 0xff1a) continue;
    const label = lines.text.slice(start, at).replace(formatting, '').replaceAll('\u00a0', ' ').trim();
    return labels.get(lowered(label).replace(/\s{2,}/gu, ' ')) ?? 0;
  }
  return 0;
}

function blockEnd(lines: TextLines, index: number, rolesAt: RolesAt): number {
  let found = 0;
  let count = 0;
  let end = index;
  let wrapped = 0;
  for (let at = index; at < lines.count && at < index + blockLinesMax; at += 1) {
    const meanings = rolesAt(at);
    if (meanings === 0) {
      if (wrapped >= wrappedHeaderLinesMax || !mayFollow(lines, at, rolesAt)) break;
      wrapped += 1;
      continue;
    }
    found |= meanings;
    count += 1;
    end = at + 1;
    wrapped = 0;
  }
  const others =
    Number((found & bits.sent) !== 0) + Number((found & bits.to) !== 0) + Number((found & bits.subject) !== 0);
  return count >= 3 && (found & bits.from) !== 0 && others >= 2 ? withWrapped(lines, end) : -1;
}

/** A blank line between two fields (made of HTML), or the rest of a wrapped one. */
function mayFollow(lines: TextLines, index: number, rolesAt: RolesAt): boolean {
  const kind = lines.kinds[index];
  return kind === lineKinds.blank ? rolesAt(index + 1) !== 0 : kind !== lineKinds.quote;
}

/** The last field may be wrapped as well: what follows it without a blank line, if a blank line then comes. */
function withWrapped(lines: TextLines, end: number): number {
  const isWrapped = lines.kinds[end] === lineKinds.text && lines.kinds[end + 1] === lineKinds.blank;
  return isWrapped && lengthOf(lines, end - 1) > 60 ? end + 1 : end;
}

/** The line after all that begin with a label, from the line `index` on: what stands below a title may be one field. */
export function labelledEnd(lines: TextLines, index: number): number {
  let end = index;
  while (end < lines.count && end < index + blockLinesMax && lines.kinds[end] === lineKinds.text) {
    if (readRoles(lines, end) === 0) break;
    end += 1;
  }
  return end;
}
