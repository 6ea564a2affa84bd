/**
 * Post-actions in the pipeline: after the commit, again after a death at any moment, and on no other message.
 *
 * Server and database are fakes that survive a death: flags of the folder, rows with their pending mark, the cursor.
 */
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { Failure, isFailure } from '../../../src/errors.ts';
import { runPipeline } from '../../../src/ingest/fetch/pipeline.ts';
import { createIsolationStates } from '../../../src/ingest/fetch/poison-message.ts';
import type { RoundContext } from '../../../src/ingest/fetch/round-context.ts';
import { createStorageQuota } from '../../../src/ingest/fetch/storage-quota.ts';
import type { Batch, PostAction } from '../../../src/ingest/model.ts';
import type { Session } from '../../../src/ingest/ports.ts';
import { fingerprintMessage } from '../../../src/mail/fingerprint.ts';
import { lookupResult } from '../decide/batch-samples.ts';
import { storedMessage } from '../decide/messages.ts';
import { mailbox } from '../samples.ts';

const limits = { messageBytesMax: 1000, batch: { messagesMax: 2, bytesMax: 10_000 }, batchTimeoutMs: 60_000 };
const died = new Failure('connection_lost', 'died');

/** Uid 3 cannot be parsed. */
async function parse(source: Uint8Array) {
  const uid = Number(Buffer.from(source).toString());
  const raw = { compressed: source, sha256: 'b'.repeat(64) };
  const message = storedMessage(uid);
  if (uid === 3 || message.what !== 'parsed') return { ok: false, reason: 'parse_failed', ...raw };
  return { ok: true, ...fingerprintMessage(message.parsed), ...raw };
}

/** Uids 1 to 4, which arrived at `arrival`. */
function folderOf(at: { arrival: number | null }, effect: (text: string) => void): Session {
  return {
    folder: { uidValidity: 1, uidNext: 5, messageCount: 4 },
    listingFailure: null,
    listAbove: async (uid: number) => [1, 2, 3, 4].filter((one) => one > uid),
    sizes: async (uids: readonly number[]) => uids.map((uid) => ({ uid, sizeBytes: 10, receivedAtMs: at.arrival })),
    fetch: async function* (uids: readonly number[]) {
      for (const uid of uids) yield { uid, source: new Uint8Array(Buffer.from(`${uid}`)) };
    },
    apply: async ({ kind }: PostAction, uids: readonly number[]) => effect(`${kind} ${uids}`),
  } as unknown as Session;
}

const rules = { senderPerHourMax: null, senderExempt: [], reopenMs: null };
const never = new AbortController().signal;
const quiet = () => undefined;

/** Folder and database of one mailbox; every effect is noted. */
function world(postAction: PostAction = { kind: 'seen' }) {
  const at = {
    cursor: 0,
    effects: [] as string[],
    warnings: [] as string[],
    dieAt: null as number | null,
    arrival: null as number | null,
  };
  const pending = new Set<number>();
  /** Notes an effect; dies instead of it where that is its turn. */
  const effect = (text: string, run: () => void = () => undefined) => {
    if (at.dieAt !== null && at.dieAt-- === 0) throw died;
    at.effects.push(text);
    run();
  };
  const commitBatch = async (_: unknown, { outcomes, cursor }: Batch): Promise<readonly number[]> => {
    effect(`commit ${outcomes.map(({ uid }) => uid)}`, () => {
      at.cursor = cursor.uid;
      for (const { uid, actionPending } of outcomes) if (actionPending) pending.add(uid);
    });
    return [];
  };
  const store = {
    commitBatch,
    lookUp: async () => lookupResult(),
    linkCopies: async () => undefined,
    pendingActions: async () => [...pending].map((uid) => ({ uid, sizeBytes: 10, receivedAtMs: null })),
    completeActions: async (_: unknown, _epoch: number, uids: readonly number[]) =>
      effect(`done ${uids}`, () => {
        for (const uid of uids) pending.delete(uid);
      }),
  };
  const session = folderOf(at, effect);
  let ids = 0;
  const ports = {
    store,
    parser: { parse, flush: quiet, prepare: quiet },
    blobs: { write: async () => undefined },
    raw: { append: async (all: readonly unknown[]) => all.map(() => ({ segment: 's', offset: 0, lengthBytes: 1 })) },
    postActionGuard: { mayRemove: async () => true, sealOutcome: () => null, wasStored: () => true },
    storageQuota: createStorageQuota(systemClock),
    clock: systemClock,
    log: {
      ...{ debug: quiet, info: quiet, error: quiet },
      warn: ({ count }: { count?: number }, event: string) => at.warnings.push(`${event} ${count}`),
    },
    meter: { outcome: quiet },
    newId: () => `id${++ids}`,
    newRef: () => `ref${++ids}`,
    openReplyKeys: async () => [],
  };
  const states = createIsolationStates();
  const round = async (): Promise<void> => {
    const refusal = await runPipeline({
      ...{ roundId: 'r', mailbox: { ...mailbox('desk'), postAction }, session, ports, folderEpoch: 1, lost: never },
      lease: { mailboxId: 'desk', owner: 'me', epoch: 1 },
      isolation: states.begin('desk', { folderEpoch: 1, uid: at.cursor }),
      outcomes: { ticket_opened: 0, reply_added: 0, recorded: 0, duplicate: 0, quarantined: 0, vanished: 0 },
      options: { due: null, stop: never },
      observe: quiet,
      settings: () => ({ limits, rules }),
    } as unknown as RoundContext);
    if (refusal !== null) throw refusal;
  };
  return { at, pending, round };
}

const uidsIn = (effects: readonly string[], kind: string) =>
  effects.filter((line) => line.startsWith(`${kind} `)).flatMap((line) => line.slice(kind.length + 1).split(','));

describe.each<PostAction>([{ kind: 'seen' }, { kind: 'delete' }, { kind: 'move', folder: 'Done' }])(
  'the post-action $kind',
  (postAction) => {
    const { kind } = postAction;

    test('runs on stored messages, each after its commit, and not on one in quarantine', async () => {
      const { at, pending, round } = world(postAction);
      await round();
      expect(uidsIn(at.effects, 'commit')).toEqual(['1', '2', '3', '4']);
      expect(uidsIn(at.effects, kind)).toEqual(['1', '2', '4']);
      for (const uids of ['1,2', '4']) {
        const commit = at.effects.findIndex((line) => line === `commit ${uids === '4' ? '3,4' : uids}`);
        expect(at.effects.indexOf(`${kind} ${uids}`)).toBeGreaterThan(commit);
        expect(at.effects.indexOf(`done ${uids}`)).toBeGreaterThan(at.effects.indexOf(`${kind} ${uids}`));
      }
      expect([...pending]).toEqual([]);
      await round();
      expect(at.effects).toHaveLength(6);
    });

    test('is finished by the next rounds after a death instead of any effect, and never precedes its commit', async () => {
      for (let dieAt = 0; dieAt < 6; dieAt += 1) {
        const { at, pending, round } = world(postAction);
        at.dieAt = dieAt;
        const failed = await round().then(
          () => null,
          (error: unknown) => error,
        );
        expect(isFailure(failed, 'connection_lost')).toBe(true);
        at.dieAt = null;
        for (let again = 0; again < 3; again += 1) await round();
        expect(uidsIn(at.effects, 'commit')).toEqual(['1', '2', '3', '4']);
        expect(new Set(uidsIn(at.effects, kind))).toEqual(new Set(['1', '2', '4']));
        expect([...pending]).toEqual([]);
        for (const uid of ['1', '2', '4']) {
          const first = (name: string) =>
            at.effects.findIndex((line) => line.startsWith(name) && line.split(/[ ,]/).includes(uid));
          expect(first('commit')).toBeLessThan(first(kind));
          expect(first(kind)).toBeLessThan(first('done'));
        }
      }
    });
  },
);

test('a commit that fails leads to no post-action', async () => {
  const { at, round } = world({ kind: 'delete' });
  at.dieAt = 0;
  await expect(round()).rejects.toBe(died);
  expect(at.effects).toEqual([]);
});

test('a pending row that names no stored message is logged, cleared and not deleted', async () => {
  const { at, pending, round } = world({ kind: 'delete' });
  await round();
  at.arrival = 5;
  for (const uid of [1, 2]) pending.add(uid);
  await round();
  expect(uidsIn(at.effects, 'delete')).toEqual(['1', '2', '4']);
  expect(at.warnings).toContain('mailbox.action_skipped 2');
  expect([...pending]).toEqual([]);
});
