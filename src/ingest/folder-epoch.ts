/**
 * The numbering of a folder: which UIDs can be compared with each other.
 *
 * A server promises that a UID of one UIDVALIDITY is never used again (RFC 9051 section 2.3.1.1), and a folder that is
 * restored from a backup breaks that. So a numbering is UIDVALIDITY and life: how often the folder was found set back
 * before. Both are kept as one number, the UIDVALIDITY itself in the first life, which nearly every folder stays in.
 *
 * It is promised for one folder alone: those of two accounts may well have the same UIDVALIDITY. So a cursor is kept with
 * the folder that it is of, for the day when the row of its mailbox points to another one.
 */
import { createHash } from 'node:crypto';
import type { Connection } from './model.ts';

/** SHA-256, in hex, of what tells folders apart: server, account and name (INBOX in any case, RFC 9051 section 5.1). */
export function folderKey({ host, port, user, folder }: Connection): string {
  const name = folder.toUpperCase() === 'INBOX' ? 'INBOX' : folder;
  return createHash('sha256')
    .update(JSON.stringify([host.toLowerCase(), port, user, name]))
    .digest('hex');
}

const validities = 2 ** 32;

/** The one number that cursors and outcomes are kept under. */
export function numberingOf(uidValidity: number, life: number): number {
  return uidValidity + life * validities;
}

/** What the server called it. */
export function uidValidityOf(numbering: number): number {
  return numbering % validities;
}

export function lifeOf(numbering: number): number {
  return Math.floor(numbering / validities);
}

/** `1700000000`, and `1700000000.1` in the second life: as the ids of `quarantine` have it. */
export function numberingText(numbering: number): string {
  const life = lifeOf(numbering);
  return life === 0 ? `${numbering}` : `${uidValidityOf(numbering)}.${life}`;
}

/** The numbering that such a text names; null for what names none. */
export function readNumbering(text: string): number | null {
  const [, validity = '', life = '0'] = /^([1-9]\d{0,9})(?:\.(\d{1,6}))?$/u.exec(text) ?? [];
  const uidValidity = Number(validity);
  return uidValidity >= 1 && uidValidity < validities ? numberingOf(uidValidity, Number(life)) : null;
}
