/**
 * What a person does with one mail in quarantine, and how that is told: the same for the commands and the admin page.
 *
 * What fails for one mail because of its server or its source is a result; trouble with the database or the disk is thrown,
 * as it is trouble for every other mail as well.
 */
import { asFailure, type Failure } from '../errors.ts';
import type { Resolver, Settled, Way } from './quarantine.ts';
import type { HeldMail, QuarantineStore } from './quarantine-ports.ts';
import { reasonMeaning } from './quarantine-reasons.ts';

/** `discarded`: given up, without a ticket. `failed`: it still waits, or is discarded as before. */
export type SettleResult =
  | Settled
  | { readonly what: 'failed'; readonly failure: Failure }
  | { readonly what: 'discarded' };

export type SettlePorts = {
  readonly settle: Resolver['settle'];
  readonly store: Pick<QuarantineStore, 'discardHeld' | 'holdDiscarded'>;
};

/** One that was discarded waits again while that is tried, and stays discarded where nothing came of it. */
export async function settleOne(ports: SettlePorts, mail: HeldMail, way: Way): Promise<SettleResult> {
  if (mail.discardedAtMs === null) return await trySettling(ports, mail, way);
  if (!(await ports.store.holdDiscarded(mail))) return { what: 'resolved' };
  const result = await trySettling(ports, mail, way);
  if (result.what === 'gone' || result.what === 'failed') await ports.store.discardHeld(mail);
  return result;
}

async function trySettling({ settle }: SettlePorts, mail: HeldMail, way: Way): Promise<SettleResult> {
  try {
    return await settle(mail, way);
  } catch (error) {
    const failure = asFailure(error);
    if (/^(?:database_|disk_|unexpected)/u.test(failure.code)) throw error;
    return { what: 'failed', failure };
  }
}

/** Nothing is done on the server. */
export async function discardOne(
  store: Pick<QuarantineStore, 'discardHeld'>,
  mail: HeldMail,
): Promise<SettleResult & { readonly what: 'discarded' | 'resolved' }> {
  return { what: (await store.discardHeld(mail)) ? 'discarded' : 'resolved' };
}

/** It does not wait any more. */
export function isOver({ what }: SettleResult): boolean {
  return what === 'taken_in' || what === 'resolved' || what === 'discarded';
}

/** For counting. */
export function resultName(result: SettleResult): string {
  switch (result.what) {
    case 'taken_in':
      return result.outcome;
    case 'held':
      return `still in quarantine (${result.reason})`;
    case 'gone':
      return 'without a source';
    case 'resolved':
      return 'resolved by somebody else';
    case 'failed':
      return `failed (${result.failure.code})`;
    case 'discarded':
      return 'discarded';
  }
}

/** What helps; null where nothing needs to. */
export function resultHint(result: SettleResult): string | null {
  if (result.what === 'failed') return result.failure.hint;
  return result.what === 'held' ? `${result.reason}: ${reasonMeaning(result.reason).hint}` : null;
}

const forms: Readonly<Record<(Settled & { what: 'taken_in' })['form'], string>> = {
  whole: '',
  attached: ', with the mail attached as original.eml',
  header: ', from its header: the content was never fetched, and is not on the server',
};

export function resultSentence(result: SettleResult): string {
  switch (result.what) {
    case 'taken_in': {
      const ticket = result.ref === null ? '' : ` ${result.ref}`;
      return `${result.outcome}${ticket}${forms[result.form]}`;
    }
    case 'held':
      return `still in quarantine (${result.reason})`;
    case 'gone':
      return 'still in quarantine: its source is not kept, and not under its number on the server; quarantine discard ends that';
    case 'resolved':
      return 'somebody else has resolved it';
    case 'failed':
      return result.failure.message;
    case 'discarded':
      return 'discarded';
  }
}
