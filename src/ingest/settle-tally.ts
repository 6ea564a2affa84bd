/**
 * What one command, or one click on the admin page, did with mails in quarantine, counted: it becomes one row of the audit,
 * which is only ever added to.
 */
import type { Author } from './mailbox.ts';
import { heldId } from './quarantine-id.ts';
import type { HeldMail } from './quarantine-ports.ts';

export type SettleAction = 'quarantine.retried' | 'quarantine.released' | 'quarantine.discarded';

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

export type SettleAudit = { audit(rows: readonly AuditRow[]): Promise<void> };

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
