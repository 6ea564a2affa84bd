/**
 * A mailbox's messages as far as one stage and no further, so that what each stage costs is the difference of two
 * processes.
 *
 * `fetch` drops the sources as they come; `parse` drops what the parse threads made of them; `store` has hashed and
 * written the files too; `commit` is everything. Reads one JSON object from standard input. The environment names data
 * folder and database, and the mailbox is set up there. Anything that goes wrong ends it with exit code 1.
 */
import { randomBytes } from 'node:crypto';
import { json } from 'node:stream/consumers';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { createParserPool } from '../../../src/adapters/parser/parser-pool.ts';
import { thisWorker } from '../../../src/adapters/process/identity.ts';
import { createUuidV7Generator } from '../../../src/adapters/process/uuid-v7.ts';
import { type App, compose } from '../../../src/compose/compose.ts';
import type { Config } from '../../../src/config/config.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { batchContextOf } from '../../../src/ingest/decide/batch-context.ts';
import { type CommitTarget, commitMessages } from '../../../src/ingest/decide/commit.ts';
import { chunksOf } from '../../../src/ingest/fetch/batches.ts';
import { type FetchContext, fetchMessages } from '../../../src/ingest/fetch/pipeline.ts';
import { createIsolationStates } from '../../../src/ingest/fetch/poison-message.ts';
import { storeFiles } from '../../../src/ingest/fetch/store-files.ts';
import { folderKey } from '../../../src/ingest/folder-epoch.ts';
import type { Mailbox } from '../../../src/ingest/model.ts';
import { serialized } from '../../../src/ingest/poll/serialized-session.ts';
import type { Session } from '../../../src/ingest/ports.ts';
import { createLog } from '../../../src/log.ts';
import { newReference } from '../../../src/mail/thread/reply-token.ts';

export const stages = ['fetch', 'parse', 'store', 'commit'] as const;
export type Stage = (typeof stages)[number];

export type StageOrder = { readonly stage: Stage; readonly mailbox: string; readonly count: number };

type Work = {
  readonly app: App;
  readonly config: Config;
  readonly mailbox: Mailbox;
  readonly session: Session;
  /** Of the messages. */
  readonly uids: readonly number[];
};

const signal = new AbortController().signal;
const leaseMs = 600_000;

/** How many messages went as far as the stage. */
async function work({ stage, mailbox: name, count }: StageOrder): Promise<number> {
  const config = loadConfig({ file: null });
  const log = createLog({ level: 'error', pretty: false, destination: { write: () => undefined } });
  await using app = await compose(config, log);
  await app.vault.refresh();
  const mailbox = await app.store.mailboxByName(name);
  await using opened = await app.credentials.withCredential(mailbox, (credential, connection) =>
    app.sessions.open(connection, credential, signal),
  );
  const session = serialized(opened);
  const uids = (await session.listAbove(0)).slice(0, count);
  const given = { app, config, mailbox, session, uids };
  return stage === 'fetch' ? await fetchAlone(given) : await digestAnd(stage, given);
}

async function fetchAlone({ session, config, uids }: Work): Promise<number> {
  let fetched = 0;
  for (const some of chunksOf(uids, config.message.batchMessagesMax)) {
    await session.sizes(some);
    for await (const { source } of session.fetch(some)) fetched += source === null ? 0 : 1;
  }
  return fetched;
}

async function digestAnd(stage: Exclude<Stage, 'fetch'>, given: Work): Promise<number> {
  const { app, config, uids } = given;
  const { parseThreads: threads, parseTimeoutMs: timeoutMs, parseMemoryMb: memoryMb } = config.message;
  await using parser = createParserPool({ threads, timeoutMs, memoryMb });
  const fetched = fetchMessages(fetchContextOf(given, parser), uids);
  if (stage === 'parse') return await counted(fetched, async () => undefined);
  const stored = storeFiles(fetched, app, { admit: () => undefined, stored: () => undefined });
  if (stage === 'store') return await counted(stored, async () => undefined);
  const target = await commitTarget(given);
  return await counted(stored, async (batch) => void (await commitMessages(batch, target, app.store)));
}

async function counted<T>(
  batches: AsyncIterable<readonly T[]>,
  then: (batch: readonly T[]) => Promise<void>,
): Promise<number> {
  let count = 0;
  for await (const batch of batches) {
    await then(batch);
    count += batch.length;
  }
  return count;
}

function fetchContextOf({ config, mailbox, session }: Work, parser: FetchContext['parser']): FetchContext {
  const { sizeBytesMax: bytesMax, batchMessagesMax, batchBytesMax } = config.message;
  return {
    ...{ session, parser, clock: systemClock, lane: mailbox.id, stop: signal },
    isolation: createIsolationStates().begin(mailbox.id, { folderEpoch: session.folder.uidValidity, uid: 0 }),
    limits: {
      messageBytesMax: bytesMax,
      batchTimeoutMs: 2 * config.poll.commandTimeoutMs,
      batch: { messagesMax: batchMessagesMax, bytesMax: batchBytesMax },
    },
  };
}

/** With a lease of its own, and the folder taken from its first message on. */
async function commitTarget({ app, config, mailbox, session }: Work): Promise<CommitTarget> {
  const lease = await app.store.acquireLease(mailbox.id, thisWorker().name, leaseMs, null);
  if (lease === null) throw new Error('another process polls the mailbox');
  const { uidValidity } = session.folder;
  const cursor = { folderEpoch: uidValidity, uid: 0 };
  await app.store.beginFolderEpoch(lease, { cursor, generation: 0, folder: folderKey(mailbox.connection) });
  const source = {
    clock: systemClock,
    newId: createUuidV7Generator(systemClock.nowMs),
    newRef: () => newReference(systemClock.nowMs(), randomBytes),
    openReplyKeys: app.replyKeys.open,
  };
  return {
    lease,
    folderEpoch: uidValidity,
    batchContext: batchContextOf(mailbox, source, { ...config.limits, ...config.tickets }),
    sealOutcome: () => null,
  };
}

if (import.meta.main) {
  const order = (await json(process.stdin)) as StageOrder;
  const done = await work(order);
  if (done !== order.count) throw new Error(`${done} messages of ${order.count} went as far as ${order.stage}`);
}
