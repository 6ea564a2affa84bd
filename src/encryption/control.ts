/**
 * What the running daemon does for commands of its host: it holds keys in memory that a command may be unable to open.
 *
 * `recover` writes a key file back that vanished or went bad. `disable` switches encryption off for somebody who cannot
 * open the key file but shows that they reach the file system: the request is remembered, and carried out when it comes
 * again after a proof file was made. The admin page asks and confirms by the same request. It is in memory alone: whoever
 * can write the database must not be able to date it back. One thing is done at a time.
 */

import type { Clock } from '../async/clock.ts';
import { createMutex } from '../async/mutex.ts';
import { asFailure, Failure, isFailure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import type { AuditActor } from '../ingest/model.ts';
import { type KeyId, type KeySet, keyById, keyIds } from '../secret/key.ts';
import type { UnopenedPassword } from './operations/operation.ts';
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
        readonly unopened: readonly UnopenedPassword[];
        readonly setAside: string | null;
        readonly wasReached: boolean;
      }
    | Failure
  >;
};

export type RecoverAnswer = {
  readonly path: string;
  readonly key_ids: readonly KeyId[];
  /** Where the file lies now that was there; null: there was none. */
  readonly set_aside: string | null;
  /** False when the database was away, so that the audit table lacks it. */
  readonly recorded: boolean;
};

export type DisableOutcome =
  /** The proof file is to be made, then the request made again. `problem`: what is wrong with the one that is there. */
  | {
      readonly state: 'requested';
      readonly requested_at: string;
      readonly expires_at: string;
      readonly proof_path: string;
      readonly problem: string | null;
    }
  | {
      /** `disabling`: some passwords could not be opened; each is to be set anew, then the request made again. */
      readonly state: 'off' | 'disabling';
      readonly was_off: boolean;
      readonly unsealed: number;
      readonly unopened_count: number;
      /** The first of them. */
      readonly unopened: readonly UnopenedPassword[];
      readonly set_aside: string | null;
    };

export type EncryptionControl = {
  /** Throws `refused` when there is nothing to recover, `key_file_missing`, `key_file_locked`, `disk_*`. */
  recover(who: string): Promise<RecoverAnswer>;
  /** Throws `key_file_missing` when this daemon has no key either, and what switching off throws. */
  disable(who: string): Promise<DisableOutcome>;
  /** The request that waits; null: there is none, or its time is over. */
  disableRequest(): DisableRequest | null;
  /** Asks to switch off; a request that waits already stays as it is. Throws `key_file_missing`, `database_*`. */
  requestDisable(who: string): Promise<void>;
  /** Checks the proof file and starts to disable. Returns why not; null: started. Throws `disk_failed`, `database_*`. */
  confirmDisable(who: string): Promise<Failure | null>;
  /** Throws `database_*`; the request is gone all the same. */
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
    return new Failure('refused', message, { hint: 'Request it again.' });
  }
  const problem = proofProblem(await requests.checkProof(waiting));
  if (problem !== null)
    return new Failure('refused', `the proof file is not accepted: ${problem}`, { hint: 'Nothing was changed.' });
  const started = await startDisable(who);
  if (isFailure(started)) return started;
  try {
    await requests.complete();
  } catch (error) {
    // It has begun, and what is left of the proof is older than any request to come.
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
  const detail = setAside === null ? null : `what was there: ${setAside}`;
  const recorded = await record(ports, auditEntryFor(ports, who, 'key.recovered', detail));
  return { path: keyFile.path, key_ids: keyIds(keys), set_aside: setAside, recorded };
}

function refuseRecovery(vault: Vault, keys: KeySet, reading: KeyFileReading, path: string): void {
  if (keys.length === 0) {
    if (vault.view.state.kind !== 'closed') throw noKeyInMemory(vault);
    throw new Failure('refused', 'there is nothing to recover: encryption is off, and no key is in use', {
      hint: 'See ticketmaild encryption status.',
    });
  }
  if (reading.kind === 'keys' && keys.every(({ id }) => keyById(reading.keys, id) !== null)) {
    throw new Failure('refused', `there is nothing to recover: the key file ${path} holds every key that is in use`, {
      hint: 'See ticketmaild key show.',
    });
  }
  // It is not damaged: somebody protected it, and a bare file in its place would undo that.
  if (reading.kind === 'refused' && reading.failure.code === 'key_file_locked') {
    throw new Failure('key_file_locked', `the key file ${path} is there; what this daemon lacks is its passphrase`, {
      hint: 'Give it the passphrase ([encryption] passphrase_file), or move that file away and ask again.',
    });
  }
}

function noKeyInMemory({ view }: Vault): Failure {
  const why = 'failure' in view.state ? view.state.failure.message : 'no key is open';
  return new Failure('key_file_missing', `the daemon has no key in its memory either: ${why}`, {
    hint: 'Put the key file back from its backup.',
  });
}

function requested(
  { requestedAtMs: askedAtMs, expiresAtMs }: DisableRequest,
  proofPath: string,
  problem: string | null,
): DisableOutcome {
  return {
    state: 'requested',
    requested_at: new Date(askedAtMs).toISOString(),
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
    unopened_count: off.unopened.length,
    unopened: off.unopened.slice(0, listedUnopenedMax),
    set_aside: off.setAside,
  };
}

/** The same vault, where keys whose file is lost count as open: they open every password all the same. */
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

/** False when the database is away: the key file is worth more than the row about it. */
async function record({ store }: EncryptionControlPorts, entry: AuditEntry): Promise<boolean> {
  try {
    await store.audit([entry]);
    return true;
  } catch (error) {
    if (isFailure(error) && error.domain === 'database') return false;
    throw error;
  }
}

/**
 * The one request to switch off that a daemon can have: who asked, until when it waits, and how its proof was found.
 *
 * Both the control socket and the admin page ask by it. It ends when it is carried out, taken back, or after 15 minutes.
 */

/** Somebody asked to switch off, and it waits for its proof. */
export type DisableRequest = {
  /** As in the audit table. */
  readonly requestedBy: string;
  readonly requestedAtMs: number;
  readonly expiresAtMs: number;
  /** The proof as it was looked at last; null: it was not yet. */
  readonly checks: readonly ProofCheck[] | null;
};

type DisableRequests = {
  /** null: there is none, or its time is over. */
  current(): DisableRequest | null;
  create(who: string): Promise<DisableRequest>;
  /** At its proof; the request remembers what was seen. */
  checkProof(request: DisableRequest): Promise<readonly ProofCheck[]>;
  /** It is carried out: takes its proof away. */
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
      const askedAtMs = clock.nowMs();
      const made: DisableRequest = {
        requestedBy: who,
        requestedAtMs: askedAtMs,
        expiresAtMs: askedAtMs + requestLifetimeMs,
        checks: null,
      };
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

/** What is wrong with a proof, one sentence; null: nothing is. */
export function proofProblem(checks: readonly ProofCheck[]): string | null {
  const failing = checks.find(({ ok }) => !ok);
  return failing === undefined ? null : (failing.why ?? 'it could not be looked at');
}
