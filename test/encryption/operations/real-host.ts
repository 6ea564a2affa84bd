/**
 * A real database with its tables, and a data folder with real key file and state file, shared by processes of a test.
 */
import { join } from 'node:path';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { type Database, openDatabase } from '../../../src/adapters/database/database.ts';
import { createKeyFile } from '../../../src/adapters/keyfile/key-file.ts';
import { createSwitchStateFile } from '../../../src/adapters/keyfile/state-files.ts';
import { createPasswordAccess } from '../../../src/encryption/passwords.ts';
import { type EncryptionStatus, encryptionStatus } from '../../../src/encryption/status.ts';
import type { Mailbox } from '../../../src/ingest/model.ts';
import { by, plainNow, sampleMailbox } from '../../adapters/database/samples.ts';
import { startMariadb } from '../../support/servers/mariadb.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { type Fate, type Process, processOver } from './process.ts';

export type RealHost = {
  /** A new process. */
  start(fate?: Fate): Process;
  /** Mailboxes whose password is readable. */
  addMailboxes(count: number): Promise<void>;
  /** What a poll would log in with, for each mailbox, through a vault that has just started. */
  openAll(): Promise<readonly string[]>;
  status(): Promise<EncryptionStatus>;
};

export type RealServer = AsyncDisposable & {
  newDatabase(): Promise<Database>;
  /** A host with an empty data folder; with another database, the same folder over that one. */
  newHost(): Promise<(database: Database) => RealHost>;
};

/** The password of every mailbox. */
export const password = 'p4ss';

export async function startServer(kind: 'sqlite' | 'mariadb'): Promise<RealServer> {
  await using stack = new AsyncDisposableStack();
  const mariadb = kind === 'mariadb' ? stack.use(await startMariadb()) : null;
  const { path } = stack.use(await temporaryFolder());
  const kept = stack.move();
  let made = 0;
  return {
    newDatabase: async () => {
      made += 1;
      const file = { kind: 'sqlite', path: join(path, `${made}.sqlite`) } as const;
      const opened = kept.use(await openDatabase((await mariadb?.createDatabase())?.config ?? file));
      await opened.migrations.apply();
      return opened;
    },
    newHost: async () => {
      const { path: dataDir } = kept.use(await temporaryFolder());
      return (database) => hostOver(database, dataDir);
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

function hostOver(database: Database, dataDir: string): RealHost {
  const keyFile = createKeyFile({ dataDir, passphrase: async () => null, nowMs: Date.now });
  const parts = { keyFile, memory: createSwitchStateFile({ dataDir }), store: database, clock: systemClock };
  const start = (fate?: Fate) => processOver(parts, fate);
  return {
    start,
    addMailboxes: async (count) => {
      for (let added = 0; added < count; added += 1)
        await database.addMailbox(sampleMailbox(), await plainNow(database, password), null, by);
    },
    openAll: async () => {
      const { vault } = start();
      await vault.refresh();
      const passwords = createPasswordAccess({ store: database, vault, sealPlaintext: async () => undefined });
      const textOf = (mailbox: Mailbox) =>
        passwords.withPassword(mailbox, async (lent) => lent.use((bytes) => new TextDecoder().decode(bytes)));
      return await Promise.all((await database.listMailboxes()).map(textOf));
    },
    status: () => encryptionStatus(start()),
  };
}
