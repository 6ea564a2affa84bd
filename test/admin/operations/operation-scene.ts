/**
 * Workers that run operations over one real database and one data folder, and can die at any effect.
 *
 * Sleeps are shortened to 20 ms, and waits for workers to a twentieth.
 */
import { join } from 'node:path';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { type Database, openDatabase } from '../../../src/adapters/database/database.ts';
import { createKeyFile } from '../../../src/adapters/keyfile/key-file.ts';
import { createSwitchStateFile } from '../../../src/adapters/keyfile/state-files.ts';
import { startResult } from '../../../src/admin/encryption-service.ts';
import { createOperations } from '../../../src/admin/operations/operations.ts';
import { pageActor } from '../../../src/admin/ports.ts';
import type { OperationKind, OperationStart, OperationView } from '../../../src/admin/service.ts';
import { operationView } from '../../../src/admin/views/encryption.ts';
import type { Clock } from '../../../src/async/clock.ts';
import { createPasswordAccess } from '../../../src/encryption/passwords.ts';
import type { SealCounts } from '../../../src/encryption/ports.ts';
import { startSync } from '../../../src/encryption/sync.ts';
import type { EventName, Log, LogFields } from '../../../src/events.ts';
import type { SwitchRow } from '../../../src/secret/switch.ts';
import { by, plainNow, sampleMailbox } from '../../adapters/database/samples.ts';
import { type Fate, type Process, processOver } from '../../encryption/operations/process.ts';
import { startMariadb } from '../../support/servers/mariadb.ts';
import { temporaryFolder } from '../../support/temporary.ts';

/** The operation runner as the page uses it. */
type PageOperations = {
  start(kind: OperationKind, name: string): Promise<OperationStart>;
  startProven(name: string): Promise<OperationStart>;
  view(): Promise<OperationView | null>;
};

export type Worker = {
  readonly process: Process;
  readonly operations: PageOperations;
  /** It stops as a daemon does, and is known to be dead afterwards. */
  stop(): Promise<void>;
};

export type Scene = AsyncDisposable & {
  readonly database: Database;
  readonly dataDir: string;
  readonly logged: readonly (readonly [EventName, LogFields])[];
  addMailboxes(count: number): Promise<void>;
  /** A process without operations of the page: a command, or something to ask. */
  command(): Process;
  /** A worker that checks for orphaned operations at once. `isReporting`: it reports its keys. */
  worker(given?: { fate?: Fate; store?: Partial<Database>; isReporting?: boolean }): Promise<Worker>;
  /** It is dead to all others from now on. */
  bury(worker: Worker): void;
  row(): Promise<SwitchRow | null>;
  counts(): Promise<SealCounts>;
  /** What a poll would log in with, for each mailbox. */
  openAll(): Promise<readonly string[]>;
};

export const password = 'p4ss';

const quickClock: Clock = {
  nowMs: systemClock.nowMs,
  monotonicMs: () => systemClock.monotonicMs() * 20,
  sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 20), signal),
};

/** A server for the scenes of one test file. */
export type Server = AsyncDisposable & { scene(): Promise<Scene> };

export async function startServer(kind: 'sqlite' | 'mariadb'): Promise<Server> {
  await using building = new AsyncDisposableStack();
  const mariadb = kind === 'mariadb' ? building.use(await startMariadb()) : null;
  const kept = building.move();
  return {
    scene: async () => await openScene((await mariadb?.createDatabase())?.config ?? null),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

async function openScene(config: Parameters<typeof openDatabase>[0] | null): Promise<Scene> {
  await using building = new AsyncDisposableStack();
  const { path: dataDir } = building.use(await temporaryFolder('operations'));
  const database = building.use(
    await openDatabase(config ?? { kind: 'sqlite', path: join(dataDir, 'ticketmaild.sqlite') }),
  );
  await database.migrations.apply();
  const keyFile = createKeyFile({ dataDir, passphrase: async () => null, nowMs: Date.now });
  const parts = { keyFile, memory: createSwitchStateFile({ dataDir }), store: database, clock: quickClock };
  const alive: string[] = [];
  const logged: (readonly [EventName, LogFields])[] = [];
  const workers = building.use(new AsyncDisposableStack());
  const kept = building.move();
  const command = () => processOver(parts, undefined, alive);
  return {
    ...{ database, dataDir, logged, command },
    addMailboxes: async (count) => {
      for (let added = 0; added < count; added += 1)
        await database.addMailbox(sampleMailbox(), await plainNow(database, password), null, by);
    },
    worker: async ({ fate, store, isReporting = false } = {}) => {
      const process = processOver(parts, fate, alive);
      alive.push(process.worker.name);
      const worker = await startWorker(process, logOf(logged), isReporting, store ?? {});
      const stop = async () => {
        await worker.disposeAsync();
        bury(alive, process);
      };
      workers.defer(stop);
      return { process, operations: worker.operations, stop };
    },
    bury: ({ process }) => bury(alive, process),
    row: async () => (await database.readSwitch()).row,
    counts: () => database.passwordCounts(),
    openAll: () => openAll(command(), database),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

function bury(alive: string[], { worker }: Process): void {
  if (alive.includes(worker.name)) alive.splice(alive.indexOf(worker.name), 1);
}

function logOf(logged: (readonly [EventName, LogFields])[]): Log {
  const note = (fields: LogFields, event: EventName): void => void logged.push([event, fields]);
  return { debug: note, info: note, warn: note, error: note };
}

const quiet = { sealPlaintext: async () => undefined, renewSwitch: async () => undefined };

async function startWorker(process: Process, log: Log, isReporting: boolean, store: Partial<Database>) {
  await using building = new AsyncDisposableStack();
  const database = { ...bound(process.store as Database), ...store } as Database;
  const common = { ...process, store: database, log };
  if (isReporting) {
    const identity = { host: 'desk', pid: 1, isMigrated: () => true, ...quiet };
    building.use(await startSync({ ...common, ...identity, clock: systemClock }));
  }
  const operation = (observer: Process['observer']) => ({ ...process, store: database, observer });
  const runner = createOperations({ ...common, operation, actor: process.actor }, new AbortController().signal);
  building.use(runner.watch());
  const operations: PageOperations = {
    start: async (kind, name) => startResult(await runner.start(kind, pageActor(name), false)),
    startProven: async (name) => startResult(await runner.start('disable', pageActor(name), true)),
    view: async () => {
      const row = await database.readOperation();
      return row && operationView(row, { keyFilePath: process.keyFile.path, configFile: null });
    },
  };
  const kept = building.move();
  return { operations, disposeAsync: () => kept.disposeAsync() };
}

/** Its methods as own ones, each of them still that of `store`. */
function bound(store: Database): Database {
  const names = new Set<keyof Database>();
  for (let at: object | null = store; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at))
    for (const name of Object.getOwnPropertyNames(at)) names.add(name as keyof Database);
  return Object.fromEntries([...names].map((name) => [name, store[name]])) as unknown as Database;
}

async function openAll(process: Process, database: Database): Promise<readonly string[]> {
  const { vault } = process;
  await vault.refresh();
  const passwords = createPasswordAccess({ store: database, vault, sealPlaintext: async () => undefined });
  const mailboxes = await database.listMailboxes();
  return await Promise.all(
    mailboxes.map((mailbox) =>
      passwords.withPassword(mailbox, async (lent) => lent.use((bytes) => new TextDecoder().decode(bytes))),
    ),
  );
}

/** As the page shows it, when `isSo`; fails after some seconds with what it was then. */
export async function viewWhen(
  { operations }: Pick<Worker, 'operations'>,
  isSo: (view: OperationView) => boolean,
): Promise<OperationView> {
  const endMs = Date.now() + 15_000;
  for (;;) {
    const view = await operations.view();
    if (view !== null && isSo(view)) return view;
    if (Date.now() > endMs) throw new Error(`it never came to that: ${JSON.stringify(view)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export const isOver = ({ state }: OperationView): boolean => state !== 'running';
