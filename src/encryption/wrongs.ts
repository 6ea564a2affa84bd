/**
 * What is wrong with keys, sealed passwords and the switch, as `encryption status` and the admin page tell it: out of the
 * status alone, the worst first.
 */
import type { EncryptionStatus } from './status.ts';
import { counted, orRescue } from './texts.ts';

export type Wrong = {
  /** `switch`: the row in the table is not in force. `vault`: the key file here. `workers`: others lack the key. */
  readonly about: 'switch' | 'vault' | 'waiting' | 'plain' | 'workers';
  /** One sentence without its full stop. */
  readonly what: string;
  readonly hint: string;
};

export function wrongsOf(status: EncryptionStatus): readonly Wrong[] {
  const { problem, vault, plain, waiting, workers, state } = status;
  const lacking = workers.filter(({ live, has_key: hasKey }) => live && !hasKey);
  const found: (Wrong | false)[] = [
    problem !== null && { about: 'switch', what: problem.message, hint: problem.hint },
    vault.reason !== null && {
      about: 'vault',
      what: vault.reason,
      hint: vault.state === 'missing' ? `${vault.hint} ${orRescue}` : (vault.hint ?? ''),
    },
    waiting > 0 && {
      about: 'waiting',
      what: `${waiting === 1 ? '1 mailbox waits' : `${waiting} mailboxes wait`}: nobody holds the key of the password`,
      hint: 'Put the key file with that key back; where it is lost, see encryption replace-lost-key. Which: ticketmaild mailbox list.',
    },
    plain > 0 &&
      state === 'on' && {
        about: 'plain',
        what: `${counted(plain, 'password')} readable although encryption is on`,
        hint: 'A worker that runs seals within a second; else: ticketmaild encryption reseal.',
      },
    lacking.length > 0 && {
      about: 'workers',
      what: `without the key: ${lacking.map(({ host, pid }) => `${host} (pid ${pid})`).join(', ')}`,
      hint: 'Copy the key file to those hosts (owner, mode 0600): they take it up within a second.',
    },
  ];
  return found.filter((one) => one !== false);
}
