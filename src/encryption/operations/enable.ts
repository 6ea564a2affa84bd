/**
 * Enable operation: creates the key file, writes `enabling`, seals every plain-text password and refresh token, drops
 * the access tokens, confirms the post-actions in force, writes `on`.
 *
 *     off -> enabling(k) -> on(k)
 *
 * Changes nothing but the key file before every live worker has the key, unless forced. Resumes when it is run again
 * after an interruption; while encryption is on, it seals the remaining plain-text passwords. Refused while rotating or
 * disabling.
 */

import { Failure, isFailure } from '../../errors.ts';
import type { Mailbox } from '../../ingest/model.ts';
import { generateKey, type Key, type KeyId } from '../../secret/key.ts';
import type { SwitchRow } from '../../secret/switch.ts';
import { countText } from '../../text/units.ts';
import type { KeyFile } from '../ports.ts';
import { sealReplyKeys } from '../reply-keys.ts';
import type { VaultView } from '../vault.ts';
import {
  changeSwitch,
  type Operation,
  type OperationOptions,
  type OperationPorts,
  refusedInState,
  requireKey,
  requireOpenKeys,
  requireRandomKey,
  runOperation,
  trustedView,
  type UnopenedSecret,
  waitForKey,
} from './operation.ts';
import { sealAllPlaintext, sealPlaintextOnce, type UnopenedByName } from './rewrite.ts';
import { sealAllTokens, sealTokensOnce } from './rewrite-tokens.ts';
import { confirmPostActions } from './settings.ts';

export type EnableResult = {
  readonly keyId: KeyId;
  readonly createdKeyFile: boolean;
  readonly sealed: number;
  readonly sealedTokens: number;
  /** Passwords and refresh tokens that cannot be sealed, and stay as they are. */
  readonly unopened: readonly UnopenedSecret[];
  /** Mailboxes that delete or move messages on their server, with the settings that were confirmed. */
  readonly confirmed: readonly Mailbox[];
  /** Encryption was on before. */
  readonly wasOn: boolean;
};

type EnableRun = {
  readonly options: OperationOptions;
  createdKeyFile: boolean;
  sealed: number;
  sealedTokens: number;
  confirmed: readonly Mailbox[];
  wasOn: boolean | null;
  /** The key that the run has waited for: every live worker has it, or the run continues by force. */
  awaitedKeyId: KeyId | null;
  isForced: boolean;
};

const listedPasswordsMax = 10;

/**
 * Throws `refused`, `workers_lack_key`, `key_file_*`, the problem of the switch, and `password_damaged` when some
 * passwords cannot be sealed: the switch stays `enabling`.
 */
export async function enable(ports: OperationPorts, options: OperationOptions): Promise<EnableResult> {
  const progress = { createdKeyFile: false, sealed: 0, sealedTokens: 0, confirmed: [], wasOn: null };
  const run: EnableRun = { options, ...progress, awaitedKeyId: null, isForced: false };
  return await runOperation(ports, options.signal, (operation) => takeStep(operation, run));
}

async function takeStep(operation: Operation, run: EnableRun): Promise<EnableResult | null> {
  const view = await trustedView(operation);
  const { state } = view.switch;
  run.wasOn ??= state === 'on';
  if (state === 'off') return await announce(operation, run, view.switch);
  if (state === 'enabling') return await sealAndSwitch(operation, run, view);
  if (state === 'on') return await finish(operation, run, view);
  throw refusedInState(state, 'switching on');
}

async function announce(operation: Operation, run: EnableRun, row: SwitchRow): Promise<null> {
  const key = await ensureKey(operation, run);
  if (run.awaitedKeyId !== key.id) {
    run.isForced = !(await waitForKey(operation, key.id, run.options));
    // The key file may have changed meanwhile: the next step reads it again before the row names its key.
    run.awaitedKeyId = key.id;
    return null;
  }
  const created = run.createdKeyFile ? [{ action: 'key.created', detail: null }] : [];
  const audit = [...created, { action: 'switch.enabling', detail: null }];
  await changeSwitch(operation, row, { state: 'enabling', keyId: key.id, nextKeyId: null }, key, audit);
  operation.ports.observer.step({ step: run.isForced ? 'sealing_forced' : 'sealing_started', keyId: key.id });
  return null;
}

/** The first key of the key file; creates the file if there is none. Throws `key_file_refused`, `key_file_locked`. */
async function ensureKey(operation: Operation, run: EnableRun): Promise<Key> {
  const { keyFile, vault, random, observer } = operation.ports;
  const found = await firstKeyInFile(keyFile);
  if (found !== null) return found;
  const key = generateKey(random);
  operation.throwIfStopped();
  try {
    await keyFile.create([key]);
  } catch (error) {
    // Another process created it first.
    const theirs = isFailure(error, 'already_exists') ? await firstKeyInFile(keyFile) : null;
    if (theirs === null) throw error;
    return theirs;
  }
  run.createdKeyFile = true;
  await vault.refresh();
  observer.step({ step: 'key_file_created', keyId: key.id });
  return key;
}

async function firstKeyInFile(keyFile: KeyFile): Promise<Key | null> {
  const reading = await keyFile.read();
  if (reading.kind === 'refused') throw reading.failure;
  if (reading.kind === 'absent') return null;
  const [key] = reading.keys;
  if (key === undefined) throw new Failure('key_file_refused', `the key file ${keyFile.path} contains no key`);
  return requireRandomKey(key, keyFile.path);
}

async function sealAndSwitch(operation: Operation, run: EnableRun, view: VaultView): Promise<null> {
  const row = view.switch;
  const key = requireKey(requireOpenKeys(view), row.keyId);
  const passwords = await sealAllPlaintext(operation, key, row.revision, counter(run));
  const tokens = await sealAllTokens(operation, key, row.revision, tokenCounter(run));
  const unsealable = new Map([...passwords, ...tokens]);
  if (unsealable.size > 0) throw cannotBeSealed(unsealable);
  await operation.ports.store.dropAccessTokens('plain', row.revision);
  await sealReplyKeys(operation.ports, requireOpenKeys(view), key);
  run.confirmed = await confirmPostActions(operation, key, row.revision);
  const count = run.confirmed.length;
  const actions = count === 0 ? '' : `, delete or move of ${countText(count, 'mailbox', 'mailboxes')} confirmed`;
  const refreshTokens = run.sealedTokens === 0 ? '' : `, ${countText(run.sealedTokens, 'refresh token')} sealed`;
  const detail = `${countText(run.sealed, 'password')} sealed${refreshTokens}${actions}`;
  const next = { state: 'on', keyId: key.id, nextKeyId: null } as const;
  await changeSwitch(operation, row, next, key, [{ action: 'switch.on', detail }]);
  operation.ports.observer.step({ step: 'encryption_on' });
  if (count > 0) operation.ports.observer.step({ step: 'confirmed', count });
  return null;
}

/** Runs also after an interruption behind `on`. */
async function finish(operation: Operation, run: EnableRun, view: VaultView): Promise<EnableResult> {
  const { store, observer } = operation.ports;
  const key = requireKey(requireOpenKeys(view), view.switch.keyId);
  const { revision } = view.switch;
  const passwords = await sealPlaintextOnce(operation, key, revision, counter(run));
  const tokens = await sealTokensOnce(operation, key, revision, tokenCounter(run));
  await sealReplyKeys(operation.ports, requireOpenKeys(view), key);
  operation.throwIfStopped();
  await store.rebuildMailboxTable();
  observer.step({ step: 'table_rewritten' });
  const { createdKeyFile, sealed, sealedTokens, confirmed, wasOn } = run;
  if (sealedTokens > 0) observer.step({ step: 'tokens_sealed', count: sealedTokens });
  const unopened = [...passwords.values(), ...tokens.values()];
  return { keyId: key.id, createdKeyFile, sealed, sealedTokens, unopened, confirmed, wasOn: wasOn === true };
}

function counter(run: EnableRun): (changed: number) => void {
  return (changed) => {
    run.sealed += changed;
  };
}

function tokenCounter(run: EnableRun): (changed: number) => void {
  return (changed) => {
    run.sealedTokens += changed;
  };
}

function cannotBeSealed(unsealable: UnopenedByName): Failure {
  const all = [...unsealable.values()];
  const hasPassword = all.some(({ mailbox }) => mailbox !== undefined);
  const hasToken = all.some(({ grant }) => grant !== undefined);
  const hints = [
    hasPassword ? 'Set these passwords (ticketmaild mailbox set-password NAME) or remove the mailboxes' : '',
    hasToken
      ? 'Name the provider of these grants in the configuration, or remove them (ticketmaild oauth revoke NAME)'
      : '',
  ];
  const hint = `${hints.filter((one) => one !== '').join('. ')}, then run the same command again.`;
  const what = hasToken ? (hasPassword ? 'some passwords and tokens' : 'some tokens') : 'some passwords';
  const message = `the switch stays at enabling, since ${what} cannot be sealed: ${describeUnsealable(all)}`;
  const code = hasPassword ? 'password_damaged' : 'token_damaged';
  return new Failure(code, message, { hint, fields: { count: unsealable.size } });
}

function describeUnsealable(unsealable: readonly UnopenedSecret[]): string {
  const names = unsealable
    .slice(0, listedPasswordsMax)
    .map(({ mailbox, grant, message }) => `${mailbox ?? `grant ${grant}`} (${message})`);
  if (unsealable.length > listedPasswordsMax) names.push(`and ${unsealable.length - listedPasswordsMax} more`);
  return names.join(', ');
}
