/**
 * Quarantine actions of an operator (requeue, release, discard), their results as text, and their audit row.
 *
 * Commands and admin page share them. What fails for one message because of its server or its source is a result; a
 * failure of the database or the disk is thrown, as it affects every other message as well.
 */
import { asFailure, type Failure } from '../../errors.ts';
import { withQuarantineId } from '../../text/hints.ts';
import type { AuditActor } from '../model.ts';
import type { QuarantinedMessage, QuarantineStore } from '../stores.ts';
import { quarantineId } from './read.ts';
import { describeReason } from './reasons.ts';
import type { Resolution, ResolveMode, Resolver } from './resolve.ts';

/** `discarded`: given up, without a ticket. `failed`: it still waits, or is discarded as before. */
export type ResolveResult =
  | Resolution
  | { readonly what: 'failed'; readonly failure: Failure }
  | { readonly what: 'discarded' };

type ResolvePorts = {
  readonly resolve: Resolver['resolve'];
  readonly store: Pick<QuarantineStore, 'discard' | 'undiscard'>;
};

/** A discarded message waits again during the attempt, and is discarded again when that stores nothing. */
export async function resolveOne(
  ports: ResolvePorts,
  message: QuarantinedMessage,
  mode: ResolveMode,
): Promise<ResolveResult> {
  if (message.discardedAtMs === null) return await tryToResolve(ports, message, mode);
  if (!(await ports.store.undiscard(message))) return { what: 'resolved' };
  const result = await tryToResolve(ports, message, mode);
  if (result.what === 'gone' || result.what === 'failed') await ports.store.discard(message);
  return result;
}

async function tryToResolve(
  { resolve }: ResolvePorts,
  message: QuarantinedMessage,
  mode: ResolveMode,
): Promise<ResolveResult> {
  try {
    return await resolve(message, mode);
  } catch (error) {
    const failure = asFailure(error);
    if (failure.domain === 'database' || failure.domain === 'disk' || failure.code === 'unexpected') throw error;
    return { what: 'failed', failure };
  }
}

/** Changes nothing on the server. */
export async function discardOne(
  store: Pick<QuarantineStore, 'discard'>,
  message: QuarantinedMessage,
): Promise<ResolveResult & { readonly what: 'discarded' | 'resolved' }> {
  return { what: (await store.discard(message)) ? 'discarded' : 'resolved' };
}

const resolvedBy: Readonly<Record<ResolveResult['what'], boolean>> = {
  stored: true,
  quarantined: false,
  gone: false,
  resolved: true,
  failed: false,
  discarded: true,
};

/** True when the message no longer waits. */
export function isResolved({ what }: ResolveResult): boolean {
  return resolvedBy[what];
}

/** Groups equal results in counts and in the audit. */
export function resultName(result: ResolveResult): string {
  switch (result.what) {
    case 'stored':
      return result.outcome;
    case 'quarantined':
      return `still in quarantine (${result.reason})`;
    case 'gone':
      return 'source missing';
    case 'resolved':
      return 'already resolved';
    case 'failed':
      return `failed (${result.failure.code})`;
    case 'discarded':
      return 'discarded';
  }
}

/** The operator's next step; null when none is needed. `message`: for its command; null: it is one for several. */
export function resultHint(result: ResolveResult, message: QuarantinedMessage | null): string | null {
  if (result.what === 'failed') return result.failure.hint;
  if (result.what !== 'quarantined') return null;
  const { hint } = describeReason(result.reason);
  return `${result.reason}: ${message === null ? hint : withQuarantineId(hint, quarantineId(message))}`;
}

const forms: Readonly<Record<(Resolution & { what: 'stored' })['form'], string>> = {
  whole: '',
  attached: ', with the message attached as original.eml',
  header: ', from its header: the content was never fetched, and is not on the server',
};

export function resultSentence(result: ResolveResult): string {
  switch (result.what) {
    case 'stored': {
      const ticket = result.ref === null ? '' : ` ${result.ref}`;
      return `${result.outcome}${ticket}${forms[result.form]}`;
    }
    case 'quarantined':
      return `still in quarantine (${result.reason})`;
    case 'gone':
      return 'still in quarantine: its source is not stored, and not on the server under its UID; quarantine discard gives it up';
    case 'resolved':
      return 'it was already resolved elsewhere';
    case 'failed':
      return result.failure.message;
    case 'discarded':
      return 'discarded';
  }
}

type QuarantineAuditAction = 'quarantine.requeued' | 'quarantine.released' | 'quarantine.discarded';

/** The action in the audit log for what an operator does. */
export const quarantineActions = {
  requeue: 'quarantine.requeued',
  release: 'quarantine.released',
  discard: 'quarantine.discarded',
} as const satisfies Readonly<Record<ResolveMode | 'discard', QuarantineAuditAction>>;

type AuditRow = AuditActor & {
  readonly action: QuarantineAuditAction;
  readonly keyId: null;
  readonly nextKeyId: null;
  readonly mailboxId: string | null;
  readonly detail: string;
};

type AuditStore = { audit(rows: readonly AuditRow[]): Promise<void> };

/** Counts what one command, or one click on the admin page, did; written as one row of the audit log. */
export type ResolveTally = {
  readonly messages: () => number;
  /** How often each `resultName` occurred. */
  readonly results: ReadonlyMap<string, number>;
  add(message: QuarantinedMessage, result: string): void;
  /** Writes the row; none when nothing was done. */
  write(store: AuditStore, actor: AuditActor, action: QuarantineAuditAction): Promise<void>;
};

const idsMax = 10;

export function createResolveTally(): ResolveTally {
  const results = new Map<string, number>();
  const reasons = new Map<string, number>();
  const mailboxes = new Set<string>();
  const ids: string[] = [];
  let messages = 0;
  return {
    messages: () => messages,
    results,
    add(message, result) {
      messages += 1;
      results.set(result, (results.get(result) ?? 0) + 1);
      reasons.set(message.reason, (reasons.get(message.reason) ?? 0) + 1);
      mailboxes.add(message.mailboxId);
      if (ids.length < idsMax) ids.push(quarantineId(message));
    },
    async write(store, actor, action) {
      if (messages === 0) return;
      const [mailboxId = null] = mailboxes.size === 1 ? mailboxes : [];
      const more = messages > idsMax ? ', …' : '';
      const detail = `${countsText(reasons)}: ${countsText(results)}: ${ids.join(', ')}${more}`;
      await store.audit([{ ...actor, action, keyId: null, nextKeyId: null, mailboxId, detail }]);
    },
  };
}

/** `2 too_large, 1 mail_loop`. */
export function countsText(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${count} ${name}`).join(', ');
}
