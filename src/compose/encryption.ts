/**
 * Builds everything about keys, sealed passwords and the switch, for the daemon and for the commands alike.
 *
 * Nothing is read before the vault's first refresh. The passphrase of a protected key file comes from the file that the
 * configuration names (or systemd's credential), else from whoever sits at the terminal of a command.
 */
import { randomFillSync } from 'node:crypto';
import type { LogLevel } from '../adapters/control/protocol.ts';
import { socketPath } from '../adapters/control/sockets.ts';
import { createKeyFile, type KeyFileTools } from '../adapters/keyfile/key-file.ts';
import { readPassphraseFile } from '../adapters/keyfile/passphrase-file.ts';
import { createProofFile } from '../adapters/keyfile/proof-file.ts';
import { createSwitchMemory } from '../adapters/keyfile/switch-memory.ts';
import { thisAuthor } from '../adapters/process/author.ts';
import type { Config } from '../config.ts';
import { encryptionChecks } from '../encryption/checks.ts';
import { type Control, createControl } from '../encryption/control.ts';
import { startKeeper } from '../encryption/keeper.ts';
import type { OperationPorts, Tell } from '../encryption/operation.ts';
import { createPasswords, type PasswordKeeper } from '../encryption/passwords.ts';
import type { EncryptionStore, KeyFile, ProofFile, SwitchMemory } from '../encryption/ports.ts';
import { createSealing } from '../encryption/sealing.ts';
import { createVault, type Vault } from '../encryption/vault.ts';
import type { AdjustableLog } from '../events.ts';
import type { Author } from '../ingest/mailbox.ts';
import type { MailboxStore } from '../ingest/mailbox-ports.ts';
import type { Clock, Workers } from '../ingest/ports.ts';
import type { EncryptionChecks } from '../ingest/readiness.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import { type AskDaemon, daemonAt, levelSetter, startControlSocket } from './control.ts';

/** Asks a person for the passphrase of the key file; null: there is nobody. */
export type AskPassphrase = () => Promise<SecretBytes | null>;

export type Encryption = {
  readonly vault: Vault;
  readonly keyFile: KeyFile & KeyFileTools;
  readonly memory: SwitchMemory;
  readonly proof: ProofFile;
  readonly passwords: PasswordKeeper;
  readonly author: Author;
  /** The ports of one operation on the switch. */
  operation(tell: Tell): OperationPorts;
  /** Asks what runs on this data folder. */
  readonly askDaemon: AskDaemon;
};

/** What the daemon needs beside: it keeps in step and answers on the control socket until that is disposed. */
export type DaemonEncryption = {
  readonly keep: () => Promise<AsyncDisposable>;
  readonly checks: () => EncryptionChecks;
  /** The admin page asks by the same requests as the control socket. */
  readonly control: Control;
};

export type EncryptionParts = {
  readonly config: Config;
  readonly log: AdjustableLog;
  readonly store: EncryptionStore & Pick<MailboxStore, 'readPassword'>;
  readonly workers: Workers;
  readonly clock: Clock;
  readonly askPassphrase: AskPassphrase | null;
};

export function composeEncryption(parts: EncryptionParts): { encryption: Encryption; daemon: DaemonEncryption } {
  const { config, log, store, workers, clock } = parts;
  const { dataDir } = config;
  const passphrase = async () =>
    (await readPassphraseFile(config.encryption.passphraseFile)) ?? (await parts.askPassphrase?.()) ?? null;
  const keyFile = createKeyFile({ dataDir, passphrase, nowMs: clock.nowMs });
  const memory = createSwitchMemory({ dataDir });
  const proof = createProofFile({ dataDir });
  const author = thisAuthor();
  const vault = createVault({ keyFile, memory, store, clock, log });
  const sealReadable = createSealing({ store, vault, log, by: { ...author, who: `ticketmaild@${author.host}` } });
  const passwords = createPasswords({ store, vault, sealReadable });
  const operation = (tell: Tell): OperationPorts => ({
    ...{ keyFile, memory, store, vault, clock, workers, tell },
    by: author,
    random: (bytes) => randomFillSync(bytes),
  });
  const askDaemon = daemonAt(dataDir, author.who);
  const encryption = { vault, keyFile, memory, proof, passwords, author, operation, askDaemon };
  const { host } = author;
  const keeper = { keyFile, vault, store, sealReadable, clock, workers, log, host, pid: process.pid };
  const control = createControl({ ...encryption, store, clock, log });
  const keep = async () => {
    await using building = new AsyncDisposableStack();
    building.use(await startKeeper(keeper));
    const { rescue, disable } = control;
    const setLevel = levelSetter(log, { pid: process.pid, name: config.worker.name });
    const handlers = { rescue, disable, log_level: async (who: string, level: LogLevel) => setLevel(who, level) };
    building.use(await startControlSocket(socketPath(dataDir, config.worker.name), handlers, log));
    return building.move();
  };
  return { encryption, daemon: { keep, checks: () => encryptionChecks(vault), control } };
}
