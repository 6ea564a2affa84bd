/**
 * View model and actions of the page Server > Encryption. Each action runs the workflow of the command of that name,
 * with the same rules and the same audit.
 *
 * To start disabling takes a proof file newer than the request, which only a person with access to the file system can
 * create. The request is in the memory of this daemon, so it is confirmed here.
 */
import type { DisableRequest, EncryptionControl } from '../../encryption/control.ts';
import { commandLine, type DatabaseLocation, plaintextRemnants, preparationAdvice } from '../../encryption/help.ts';
import { workerLiveMs } from '../../encryption/operations/operation.ts';
import type { EncryptionStore, KeyFile, KeyFileReading, ProofCheck, ProofFile } from '../../encryption/ports.ts';
import { type EncryptionStatus, encryptionStatus } from '../../encryption/status.ts';
import type { Vault } from '../../encryption/vault.ts';
import { isFailure } from '../../errors.ts';
import type { AuditActor } from '../../ingest/model.ts';
import type { WorkerIdentity } from '../../ingest/ports.ts';
import { isKeyId, type KeyId, keyIds } from '../../secret/key.ts';
import { requiredKeyIds } from '../../secret/switch.ts';
import { shellArg } from '../../text/shell.ts';
import type { Operations } from '../operations/operations.ts';
import { unfinishedKind } from '../operations/switch-rules.ts';
import { type AdminStore, pageActor } from '../ports.ts';
import type {
  AdminService,
  BackupVerdict,
  BackupVerified,
  EncryptionView,
  OperationKind,
  OperationStart,
  OperationView,
  ProofRequest,
} from '../service.ts';
import { diagnose } from './diagnostics.ts';
import { operationView } from './operation.ts';

export type EncryptionServicePorts = {
  readonly store: EncryptionStore & Pick<AdminStore, 'readOperation' | 'lastAudit'>;
  readonly vault: Vault;
  readonly keyFile: Pick<KeyFile, 'path' | 'read'>;
  readonly proof: Pick<ProofFile, 'path'>;
  /** The control socket uses the same one. */
  readonly control: EncryptionControl;
  readonly operations: Pick<Operations, 'start'>;
  readonly worker: Pick<WorkerIdentity, 'name'>;
  readonly actor: AuditActor;
  /** Absolute; null: the daemon was started without one. */
  readonly configFile: string | null;
  /** See `DiagnosticContext`. */
  readonly user: string;
  readonly database: DatabaseLocation;
};

export type EncryptionService = Pick<
  AdminService,
  'encryption' | 'startOperation' | 'requestDisable' | 'confirmDisable' | 'cancelDisable' | 'verifyBackup'
>;

/** Audit action of a backup that holds every key; its detail is their ids. */
const verifiedAction = 'key.backup_verified';

export function createEncryptionService(ports: EncryptionServicePorts): EncryptionService {
  const { control, vault, operations } = ports;
  return {
    encryption: () => readEncryptionView(ports),
    startOperation: async (kind, by) => startResult(await operations.start(kind, pageActor(by), false)),
    requestDisable: async (by) => {
      const { switch: inForce } = await vault.refresh();
      if (inForce.state !== 'off') await control.requestDisable(pageActor(by));
    },
    confirmDisable: async (by) => startResult(await control.confirmDisable(pageActor(by))),
    cancelDisable: (by) => control.cancelDisable(pageActor(by)),
    verifyBackup: (held, by) => verify(ports, held, by),
  };
}

/** A Failure: nothing was started. */
export function startResult(result: unknown): OperationStart {
  if (!isFailure(result)) return { kind: 'started' };
  const { message, hint } = result;
  return { kind: 'refused', sentence: `${message.charAt(0).toUpperCase()}${message.slice(1)}. ${hint}` };
}

async function readEncryptionView(ports: EncryptionServicePorts): Promise<EncryptionView> {
  const { store, keyFile, vault, control, configFile, database, worker, actor } = ports;
  const [status, row, reading] = await Promise.all([
    encryptionStatus({ store, vault }, workerLiveMs),
    store.readOperation(),
    keyFile.read(),
  ]);
  const operation = row && operationView(row, { keyFilePath: keyFile.path, configFile });
  const request = control.disableRequest();
  const context = { keyFilePath: keyFile.path, configFile, me: worker.name, host: actor.host, user: ports.user };
  return {
    ...operationProgress(status, operation, request !== null),
    status,
    diagnostics: diagnose(status, vault.view, context),
    operation,
    proofRequest: request && proofRequest(request, ports.proof.path),
    keyFile: keyFileView(keyFile.path, reading, vault),
    backup: await lastVerified(ports, requiredInBackup(reading, vault)),
    commands: {
      backup: commandLine(`key backup ${backupPath(status)}`, configFile),
      verify: commandLine(`key verify ${backupPath(status)}`, configFile),
      status: commandLine('encryption status', configFile),
    },
    leftovers: status.state === 'off' ? preparationAdvice(database) : plaintextRemnants(database, configFile),
  };
}

/**
 * In the home folder of the user who runs the command; the name contains the key id, so copies of different keys
 * coexist.
 */
function backupPath({ key_id: keyId, next_key_id: next }: EncryptionStatus): string {
  return `~/ticketmaild-key-${[keyId, next].filter(isKeyId).join('-') || 'copy'}.bin`;
}

function proofRequest(
  { requestedBy: by, requestedAtMs: askedAtMs, expiresAtMs, checks }: DisableRequest,
  path: string,
): ProofRequest {
  const explained = checks?.map(({ name, ok, fault, why, hint }: ProofCheck) => {
    return { name, ok, fault, why: hint === null ? why : `${why}. ${hint}` };
  });
  return {
    by,
    requestedAtMs: askedAtMs,
    expiresAtMs,
    path,
    command: `touch ${shellArg(path)}`,
    checks: explained ?? null,
  };
}

function keyFileView(path: string, reading: KeyFileReading, vault: Vault): EncryptionView['keyFile'] {
  const isLocked = reading.kind === 'refused' && reading.failure.code === 'key_file_locked';
  const isProtected = isLocked || (reading.kind === 'keys' && reading.wrapped !== null);
  return { path, isProtected, keyIds: keyIds(reading.kind === 'keys' ? reading.keys : vault.keys()) };
}

/**
 * Keys that a backup must hold: every key of the key file, and those that the switch requires, which a replaced file
 * may lack. When the file cannot be read: the keys in memory, and those that the stored switch names, even if it cannot
 * be verified.
 */
function requiredInBackup(reading: KeyFileReading, { view, keys }: Vault): readonly KeyId[] {
  const { problem, stored, switch: inForce } = view;
  const row = problem?.code === 'key_unknown' && stored !== null ? stored : inForce;
  const inFile = keyIds(reading.kind === 'keys' ? reading.keys : keys());
  return [...new Set([...inFile, ...requiredKeyIds(row)])];
}

/** null when the backup compared last lacks a key that is required now. */
async function lastVerified(
  { store }: EncryptionServicePorts,
  wanted: readonly KeyId[],
): Promise<BackupVerified | null> {
  const row = wanted.length === 0 ? null : await store.lastAudit(verifiedAction);
  if (row === null) return null;
  const held = (row.detail ?? '').split(' ').filter(isKeyId);
  return wanted.every((id) => held.includes(id)) ? { atMs: row.atMs, by: row.who, keyIds: held } : null;
}

async function verify(ports: EncryptionServicePorts, given: readonly string[], by: string): Promise<BackupVerdict> {
  const { keyFile, vault, store, actor } = ports;
  const { switch: inForce } = await vault.refresh();
  const wanted = requiredInBackup(await keyFile.read(), vault);
  if (wanted.length === 0) return { kind: 'no_key' };
  const lacks = wanted.filter((id) => !given.includes(id));
  const isSame = lacks.length === 0;
  // Of the ids that a browser sent, only known ones are written to the audit.
  const held = wanted.filter((id) => given.includes(id));
  const detail = isSame ? held.join(' ') : `lacks ${lacks.join(' ')}`;
  const { keyId, nextKeyId } = inForce;
  const entry = { who: pageActor(by), host: actor.host, keyId, nextKeyId, mailboxId: null, detail };
  await store.audit([{ ...entry, action: isSame ? verifiedAction : 'key.backup_differs' }]);
  return isSame ? { kind: 'same' } : { kind: 'lacks', keyIds: lacks };
}

export type OperationProgress = Pick<EncryptionView, 'mode' | 'progress' | 'unfinished'>;

/**
 * Progress from the state of the switch, the counted passwords and the operation. `isRequested`: disabling waits for
 * its proof file. Pure.
 */
export function operationProgress(
  status: EncryptionStatus,
  operation: OperationView | null,
  isRequested: boolean,
): OperationProgress {
  const running = operation?.state === 'running' ? operation : null;
  const unfinished = unfinishedKind({ state: status.state, nextKeyId: status.next_key_id });
  const kind = unfinished ?? running?.kind ?? null;
  return {
    mode: kind === null ? idleMode(status, isRequested) : 'working',
    progress: kind === null ? null : progressOf(kind, status, running),
    unfinished: running === null ? unfinished : null,
  };
}

function idleMode({ state }: EncryptionStatus, isRequested: boolean): EncryptionView['mode'] {
  if (state === 'off') return 'off';
  return isRequested ? 'disabling' : 'on';
}

function progressOf(kind: OperationKind, status: EncryptionStatus, running: OperationView | null) {
  const { sealed, plaintext: plain } = status;
  const total = sealed + plain;
  if (kind === 'rotate') return { done: countUnderNewKey(status, running), total };
  return { done: kind === 'enable' ? sealed : plain, total };
}

/** Passwords under the new key, which is not known before the rotation is announced. */
function countUnderNewKey(status: EncryptionStatus, running: OperationView | null): number {
  const { next_key_id: nextKeyId, key_id: keyId, changed_at: changedAt, by_key: byKey } = status;
  const isAnnounced = nextKeyId !== null || running === null || Date.parse(changedAt ?? '') >= running.startedAtMs;
  if (!isAnnounced) return 0;
  return byKey.find(({ key_id: id }) => id === (nextKeyId ?? keyId))?.count ?? 0;
}
