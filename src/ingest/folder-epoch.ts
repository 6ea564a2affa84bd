/**
 * Folder epoch: the span in which the UIDs of a folder identify the same messages, as one number.
 *
 * A server must not reuse a UID within one UIDVALIDITY (RFC 9051 section 2.3.1.1); a folder restored from a backup
 * violates that. So an epoch is UIDVALIDITY plus generation: how often the folder was found restored before. Both are
 * stored as one number, UIDVALIDITY + generation * 2^32, which is the UIDVALIDITY itself for nearly every folder.
 *
 * Two folders may have the same UIDVALIDITY. So a cursor is stored with the key of its folder, in case the mailbox row
 * is changed to another one.
 */
import { createHash } from 'node:crypto';
import type { Connection } from './model.ts';

/** SHA-256 in hex of server, account and folder name (INBOX in any case, RFC 9051 section 5.1): identifies a folder. */
export function folderKey({ host, port, user, folder }: Connection): string {
  const name = folder.toUpperCase() === 'INBOX' ? 'INBOX' : folder;
  return createHash('sha256')
    .update(JSON.stringify([host.toLowerCase(), port, user, name]))
    .digest('hex');
}

/** SHA-256 in hex of server and account: folders of one account hold copies of one message, as All Mail does. */
export function accountKey({ host, port, user }: Connection): string {
  return createHash('sha256')
    .update(JSON.stringify([host.toLowerCase(), port, user]))
    .digest('hex');
}

const uidValidities = 2 ** 32;

export function epochOf(uidValidity: number, generation: number): number {
  return uidValidity + generation * uidValidities;
}

/** The UIDVALIDITY that the server announced. */
export function uidValidityOf(folderEpoch: number): number {
  return folderEpoch % uidValidities;
}

/** How often the folder was restored from a backup before this epoch. */
export function generationOf(folderEpoch: number): number {
  return Math.floor(folderEpoch / uidValidities);
}

/** `1700000000`, or `1700000000.1` in the first generation after a restore; part of quarantine ids. */
export function epochText(folderEpoch: number): string {
  const generation = generationOf(folderEpoch);
  return generation === 0 ? `${folderEpoch}` : `${uidValidityOf(folderEpoch)}.${generation}`;
}

/** The reverse of `epochText`; null when the text is no epoch. */
export function parseEpoch(text: string): number | null {
  const [, validity = '', generation = '0'] = /^([1-9]\d{0,9})(?:\.(\d{1,6}))?$/u.exec(text) ?? [];
  const uidValidity = Number(validity);
  return uidValidity >= 1 && uidValidity < uidValidities ? epochOf(uidValidity, Number(generation)) : null;
}
