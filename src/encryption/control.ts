/**
 * Encryption control of the running daemon: recovers the key file, and disables encryption without it, on request.
 *
 * The daemon has keys in memory that a command may be unable to open. `recover` writes a lost or damaged key file
 * again. `disable` is for an operator who cannot open the key file but proves access to the file system: the request is
 * stored, and carried out when it is repeated after a proof file was created. The admin page uses the same request. A
 * request exists in memory only, so write access to the database cannot backdate it, and expires after 15 minutes. A
 * mutex serializes all calls.
 */
import type { Clock } from '../async/clock.ts';
import { createMutex } from '../async/mutex.ts';
import { asFailure, Failure, isFailure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import type { AuditActor } from '../ingest/model.ts';
import { type KeyId, type KeySet, keyById, keyIds } from '../secret/key.ts';
import { hints } from '../text/hints.ts';
import type { UnopenedSecret } from './operations/operation.ts';
import type { AuditEntry, EncryptionStore, KeyFile, KeyFileReading, ProofCheck, ProofFile } from './ports.ts';
import type { Vault, VaultView } from './vault.ts';

export type EncryptionControlPorts = {
  readonly vault: Vault;
  readonly keyFile: Pick<KeyFile, 'path' | 'read' | 'create' | 'setAside'>;
  readonly proof: ProofFile;
  readonly store: Pick<EncryptionStore, 'audit'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly log: Log;
  readonly actor: AuditActor;
  /** Starts to disable encryption in the operation runner of the daemon. A Failure says why it cannot start. */
  startDisable(who: string): Promise<StartedDisable | Failure>;
};

type StartedDisable = {
  readonly ended: Promise<
    | {
        /** Passwords that were stored in plain text. */
        readonly changed: number;
        /** Refresh tokens that were stored in plain text. */
        readonly changedTokens: number;
        readonly unopened: readonly UnopenedSecret[];
        readonly setAside: string | null;
        readonly wasReached: boolean;
      }
    | Failure
  >;
};

export type RecoverAnswer = {
  readonly path: string;
  readonly key_ids: readonly KeyId[];
  /** New path of the file that was there; null: none. */
  readonly set_aside: string | null;
  /** False: not in the audit table, as the database was unavailable. */
  readonly recorded: boolean;
};

export type DisableOutcome =
  /** Next: create the proof file, then repeat the request. `problem`: why the present proof file is not accepted. */
  | {
      readonly state: 'requested';
      readonly requested_at: string;
      readonly expires_at: string;
      readonly proof_path: string;
      readonly problem: string | null;
    }
  | {
      /** `disabling`: some passwords could not be opened; set each of them, then repeat the request. */
      readonly state: 'off' | 'disabling';
      readonly was_off: boolean;
      readonly unsealed: number;
      readonly unsealed_tokens: number;
      readonly unopened_count: number;
      /** The first of them. */
      readonly unopened: readonly UnopenedSecret[];
      readonly set_aside: string | null;
    };

/** A pending request to disable encryption. */
export type DisableRequest = {
  /** As in the audit table. */
  readonly requestedBy: string;
  readonly requestedAtMs: number;
  readonly expiresAtMs: number;
  /** Result of the last check of the proof file; null: not checked yet. */
  readonly checks: readonly ProofCheck[] | null;
};

export type EncryptionControl = {
  /** Throws `refused` when there is nothing to recover, `key_file_missing`, `key_file_locked`, `disk_*`. */
  recover(who: string): Promise<RecoverAnswer>;
  /** Throws `key_file_missing` when this daemon has no key either, and the errors of the disable operation. */
  disable(who: string): Promise<DisableOutcome>;
  /** The pending request; null: none, or expired. */
  disableRequest(): DisableRequest | null;
  /** Requests to disable encryption, unless a request is pending. Throws `key_file_missing`, `database_*`. */
  requestDisable(who: string): Promise<void>;
  /**
   * Checks the proof file and starts to disable. Returns why not; null: started. Throws `disk_failed`, `database_*`.
   */
  confirmDisable(who: string): Promise<Failure | null>;
  /** Throws `database_*`; the request is withdrawn regardless. */
  cancelDisable(who: string): Promise<void>;
};

const listedUnopenedMax = 50;

export function createEncryptionControl(ports: EncryptionControlPorts): EncryptionControl {
  const mutex = createMutex();
  const record = (who: string, action: string) => ports.store.audit([auditEntryFor(ports, who, action, null)]);
  const requests = createDisableRequests({ ...ports, record });
  const disableStep = async (who: string): Promise<DisableOutcome> => {
    await refuseWithoutKey(ports.vault);
    const waiting = requests.current();
    if (waiting === null) return requested(await requests.create(who), ports.proof.path, null);
    const problem = proofProblem(await requests.checkProof(waiting));
    if (problem !== null) return requested(waiting, ports.proof.path, problem);
    const answer = await switchOff(ports, who);
    if (answer.state === 'off') await requests.complete();
    return answer;
  };
  return {
    recover: (who) => mutex.run(() => recover(ports, who)),
    disable: (who) => mutex.run(() => disableStep(who)),
    disableRequest: requests.current,
    requestDisable: (who) =>
      mutex.run(async () => {
        await refuseWithoutKey(ports.vault);
        if (requests.current() === null) await requests.create(who);
      }),
    confirmDisable: (who) => mutex.run(() => confirm(ports, requests, who)),
    cancelDisable: (who) => mutex.run(() => requests.cancel(who)),
  };
}

async function refuseWithoutKey(vault: Vault): Promise<void> {
  await vault.refresh();
  if (vault.keys().length === 0 && vault.view.state.kind !== 'closed') throw noKeyInMemory(vault);
}

async function confirm(
  { log, startDisable }: EncryptionControlPorts,
  requests: DisableRequests,
  who: string,
): Promise<Failure | null> {
  const waiting = requests.current();
  if (waiting === null) {
    const message = 'there is no pending request to disable encryption (requests expire after 15 minutes)';
    return new Failure('refused', message, { hint: hints.alreadyRequested });
  }
  const problem = proofProblem(await requests.checkProof(waiting));
  if (problem !== null)
    return new Failure('refused', `the proof file is not accepted: ${problem}`, { hint: hints.nothingChanged });
  const started = await startDisable(who);
  if (isFailure(started)) return started;
  try {
    await requests.complete();
  } catch (error) {
    // The operation has started, and the remaining proof file is older than any later request.
    log.warn({ error: asFailure(error) }, events.controlFailed);
  }
  return null;
}

async function recover(ports: EncryptionControlPorts, who: string): Promise<RecoverAnswer> {
  const { vault, keyFile } = ports;
  await vault.refresh();
  const keys = vault.keys();
  const reading = await keyFile.read();
  refuseRecovery(vault, keys, reading, keyFile.path);
  const setAside = await keyFile.setAside('damaged');
  await keyFile.create(keys, vault.wrapped());
  await vault.refresh();
  ports.log.info({ key_ids: keyIds(keys), by: who }, events.keyRecovered);
  const detail = setAside === null ? null : `previous file: ${setAside}`;
  const recorded = await record(ports, auditEntryFor(ports, who, 'key.recovered', detail));
  return { path: keyFile.path, key_ids: keyIds(keys), set_aside: setAside, recorded };
}

function refuseRecovery(vault: Vault, keys: KeySet, reading: KeyFileReading, path: string): void {
  if (keys.length === 0 && vault.view.state.kind !== 'closed') throw noKeyInMemory(vault);
  if (keys.length === 0) throw nothingToRecover('encryption is off, and no key is in use', hints.checkSwitch);
  if (reading.kind === 'keys' && keys.every(({ id }) => keyById(reading.keys, id) !== null))
    throw nothingToRecover(`the key file ${path} contains every key that is in use`, hints.checkKey);
  // Not damaged but protected by a passphrase: an unprotected file would undo that.
  if (reading.kind === 'refused' && reading.failure.code === 'key_file_locked') {
    const message = `the key file ${path} is protected by a passphrase that this daemon does not have`;
    throw new Failure('key_file_locked', message, { hint: hints.keyLocked });
  }
}

function nothingToRecover(why: string, hint: string): Failure {
  return new Failure('refused', `there is nothing to recover: ${why}`, { hint });
}

function noKeyInMemory({ view }: Vault): Failure {
  const reason = 'failure' in view.state ? view.state.failure.message : 'no key is open';
  const message = `the daemon has no key in memory either: ${reason}`;
  return new Failure('key_file_missing', message, { hint: hints.keyRestore });
}

function requested(
  { requestedAtMs, expiresAtMs }: DisableRequest,
  proofPath: string,
  problem: string | null,
): DisableOutcome {
  return {
    state: 'requested',
    requested_at: new Date(requestedAtMs).toISOString(),
    expires_at: new Date(expiresAtMs).toISOString(),
    proof_path: proofPath,
    problem,
  };
}

async function switchOff(ports: EncryptionControlPorts, who: string): Promise<DisableOutcome> {
  const started = await ports.startDisable(who);
  const off = isFailure(started) ? started : await started.ended;
  if (isFailure(off)) throw off;
  return {
    state: off.unopened.length === 0 ? 'off' : 'disabling',
    was_off: off.wasReached,
    unsealed: off.changed,
    unsealed_tokens: off.changedTokens,
    unopened_count: off.unopened.length,
    unopened: off.unopened.slice(0, listedUnopenedMax),
    set_aside: off.setAside,
  };
}

/** View of the vault in which keys count as open although their file is lost. */
export function withKeysInMemory(vault: Vault): Vault {
  const opened = (view: VaultView): VaultView =>
    view.state.kind === 'orphaned' ? { ...view, state: { kind: 'open', keys: view.state.keys } } : view;
  return {
    get view() {
      return opened(vault.view);
    },
    refresh: async () => opened(await vault.refresh()),
    keys: () => vault.keys(),
    wrapped: () => vault.wrapped(),
  };
}

function auditEntryFor(ports: EncryptionControlPorts, who: string, action: string, detail: string | null): AuditEntry {
  const { keyId, nextKeyId } = ports.vault.view.switch;
  return { who, host: ports.actor.host, action, keyId, nextKeyId, mailboxId: null, detail };
}

/** False when the database is unavailable: recovering the key file matters more than its audit row. */
async function record({ store }: EncryptionControlPorts, entry: AuditEntry): Promise<boolean> {
  try {
    await store.audit([entry]);
    return true;
  } catch (error) {
    if (isFailure(error) && error.domain === 'database') return false;
    throw error;
  }
}

type DisableRequests = {
  /** null: none, or expired. */
  current(): DisableRequest | null;
  create(who: string): Promise<DisableRequest>;
  /** Checks the proof file, and stores the result in the request. */
  checkProof(request: DisableRequest): Promise<readonly ProofCheck[]>;
  /** Ends a request that was carried out; removes the proof file. */
  complete(): Promise<void>;
  cancel(who: string): Promise<void>;
};

type DisableRequestPorts = {
  readonly proof: ProofFile;
  readonly clock: Pick<Clock, 'nowMs'>;
  /** In the audit table. */
  record(who: string, action: string): Promise<void>;
};

const requestLifetimeMs = 15 * 60_000;

function createDisableRequests({ proof, clock, record }: DisableRequestPorts): DisableRequests {
  let request: DisableRequest | null = null;
  const current = () => (request !== null && clock.nowMs() < request.expiresAtMs ? request : null);
  return {
    current,
    create: async (who) => {
      const requestedAtMs = clock.nowMs();
      const expiresAtMs = requestedAtMs + requestLifetimeMs;
      const made: DisableRequest = { requestedBy: who, requestedAtMs, expiresAtMs, checks: null };
      request = made;
      await record(who, 'switch.disable_requested');
      return made;
    },
    checkProof: async (waiting) => {
      const checks = await proof.checks(waiting.requestedAtMs);
      request = { ...waiting, checks };
      return checks;
    },
    complete: async () => {
      request = null;
      await proof.remove();
    },
    cancel: async (who) => {
      if (current() === null) return;
      request = null;
      await record(who, 'switch.disable_cancelled');
    },
  };
}

/** Why the proof file is not accepted, one sentence; null: it is. */
export function proofProblem(checks: readonly ProofCheck[]): string | null {
  const failing = checks.find(({ ok }) => !ok);
  return failing === undefined ? null : (failing.why ?? 'it could not be checked');
}
