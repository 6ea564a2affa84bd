/**
 * The page Server > Encryption: what it shows, and what can be done there. Each thing that is done is the workflow of the
 * command of that name, with the same rules and the same audit.
 *
 * To begin with switching off needs a proof file, which only somebody makes who reaches the file system; the request that
 * it must be newer than is in the memory of this daemon, so that is where it is confirmed.
 */

import type { Clock } from '../../async/clock.ts';
import type { Control, DisableRequest } from '../../encryption/control.ts';
import { commandLine, type DatabasePlace, leftovers, preparation } from '../../encryption/help.ts';
import { liveMs, type OperationPorts, type Tell } from '../../encryption/operations/operation.ts';
import type { EncryptionStore, KeyFile, KeyFileReading, ProofCheck, ProofFile } from '../../encryption/ports.ts';
import { type EncryptionStatus, encryptionStatus } from '../../encryption/status.ts';
import type { Vault } from '../../encryption/vault.ts';
import type { Log } from '../../events.ts';
import type { AuditActor } from '../../ingest/model.ts';
import type { WorkerIdentity } from '../../ingest/ports.ts';
import { type KeyId, keyIds } from '../../secret/key.ts';
import { neededKeys } from '../../secret/switch.ts';
import { shellArg } from '../../text/shell.ts';
import { createOperations, type Operations } from '../operations/operations.ts';
import { halfWay } from '../operations/runner.ts';
import { type AdminStore, pageActor } from '../ports.ts';
import type {
  AdminService,
  BackupVerdict,
  BackupVerified,
  EncryptionView,
  OperationKind,
  OperationView,
  ProofRequest,
} from '../service.ts';
import { diagnose } from './diagnostics.ts';

export type EncryptionServicePorts = {
  readonly store: EncryptionStore &
    Pick<AdminStore, 'readOperation' | 'beginOperation' | 'updateOperation' | 'lastAudit'>;
  readonly vault: Vault;
  readonly keyFile: Pick<KeyFile, 'path' | 'read'>;
  readonly proof: Pick<ProofFile, 'path'>;
  /** The one that the control socket uses as well. */
  readonly control: Control;
  readonly workers: WorkerIdentity;
  readonly clock: Clock;
  readonly log: Log;
  readonly author: AuditActor;
  /** The ports of one operation on the switch. */
  operation(tell: Tell): OperationPorts;
  /** Absolute; null: the daemon was started without one. */
  readonly configFile: string | null;
  /** See TroublePlace. */
  readonly user: string;
  readonly database: DatabasePlace;
};

export type EncryptionService = AsyncDisposable &
  Pick<
    AdminService,
    'encryption' | 'startOperation' | 'requestDisable' | 'confirmDisable' | 'cancelDisable' | 'verifyBackup'
  >;

/** Of a backup that holds every key; its detail is their ids. */
const verifiedAction = 'key.backup_verified';

/** Looks at once, and every few seconds, for an operation that a dead daemon left behind. Disposing stops what runs. */
export function createEncryptionService(ports: EncryptionServicePorts): EncryptionService {
  const operations = createOperations(ports);
  const { control, vault } = ports;
  return {
    encryption: () => readEncryptionView(ports, operations),
    startOperation: (kind, by) => operations.start(kind, by),
    requestDisable: async (by) => {
      const { switch: inForce } = await vault.refresh();
      if (inForce.state !== 'off') await control.askDisable(pageActor(by));
    },
    confirmDisable: async (by) => {
      const why = await control.confirmDisable(async () => {
        const answer = await operations.startProven(by);
        return answer.kind === 'started' ? null : answer.sentence;
      });
      return why === null ? { kind: 'started' } : { kind: 'refused', sentence: why };
    },
    cancelDisable: (by) => control.cancelDisable(pageActor(by)),
    verifyBackup: (held, by) => verify(ports, held, by),
    [Symbol.asyncDispose]: () => operations[Symbol.asyncDispose](),
  };
}

const nobodyToTell: Tell = { step: () => undefined, passwords: () => undefined, waiting: () => undefined };

async function readEncryptionView(ports: EncryptionServicePorts, operations: Operations): Promise<EncryptionView> {
  const { keyFile, vault, control, configFile, database, workers, author } = ports;
  const [status, operation, reading] = await Promise.all([
    encryptionStatus(ports.operation(nobodyToTell), liveMs),
    operations.view(),
    keyFile.read(),
  ]);
  const request = control.request();
  const context = { keyFilePath: keyFile.path, configFile, me: workers.name, host: author.host, user: ports.user };
  return {
    ...operationProgress(status, operation, request !== null),
    status,
    diagnostics: diagnose(status, vault.view, context),
    operation,
    proofRequest: request && proofRequest(request, ports.proof.path),
    keyFile: keyFileView(keyFile.path, reading, vault),
    backup: await lastVerified(ports, keysToHold(reading, vault)),
    commands: {
      backup: commandLine(`key backup ${copyOf(status)}`, configFile),
      verify: commandLine(`key verify ${copyOf(status)}`, configFile),
      status: commandLine('encryption status', configFile),
    },
    leftovers: status.state === 'off' ? preparation(database) : leftovers(database, configFile),
  };
}

/** In the home folder of whoever runs the command, under a name that the copy of another key does not have. */
function copyOf({ key_id: keyId, next_key_id: next }: EncryptionStatus): string {
  return `~/ticketmaild-key-${[keyId, next].filter((id) => id !== null && isKeyId(id)).join('-') || 'copy'}.bin`;
}

function proofRequest({ by, askedAtMs, expiresAtMs, checks }: DisableRequest, path: string): ProofRequest {
  const told = checks?.map(({ name, ok, why, hint }: ProofCheck) => {
    return { name, ok, why: hint === null ? why : `${why}. ${hint}` };
  });
  return { by, requestedAtMs: askedAtMs, expiresAtMs, path, command: `touch ${shellArg(path)}`, checks: told ?? null };
}

function keyFileView(path: string, reading: KeyFileReading, vault: Vault): EncryptionView['keyFile'] {
  const isLocked = reading.kind === 'refused' && reading.failure.code === 'key_file_locked';
  const isProtected = isLocked || (reading.kind === 'keys' && reading.wrapped !== null);
  return { path, isProtected, keyIds: keyIds(reading.kind === 'keys' ? reading.keys : vault.keys()) };
}

/**
 * What a backup must hold: every key of the key file, and the one in use, which another file at its place may lack. Where
 * that file cannot be read: what is in memory, and what the switch names, even one that only that key could verify.
 */
function keysToHold(reading: KeyFileReading, { view, keys }: Vault): readonly KeyId[] {
  const { problem, stored, switch: inForce } = view;
  const row = problem?.code === 'key_unknown' && stored !== null ? stored : inForce;
  const inFile = keyIds(reading.kind === 'keys' ? reading.keys : keys());
  return [...new Set([...inFile, ...neededKeys(row)])];
}

/** null when the last one that was compared lacks a key of now. */
async function lastVerified(
  { store }: EncryptionServicePorts,
  wanted: readonly KeyId[],
): Promise<BackupVerified | null> {
  const row = wanted.length === 0 ? null : await store.lastAudit(verifiedAction);
  if (row === null) return null;
  const held = (row.detail ?? '').split(' ').filter(isKeyId);
  return wanted.every((id) => held.includes(id)) ? { atMs: row.atMs, by: row.who, keyIds: held } : null;
}

function isKeyId(text: string): boolean {
  return /^[0-9a-f]{16}$/.test(text);
}

async function verify(ports: EncryptionServicePorts, given: readonly string[], by: string): Promise<BackupVerdict> {
  const { keyFile, vault, store, author } = ports;
  const { switch: inForce } = await vault.refresh();
  const wanted = keysToHold(await keyFile.read(), vault);
  if (wanted.length === 0) return { kind: 'no_key' };
  const lacks = wanted.filter((id) => !given.includes(id));
  const isSame = lacks.length === 0;
  // Of what a browser sent only ids that are known here are written down.
  const held = wanted.filter((id) => given.includes(id));
  const detail = isSame ? held.join(' ') : `lacks ${lacks.join(' ')}`;
  const { keyId, nextKeyId } = inForce;
  const entry = { who: pageActor(by), host: author.host, keyId, nextKeyId, mailboxId: null, detail };
  await store.audit([{ ...entry, action: isSame ? verifiedAction : 'key.backup_differs' }]);
  return isSame ? { kind: 'same' } : { kind: 'lacks', keyIds: lacks };
}

/** What is under way with the switch, out of its state, the counted passwords and the operation of the page. Pure. */

export type OperationProgress = Pick<EncryptionView, 'mode' | 'progress' | 'unfinished'>;

/** `isAsked`: switching off was asked for, and waits for its proof file. */
export function operationProgress(
  status: EncryptionStatus,
  operation: OperationView | null,
  isAsked: boolean,
): OperationProgress {
  const running = operation?.state === 'running' ? operation : null;
  const begun = halfWay({ state: status.state, nextKeyId: status.next_key_id });
  const kind = begun ?? running?.kind ?? null;
  return {
    mode: kind === null ? idleMode(status, isAsked) : 'working',
    progress: kind === null ? null : progressOf(kind, status, running),
    unfinished: running === null ? begun : null,
  };
}

function idleMode({ state }: EncryptionStatus, isAsked: boolean): EncryptionView['mode'] {
  if (state === 'off') return 'off';
  return isAsked ? 'disabling' : 'on';
}

function progressOf(kind: OperationKind, status: EncryptionStatus, running: OperationView | null) {
  const { sealed, plain } = status;
  const total = sealed + plain;
  if (kind === 'rotate') return { done: countUnderNewKey(status, running), total };
  return { done: kind === 'enable' ? sealed : plain, total };
}

/** Under the key that they are to be under in the end, which is not known before it is announced. */
function countUnderNewKey(status: EncryptionStatus, running: OperationView | null): number {
  const { next_key_id: nextKeyId, key_id: keyId, changed_at: changedAt, by_key: byKey } = status;
  const isBegun = nextKeyId !== null || running === null || Date.parse(changedAt ?? '') >= running.startedAtMs;
  if (!isBegun) return 0;
  return byKey.find(({ key_id: id }) => id === (nextKeyId ?? keyId))?.count ?? 0;
}
