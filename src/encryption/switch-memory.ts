/**
 * Write-ahead record of the switch: the row accepted last, and the rows that were sealed and handed to the database
 * since.
 *
 * A sealed row is valid wherever it turns up, also after the database refused to store it: a trigger or a dirty read
 * gives it to a writer of the database. So each row is recorded before its write (`by`: the process that writes it). It
 * counts on this host when that process reports its write, or died and left it in the table. Every other one is
 * withdrawn (`by` null), and the row in force is written again above it, which moves other hosts past it, too. Pure.
 */
import { initialSwitchRow, isSameSwitchRow, type SwitchRow } from '../secret/switch.ts';

/** `daemon`: the operation runner, which resumes what it began. `command`: a process that an operator watches. */
export type SwitchOrigin = 'daemon' | 'command';

/** A sealed row that was handed to the database, and not accepted yet. */
export type IssuedSwitch = {
  readonly revision: number;
  readonly seal: string;
  readonly origin: SwitchOrigin;
  /** Name of the worker that writes it; null: withdrawn. */
  readonly by: string | null;
};

export type SwitchMemory = {
  /** null: no row was ever accepted here. */
  readonly row: SwitchRow | null;
  /** What issued that row here; null: another host did. */
  readonly origin: SwitchOrigin | null;
  /** Oldest first; each revision is above that of the row. */
  readonly issued: readonly IssuedSwitch[];
};

export const emptySwitchMemory: SwitchMemory = { row: null, origin: null, issued: [] };

/** Only `enabling` rows while encryption is off add up: for any other one, the row in force is written again first. */
export const issuedMax = 8;

/** The memory with `row` as accepted; null: it is no news. `origin` undefined: that of the issued row. */
export function accepting(
  memory: SwitchMemory,
  row: SwitchRow,
  origin: SwitchOrigin | null | undefined,
): SwitchMemory | null {
  const { row: before } = memory;
  const isNews = before === null || (row.revision >= before.revision && !isSameSwitchRow(row, before));
  return isNews ? replacing(memory, row, origin) : null;
}

/** The memory with `row`, whatever was accepted before. */
export function replacing(memory: SwitchMemory, row: SwitchRow, origin?: SwitchOrigin | null): SwitchMemory {
  const issued = memory.issued.filter(({ revision }) => revision > row.revision);
  return { row, origin: origin === undefined ? (issuedOf(memory, row)?.origin ?? null) : origin, issued };
}

export function issuing(memory: SwitchMemory, row: SwitchRow, origin: SwitchOrigin, by: string): SwitchMemory {
  const one = { revision: row.revision, seal: row.seal ?? '', origin, by };
  return { ...memory, issued: [...memory.issued.slice(1 - issuedMax), one] };
}

/** null: no row of that seal is issued. */
export function withdrawing(memory: SwitchMemory, seal: string): SwitchMemory | null {
  if (!memory.issued.some((one) => one.seal === seal)) return null;
  return { ...memory, issued: memory.issued.map((one) => (one.seal === seal ? { ...one, by: null } : one)) };
}

/** The issued row that is this one; null: it was not issued here, or is accepted. */
export function issuedOf({ issued }: SwitchMemory, row: SwitchRow | null): IssuedSwitch | null {
  return issued.find(({ seal }) => seal === row?.seal) ?? null;
}

/** What issued `row` here; null: another host, or it is not known. */
export function originOf(memory: SwitchMemory, row: SwitchRow): SwitchOrigin | null {
  if (memory.row !== null && isSameSwitchRow(memory.row, row)) return memory.origin;
  return issuedOf(memory, row)?.origin ?? null;
}

/** The revision after `revision` and every issued one. */
export function revisionAbove(revision: number, { issued }: SwitchMemory): number {
  return Math.max(revision, ...issued.map((one) => one.revision)) + 1;
}

/**
 * How the row in force passes the withdrawn ones: `sealed` again above them; `as_it_is`, over one that stands in the
 * table: `off` is not sealed again, as one more valid `off` would be handed out. null: nothing to do, or another row is
 * in the table.
 */
export function renewalDue(memory: SwitchMemory, stored: SwitchRow | null): 'sealed' | 'as_it_is' | null {
  const inForce = memory.row ?? initialSwitchRow;
  const withdrawn = memory.issued.filter(({ by }) => by === null);
  if (withdrawn.length === 0 || stored === null) return null;
  const isWithdrawn = withdrawn.some(({ seal }) => seal === stored.seal);
  if (inForce.keyId === null) return isWithdrawn ? 'as_it_is' : null;
  return isWithdrawn || isSameSwitchRow(stored, inForce) ? 'sealed' : null;
}
