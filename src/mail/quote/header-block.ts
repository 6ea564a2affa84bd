/**
 * Header blocks in text: the fields (From, Sent, To, Subject) that Outlook and others put above the message replied to.
 *
 * A block has the sender and two more fields of different meaning, close together. One such line alone, or the fields
 * of a contact form, are no block. Each line is read once; at most 5,000 blocks are tried. Never fails.
 */
import { lengthOf, lineKinds, startOf, type TextLines } from './lines.ts';
import { firstCharacter, lowered } from './titles.ts';
import { type HeaderRole, headerLabels } from './words.ts';

const labelLengthMax = 24;
const blockLinesMax = 24;
/** Lines between two fields: a long list of recipients is wrapped. */
const wrappedLinesMax = 6;
/** A text with more labels is data; the rest of it is not searched. */
const triesMax = 5_000;

/** One bit for each role; a label may have several. `read` marks a line that was read. */
const roleBits: Readonly<Record<HeaderRole, number>> = { from: 1, sent: 2, to: 4, subject: 8, other: 16 };
const read = 32;
const rolesByLabel = new Map<string, number>();
for (const [role, row] of headerLabels) {
  for (const label of row.split('|')) rolesByLabel.set(label, (rolesByLabel.get(label) ?? 0) | roleBits[role]);
}

const formatting = /[*_\p{Cf}]/gu;

/** The line after a header block that begins with the line `index`; -1 for none. */
export type HeaderBlockFinder = (index: number) => number;

/** Finds header blocks; each line is read once, however many blocks it could belong to. */
export function headerBlockFinder(lines: TextLines): HeaderBlockFinder {
  let rolesOfLines: Uint8Array | null = null;
  let tries = 0;
  const rolesAt: RolesAt = (index) => {
    if (lines.kinds[index] !== lineKinds.text) return 0;
    rolesOfLines ??= new Uint8Array(lines.count);
    const before = rolesOfLines[index] ?? 0;
    if (before !== 0) return before - read;
    const found = readRoles(lines, index);
    rolesOfLines[index] = found + read;
    return found;
  };
  return (index) => {
    // Nearly all lines have no label, and are not remembered.
    const first = rolesOfLines === null ? readRoles(lines, index) : rolesAt(index);
    if (first === 0 || tries >= triesMax) return -1;
    tries += 1;
    return blockEnd(lines, index, rolesAt);
  };
}

type RolesAt = (index: number) => number;

/** Roles of the label with which a line begins; 0 for none. */
function readRoles(lines: TextLines, index: number): number {
  const start = firstCharacter(lines, index);
  const limit = Math.min(start + labelLengthMax, startOf(lines, index + 1));
  for (let at = start; at < limit; at += 1) {
    const code = lines.text.charCodeAt(at);
    if (code !== 58 && code !== 0xff1a) continue;
    const label = lines.text.slice(start, at).replace(formatting, '').replaceAll('\u00a0', ' ').trim();
    return rolesByLabel.get(lowered(label).replace(/\s{2,}/gu, ' ')) ?? 0;
  }
  return 0;
}

function blockEnd(lines: TextLines, index: number, rolesAt: RolesAt): number {
  let found = 0;
  let count = 0;
  let end = index;
  let wrappedLines = 0;
  for (let at = index; at < lines.count && at < index + blockLinesMax; at += 1) {
    const roles = rolesAt(at);
    if (roles === 0) {
      if (wrappedLines >= wrappedLinesMax || !continuesBlock(lines, at, rolesAt)) break;
      wrappedLines += 1;
      continue;
    }
    found |= roles;
    count += 1;
    end = at + 1;
    wrappedLines = 0;
  }
  const others =
    Number((found & roleBits.sent) !== 0) +
    Number((found & roleBits.to) !== 0) +
    Number((found & roleBits.subject) !== 0);
  return count >= 3 && (found & roleBits.from) !== 0 && others >= 2 ? withWrapped(lines, end) : -1;
}

/** True for a blank line between two fields (text made of HTML), and for the rest of a wrapped field. */
function continuesBlock(lines: TextLines, index: number, rolesAt: RolesAt): boolean {
  const kind = lines.kinds[index];
  return kind === lineKinds.blank ? rolesAt(index + 1) !== 0 : kind !== lineKinds.quote;
}

/** Includes the second line of a wrapped last field, which a blank line must follow. */
function withWrapped(lines: TextLines, end: number): number {
  const isWrapped = lines.kinds[end] === lineKinds.text && lines.kinds[end + 1] === lineKinds.blank;
  return isWrapped && lengthOf(lines, end - 1) > 60 ? end + 1 : end;
}

/** The line after all lines with a label, from the line `index` on: below a title there may be a single field. */
export function labelledEnd(lines: TextLines, index: number): number {
  let end = index;
  while (end < lines.count && end < index + blockLinesMax && lines.kinds[end] === lineKinds.text) {
    if (readRoles(lines, end) === 0) break;
    end += 1;
  }
  return end;
}
