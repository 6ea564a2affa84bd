/**
 * Poison-message isolation: after a failed fetch, messages are fetched one UID at a time until the bad one is known,
 * which is then quarantined.
 *
 * A mailbox is in one of these states, from one poll to the next:
 *
 * - `normal`: messages are fetched in batches, and the next batch while this one is processed.
 * - `one-by-one`: a fetch of several messages failed. Up to `lastUid` every message is fetched alone and nothing runs
 *   beside it, so that the messages before the bad one are committed and the next failure identifies it.
 * - `slow`: the fetch of `uid` alone exceeded its time limit, `timeouts` times in a row. Each attempt gets twice the
 *   time of the attempt before, up to 16 times the limit. A slow message is never given up.
 * - `suspect`: the fetch of `uid` alone failed once.
 * - `confirm`: the fetch of `uid` alone failed twice in a row. The next attempt first fetches a control message,
 *   another message of the folder, in the same session. If the control message arrives and `uid` fails again, `uid` is
 *   given up. If the control message fails too, the server is at fault: the state is `suspect` again, and the next
 *   confirmation uses another control message.
 *
 * In every state but `normal`, messages up to `lastUid` are fetched one by one. A state ends when all new messages were
 * fetched, when the cursor has passed `lastUid`, and when the folder starts another epoch. States live in memory: a
 * restart begins with `normal`, which only repeats the search. The functions are pure; pipeline.ts applies them.
 */
import { type FailureCode, isFailure } from '../../errors.ts';
import type { Cursor } from '../model.ts';
import type { ListedMessage } from '../ports.ts';
import { chunksOf } from './batches.ts';

type OneByOne = { readonly folderEpoch: number; readonly lastUid: number };
/** `controlsTried`: control messages that were fetched in vain, so that the next confirmation takes another one. */
type Suspected = OneByOne & { readonly uid: number; readonly controlsTried: number };

export type IsolationState =
  | { readonly state: 'normal' }
  | (OneByOne & { readonly state: 'one-by-one' })
  | (Suspected & { readonly state: 'slow'; readonly timeouts: number })
  | (Suspected & { readonly state: 'suspect' })
  | (Suspected & { readonly state: 'confirm' });

/** The fetch in progress, or the one that failed. */
export type FetchAttempt = {
  /** The messages that the server was asked for; none while the pipeline itself rejects an answer. */
  readonly requested: readonly ListedMessage[];
  /**
   * The control message of a confirmation. `pending` after its own fetch failed; `absent`: gone, or without content.
   */
  readonly control: 'none' | 'pending' | 'absent' | 'delivered';
  /** The answer exceeded the time limit. */
  readonly isTooSlow: boolean;
};

export const normal: IsolationState = { state: 'normal' };
export const noAttempt: FetchAttempt = { requested: [], control: 'none', isTooSlow: false };

const doublingsMax = 4;

/** The state in which a round begins at `cursor`, given the one that the round before has left. */
export function stateAt(left: IsolationState, cursor: Cursor): IsolationState {
  if (left.state === 'normal') return normal;
  return left.folderEpoch !== cursor.folderEpoch || left.lastUid <= cursor.uid ? normal : left;
}

/** True while messages are fetched one by one: neither prefetch nor post-actions run beside the fetch. */
export function isOneByOne(state: IsolationState, { requested }: FetchAttempt): boolean {
  return state.state !== 'normal' && (requested[0]?.uid ?? 0) <= state.lastUid;
}

/** UIDs that are requested together: single ones up to `lastUid`, then at most `atOnce`. */
export function requestsOf(
  state: IsolationState,
  uids: readonly number[],
  atOnce: number,
): readonly (readonly number[])[] {
  if (state.state === 'normal') return chunksOf(uids, atOnce);
  const { lastUid } = state;
  const single = uids.filter((uid) => uid <= lastUid).map((uid) => [uid]);
  return [
    ...single,
    ...chunksOf(
      uids.filter((uid) => uid > lastUid),
      atOnce,
    ),
  ];
}

/** How many times the usual time limit these messages have. */
export function patienceFor(state: IsolationState, [first, ...more]: readonly ListedMessage[]): number {
  const isSlow = state.state === 'slow' && more.length === 0 && first?.uid === state.uid;
  return isSlow ? 2 ** Math.min(state.timeouts, doublingsMax) : 1;
}

/** The control message to fetch before `request`; null: none. `present`: all UIDs of the folder. */
export function controlFor(
  state: IsolationState,
  request: readonly number[],
  present: readonly number[],
): number | null {
  if (state.state !== 'confirm' || request[0] !== state.uid) return null;
  return alternating(
    present.filter((uid) => uid !== state.uid),
    state.controlsTried,
  );
}

/** The newest, the oldest, the newest but one and so on, then from the beginning. */
function alternating(uids: readonly number[], times: number): number | null {
  const at = times % Math.max(1, uids.length);
  return uids.at(at % 2 === 0 ? -1 - at / 2 : (at - 1) / 2) ?? null;
}

/** How a fetch may fail because of one message; nothing before the listing is among them. */
const fetchFailures: readonly FailureCode[] = [
  // Some servers are busy for ever at one message. Where the server itself is, the control message fails as well.
  ...(['server_busy', 'connection_lost', 'server_refused', 'server_protocol_error', 'server_timeout'] as const),
  // The IMAP library may fail at the content of one message.
  'unexpected',
];

/** True for a failure that one message may have caused. */
export function isFetchFailure(error: unknown): boolean {
  return isFailure(error, ...fetchFailures) && !accountLimits.includes(error.fields['response_code']);
}

/** Limits of the account, which say nothing about a message. */
const accountLimits: readonly unknown[] = ['OVERQUOTA', 'THROTTLED'];

/** True for a post-action that ended the session, or held it until preemption. A refusal leaves the session open. */
export function breaksSession(error: unknown): boolean {
  return isFailure(error, ...fetchFailures, 'interrupted');
}

/** The message that is given up because the attempt failed; null: none. */
export function messageToGiveUp(state: IsolationState, attempt: FetchAttempt): ListedMessage | null {
  const [first] = attempt.requested;
  if (first === undefined || !isAlone(state, attempt) || state.state !== 'confirm' || state.uid !== first.uid)
    return null;
  return attempt.control === 'delivered' && !attempt.isTooSlow ? first : null;
}

/** The state after the attempt failed. */
export function afterFetchFailure(state: IsolationState, attempt: FetchAttempt, folderEpoch: number): IsolationState {
  const [first] = attempt.requested;
  const last = attempt.requested.at(-1);
  if (first === undefined || last === undefined) return state;
  const range = { folderEpoch, lastUid: Math.max(last.uid, state.state === 'normal' ? 0 : state.lastUid) };
  if (messageToGiveUp(state, attempt) !== null)
    return range.lastUid > first.uid ? { state: 'one-by-one', ...range } : normal;
  if (!isAlone(state, attempt)) return { state: 'one-by-one', ...range };
  return suspectedAfter(state, attempt, { ...range, uid: first.uid });
}

function isAlone(state: IsolationState, attempt: FetchAttempt): boolean {
  return attempt.requested.length === 1 && isOneByOne(state, attempt);
}

/** The state after `found.uid` failed alone. */
function suspectedAfter(
  state: IsolationState,
  { control, isTooSlow }: FetchAttempt,
  found: OneByOne & { readonly uid: number },
): IsolationState {
  const before = 'uid' in state && state.uid === found.uid ? state : null;
  const suspected = { ...found, controlsTried: before?.controlsTried ?? 0 };
  // The message is tried again before the next control message: the control message may be the bad one.
  if (control === 'pending') return { state: 'suspect', ...suspected, controlsTried: suspected.controlsTried + 1 };
  if (isTooSlow) return { state: 'slow', ...suspected, timeouts: before?.state === 'slow' ? before.timeouts + 1 : 1 };
  const controlsTried = suspected.controlsTried + (control === 'absent' ? 1 : 0);
  const isRepeated = before?.state === 'suspect' || before?.state === 'confirm';
  return { state: isRepeated ? 'confirm' : 'suspect', ...suspected, controlsTried };
}

/** Isolation in one round: the state it began in and what it does now. Only pipeline.ts writes to it. */
export type Isolation = {
  readonly state: IsolationState;
  readonly cursor: Cursor;
  /** Post-actions run after the last fetch: in the round before, they broke the session ahead of the first one. */
  readonly runsPostActionsLast: boolean;
  attempt: FetchAttempt;
  /** UIDs from which a control message is chosen; listed in `confirm` only. */
  present: readonly number[];
  /** The folder has more messages than were listed: another round follows. */
  hasMore: boolean;
  /** A message was given up. The session is not used any more. */
  hasGivenUp: boolean;
  /** The next poll proceeds in another way, so that it may pass what ended this one. */
  changesCourse: boolean;
  /** Sets the state for the next round. */
  readonly leave: (state: IsolationState) => void;
  /** Makes the next round run its post-actions last. */
  readonly deferPostActions: () => void;
};

/** The isolation states of all mailboxes. */
export interface IsolationStates {
  begin(mailboxId: string, cursor: Cursor): Isolation;
}

export function createIsolationStates(): IsolationStates {
  const states = new Map<string, IsolationState>();
  const deferred = new Set<string>();
  return {
    begin(mailboxId, cursor) {
      const leave = (state: IsolationState): void => {
        if (state.state === 'normal') states.delete(mailboxId);
        else states.set(mailboxId, state);
      };
      const state = stateAt(states.get(mailboxId) ?? normal, cursor);
      leave(state);
      return {
        ...{ state, cursor, attempt: noAttempt, present: [], hasMore: false },
        ...{ hasGivenUp: false, changesCourse: false, leave },
        // For one round: where the fetch fails as well, each of the two is first in turn.
        runsPostActionsLast: deferred.delete(mailboxId),
        deferPostActions: () => void deferred.add(mailboxId),
      };
    },
  };
}
