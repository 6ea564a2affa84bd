/**
 * `encryption status`: problems first, then the switch, the keys, their last verified backup, the passwords and the
 * workers.
 *
 * While encryption is on, passwords that are or were stored in plain text are listed, to be changed at the provider.
 */

import type { Terminal } from '../../adapters/terminal/terminal.ts';
import type { Style } from '../../adapters/terminal/text-layout.ts';
import type { App } from '../../compose/compose.ts';
import { keysInUse, lastVerifiedBackup, type VerifiedBackup } from '../../encryption/backup.ts';
import { type EncryptionStatus, encryptionDiagnostics, encryptionStatus } from '../../encryption/status.ts';
import { workerHost } from '../../ingest/scheduler/workers.ts';
import type { KeyId } from '../../secret/key.ts';
import { asRunHere } from '../../text/program-name.ts';
import { isoTime, shortTime } from '../../text/time.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { keyIdsText, printTable, type TableColumn } from '../output.ts';
import { runOperation } from './operation-progress.ts';

/** Exit code 0 also with problems. */
export async function showEncryption(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const [status, owner, backup] = await runOperation(app, context, 'reading the status', async (ports) => {
      const current = await ports.store.operationOwner();
      return [
        await encryptionStatus(ports),
        current !== null && ports.worker.isDead(current) ? null : current,
        await readBackup(app),
      ] as const;
    });
    if (options.json === true) await terminal.json({ ...status, verified_backup: backupJson(backup) });
    else await print(status, owner !== null, backup, terminal);
    return 0;
  });
}

/** `wanted`: the keys that a backup must hold. `verified` null: no backup that holds them was verified. */
type BackupStatus = { readonly wanted: readonly KeyId[]; readonly verified: VerifiedBackup | null };

async function readBackup({ store, vault, keyFile }: Pick<App, 'store' | 'vault' | 'keyFile'>): Promise<BackupStatus> {
  const { wanted } = keysInUse(await keyFile.read(), vault);
  return { wanted, verified: await lastVerifiedBackup(store, { wanted }) };
}

function backupJson({ verified }: BackupStatus): object | null {
  return verified && { at: isoTime(verified.atMs), by: verified.by, key_ids: verified.keyIds };
}

function backupLines({ wanted, verified }: BackupStatus): readonly StyledText[] {
  if (wanted.length === 0) return [];
  if (verified === null)
    return [
      [`backup     none that holds every key was verified: ${asRunHere('ticketmaild key verify FILE')}`, 'yellow'],
    ];
  return [[`backup     verified ${shortTime(verified.atMs)} UTC by ${verified.by}: ${verified.keyIds.join(', ')}`]];
}

async function print(
  status: EncryptionStatus,
  isRunning: boolean,
  backup: BackupStatus,
  terminal: Terminal,
): Promise<void> {
  for (const { message, hint } of encryptionDiagnostics(status)) {
    await terminal.prose(`wrong      ${message}`, 'red');
    await terminal.prose(`  hint     ${asRunHere(hint)}`);
  }
  for (const [text, style] of summary(status, backup)) await terminal.prose(text, style);
  if (status.workers.length > 0) await printTable(workerColumns, status.workers, { terminal });
  if (status.state === 'off') terminal.advice('Switch it on with: ticketmaild encryption enable');
  const command = unfinishedCommand(status);
  if (command !== null)
    terminal.advice(
      isRunning
        ? `An operation is running: encryption ${command}`
        : `Encryption ${command} is unfinished, and no process runs it. To resume it: ticketmaild encryption ${command}`,
    );
  if (status.state === 'off' || status.plaintext_periods.length === 0) return;
  await terminal.prose('These passwords were stored in plain text. Change them at the provider:', 'yellow');
  await printTable(plaintextColumns, status.plaintext_periods, { terminal });
}

function storedText({ stored_state: state, stored_key_id: id, stored_revision: revision }: EncryptionStatus): string {
  const key = id === null ? '' : `, key ${id}`;
  return revision === null ? `${state}` : `${state}${key}, revision ${revision}`;
}

/** Command that completes the operation in the switch; null: none began, or it was completed. */
function unfinishedCommand({ state, next_key_id: next }: EncryptionStatus): string | null {
  if (state === 'enabling') return 'enable';
  if (state === 'disabling') return 'disable';
  return next === null ? null : 'rotate';
}

type StyledText = readonly [text: string, style?: Style];

function summary(status: EncryptionStatus, backup: BackupStatus): readonly StyledText[] {
  const { state, vault, sealed, plaintext: plain, sealed_tokens: sealedTokens, plaintext_tokens: plainTokens } = status;
  const hasTokens = sealedTokens + plainTokens > 0;
  const changed = status.changed_at === null ? '' : `, since ${shown(status.changed_at)} UTC by ${status.changed_by}`;
  const keys = keyIdsText(status.key_id, status.next_key_id);
  const open = vault.key_ids.length === 0 ? '' : `: ${vault.key_ids.join(', ')}`;
  return [
    [`encryption ${state}${changed} (revision ${status.revision})`, state === 'on' ? 'green' : 'bold'],
    ...(status.stored_state === null ? [] : [[`in table   ${storedText(status)}`, 'red'] as const]),
    ...(keys === '' ? [] : [[`key        ${keys}`] as const]),
    [`vault      ${vault.state}${open}`],
    ...backupLines(backup),
    [`passwords  ${sealed} sealed, ${plain} in plain text`],
    ...(hasTokens ? [[`tokens     ${sealedTokens} sealed, ${plainTokens} in plain text`] as const] : []),
    ...status.by_key.map(({ key_id: id, count }) => [`           ${count} under ${id ?? 'an unknown key'}`] as const),
  ];
}

const workerColumns: readonly TableColumn<EncryptionStatus['workers'][number]>[] = [
  { title: 'WORKER', shrinks: true, main: true, cell: ({ host }) => workerHost(host) },
  { title: 'PID', align: 'right', drops: 1, cell: ({ pid }) => `${pid}` },
  { title: 'RUNS', cell: ({ live }) => (live ? 'yes' : 'no') },
  { title: 'HAS KEY', cell: ({ has_key: hasKey }) => (hasKey ? 'yes' : 'no') },
  { title: 'VAULT', cell: ({ vault }) => vault },
  { title: 'REVISION', align: 'right', drops: 2, cell: ({ revision }) => `${revision}` },
  { title: 'SEEN (UTC)', cell: ({ seen_at: seenAt }) => shown(seenAt) },
];

const plaintextColumns: readonly TableColumn<EncryptionStatus['plaintext_periods'][number]>[] = [
  { title: 'MAILBOX', shrinks: true, cell: ({ mailbox }) => mailbox },
  { title: 'SINCE (UTC)', cell: ({ since }) => shown(since) },
  { title: 'UNTIL (UTC)', cell: ({ until }) => (until === null ? 'still' : shown(until)) },
];

/** `2026-01-31 08:30:00` of an ISO 8601 time. */
function shown(time: string): string {
  return time.slice(0, 19).replace('T', ' ');
}
