/**
 * View model of the page Server > Encryption: status, diagnostics, the last operation and its progress, the key file,
 * the last verified backup.
 */
import { keysInUse, lastVerifiedBackup } from '../../encryption/backup.ts';
import type { DisableRequest, EncryptionControl } from '../../encryption/control.ts';
import { commandLine, type DatabaseLocation, sharedBackupAdvice } from '../../encryption/help.ts';
import { describeStep } from '../../encryption/operations/steps.ts';
import type {
  AuditReader,
  EncryptionStore,
  KeyFile,
  KeyFileReading,
  ProofCheck,
  ProofFile,
} from '../../encryption/ports.ts';
import { plaintextRemnants, preparationAdvice } from '../../encryption/remnants.ts';
import { type EncryptionStatus, encryptionStatus } from '../../encryption/status.ts';
import type { Vault } from '../../encryption/vault.ts';
import { hintOf } from '../../errors.ts';
import type { AuditActor } from '../../ingest/model.ts';
import type { WorkerIdentity } from '../../ingest/ports.ts';
import { isKeyId, keyIds } from '../../secret/key.ts';
import { shellArg } from '../../text/shell.ts';
import { actorIn } from '../operations/operations.ts';
import { type OperationRecord, parseRecord } from '../operations/record.ts';
import { unfinishedKind } from '../operations/switch-rules.ts';
import type { AdminStore, StoredOperation } from '../ports.ts';
import type { EncryptionView, OperationKind, OperationView, ProofRequest } from '../service.ts';
import { diagnose } from './diagnostics.ts';

export type EncryptionViewPorts = {
  readonly store: EncryptionStore & AuditReader & Pick<AdminStore, 'readOperation'>;
  readonly vault: Vault;
  readonly keyFile: Pick<KeyFile, 'path' | 'read'>;
  readonly proof: Pick<ProofFile, 'path'>;
  /** The control socket uses the same one. */
  readonly control: EncryptionControl;
  readonly worker: Pick<WorkerIdentity, 'name'>;
  readonly actor: AuditActor;
  /** Absolute; null: the daemon was started without one. */
  readonly configFile: string | null;
  /** See `DiagnosticContext`. */
  readonly user: string;
  readonly database: DatabaseLocation;
};

export async function readEncryptionView(ports: EncryptionViewPorts): Promise<EncryptionView> {
  const { store, keyFile, vault, control, configFile, database, worker, actor } = ports;
  const [status, row, reading, server] = await Promise.all([
    encryptionStatus({ store, vault }),
    store.readOperation(),
    keyFile.read(),
    store.databaseServer(),
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
    backup: await lastVerifiedBackup(store, keysInUse(reading, vault)),
    commands: {
      backup: commandLine(`key backup ${backupPath(status)}`, configFile),
      verify: commandLine(`key verify ${backupPath(status)}`, configFile),
      status: commandLine('encryption status', configFile),
    },
    leftovers:
      status.state === 'off'
        ? [...preparationAdvice(server), ...sharedBackupAdvice(keyFile.path, database)]
        : plaintextRemnants(database, server, configFile),
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

export type OperationProgress = Pick<EncryptionView, 'mode' | 'progress' | 'unfinished'>;

/**
 * Progress from the state of the switch, the counted passwords and tokens, and the operation. `isRequested`: disabling
 * waits for its proof file. Pure.
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
  const sealed = status.sealed + status.sealed_tokens;
  const plain = status.plaintext + status.plaintext_tokens;
  const total = sealed + plain;
  if (kind === 'rotate') return { done: countUnderNewKey(status, running), total };
  return { done: kind === 'enable' ? sealed : plain, total };
}

/** Passwords and tokens under the new key, which is not known before the rotation is announced. */
function countUnderNewKey(status: EncryptionStatus, running: OperationView | null): number {
  const { next_key_id: nextKeyId, key_id: keyId, changed_at: changedAt, by_key: byKey } = status;
  const isAnnounced = nextKeyId !== null || running === null || Date.parse(changedAt ?? '') >= running.startedAtMs;
  if (!isAnnounced) return 0;
  return byKey.find(({ key_id: id }) => id === (nextKeyId ?? keyId))?.count ?? 0;
}

// Rendering of a stored operation: data of the row in, sentences of this program out. Anyone with write access to the
// database can forge the row. Of its texts only the actor and mailbox names reach the page, as names; a step that is
// not known is shown as "unknown step". Advice follows from the code of a failure and the kind.

/** Properties of the daemon that renders it. */
type Renderer = { readonly keyFilePath: string; readonly configFile: string | null };

export function operationView(row: StoredOperation, { keyFilePath, configFile }: Renderer): OperationView {
  const { kind, startedAtMs, endedAtMs, state } = row;
  const record = parseRecord(row.detail);
  const { steps, waiting, unopened, setAside } = record;
  const lacking = waiting.map(({ host, pid }) => `${host} (pid ${pid})`).join(', ');
  const waits = state === 'running' && lacking !== '' ? [`Waiting for workers that lack the key: ${lacking}.`] : [];
  const isCutShort = state === 'done' && steps.some((step) => step?.step === 'ended_early');
  return {
    ...{ kind, by: actorIn(row), startedAtMs, endedAtMs, state },
    steps: [...steps.map((step) => (step === null ? 'unknown step' : describeStep(step))), ...waits],
    error: errorView(record, kind, lacking),
    unopened: unopened.map(({ code, ...owner }) => ({ ...owner, ...unopenedReason(code) })),
    setAside: setAside !== null && isSetAsidePath(setAside, keyFilePath) ? setAside : null,
    followUp: isCutShort ? followUp(kind, configFile) : null,
  };
}

/** null: no error, or a code that does not exist. */
function errorView({ error }: OperationRecord, kind: OperationKind, lacking: string): OperationView['error'] {
  const hint = error && (pageHints.get(error.code) ?? hintOf(error.code));
  if (error === null || hint === null) return null;
  return { code: error.code, message: errorMessage(error, kind, lacking), hint };
}

function errorMessage(
  { code, count }: NonNullable<OperationRecord['error']>,
  kind: OperationKind,
  lacking: string,
): string {
  if (code === 'workers_lack_key' && lacking !== '') return `live workers do not hold the key: ${lacking}`;
  if (code === 'password_damaged' && kind === 'disable' && count !== null)
    return `the switch stays at disabling: ${count} of the passwords cannot be opened`;
  if (code === 'refused' && count !== null) return `the key file holds ${count} keys and has no room for one more`;
  return errorMessages.get(code) ?? 'the log of the daemon has the details';
}

const errorMessages: ReadonlyMap<string, string> = new Map([
  ['interrupted', 'the daemon that ran it stopped, and the switch shows nothing to resume'],
  ['operation_running', 'another operation on the switch is running'],
  ['password_damaged', 'the switch stays at enabling: some passwords cannot be sealed'],
  ['refused', 'the state of the switch does not allow it'],
  ['key_file_missing', 'there is no key file'],
  ['key_unknown', 'the key file does not hold a key that is needed'],
]);

/** Where the page has other advice than the commands have. */
const pageHints: ReadonlyMap<string, string> = new Map([
  ['interrupted', 'If it is still wanted, press the button again.'],
  ['password_damaged', 'Set each of these again: ticketmaild mailbox set-password NAME. Then continue.'],
]);

const unopenedReasons: ReadonlyMap<string, string> = new Map([
  ['password_damaged', 'it is not what was stored, or cannot be sealed'],
  ['password_binding_mismatch', 'it was sealed for another mailbox, server or user'],
  ['key_unknown', 'the key that it needs is not open here'],
]);

function unopenedReason(code: string): { readonly code: string; readonly message: string } {
  const message = unopenedReasons.get(code);
  return message === undefined ? { code: 'password_damaged', message: 'it could not be opened' } : { code, message };
}

const followUps: Readonly<Record<OperationKind, readonly [what: string, words: string]>> = {
  enable: [
    'The table of mailboxes may not have been rewritten: its file may still contain plain-text passwords. This rewrites it:',
    'encryption enable',
  ],
  rotate: [
    'The former key may still be in the key file. This removes it, unless a password needs it:',
    'encryption reseal',
  ],
  disable: ['The key file may still be in its place. This sets it aside:', 'encryption disable'],
};

function followUp(kind: OperationKind, configFile: string | null): OperationView['followUp'] {
  const [what, words] = followUps[kind];
  return { what, command: commandLine(words, configFile) };
}

/** True for a name that the key file of this daemon is renamed to when encryption is disabled. */
function isSetAsidePath(path: string, keyFilePath: string): boolean {
  return path.startsWith(keyFilePath) && /^\.disabled-\d{8}T\d{6}Z-[0-9a-f]{8}$/.test(path.slice(keyFilePath.length));
}
