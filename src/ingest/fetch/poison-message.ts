/**
 * What a visit does otherwise after one that broke at a mail, or at what was to be done on the server.
 *
 * When a fetch fails, the next visit is careful: up to the last mail that was asked for they are fetched one by one,
 * and nothing goes on beside, so that those before the bad one are stored and the bad one is known. That one is given up
 * when it has failed alone in three visits in a row, in the third of them just after another mail of the folder came in
 * the same session: a server that is ill delivers neither. A line that is too slow is given more time instead. Kept in
 * memory: a restart only begins the search anew.
 */
import { type FailureCode, isFailure } from '../../errors.ts';
import type { Cursor } from '../model.ts';
import type { Listed } from '../ports.ts';
import { chunksOf } from './batches.ts';

/** How a fetch may fail because of one mail. `server_busy` is no such thing, nor is what fails before the listing. */
const fetchCodes: readonly FailureCode[] = [
  ...(['connection_lost', 'server_refused', 'server_nonsense', 'server_timeout'] as const),
  // What the library takes for impossible may be in one mail alone.
  'unexpected',
];
/** How an action breaks the session; a refusal that leaves it open is not among them. */
const breakingCodes: readonly FailureCode[] = [...fetchCodes, 'server_busy'];
/** The try after so many failures in a row is the last. */
const aloneMax = 2;
const doublingsMax = 4;

/** What is known of a folder at which a fetch failed. */
type Doubt = {
  readonly numbering: number;
  /** Up to this UID mails are fetched one by one. */
  readonly end: number;
  /** The one at which a careful visit failed; null: none yet. */
  readonly uid: number | null;
  /** How often in a row it failed alone. */
  readonly alone: number;
  /** How often in a row it was too slow. */
  readonly late: number;
  /** How many other mails were tried in vain. */
  readonly others: number;
};

/** For one round. */
export interface Narrowing {
  /** One thing at a time, for now. */
  readonly isCareful: boolean;
  /** What is to be done on the server comes after all mails: it broke the session before them the last time. */
  readonly actsLast: boolean;
  /** The listing is to begin above this UID. */
  readonly listFrom: number;
  /** Of what was listed, the new mails. */
  newOf(listed: readonly number[]): readonly number[];
  /** What is asked for at once, at most `atOnce`. */
  pieces(uids: readonly number[], atOnce: number): readonly (readonly number[])[];
  /** How many times longer than usual a mail may take. */
  patienceFor(uid: number): number;
  /** Another mail, that is to be fetched just before `piece`; null: none, as usual. */
  otherFor(piece: readonly number[]): number | null;
  /** The other one is asked for; it came. */
  asksOther(): void;
  otherCame(): void;
  /** These are asked for now; none: what is thrown from now on is our own verdict. */
  asks(mails: readonly Listed[]): void;
  /** What was asked for flows, and is too slow. */
  isLate(): void;
  /** Notes what ended the arrivals. The mail that is given up; null: none, and the round fails. */
  failed(error: unknown): Listed | null;
  /** An action failed. */
  actionFailed(error: unknown): void;
  /** All that is new has come. */
  passed(): void;
  /** A mail was given up: the session has done its part. */
  readonly isSpent: boolean;
  /** The next visit goes another way than this one. */
  readonly isSetBack: boolean;
}

export interface Narrowings {
  /** For a round from `cursor` on. */
  of(mailboxId: string, cursor: Cursor): Narrowing;
}

export function createNarrowings(): Narrowings {
  const doubts = new Map<string, Doubt>();
  const broken = new Set<string>();
  return {
    of: (mailboxId, cursor) => {
      // Once: where the arrivals fail as well, each has its turn.
      const actsLast = broken.delete(mailboxId);
      const keep = (doubt: Doubt | null) => {
        if (doubt === null) doubts.delete(mailboxId);
        else doubts.set(mailboxId, doubt);
      };
      const kept = doubts.get(mailboxId);
      const isOver = kept === undefined || kept.numbering !== cursor.uidValidity || kept.end <= cursor.uid;
      if (isOver) keep(null);
      return new Round(isOver ? null : kept, cursor, actsLast, { keep, broke: () => void broken.add(mailboxId) });
    },
  };
}

type Notes = { readonly keep: (doubt: Doubt | null) => void; readonly broke: () => void };

class Round implements Narrowing {
  readonly #doubt: Doubt | null;
  readonly #cursor: Cursor;
  readonly #notes: Notes;
  readonly actsLast: boolean;
  isSpent = false;
  isSetBack = false;
  #listed: readonly number[] = [];
  #asked: readonly Listed[] = [];
  #other: 'none' | 'asked' | 'absent' | 'came' = 'none';
  #isLate = false;

  constructor(doubt: Doubt | null, cursor: Cursor, actsLast: boolean, notes: Notes) {
    this.#doubt = doubt;
    this.#cursor = cursor;
    this.actsLast = actsLast;
    this.#notes = notes;
  }

  get isCareful(): boolean {
    return this.#doubt !== null && (this.#asked[0]?.uid ?? 0) <= this.#doubt.end;
  }

  get listFrom(): number {
    return this.#isLastTry ? 0 : this.#cursor.uid;
  }

  newOf(listed: readonly number[]): readonly number[] {
    if (!this.#isLastTry) return listed;
    this.#listed = listed;
    return listed.filter((uid) => uid > this.#cursor.uid);
  }

  pieces(uids: readonly number[], atOnce: number): readonly (readonly number[])[] {
    const end = this.#doubt?.end ?? 0;
    return [...uids.filter((uid) => uid <= end).map((uid) => [uid]), ...chunksOf(above(uids, end), atOnce)];
  }

  patienceFor(uid: number): number {
    return this.#doubt?.uid === uid ? 2 ** Math.min(this.#doubt.late, doublingsMax) : 1;
  }

  otherFor(piece: readonly number[]): number | null {
    if (!this.#isLastTry || this.#doubt === null || piece[0] !== this.#doubt.uid) return null;
    return otherOf(
      this.#listed.filter((uid) => uid !== piece[0]),
      this.#doubt.others,
    );
  }

  asksOther(): void {
    this.#other = 'asked';
  }

  otherCame(): void {
    this.#other = 'came';
  }

  asks(mails: readonly Listed[]): void {
    if (this.#other === 'asked') this.#other = 'absent';
    this.#asked = mails;
  }

  isLate(): void {
    this.#isLate = true;
  }

  failed(error: unknown): Listed | null {
    const [first] = this.#asked;
    const last = this.#asked.at(-1);
    if (first === undefined || last === undefined || !isFailure(error, ...fetchCodes)) return null;
    this.isSetBack = true;
    const end = Math.max(last.uid, this.#doubt?.end ?? 0);
    const found: Doubt = { numbering: this.#cursor.uidValidity, end, uid: null, alone: 0, late: 0, others: 0 };
    const isAlone = this.isCareful && this.#asked.length === 1;
    if (isAlone && this.#other === 'came' && !this.#isLate) {
      this.isSpent = true;
      this.#notes.keep(end > first.uid ? found : null);
      return first;
    }
    const before = this.#doubt?.uid === first.uid ? this.#doubt : { ...found, uid: first.uid };
    this.#notes.keep(isAlone ? { ...this.#after(before), end } : found);
    return null;
  }

  actionFailed(error: unknown): void {
    if (!isFailure(error, ...breakingCodes)) return;
    this.#notes.broke();
    this.isSetBack ||= !this.actsLast;
  }

  passed(): void {
    if (!this.isSpent) this.#notes.keep(null);
  }

  get #isLastTry(): boolean {
    return this.#doubt !== null && this.#doubt.alone >= aloneMax;
  }

  #after(before: Doubt): Doubt {
    const { alone, late, others } = before;
    // Before another one is tried, this one is: it may be the other that is bad.
    if (this.#other === 'asked') return { ...before, alone: aloneMax - 1, others: others + 1 };
    if (this.#isLate) return { ...before, alone: 0, late: late + 1 };
    const isOtherAbsent = this.#other === 'absent';
    return { ...before, alone: Math.min(alone + 1, aloneMax), late: 0, others: others + (isOtherAbsent ? 1 : 0) };
  }
}

function above(uids: readonly number[], end: number): readonly number[] {
  return end === 0 ? uids : uids.filter((uid) => uid > end);
}

/** The newest, the oldest, the newest but one and so on, time after time. */
function otherOf(uids: readonly number[], times: number): number | null {
  const at = times % Math.max(1, uids.length);
  return uids.at(at % 2 === 0 ? -1 - at / 2 : (at - 1) / 2) ?? null;
}
