/**
 * What a person does with one mail in quarantine, and how that is told: the same for the commands and the admin page.
 *
 * What fails for one mail because of its server or its source is a result; trouble with the database or the disk is thrown,
 * as it is trouble for every other mail as well.
 */

import { asFailure, type Failure } from '../../errors.ts';
import type { Author } from '../model.ts';
import type { HeldMail, QuarantineStore } from '../stores.ts';
import { heldId } from './read.ts';
import { reasonMeaning } from './reasons.ts';
import type { Resolver, Settled, Way } from './resolve.ts';

/** `discarded`: given up, without a ticket. `failed`: it still waits, or is discarded as before. */
export type SettleResult =
  | Settled
  | { readonly what: 'failed'; readonly failure: Failure }
  | { readonly what: 'discarded' };

type SettlePorts = {
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

/**
 * What one command, or one click on the admin page, did with mails in quarantine, counted: it becomes one row of the audit,
 * which is only ever added to.
 */

type SettleAction = 'quarantine.retried' | 'quarantine.released' | 'quarantine.discarded';

/** What a person can do with a mail in quarantine, and what the audit calls it. */
export const settleActions = {
  retry: 'quarantine.retried',
  release: 'quarantine.released',
  discard: 'quarantine.discarded',
} as const satisfies Readonly<Record<string, SettleAction>>;

type AuditRow = Author & {
  readonly action: SettleAction;
  readonly keyId: null;
  readonly nextKeyId: null;
  readonly mailboxId: string | null;
  readonly detail: string;
};

type SettleAudit = { audit(rows: readonly AuditRow[]): Promise<void> };

export type SettleTally = {
  readonly mails: () => number;
  /** Names of results, with how often. */
  readonly results: ReadonlyMap<string, number>;
  add(mail: HeldMail, result: string): void;
  /** Writes the row; none when nothing was done. */
  write(store: SettleAudit, author: Author, action: SettleAction): Promise<void>;
};

const idsMax = 10;

export function createSettleTally(): SettleTally {
  const results = new Map<string, number>();
  const reasons = new Map<string, number>();
  const mailboxes = new Set<string>();
  const ids: string[] = [];
  let mails = 0;
  return {
    mails: () => mails,
    results,
    add(mail, result) {
      mails += 1;
      results.set(result, (results.get(result) ?? 0) + 1);
      reasons.set(mail.reason, (reasons.get(mail.reason) ?? 0) + 1);
      mailboxes.add(mail.mailboxId);
      if (ids.length < idsMax) ids.push(heldId(mail));
    },
    async write(store, author, action) {
      if (mails === 0) return;
      const [mailboxId = null] = mailboxes.size === 1 ? mailboxes : [];
      const detail = `${countsText(reasons)}: ${countsText(results)}: ${ids.join(', ')}${mails > idsMax ? ', …' : ''}`;
      await store.audit([{ ...author, action, keyId: null, nextKeyId: null, mailboxId, detail }]);
    },
  };
}

/** `2 too_large, 1 mail_loop`. */
export function countsText(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${count} ${name}`).join(', ');
}
