/**
 * Batch commit with a store that refuses some rows: bisection, the substitute rows, and the report of each part.
 */
import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import { commitMessages } from '../../../src/ingest/decide/commit.ts';
import type { StoredMessage } from '../../../src/ingest/fetch/fetched-message.ts';
import type { Batch, NewOutcome } from '../../../src/ingest/model.ts';
import { batchContext, lookupResult } from './batch-samples.ts';
import { storedMessage } from './messages.ts';

const lease = { mailboxId: 'box', owner: 'me', epoch: 1 };
const refusal = new Failure('row_refused', 'The database refused the content of a row.');

/** Commits `uids` against a store that fails as `failureOf` says; returns what was stored and reported. */
function scene(failureOf: (batch: Batch) => Failure | null) {
  const committed: NewOutcome[] = [];
  const reported: (readonly string[])[] = [];
  const commitBatch = async (_: unknown, batch: Batch): Promise<readonly number[]> => {
    const failure = failureOf(batch);
    if (failure !== null) throw failure;
    committed.push(...batch.outcomes);
    return [];
  };
  const store = {
    lookUp: async () => ({ ...lookupResult(), replyKeys: [] }),
    commitBatch,
    commitResolved: async (...given: readonly [unknown, Batch]) => void (await commitBatch(...given)),
    linkCopies: async () => undefined,
  };
  const commit = (messages: readonly StoredMessage[]) => {
    const target = {
      ...{ lease, folderEpoch: 1, batchContext: batchContext(), sealOutcome: () => null },
      onCommitted: (decisions: readonly { readonly outcome: NewOutcome }[]) =>
        void reported.push(decisions.map(({ outcome: { uid, outcome } }) => `${uid} ${outcome}`)),
    };
    return commitMessages(messages, target, store);
  };
  return { commit, committed, reported };
}

const outcomeOf = ({ outcomes }: Batch, uid: number) => outcomes.find((outcome) => outcome.uid === uid);

test('a refused message is quarantined alone, with its source', async () => {
  const at = scene((batch) => (outcomeOf(batch, 2)?.outcome === 'ticket_opened' ? refusal : null));
  const decisions = await at.commit([1, 2, 3].map((uid) => storedMessage(uid)));
  expect(decisions.map(({ outcome }) => [outcome.uid, outcome.outcome])).toEqual([
    [1, 'ticket_opened'],
    [2, 'quarantined'],
    [3, 'ticket_opened'],
  ]);
  expect(at.committed[1]).toMatchObject({ reason: 'row_refused', raw: { offset: 2 } });
});

test('a quarantine row that is refused too is reduced to UID and reason', async () => {
  const at = scene((batch) => (outcomeOf(batch, 2)?.raw ? refusal : null));
  await at.commit([1, 2, 3].map((uid) => storedMessage(uid)));
  expect(at.committed.map(({ uid, outcome }) => `${uid} ${outcome}`)).toEqual([
    '1 ticket_opened',
    '2 quarantined',
    '3 ticket_opened',
  ]);
  const minimal = { sizeBytes: 0, receivedAtMs: null, raw: null, messageId: null, dedupKey: null };
  expect(at.committed[1]).toMatchObject({ ...minimal, reason: 'row_refused' });
});

test('a minimal quarantine row that is refused ends the commit; the messages before it stay committed', async () => {
  const at = scene((batch) => (outcomeOf(batch, 2) ? refusal : null));
  await expect(at.commit([1, 2, 3].map((uid) => storedMessage(uid)))).rejects.toBe(refusal);
  expect(at.committed.map(({ uid }) => uid)).toEqual([1]);
});

test('each committed part of a bisected batch is reported, also when a later part fails', async () => {
  const lost = new Failure('database_unavailable', 'The database cannot be used right now.');
  const at = scene((batch) => {
    if (batch.outcomes.length > 2) return refusal;
    return outcomeOf(batch, 3) ? lost : null;
  });
  await expect(at.commit([1, 2, 3, 4].map((uid) => storedMessage(uid)))).rejects.toBe(lost);
  expect(at.reported).toEqual([['1 ticket_opened', '2 ticket_opened']]);
});
