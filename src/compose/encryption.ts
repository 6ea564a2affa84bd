/**
 * Encryption, composed: key file, vault, sealed passwords and the operations on the switch, for daemon and commands.
 *
 * Nothing is read before the first refresh of the vault. The passphrase of a protected key file is read from the
 * configured file or systemd credential, else asked for at the terminal of a command.
 */

import { randomFillSync } from 'node:crypto';
import { socketPath } from '../adapters/control/socket.ts';
import { readPassphraseFile } from '../adapters/keyfile/age.ts';
import { createKeyFile, type KeyFileMaintenance } from '../adapters/keyfile/key-file.ts';
import { createProofFile, createSwitchStateFile } from '../adapters/keyfile/state-files.ts';
import { currentActor } from '../adapters/process/identity.ts';
import type { Operations } from '../admin/operations/operations.ts';
import type { AdminStore } from '../admin/ports.ts';
import type { Clock } from '../async/clock.ts';
import type { Config } from '../config/config.ts';
import { type OAuthProvider, providerBinding } from '../config/oauth-provider.ts';
import { type Confirmations, createConfirmations } from '../encryption/confirmations.ts';
import type { EncryptionControl } from '../encryption/control.ts';
import { type OperationObserver, type OperationPorts, runOperation } from '../encryption/operations/operation.ts';
import { createPasswordAccess, type PasswordAccess } from '../encryption/passwords.ts';
import type { EncryptionStore, KeyFile, ProofFile, SwitchStateFile } from '../encryption/ports.ts';
import { createReplyKeys, type ReplyKeys } from '../encryption/reply-keys.ts';
import { createSealSweep } from '../encryption/seal-sweep.ts';
import { encryptionChecks } from '../encryption/status.ts';
import { startSync } from '../encryption/sync.ts';
import type { BindingOf } from '../encryption/token-rows.ts';
import { createTokenSealing, type TokenSealing } from '../encryption/tokens.ts';
import { createVault, type Vault } from '../encryption/vault.ts';
import type { AdjustableLog, LogLevel } from '../events.ts';
import type { AuditActor } from '../ingest/model.ts';
import type { WorkerIdentity } from '../ingest/ports.ts';
import type { EncryptionChecks, Readiness } from '../ingest/readiness.ts';
import type { MailboxStore } from '../ingest/stores.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import {
  createDaemonClient,
  createLogLevelSetter,
  createStatusHandler,
  type DaemonClient,
  startControlSocket,
} from './control-socket.ts';

const never = new AbortController().signal;

/** Asks a person for the passphrase of the key file; null: no person is there. */
export type AskPassphrase = () => Promise<SecretBytes | null>;

export type Encryption = {
  readonly vault: Vault;
  readonly keyFile: KeyFile & KeyFileMaintenance;
  readonly stateFile: SwitchStateFile;
  readonly proof: ProofFile;
  readonly passwords: PasswordAccess;
  readonly tokens: TokenSealing;
  readonly replyKeys: ReplyKeys;
  readonly confirmations: Confirmations;
  readonly actor: AuditActor;
  /** The ports of one operation on the switch. */
  operation(observer: OperationObserver): OperationPorts;
  readonly daemonClient: DaemonClient;
};

/** The part of the daemon alone. */
export type DaemonEncryption = {
  /** Synchronizes keys and switch, and serves the control socket, until the result is disposed. */
  readonly start: (isMigrated: () => boolean, readiness: () => Promise<Readiness>) => Promise<AsyncDisposable>;
  readonly checks: () => EncryptionChecks;
  /** Admin page and control socket share the requests and the operation runner. */
  readonly control: EncryptionControl;
  readonly operations: Operations;
};

type EncryptionParts = {
  readonly config: Config;
  readonly log: AdjustableLog;
  readonly store: EncryptionStore &
    Pick<MailboxStore, 'readPassword' | 'readSettingsSeal'> &
    Pick<AdminStore, 'readOperation' | 'beginOperation' | 'updateOperation'>;
  readonly worker: WorkerIdentity;
  readonly clock: Clock;
  readonly askPassphrase: AskPassphrase | null;
  /** In force now; a reload changes them. */
  readonly providers: () => readonly OAuthProvider[];
};

/** `openDaemon` loads the modules of the daemon alone. `stop` fires when the daemon stops. */
export function composeEncryption(parts: EncryptionParts): {
  readonly encryption: Encryption;
  readonly openDaemon: (stop: AbortSignal) => Promise<DaemonEncryption>;
} {
  const { config, log, store, worker, clock } = parts;
  const { dataDir } = config;
  const passphrase = async () =>
    (await readPassphraseFile(config.encryption.passphraseFile)) ?? (await parts.askPassphrase?.()) ?? null;
  const keyFile = createKeyFile({ dataDir, passphrase, nowMs: clock.nowMs });
  const stateFile = createSwitchStateFile({ dataDir });
  const proof = createProofFile({ dataDir });
  const actor = currentActor();
  const vault = createVault({ keyFile, stateFile, store, clock, worker, log });
  const bindingOf: BindingOf = (name) => {
    const provider = parts.providers().find((one) => one.name === name);
    return provider === undefined ? null : providerBinding(provider);
  };
  const sweeper = { ...actor, who: `ticketmaild@${actor.host}` };
  const sealPlaintext = createSealSweep({ store, vault, log, bindingOf, actor: sweeper });
  const passwords = createPasswordAccess({ store, vault, sealPlaintext });
  const tokens = createTokenSealing({ vault, sealPlaintext });
  const confirmations = createConfirmations({ store, vault });
  const replyKeys = createReplyKeys({ store, vault, log, random: randomFillSync });
  const operation = (observer: OperationObserver): OperationPorts => ({
    ...{ keyFile, stateFile, store, vault, clock, worker, observer, bindingOf },
    ...{ actor, origin: 'command' },
    random: (bytes) => randomFillSync(bytes),
  });
  const daemonClient = createDaemonClient(dataDir, actor.who);
  const access = { passwords, tokens, confirmations };
  const encryption = { vault, keyFile, stateFile, proof, ...access, replyKeys, actor, operation, daemonClient };
  const { host } = actor;
  const quiet: OperationObserver = {
    step: () => undefined,
    passwords: () => undefined,
    workersWithoutKey: () => undefined,
  };
  const renewSwitch = async () => {
    // Every operation begins with it.
    await runOperation({ ...operation(quiet), actor: sweeper }, never, async () => true);
  };
  const syncPorts = { renewSwitch, vault, store, sealPlaintext, clock, worker, log, host, pid: process.pid };
  const openDaemon = async (stop: AbortSignal): Promise<DaemonEncryption> => {
    const [{ createEncryptionControl }, { createOperations }] = await Promise.all([
      import('../encryption/control.ts'),
      import('../admin/operations/operations.ts'),
    ]);
    const operations = createOperations({ store, vault, worker, clock, log, actor, operation }, stop);
    const startDisable = (who: string) => operations.start('disable', who, true);
    const control = createEncryptionControl({ ...encryption, store, clock, log, startDisable });
    const start: DaemonEncryption['start'] = async (isMigrated, readiness) => {
      await using building = new AsyncDisposableStack();
      building.use(await startSync({ ...syncPorts, isMigrated }));
      building.use(operations.watch());
      const { recover, disable } = control;
      const setLevel = createLogLevelSetter(log, { pid: process.pid, name: config.worker.name });
      const status = createStatusHandler(readiness);
      const log_level = async (who: string, level: LogLevel) => setLevel(who, level);
      const handlers = { recover, disable, status, log_level };
      building.use(await startControlSocket(socketPath(dataDir, config.worker.name), handlers, log));
      return building.move();
    };
    return { start, checks: () => encryptionChecks(vault, clock.monotonicMs()), control, operations };
  };
  return { encryption, openDaemon };
}
