import { describe, expect, test } from 'vitest';
import { Failure, type FailureCode } from '../../../src/errors.ts';
import {
  afterFetchFailure,
  breaksSession,
  controlFor,
  createIsolationStates,
  type FetchAttempt,
  type IsolationState,
  isFetchFailure,
  isOneByOne,
  messageToGiveUp,
  noAttempt,
  normal,
  patienceFor,
  requestsOf,
  stateAt,
} from '../../../src/ingest/fetch/poison-message.ts';

const epoch = 7;
const messages = (uids: readonly number[]) => uids.map((uid) => ({ uid, sizeBytes: 10 * uid, receivedAtMs: null }));
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index);
const failed = (uids: readonly number[], given: Partial<FetchAttempt> = {}): FetchAttempt => ({
  ...noAttempt,
  ...given,
  requested: messages(uids),
});
/** The state after attempts at these UIDs failed, one poll after the other. */
const afterFailures = (...attempts: readonly FetchAttempt[]): IsolationState =>
  attempts.reduce((state, attempt) => afterFetchFailure(state, attempt, epoch), normal);
const failures = (...codes: readonly FailureCode[]) => codes.map((code) => new Failure(code, 'broken'));

/** UID 4 failed in a batch up to 6, then alone twice. */
const confirming = afterFailures(failed(range(4, 6)), failed([4]), failed([4]));

describe('a mailbox in the state normal', () => {
  test('is fetched in batches, with the usual time and without a control message', () => {
    expect(requestsOf(normal, range(4, 8), 3)).toEqual([
      [4, 5, 6],
      [7, 8],
    ]);
    expect([patienceFor(normal, messages([4])), controlFor(normal, [4], range(1, 9))]).toEqual([1, null]);
    expect(isOneByOne(normal, failed([4]))).toBe(false);
  });

  test('leaves it only for failures that one message may have caused', () => {
    const [lost, refused, wrong, slow, defect] = failures(
      ...(['connection_lost', 'server_refused', 'server_protocol_error', 'server_timeout', 'unexpected'] as const),
    );
    expect([lost, refused, wrong, slow, defect].every(isFetchFailure)).toBe(true);
    const others = failures('interrupted', 'lease_lost', 'database_unavailable', 'parser_unavailable');
    expect(others.some(isFetchFailure)).toBe(false);
    const busy = (code: string) => new Failure('server_busy', 'no', { fields: { response_code: code } });
    expect(['UNAVAILABLE', 'INUSE', 'LIMIT'].map(busy).every(isFetchFailure)).toBe(true);
    expect(['OVERQUOTA', 'THROTTLED'].map(busy).some(isFetchFailure)).toBe(false);
  });

  test('stays in it after a failure before anything was requested', () => {
    expect(afterFailures(noAttempt)).toEqual(normal);
    expect(messageToGiveUp(confirming, { ...noAttempt, control: 'delivered' })).toBeNull();
  });
});

describe('after a fetch of several messages failed', () => {
  test('messages are fetched one by one up to the last one requested, and in batches from there', () => {
    const state = afterFailures(failed([1, 2, 3]));
    expect(state).toEqual({ state: 'one-by-one', folderEpoch: epoch, lastUid: 3 });
    expect(requestsOf(state, range(1, 8), 3)).toEqual([[1], [2], [3], [4, 5, 6], [7, 8]]);
    expect([noAttempt, failed([3]), failed([4])].map((attempt) => isOneByOne(state, attempt))).toEqual([
      true,
      true,
      false,
    ]);
  });

  test('a failure beyond them extends the range', () => {
    const state = afterFailures(failed([1, 2]), failed([5, 6]));
    expect(requestsOf(state, range(1, 8), 500)).toEqual([...range(1, 6).map((uid) => [uid]), [7, 8]]);
  });

  test('the state ends when the cursor has passed the range, and with the epoch of the folder', () => {
    const state = afterFailures(failed([1, 2, 3]));
    expect(stateAt(state, { folderEpoch: epoch, uid: 2 })).toEqual(state);
    expect(stateAt(state, { folderEpoch: epoch, uid: 3 })).toEqual(normal);
    expect(stateAt(state, { folderEpoch: 8, uid: 0 })).toEqual(normal);
  });

  test('a single message that fails beyond the range is not taken for a suspect', () => {
    expect(afterFailures(failed([1, 2]), failed([5]))).toEqual({ state: 'one-by-one', folderEpoch: epoch, lastUid: 5 });
  });
});

describe('a message whose fetch fails', () => {
  test('is suspect after the first failure alone, to be confirmed after the second, and then listed with others', () => {
    const states = [[4, 5, 6], [4], [4], [4]].map((_, index, all) =>
      afterFailures(...all.slice(0, index + 1).map((uids) => failed(uids))),
    );
    expect(states.map(({ state }) => state)).toEqual(['one-by-one', 'suspect', 'confirm', 'confirm']);
    expect(controlFor(states[1] ?? normal, [4], range(1, 9))).toBeNull();
  });

  test('is given up in the third failure alone, when a control message arrived just before', () => {
    expect(controlFor(confirming, [4], range(1, 9))).toBe(9);
    expect(controlFor(confirming, [5], range(1, 9))).toBeNull();
    const attempt = failed([4], { control: 'delivered' });
    expect(messageToGiveUp(confirming, attempt)).toEqual({ uid: 4, sizeBytes: 40, receivedAtMs: null });
    // Its neighbours are still fetched one by one.
    expect(afterFetchFailure(confirming, attempt, epoch)).toEqual({
      ...{ state: 'one-by-one', folderEpoch: epoch, lastUid: 6 },
    });
  });

  test('is not given up sooner, though another message of the session arrived', () => {
    const delivered = { control: 'delivered' } as const;
    for (const state of [normal, afterFailures(failed([4, 5])), afterFailures(failed([4, 5]), failed([4]))])
      expect(messageToGiveUp(state, failed([4], delivered))).toBeNull();
    expect(messageToGiveUp(confirming, failed([5], delivered))).toBeNull();
  });

  test('is kept where the control message fails too, and is tried alone before the next control message', () => {
    let state = confirming;
    const controls: (number | null)[] = [];
    for (let poll = 0; poll < 12; poll += 1) {
      const control = controlFor(state, [4], range(1, 9));
      controls.push(control);
      const attempt = failed([4], { control: control === null ? 'none' : 'pending' });
      expect(messageToGiveUp(state, attempt)).toBeNull();
      state = afterFetchFailure(state, attempt, epoch);
    }
    expect(controls).toEqual([9, null, 1, null, 8, null, 2, null, 7, null, 3, null]);
  });

  test('is kept where there is no other message', () => {
    let state = confirming;
    for (let poll = 0; poll < 5; poll += 1) {
      expect(controlFor(state, [4], [4])).toBeNull();
      expect(messageToGiveUp(state, failed([4]))).toBeNull();
      state = afterFetchFailure(state, failed([4]), epoch);
    }
    expect(state.state).toBe('confirm');
  });

  test('is kept where the control message is gone or empty; the next confirmation takes another one', () => {
    const attempt = failed([4], { control: 'absent' });
    expect(messageToGiveUp(confirming, attempt)).toBeNull();
    const state = afterFetchFailure(confirming, attempt, epoch);
    expect([state.state, controlFor(state, [4], range(1, 9))]).toEqual(['confirm', 1]);
  });

  test('starts again where another message fails first', () => {
    const state = afterFetchFailure(confirming, failed([5]), epoch);
    expect(state).toMatchObject({ state: 'suspect', uid: 5, controlsTried: 0, lastUid: 6 });
    expect(controlFor(state, [4], range(1, 9))).toBeNull();
  });
});

describe('a message that is too slow', () => {
  test('is never given up, and gets twice the time after each attempt, up to 16 times', () => {
    let state = afterFailures(failed([1, 2], { isTooSlow: true }));
    const patience: number[] = [];
    for (let poll = 0; poll < 7; poll += 1) {
      patience.push(patienceFor(state, messages([1])));
      expect([patienceFor(state, messages([2])), patienceFor(state, messages([1, 2]))]).toEqual([1, 1]);
      expect(controlFor(state, [1], range(1, 9))).toBeNull();
      state = afterFetchFailure(state, failed([1], { isTooSlow: true }), epoch);
    }
    expect(patience).toEqual([1, 2, 4, 8, 16, 16, 16]);
  });

  test('is not given up when its confirmation was too slow, and has to fail alone twice again', () => {
    const attempt = failed([4], { isTooSlow: true, control: 'delivered' });
    expect(messageToGiveUp(confirming, attempt)).toBeNull();
    const slow = afterFetchFailure(confirming, attempt, epoch);
    expect(slow).toMatchObject({ state: 'slow', uid: 4, timeouts: 1 });
    expect(afterFetchFailure(slow, failed([4]), epoch).state).toBe('suspect');
  });
});

describe('the isolation states of mailboxes', () => {
  const cursor = { folderEpoch: epoch, uid: 3 };

  test('are left to the next round of the same mailbox', () => {
    const states = createIsolationStates();
    states.begin('box', cursor).leave(confirming);
    expect(states.begin('other', cursor).state).toEqual(normal);
    expect(states.begin('box', cursor).state).toEqual(confirming);
    states.begin('box', cursor).leave(normal);
    expect(states.begin('box', cursor).state).toEqual(normal);
  });

  test('are dropped once the cursor has passed them', () => {
    const states = createIsolationStates();
    states.begin('box', cursor).leave(confirming);
    expect(states.begin('box', { ...cursor, uid: 6 }).state).toEqual(normal);
    expect(states.begin('box', cursor).state).toEqual(normal);
  });

  test('hold back the post-actions of one round after they broke the session', () => {
    const states = createIsolationStates();
    expect(states.begin('box', cursor).runsPostActionsLast).toBe(false);
    states.begin('box', cursor).deferPostActions();
    expect([1, 2].map(() => states.begin('box', cursor).runsPostActionsLast)).toEqual([true, false]);
    expect(failures('connection_lost', 'server_timeout', 'server_busy').every(breaksSession)).toBe(true);
    expect(failures('database_unavailable', 'folder_missing').some(breaksSession)).toBe(false);
  });
});
