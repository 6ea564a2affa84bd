/**
 * Builds everything about keys, sealed passwords and the switch, for the daemon and for the commands alike.
 *
 * Nothing is read before the vault's first refresh. The passphrase of a protected key file comes from the file that the
 * configuration names (or systemd's credential), else from whoever sits at the terminal of a command.
 */

import { randomFillSync } from 'node:crypto';
import type { ControlRequest, LogLevel } from '../adapters/control/protocol.ts';
import type { ControlHandlers } from '../adapters/control/server.ts';
import { socketPath, socketPaths } from '../adapters/control/socket.ts';
import { readPassphraseFile } from '../adapters/keyfile/age.ts';
import { createKeyFile, type KeyFileMaintenance } from '../adapters/keyfile/key-file.ts';
import { createProofFile, createSwitchStateFile } from '../adapters/keyfile/state-files.ts';
import { currentActor } from '../adapters/process/worker-identity.ts';
import type { Operations } from '../admin/operations/operations.ts';
import type { AdminStore } from '../admin/ports.ts';
import type { Clock } from '../async/clock.ts';
import type { Config } from '../config/config.ts';
import type { DisableOutcome, EncryptionControl, RecoverAnswer } from '../encryption/control.ts';
import type { OperationObserver, OperationPorts } from '../encryption/operations/operation.ts';
import { createPasswordAccess, type PasswordAccess } from '../encryption/passwords.ts';
import type { EncryptionStore, KeyFile, ProofFile, SwitchStateFile } from '../encryption/ports.ts';
import { encryptionChecks } from '../encryption/status.ts';
import { createSealSweep, startSync } from '../encryption/sync.ts';
import { createVault, type Vault } from '../encryption/vault.ts';
import { asFailure, causeCode, type Failure, isFailure } from '../errors.ts';
import { type AdjustableLog, events, type Log } from '../events.ts';
import type { AuditActor } from '../ingest/model.ts';
import type { WorkerIdentity } from '../ingest/ports.ts';
import type { EncryptionChecks } from '../ingest/readiness.ts';
import type { MailboxStore } from '../ingest/stores.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';

/** Asks a person for the passphrase of the key file; null: there is nobody. */
export type AskPassphrase = () => Promise<SecretBytes | null>;

export type Encryption = {
  readonly vault: Vault;
  readonly keyFile: KeyFile & KeyFileMaintenance;
  readonly stateFile: SwitchStateFile;
  readonly proof: ProofFile;
  readonly passwords: PasswordAccess;
  readonly actor: AuditActor;
  /** The ports of one operation on the switch. */
  operation(observer: OperationObserver): OperationPorts;
  /** Asks what runs on this data folder. */
  readonly askDaemon: AskDaemon;
};

/** What the daemon needs beside: it keeps in step and answers on the control socket until that is disposed. */
export type DaemonEncryption = {
  readonly keep: () => Promise<AsyncDisposable>;
  readonly checks: () => EncryptionChecks;
  /** Admin page and control socket share the requests and the operation runner. */
  readonly control: EncryptionControl;
  readonly operations: Operations;
};

type EncryptionParts = {
  readonly config: Config;
  readonly log: AdjustableLog;
  readonly store: EncryptionStore &
    Pick<MailboxStore, 'readPassword'> &
    Pick<AdminStore, 'readOperation' | 'beginOperation' | 'updateOperation'>;
  readonly workers: WorkerIdentity;
  readonly clock: Clock;
  readonly askPassphrase: AskPassphrase | null;
};

/** `openDaemon` loads what the daemon alone needs. `stop` fires when the daemon stops. */
export function composeEncryption(parts: EncryptionParts): {
  readonly encryption: Encryption;
  readonly openDaemon: (stop: AbortSignal) => Promise<DaemonEncryption>;
} {
  const { config, log, store, workers, clock } = parts;
  const { dataDir } = config;
  const passphrase = async () =>
    (await readPassphraseFile(config.encryption.passphraseFile)) ?? (await parts.askPassphrase?.()) ?? null;
  const keyFile = createKeyFile({ dataDir, passphrase, nowMs: clock.nowMs });
  const stateFile = createSwitchStateFile({ dataDir });
  const proof = createProofFile({ dataDir });
  const actor = currentActor();
  const vault = createVault({ keyFile, stateFile, store, clock, log });
  const sealPlaintext = createSealSweep({ store, vault, log, actor: { ...actor, who: `ticketmaild@${actor.host}` } });
  const passwords = createPasswordAccess({ store, vault, sealPlaintext });
  const operation = (observer: OperationObserver): OperationPorts => ({
    ...{ keyFile, stateFile, store, vault, clock, workers, observer },
    actor,
    random: (bytes) => randomFillSync(bytes),
  });
  const askDaemon = daemonAt(dataDir, actor.who);
  const encryption = { vault, keyFile, stateFile, proof, passwords, actor, operation, askDaemon };
  const { host } = actor;
  const syncPorts = { vault, store, sealPlaintext, clock, workers, log, host, pid: process.pid };
  const openDaemon = async (stop: AbortSignal): Promise<DaemonEncryption> => {
    const [{ createEncryptionControl }, { createOperations }] = await Promise.all([
      import('../encryption/control.ts'),
      import('../admin/operations/operations.ts'),
    ]);
    const operations = createOperations({ store, vault, workers, clock, log, actor, operation }, stop);
    const startDisable = (who: string) => operations.start('disable', who, true);
    const control = createEncryptionControl({ ...encryption, store, clock, log, startDisable });
    const keep = async () => {
      await using building = new AsyncDisposableStack();
      building.use(await startSync(syncPorts));
      building.use(operations.watch());
      const { recover, disable } = control;
      const setLevel = levelSetter(log, { pid: process.pid, name: config.worker.name });
      const handlers = { recover, disable, log_level: async (who: string, level: LogLevel) => setLevel(who, level) };
      building.use(await startControlSocket(socketPath(dataDir, config.worker.name), handlers, log));
      return building.move();
    };
    return { keep, checks: () => encryptionChecks(vault), control, operations };
  };
  return { encryption, openDaemon };
}

/**
 * Both ends of the control socket, put together: the one of the daemon, and the one of the commands that ask it.
 *
 * Several workers may share a data folder. What one of them can do for all (write the key file back, switch encryption
 * off) is asked of the first that answers; what each does for itself (the log level) is told to every one.
 */

type LevelAnswer = {
  /** Which daemon this is: its process id. */
  readonly pid: number;
  readonly worker: string;
  readonly before: string;
  readonly level: string;
};

/** Asks the daemons that run on a data folder. Each throws `daemon_unreachable`, and what is answered. */
type AskDaemon = {
  recover(): Promise<RecoverAnswer>;
  disable(): Promise<DisableOutcome>;
  /** Told to every worker that there is. */
  logLevel(level: LogLevel): Promise<LevelAnswers>;
};

/** `failures`: of those that are there and did not do it. */
type LevelAnswers = { readonly answers: readonly LevelAnswer[]; readonly failures: readonly Failure[] };

/** A daemon without its control socket does its work all the same: that is told, and no reason to end. */
export async function startControlSocket(path: string, handlers: ControlHandlers, log: Log): Promise<AsyncDisposable> {
  const { startControlServer } = await import('../adapters/control/server.ts');
  try {
    return (await startControlServer(path, handlers)) ?? nothing;
  } catch (error) {
    log.warn({ error: asFailure(error) }, events.controlFailed);
    return nothing;
  }
}

const nothing: AsyncDisposable = { [Symbol.asyncDispose]: async () => undefined };

/** Sets the level of a log; the line that tells so is written while the more talkative of the two levels holds. */
export function levelSetter(
  log: AdjustableLog,
  worker: { readonly pid: number; readonly name: string },
): (who: string, level: LogLevel) => LevelAnswer {
  return (who, level) => {
    const before = log.level;
    const tell = (): void => log.warn({ level_before: before, level_now: level, by: who }, events.logLevelChanged);
    if (level === 'error') tell();
    log.level = level;
    if (level !== 'error') tell();
    return { pid: worker.pid, worker: worker.name, before, level };
  };
}

/** The daemons are this program, of the same version and data folder: their answers have these forms. */
export function daemonAt(dataDir: string, who: string): AskDaemon {
  return {
    recover: async () => (await askFirst(dataDir, { command: 'recover', who })) as RecoverAnswer,
    disable: async () => (await askFirst(dataDir, { command: 'disable', who })) as DisableOutcome,
    logLevel: (level) => tellAll(dataDir, { command: 'log_level', who, level }),
  };
}

/** Loaded when somebody is asked: most commands ask nobody. */
async function ask(path: string, request: ControlRequest): Promise<Record<string, unknown>> {
  const { sendControlRequest } = await import('../adapters/control/client.ts');
  return await sendControlRequest(path, request);
}

/** The first that answers counts; one that holds no key either leaves it to the next. */
async function askFirst(dataDir: string, request: ControlRequest): Promise<unknown> {
  const failures: Failure[] = [];
  for (const path of await socketPaths(dataDir)) {
    try {
      return await ask(path, request);
    } catch (error) {
      if (!isFailure(error, 'daemon_unreachable', 'key_file_missing')) throw error;
      failures.push(error);
    }
  }
  throw mostTelling(failures);
}

async function tellAll(dataDir: string, request: ControlRequest): Promise<LevelAnswers> {
  const paths = await socketPaths(dataDir);
  const told = await Promise.allSettled(paths.map((path) => ask(path, request)));
  const answers = told.flatMap((one) => (one.status === 'fulfilled' ? [one.value as unknown as LevelAnswer] : []));
  const failures = told.flatMap((one) => (one.status === 'rejected' ? [asFailure(one.reason)] : []));
  if (answers.length === 0) throw mostTelling(failures);
  return { answers, failures: failures.filter((failure) => !isAbsence(failure)) };
}

/** Nobody is there, or left a socket behind as it died: no worker that could have been told. */
function isAbsence({ code, cause }: Failure): boolean {
  return code === 'daemon_unreachable' && ['ENOENT', 'ECONNREFUSED'].includes(causeCode(cause));
}

/** What a daemon said, or that it hangs, counts more than that another is not there. */
function mostTelling(failures: readonly Failure[]): Failure {
  const said = failures.find((failure) => !isAbsence(failure)) ?? failures[0];
  if (said === undefined) throw new TypeError('nobody was asked');
  return said;
}
