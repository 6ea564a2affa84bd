/**
 * Operation steps as data, and the sentence of each: operations report `OperationStep` values, terminal and page
 * describe them.
 *
 * A step is a name from a closed list with at most one typed value: a key id or a count. `parseStep` accepts a stored
 * step only in exactly that form, so no foreign text in the database becomes part of a sentence.
 */
import { isKeyId, type KeyId } from '../../secret/key.ts';

const plainSteps = {
  encryption_on: 'Encryption is on: no password is stored in plain text in the table any more.',
  table_rewritten: 'The table of mailboxes was rewritten: its file contains no plain-text password any more.',
  plaintext_from_now_on: 'New passwords are stored in plain text from now on.',
  encryption_off: 'Encryption is off.',
  key_file_set_aside: 'The key file was renamed, not deleted: older database backups still need it.',
  off_withdrawn:
    'A row that switches encryption off was handed to the database and is withdrawn: the database did not store it, and this host does not accept it any more.',
  switch_renewed: 'The switch in force was written again above that row, so that no other host accepts it either.',
  renewal_pending:
    'Another host may still accept that row until the switch in force is written above it: a running daemon of this host does so, or ticketmaild encryption reseal.',
  was_off: 'Encryption was off already.',
  resumed: 'The daemon that ran this operation stopped; another one resumed it.',
  ended_early: 'The daemon that ran this operation stopped just before its end.',
} as const;

const keySteps = {
  key_file_created: (key: KeyId) => `Key file created with the new key ${key}.`,
  sealing_started: (key: KeyId) => `Every live worker holds key ${key}; new passwords are sealed with it from now on.`,
  sealing_forced: (key: KeyId) =>
    `New passwords are sealed with key ${key} from now on, although live workers lack it.`,
  key_added: (key: KeyId) => `New key ${key} added to the key file, beside the key in use.`,
  resealing_started: (key: KeyId) => `Resealing passwords under key ${key}.`,
  key_in_use: (key: KeyId) => `Key ${key} is in use; the former key is removed from the key file next.`,
  key_dropped: (key: KeyId) => `Key ${key} removed from the key file: no password needs it.`,
  former_key_kept: (key: KeyId) => `The former key ${key} is still in the key file.`,
} as const;

const countSteps = {
  confirmed: (count: number) =>
    `Mailboxes that delete or move messages on their server, confirmed as they are: ${count}.`,
  renewed: (count: number) =>
    `Mailboxes that delete or move messages on their server, confirmed under the new key: ${count}. Check them: ticketmaild mailbox list`,
  unrenewed: (count: number) =>
    `Mailboxes whose confirmed settings changed while the rotation ran: ${count}. Check and confirm each: ticketmaild mailbox confirm NAME`,
  sealed: (count: number) => `Passwords sealed: ${count}.`,
  resealed: (count: number) => `Passwords resealed: ${count}.`,
  unsealed: (count: number) => `Passwords stored in plain text: ${count}.`,
  tokens_sealed: (count: number) => `Refresh tokens sealed: ${count}.`,
  tokens_resealed: (count: number) => `Tokens resealed: ${count}.`,
  tokens_unsealed: (count: number) => `Refresh tokens stored in plain text: ${count}.`,
  tokens_lost: (count: number) => `Refresh tokens given up: ${count}. Their persons sign in again.`,
  sealed_left: (count: number) =>
    `Sealed passwords and tokens left: ${count}. The key file stays; enable and disable encryption again to open them.`,
  forced: (count: number) => `Continuing by force: live workers without the key: ${count}.`,
} as const;

export type OperationStep =
  | { readonly step: keyof typeof plainSteps }
  | { readonly step: keyof typeof keySteps; readonly keyId: KeyId }
  | { readonly step: keyof typeof countSteps; readonly count: number };

/** One sentence. */
export function describeStep(step: OperationStep): string {
  if ('keyId' in step) return keySteps[step.step](step.keyId);
  return 'count' in step ? countSteps[step.step](step.count) : plainSteps[step.step];
}

/** A stored step, as data of this program alone; null: an unknown name, or a value of another form. */
export function parseStep(value: unknown): OperationStep | null {
  if (typeof value !== 'object' || value === null) return null;
  const { step, keyId, count }: { step?: unknown; keyId?: unknown; count?: unknown } = value;
  if (isNameIn(plainSteps, step)) return { step };
  if (isNameIn(keySteps, step)) return isKeyId(keyId) ? { step, keyId } : null;
  return isNameIn(countSteps, step) && isCount(count) ? { step, count } : null;
}

function isNameIn<T extends object>(steps: T, name: unknown): name is keyof T {
  return typeof name === 'string' && Object.hasOwn(steps, name);
}

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
