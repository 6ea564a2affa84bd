/**
 * `encryption status`: problems first, then the switch, the keys, the passwords and the workers.
 *
 * While encryption is on, passwords that are or were stored in plain text are listed, to be changed at the provider.
 */

import type { Terminal } from '../../adapters/terminal/terminal.ts';
import type { Style } from '../../adapters/terminal/text-layout.ts';
import { workerLiveMs } from '../../encryption/operations/operation.ts';
import { type EncryptionStatus, encryptionDiagnostics, encryptionStatus } from '../../encryption/status.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { runOperation } from './operation.ts';

/** Exit code 0 also with problems. */
export async function showEncryption(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const status = await runOperation(app, context, 'reading the status', (ports) =>
      encryptionStatus(ports, workerLiveMs),
    );
    if (options.json === true) await terminal.json(status);
    else await print(status, terminal);
    return 0;
  });
}

async function print(status: EncryptionStatus, terminal: Terminal): Promise<void> {
  for (const { message, hint } of encryptionDiagnostics(status)) {
    await terminal.line(`wrong      ${message}`, 'red');
    await terminal.line(`  hint     ${hint}`);
  }
  for (const [text, style] of summary(status)) await terminal.line(text, style);
  if (status.workers.length > 0) await terminal.table(workerColumns, status.workers.map(workerRow));
  if (status.state === 'off') terminal.note('Switch it on with: ticketmaild encryption enable');
  if (status.state === 'off' || status.plaintext_periods.length === 0) return;
  await terminal.line('These passwords were stored in plain text. Change them at the provider:', 'yellow');
  await terminal.table(plaintextColumns, status.plaintext_periods.map(plaintextRow));
}

function summary(status: EncryptionStatus): readonly (readonly [text: string, style?: Style])[] {
  const { state, vault, sealed, plaintext: plain } = status;
  const changed = status.changed_at === null ? '' : `, since ${shown(status.changed_at)} UTC by ${status.changed_by}`;
  const keys = [status.key_id, status.next_key_id].filter((id) => id !== null).join(', next ');
  const open = vault.key_ids.length === 0 ? '' : `: ${vault.key_ids.join(', ')}`;
  return [
    [`encryption ${state}${changed} (revision ${status.revision})`, state === 'on' ? 'green' : 'bold'],
    ...(status.stored_state === null ? [] : [[`in table   ${status.stored_state}`, 'red'] as const]),
    ...(keys === '' ? [] : [[`key        ${keys}`] as const]),
    [`vault here ${vault.state}${open}`],
    [`passwords  ${sealed} sealed, ${plain} in plain text`],
    ...status.by_key.map(({ key_id: id, count }) => [`           ${count} under ${id ?? 'an unknown key'}`] as const),
  ];
}

const workerColumns = [
  { title: 'WORKER ON' },
  { title: 'PID', align: 'right' as const },
  { title: 'RUNS' },
  { title: 'HAS KEY' },
  { title: 'VAULT' },
  { title: 'REVISION', align: 'right' as const },
  { title: 'SEEN (UTC)' },
];

function workerRow(worker: EncryptionStatus['workers'][number]): readonly string[] {
  const { host, pid, live, has_key: hasKey, vault, revision, seen_at: seenAt } = worker;
  return [host, `${pid}`, live ? 'yes' : 'no', hasKey ? 'yes' : 'no', vault, `${revision}`, shown(seenAt)];
}

const plaintextColumns = [{ title: 'MAILBOX', shrinks: true }, { title: 'SINCE (UTC)' }, { title: 'UNTIL (UTC)' }];

function plaintextRow({ mailbox, since, until }: EncryptionStatus['plaintext_periods'][number]): readonly string[] {
  return [mailbox, shown(since), until === null ? 'still' : shown(until)];
}

/** `2026-01-31 08:30:00` of an ISO 8601 time. */
function shown(time: string): string {
  return time.slice(0, 19).replace('T', ' ');
}
