/**
 * Encryption commands that change keys or the switch: enable, disable, rotate, reseal, replace a lost key, trust a
 * restored switch. An interrupted operation resumes when the command is run again.
 */

import { postActionText } from '../../admin/mailboxes/post-actions.ts';
import type { App } from '../../compose/compose.ts';
import type { Config } from '../../config/config.ts';
import type { DisableOutcome } from '../../encryption/control.ts';
import { backupAdvice, encryptionExplanation, questions, sharedBackupAdvice } from '../../encryption/help.ts';
import { disable } from '../../encryption/operations/disable.ts';
import { enable } from '../../encryption/operations/enable.ts';
import { replaceLostKey } from '../../encryption/operations/replace-lost-key.ts';
import { reseal, rotate } from '../../encryption/operations/rotate.ts';
import type { RenewedSettings } from '../../encryption/operations/settings.ts';
import {
  plannedSwitch,
  type SwitchPlan,
  type TrustResult,
  trustRestored,
} from '../../encryption/operations/trust-restored.ts';
import type { SealCounts } from '../../encryption/ports.ts';
import {
  type DatabaseServer,
  keepsUndoPages,
  plaintextRemnants,
  preparationAdvice,
  undoRemnants,
} from '../../encryption/remnants.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { Mailbox } from '../../ingest/model.ts';
import { nameText, serverText } from '../../ingest/settings-text.ts';
import type { SwitchRow } from '../../secret/switch.ts';
import { capitalized } from '../../text/printable.ts';
import { asRunHere } from '../../text/program-name.ts';
import { commandOrNotice, shellArg, shellCommand } from '../../text/shell.ts';
import { isoTime, shortTime } from '../../text/time.ts';
import { countText } from '../../text/units.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from '../context.ts';
import {
  isConfirmed,
  keyIdsText,
  nothingChanged,
  printLines,
  printResult,
  printTable,
  type TableColumn,
} from '../output.ts';
import { noteUnopened, operationOptions, runOperation, type WaitOptions } from './operation-progress.ts';

export type EnableOptions = WaitOptions & {
  readonly acceptKeyLoss?: boolean;
  readonly backupPrepared?: boolean;
  readonly acceptPlaintextRemnants?: boolean;
};

/**
 * `encryption enable`: asks for two acknowledgements, then creates a key file and seals every password.
 *
 * Without a terminal both acknowledgements are options. Throws `usage` for a missing one, `workers_lack_key`,
 * `operation_running`, and the failures of sealing.
 */
export async function enableEncryption(options: EnableOptions, context: Context): Promise<number> {
  const how = operationOptions(options, context);
  if (!context.isAttended) requireFlags(options);
  return await withApp(options, context, async (app, config) => {
    const keyFile = app.keyFile.path;
    const server = await app.store.databaseServer();
    const explained = encryptionExplanation(keyFile, config.database, preparationAdvice(server));
    if (!(await acknowledged(options, context, explained))) return nothingChanged(context);
    await migrateFirst(app, config);
    if (!(await remnantsAccepted(app, server, options, context))) return nothingChanged(context);
    const done = await runOperation(app, context, 'sealing passwords', (ports) => enable(ports, how));
    const state = `encryption is ${done.wasOn ? 'on, as it was' : 'on'}`;
    const isFirst = !done.wasOn && done.sealed + done.sealedTokens === 0;
    await printResult(options, context, enabledJson(done, keyFile), state, 'green');
    await printLines(options, context, [
      isFirst ? noneYet : `sealed    ${secretsText(done.sealed, done.sealedTokens)}`,
      `key       ${done.keyId}`,
      `key file  ${keyFile} (${done.createdKeyFile ? 'created' : 'existing'})`,
      ...confirmedLines(done.confirmed),
      ...backupAdvice(options.config ?? null, context.nowMs()).map(asRunHere),
      ...(isFirst ? [] : plaintextRemnants(config.database, server, options.config ?? null).map(asRunHere)),
    ]);
    if (missingFlags(options).length === 0) noteSharedBackup(app, config, context);
    noteUnopened(done.unopened, context);
    return 0;
  });
}

const noneYet = 'sealed    no password was stored yet: the next mailbox is sealed from the start';

/** Where nothing was asked, and so nothing explained before. A key file with a passphrase may be in any backup. */
function noteSharedBackup({ vault, keyFile }: App, { database }: Config, { terminal }: Context): void {
  if (vault.wrapped() !== null) return;
  const [first, ...more] = sharedBackupAdvice(keyFile.path, database);
  if (first === undefined) return;
  terminal.note(`warning: ${first}`, 'yellow');
  for (const line of more) terminal.advice(line, 'yellow');
}

/** Post-actions that remove messages from a server, with the settings that were sealed: the operator checks them. */
function confirmedLines(removing: readonly Mailbox[]): readonly string[] {
  const lines = removing.map((mailbox) => `confirmed  ${removalText(mailbox)}`);
  return lines.length === 0 ? [] : [...lines, 'Check these: they remove messages from the server.'];
}

function removalText({ name, connection, postAction }: Mailbox): string {
  const action = nameText(postActionText(postAction));
  return `${nameText(name)}: ${action} in ${nameText(connection.folder)}, ${serverText(connection)}`;
}

/** Seals that a writer of the database put in, to have them renewed, and took out again are not renewed. */
function unrenewedLines({ unrenewed }: RenewedSettings): readonly string[] {
  return unrenewed.map(
    ({ name }) =>
      `changed    ${nameText(name)} while the rotation ran, and is no longer confirmed: ${asRunHere(commandOrNotice(shellCommand('mailbox confirm', name)))}`,
  );
}

function enabledJson(done: Awaited<ReturnType<typeof enable>>, keyFile: string): Record<string, unknown> {
  return {
    state: 'on',
    key_id: done.keyId,
    key_file: keyFile,
    created_key_file: done.createdKeyFile,
    sealed: done.sealed,
    sealed_tokens: done.sealedTokens,
    confirmed: done.confirmed.map(({ name }) => name),
    unopened: done.unopened,
    was_on: done.wasOn,
  };
}

/** `2 passwords`, or `2 passwords, 1 refresh token`. */
function secretsText(passwords: number, tokens: number): string {
  return `${countText(passwords, 'password')}${tokens === 0 ? '' : `, ${countText(tokens, 'refresh token')}`}`;
}

function missingFlags({ acceptKeyLoss, backupPrepared }: EnableOptions): readonly string[] {
  return [
    ...(acceptKeyLoss === true ? [] : ['--accept-key-loss']),
    ...(backupPrepared === true ? [] : ['--backup-prepared']),
  ];
}

function requireFlags(options: EnableOptions): void {
  const missing = missingFlags(options);
  if (missing.length === 0) return;
  throw new Failure('usage', `missing: ${missing.join(', ')}`, {
    hint: 'Both are acknowledgements, see encryption enable --help; at a terminal they are asked for.',
  });
}

async function acknowledged(
  options: EnableOptions,
  { terminal }: Context,
  explained: readonly string[],
): Promise<boolean> {
  const missing = missingFlags(options);
  if (missing.length === 0) return true;
  for (const line of explained) terminal.advice(line);
  const asked = [
    ['--accept-key-loss', questions.keyLoss],
    ['--backup-prepared', questions.backup],
  ] as const;
  for (const [flag, question] of asked) {
    if (missing.includes(flag) && !(await terminal.confirm(question, `Acknowledge it with ${flag}.`))) return false;
  }
  return true;
}

/** Asked for where passwords are stored that would remain readable. Throws `refused` without a terminal. */
async function remnantsAccepted(
  { store }: App,
  server: DatabaseServer | null,
  options: EnableOptions,
  context: Context,
): Promise<boolean> {
  if (!keepsUndoPages(server)) return true;
  const [passwords, tokens] = await Promise.all([store.passwordCounts(), store.tokenCounts()]);
  if (passwords.plaintext + tokens.refresh.plaintext === 0) return true;
  const [run, statement] = preparationAdvice(server).map((line) => line.trim());
  if (options.acceptPlaintextRemnants === true) {
    context.terminal.note(`warning: ${undoRemnants}`, 'yellow');
    return true;
  }
  if (!context.isAttended)
    throw new Failure('refused', undoRemnants, {
      hint: `${run} ${statement} Or acknowledge it with --accept-plaintext-remnants.`,
    });
  const how = 'Acknowledge it with --accept-plaintext-remnants.';
  return await context.terminal.confirm(`${capitalized(undoRemnants)}. Enable encryption before that is set?`, how);
}

type DisableOptions = CommonOptions & { readonly yes?: boolean };
type DisableRequest = Extract<DisableOutcome, { readonly state: 'requested' }>;
type DisableResult = Exclude<DisableOutcome, DisableRequest>;

/**
 * `encryption disable`: stores every password in plain text. It needs access to the file system, not the database
 * alone.
 *
 * Opening the key file proves that access. Otherwise the running daemon, which has the key in memory, requires a proof
 * file in the data folder, created after the request. Throws `usage`, `operation_running`, `daemon_unreachable`,
 * `key_file_*`.
 */
export async function disableEncryption(options: DisableOptions, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const question = 'Disable encryption, and store every password in plain text in the database?';
    if (!(await isConfirmed(options, context, question))) return nothingChanged(context);
    const { state } = await app.vault.refresh();
    const answer =
      state.kind === 'open' || state.kind === 'closed'
        ? await disableLocally(app, context)
        : await app.daemonClient.disable();
    if (options.json === true) await context.terminal.json(answer);
    if (answer.state !== 'requested') return await printDisabled(answer, options, context);
    printProofRequest(answer, app.proof.path, context);
    return 1;
  });
}

async function disableLocally(app: App, context: Context): Promise<DisableResult> {
  const how = operationOptions({}, context);
  const done = await runOperation(app, context, 'storing passwords in plain text', (ports) => disable(ports, how));
  const { unsealed, unsealedTokens, unopened, setAside, wasOff } = done;
  const state = unopened.length === 0 ? 'off' : 'disabling';
  const counts = { unsealed, unsealed_tokens: unsealedTokens, unopened_count: unopened.length };
  return { state, was_off: wasOff, ...counts, unopened, set_aside: setAside };
}

async function printDisabled(answer: DisableResult, options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  if (options.json !== true) {
    if (answer.state === 'disabling')
      await terminal.line('encryption is not off yet: some passwords are still sealed', 'red');
    else await terminal.line(answer.was_off ? 'encryption is off, as it was' : 'encryption is off', 'green');
    await terminal.line(`${secretsText(answer.unsealed, answer.unsealed_tokens)} stored in plain text`);
    if (answer.set_aside !== null)
      await terminal.line(`The key file, which earlier backups of the database need, is stored as ${answer.set_aside}`);
  }
  noteUnopened(answer.unopened, context);
  if (answer.state === 'disabling') terminal.note('Then run the command again.');
  return answer.unopened_count === 0 ? 0 : 1;
}

/** The path is the one of this program: people run what they are shown. */
function printProofRequest(answer: DisableRequest, proofPath: string, { terminal }: Context): void {
  if (answer.problem !== null) terminal.note(`the proof file is not accepted: ${answer.problem}`, 'red');
  terminal.note(
    'The key cannot be opened here. The running daemon disables encryption once you prove access to its files:',
  );
  terminal.note(`1. create this file, as the daemon's user or root: touch ${shellArg(proofPath)}`);
  terminal.note(`2. run the command again before ${answer.expires_at}`);
}

/**
 * `encryption rotate`: re-encrypts every password under a new key, while workers continue to log in.
 *
 * If a password cannot be opened, the others are still changed, its key stays in the key file, and the exit code is 1.
 * Throws `workers_lack_key`, `operation_running`, `refused` while encryption is off, `key_file_*`.
 */
export async function rotateKey(options: WaitOptions, context: Context): Promise<number> {
  const how = operationOptions(options, context);
  return await withApp(options, context, async (app) => {
    const done = await runOperation(app, context, 'resealing passwords', (ports) => rotate(ports, how));
    const { keyId, formerKeyId, resealed, resealedTokens, unopened, isFormerKeyKept, settings } = done;
    const keys = { key_id: keyId, former_key_id: formerKeyId, former_key_retained: isFormerKeyKept };
    const counts = { resealed, resealed_tokens: resealedTokens };
    const names = (mailboxes: readonly Mailbox[]) => mailboxes.map(({ name }) => name);
    const confirmed = { confirmed: names(settings.removing), changed: names(settings.unrenewed) };
    const fields = { state: 'on', ...keys, key_file: app.keyFile.path, ...counts, ...confirmed, unopened };
    await printResult(options, context, fields, `${countText(resealed, 'password')} resealed`, 'green');
    await printLines(options, context, [
      `key       ${keyId}`,
      `former    ${formerKeyId}, ${isFormerKeyKept ? 'still' : 'no longer'} in the key file`,
      `key file  ${app.keyFile.path}`,
      ...confirmedLines(settings.removing),
      ...unrenewedLines(settings),
      'Earlier backups of the key file do not hold the new key. Earlier backups of the database',
      `need the former one, ${formerKeyId}: keep its backup as long as those.`,
      ...backupAdvice(options.config ?? null, context.nowMs())
        .slice(0, -1)
        .map(asRunHere),
    ]);
    noteUnopened(unopened, context);
    return unopened.length === 0 ? 0 : 1;
  });
}

/**
 * `encryption reseal`: seals under the key in use. Throws `operation_running`, `refused` while encryption is off,
 * `key_file_*`.
 */
export async function resealPasswords(options: CommonOptions, context: Context): Promise<number> {
  const how = operationOptions(options, context);
  return await withApp(options, context, async (app) => {
    const done = await runOperation(app, context, 'resealing passwords', (ports) => reseal(ports, how));
    const { keyId, resealed, resealedTokens, sealed, unopened, droppedKeyIds } = done;
    const counts = { resealed, resealed_tokens: resealedTokens, sealed };
    const fields = { state: 'on', key_id: keyId, ...counts, unopened, dropped_key_ids: droppedKeyIds };
    const text = `${resealed} resealed, ${sealed} sealed that were in plain text, all under key ${keyId}`;
    await printResult(options, context, fields, text, 'green');
    if (droppedKeyIds.length > 0 && options.json !== true)
      await context.terminal.line(`dropped from the key file: ${droppedKeyIds.join(', ')}`);
    noteUnopened(unopened, context);
    return unopened.length === 0 ? 0 : 1;
  });
}

export type ReplaceOptions = WaitOptions & { readonly acceptPasswordLoss?: boolean };

const question = 'Give up every password that is sealed under the lost key? Each must then be set again.';

/**
 * `encryption replace-lost-key`: creates a new key and gives up the passwords under the lost one, after a confirmation.
 *
 * Mailboxes wait until their passwords are set. Throws `usage`, `refused` while a worker still has the key,
 * `workers_lack_key`, `operation_running`.
 */
export async function replaceLostEncryptionKey(options: ReplaceOptions, context: Context): Promise<number> {
  const how = operationOptions(options, context);
  return await withApp(options, context, async (app) => {
    const sure =
      options.acceptPasswordLoss === true ||
      (await context.terminal.confirm(question, 'Acknowledge it with --accept-password-loss.'));
    if (!sure) return nothingChanged(context);
    const done = await runOperation(app, context, 'replacing the key', (ports) => replaceLostKey(ports, how));
    const { keyId, lostKeyId, lost, lostTokens, setAside } = done;
    const counts = { lost, lost_tokens: lostTokens };
    const fields = { state: 'on', key_id: keyId, lost_key_id: lostKeyId, ...counts, set_aside: setAside };
    const text = `a new key is in use; ${countText(lost, 'password')} under the lost one`;
    await printResult(options, context, fields, text, 'green');
    await printLines(options, context, [
      `key       ${keyId}`,
      `lost      ${lostKeyId}`,
      ...(setAside === null ? [] : [`former file ${setAside}`]),
      asRunHere('Set each password again: ticketmaild mailbox set-password NAME. Until then its mailbox waits.'),
      ...(lostTokens === 0 ? [] : [asRunHere('Sign in again for each grant: ticketmaild mailbox authorize NAME')]),
      'It asks whether the server is yours (in a script: --accept-connection).',
      'Reply addresses issued before lead nowhere any more; answers still join their tickets by Message-ID.',
      asRunHere(
        'Delete and move wait until you confirm the settings of each mailbox: ticketmaild mailbox confirm NAME',
      ),
      ...backupAdvice(options.config ?? null, context.nowMs()).map(asRunHere),
    ]);
    return 0;
  });
}

type NamedSwitch = readonly [name: string, row: SwitchRow | null];

const columns: readonly TableColumn<NamedSwitch>[] = [
  { title: '', cell: ([name]) => name },
  { title: 'STATE', cell: ([, row]) => row?.state ?? 'none' },
  { title: 'KEY', shrinks: true, cell: ([, row]) => keyIdsText(row?.keyId, row?.nextKeyId) },
  { title: 'REVISION', align: 'right', drops: 2, cell: ([, row]) => `${row?.revision ?? ''}` },
  { title: 'CHANGED (UTC)', cell: ([, row]) => (row === null ? '' : shortTime(row.changedAtMs)) },
  { title: 'BY', shrinks: true, drops: 1, cell: ([, row]) => row?.changedBy ?? '' },
];

type TrustOptions = CommonOptions & { readonly yes?: boolean; readonly acceptOff?: boolean };

/**
 * `encryption trust-restored`: trusts an older switch after a restored backup of the database.
 *
 * An attack looks the same as a restored backup, so the command shows the found and the last accepted row and asks.
 * Throws `usage`, `refused` when there is nothing to accept, `key_unknown`, `switch_forged`.
 */
export async function trustRestoredSwitch(options: TrustOptions, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const { problem } = await app.vault.refresh();
    const [{ row }, remembered] = await Promise.all([app.store.readSwitch(), lastAcceptedSwitch(app)]);
    const rows: readonly NamedSwitch[] = [
      ['found', row],
      ['accepted last', remembered],
    ];
    if (options.json !== true) await printTable(columns, rows, context);
    const question = `${trustQuestion(await plannedSwitch(app), row)}, for this host and every worker?`;
    // Without a problem there is nothing to confirm: the operation refuses.
    if (problem !== null && !(await isConfirmed(options, context, question))) return nothingChanged(context);
    const done = await trust(app, options, context);
    await printResult(options, context, trustedJson(done), trustedText(done.trusted, done.counts), 'green');
    return 0;
  });
}

function trustQuestion(plan: SwitchPlan | null, found: SwitchRow | null): string {
  const over = found === null ? '' : ' over what was found';
  if (plan?.source === 'remembered') return `Write the switch in force (${plan.state}) back${over}`;
  if (plan?.source === 'settled')
    return `Accept what was found as on, since ${found?.state} was not finished (new passwords are sealed; delete and move wait for mailbox confirm)`;
  if (plan?.source !== 'derived') return 'Accept what was found';
  const proof = plan.state === 'on' ? ', as sealed passwords prove' : '';
  return `Write the switch (${plan.state}${proof})${over}`;
}

/** At a terminal, a second question confirms that encryption would be off afterwards. */
async function trust(app: App, options: TrustOptions, context: Context): Promise<TrustResult> {
  const run = (acceptOff: boolean): Promise<TrustResult> =>
    runOperation(app, context, 'checking the switch', (ports) => trustRestored(ports, { acceptOff }));
  try {
    return await run(options.acceptOff === true);
  } catch (error) {
    if (!isFailure(error, 'refused') || error.fields['would_be_off'] !== true || !context.isAttended) throw error;
    if (!(await context.terminal.confirm(`Attention: ${error.message}. Is that meant?`, error.hint))) throw error;
    return await run(true);
  }
}

/** null also for an invalid state file: then there is nothing to compare with. */
async function lastAcceptedSwitch({ stateFile }: Pick<App, 'stateFile'>): Promise<SwitchRow | null> {
  try {
    return await stateFile.read();
  } catch (error) {
    if (isFailure(error, 'disk_failed')) return null;
    throw error;
  }
}

function trustedText({ state, revision }: SwitchRow, { sealed, plaintext: plain }: SealCounts): string {
  return `accepted: encryption is ${state} (revision ${revision}); ${countText(sealed, 'secret')} sealed, ${plain} in plain text`;
}

function trustedJson(done: TrustResult): Record<string, unknown> {
  const { found, remembered, trusted: accepted, counts } = done;
  return {
    ...switchJson(accepted),
    sealed: counts.sealed,
    plaintext: counts.plaintext,
    found: found === null ? null : switchJson(found),
    remembered: remembered === null ? null : switchJson(remembered),
  };
}

function switchJson({ state, keyId, nextKeyId, revision, changedAtMs, changedBy }: SwitchRow): Record<string, unknown> {
  const changed = { changed_at: isoTime(changedAtMs), changed_by: changedBy };
  return { state, key_id: keyId, next_key_id: nextKeyId, revision, ...changed };
}
