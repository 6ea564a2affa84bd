/** Server › Encryption with something wrong, one view for each: key missing, refused, orphaned, switch forged. */
import type { Diagnostic, EncryptionView } from '../../../../src/admin/service.ts';
import { keyFilePath, keyOne, on, onStatus, onVerified, workerLine } from './views-encryption.ts';

function broken(
  trouble: Diagnostic,
  vault: Partial<EncryptionView['status']['vault']>,
  more: Partial<EncryptionView['status']> = {},
): EncryptionView {
  const status = { ...onStatus, vault: { ...onStatus.vault, ...vault }, ...more };
  const keyIds = vault.state === undefined || ['open', 'orphaned'].includes(vault.state) ? [keyOne] : [];
  return {
    ...onVerified,
    operation: null,
    status,
    diagnostics: [trouble],
    backup: null,
    keyFile: { ...on.keyFile, keyIds },
  };
}

const putBack = `install -o ticketmaild -g ticketmaild -m 600 /media/safe/encryption-key.bin ${keyFilePath}`;

export const missing = broken(
  {
    title: 'The key file is missing',
    description: `Encryption is on, and there is no key file at ${keyFilePath}.`,
    unaffected: 'Nothing is lost: no login is tried, every mailbox waits, and mail stays on its server.',
    remedy: 'Put the key file back from its backup. The daemon notices within a second.',
    command: putBack,
  },
  { state: 'missing', key_ids: [], reason: 'there is no key file', hint: 'Put it back.' },
  {
    waiting: 200,
    workers: [workerLine('desk1.example.org', 811, false), workerLine('desk2.example.org', 1204, false)],
  },
);

export const refused = broken(
  {
    title: 'The key file is refused',
    description: `The key file ${keyFilePath} can be read by others: its mode is 0644.`,
    unaffected: 'Mailboxes wait, and mail stays on its server.',
    remedy: 'Take the rights of the others away.',
    command: `chmod 600 ${keyFilePath}`,
  },
  { state: 'refused', key_ids: [], reason: 'its mode is 0644', hint: 'chmod 600' },
);

export const orphaned = broken(
  {
    title: 'The key file has vanished',
    description: `The key file ${keyFilePath} is gone since this daemon took it up.`,
    unaffected: 'Everything: the daemon has the keys in its memory. It must not be restarted before the file is back.',
    remedy: 'Put it back from its backup, or let the running daemon write it.',
    command: 'sudo -u ticketmaild ticketmaild key recover',
  },
  {
    state: 'orphaned',
    reason: `there is no key file at ${keyFilePath}, and key ${keyOne} is needed`,
    hint: 'key recover',
  },
);

export const forged = broken(
  {
    title: 'Somebody else changed the switch',
    description: 'The row in encryption_switch says off, and no key of ours sealed it.',
    unaffected: 'Everything: what was in force stays in force, and passwords stay sealed.',
    remedy: 'Find out who writes to the database. Then put the row right.',
    command: 'sudo -u ticketmaild ticketmaild encryption trust-restored',
  },
  {},
  {
    stored_state: 'off',
    problem: { code: 'switch_forged', message: 'no key of ours sealed it', hint: 'trust-restored' },
  },
);
