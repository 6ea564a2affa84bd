/**
 * Command line flags of `mailbox add` and `mailbox set`: one record, typed by the options of both commands.
 */

import type { Command } from 'commander';
import type { CommonOptions } from '../context.ts';
import type { AddOptions } from './add.ts';
import { postActionWords } from './post-actions.ts';
import type { SetOptions } from './set.ts';

export const passwordStdin = [
  '--password-stdin',
  'read the password from standard input instead of asking for it',
] as const;

/** `caFile` as in a flag: `ca-file`. */
type Kebab<Name extends string> = Name extends `${infer First}${infer Rest}`
  ? `${First extends Uppercase<First> ? `-${Lowercase<First>}` : First}${Kebab<Rest>}`
  : '';

type MailboxOption = Exclude<keyof AddOptions | keyof SetOptions, keyof CommonOptions | 'mailbox'>;

/** Texts of an option in the help of the commands that have it. */
type MailboxOptionTexts<Name extends MailboxOption> = {
  readonly flags: `--${'' | 'no-'}${Kebab<Name>}${'' | ` <${string}>`}`;
  readonly isRepeated?: true;
} & (Name extends keyof AddOptions ? { readonly add: string } : { readonly add?: never }) &
  (Name extends keyof SetOptions ? { readonly set: string } : { readonly set?: never });

/** Options of `mailbox add` and `mailbox set`, in the order of the help. One that is missing here does not compile. */
const mailboxOptions: { readonly [Name in MailboxOption]: MailboxOptionTexts<Name> } = {
  name: { flags: '--name <name>', add: 'name of the mailbox (required)', set: 'new name of the mailbox' },
  host: { flags: '--host <host>', add: 'IMAP server (required)', set: 'IMAP server' },
  port: {
    flags: '--port <port>',
    add: 'port of the server (default: 993, or 143 with starttls and none)',
    set: 'port of the server',
  },
  tls: {
    flags: '--tls <mode>',
    add: 'implicit, starttls or none (default: implicit)',
    set: 'implicit, starttls or none',
  },
  caFile: {
    flags: '--ca-file <file>',
    ...inBoth('certificates (PEM) to trust instead of those of the system'),
  },
  fingerprint: { flags: '--fingerprint <sha256>', ...inBoth('the only certificate to trust') },
  systemCa: { flags: '--system-ca', set: 'trust the certificate authorities of the system again' },
  user: { flags: '--user <user>', add: 'login name (required)', set: 'login name' },
  newPassword: { flags: '--new-password', set: 'ask for a new password as well' },
  passwordStdin: { flags: passwordStdin[0], ...inBoth(passwordStdin[1]) },
  folder: { flags: '--folder <folder>', add: 'folder to poll (default: INBOX)', set: 'folder to poll' },
  since: {
    flags: '--since <start>',
    add: 'which messages: now, all or a date such as 2026-01-31 (default: now)',
    set: 'where another folder begins: now, all or a date (default: unchanged)',
  },
  onSuccess: {
    flags: '--on-success <action>',
    add: `action on a stored message: ${postActionWords} (default: seen)`,
    set: postActionWords,
  },
  interval: {
    flags: '--interval <seconds>',
    add: 'seconds between two polls (default: poll.interval_s)',
    set: 'seconds between two polls, or default',
  },
  address: {
    flags: '--address <address>',
    isRepeated: true,
    add: 'address that receives its mail; may be repeated (default: the user, if it is an address)',
  },
  allowPlaintext: {
    flags: '--allow-plaintext',
    ...inBoth('allow an unencrypted password to another machine with --tls none'),
  },
  probe: { flags: '--no-probe', add: 'store it without a probe', set: 'store them without a probe' },
};

function inBoth(text: string) {
  return { add: text, set: text };
}

export function addMailboxOptions(command: Command, name: 'add' | 'set'): void {
  for (const { flags, isRepeated, [name]: text } of Object.values(mailboxOptions)) {
    if (text === undefined) continue;
    if (isRepeated === true) command.option(flags, text, repeated);
    else command.option(flags, text);
  }
}

function repeated(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
