/**
 * Command line flags of `mailbox add` and `mailbox set`: one record, typed by the options of both commands.
 */

import type { Command } from 'commander';
import { postActionWords } from '../../admin/mailboxes/post-actions.ts';
import type { CommonOptions } from '../context.ts';
import type { AddOptions } from './add.ts';
import type { SetOptions } from './set.ts';

export const passwordStdin = [
  '--password-stdin',
  'read the password from standard input instead of asking for it',
] as const;

/** How a person signs in (oauth/consent-prompt.ts). */
export const consentFlags = {
  device: ['--device', 'sign in with a code on any device (default where the provider has it for mail)'],
  paste: ['--paste', 'sign in with a browser anywhere, and paste the address that it ends at'],
  browser: ['--browser', 'sign in with a browser that reaches a port of this machine'],
  browserPort: ['--browser-port <port>', 'port for --browser (default: any free one)'],
} as const;

/** `caFile` as in a flag: `ca-file`. */
type Kebab<Name extends string> = Name extends `${infer First}${infer Rest}`
  ? `${First extends Uppercase<First> ? `-${Lowercase<First>}` : First}${Kebab<Rest>}`
  : '';

type MailboxOption = Exclude<keyof AddOptions | keyof SetOptions, keyof CommonOptions | 'mailbox'>;

/** Flags of an option, and its text in the help of each command; null: the command does not have it. */
type MailboxFlags<Name extends MailboxOption> = readonly [
  flags: `--${'' | 'no-'}${Kebab<Name>}${'' | ` <${string}>`}`,
  add: Name extends keyof AddOptions ? string : null,
  set: Name extends keyof SetOptions ? string : null,
];

const authorities = 'certificates (PEM) to trust instead of those of the system';
const pin = 'the only certificate to trust';
const oauth = 'sign in with OAuth 2 at this provider of the configuration, without a password';
const grant = 'grant of a person (default: a new one, named as the mailbox)';
const plaintext = 'allow an unencrypted password to another machine with --tls none';

/** In the order of the help. An option that is missing here does not compile. */
const mailboxFlags: { readonly [Name in MailboxOption]: MailboxFlags<Name> } = {
  name: ['--name <name>', 'name of the mailbox (required)', 'new name of the mailbox'],
  host: ['--host <host>', 'IMAP server (required)', 'IMAP server'],
  port: ['--port <port>', 'port of the server (default: 993, or 143 with starttls and none)', 'port of the server'],
  tls: ['--tls <mode>', 'implicit, starttls or none (default: implicit)', 'implicit, starttls or none'],
  caFile: ['--ca-file <file>', authorities, authorities],
  fingerprint: ['--fingerprint <sha256>', pin, pin],
  systemCa: ['--system-ca', null, 'trust the certificate authorities of the system again'],
  user: ['--user <user>', 'login name (required)', 'login name'],
  newPassword: ['--new-password', null, 'ask for a new password as well, also in place of a grant'],
  passwordStdin: [...passwordStdin, passwordStdin[1]],
  oauth: ['--oauth <provider>', oauth, oauth],
  grant: ['--grant <name>', grant, grant],
  device: [...consentFlags.device, consentFlags.device[1]],
  paste: [...consentFlags.paste, consentFlags.paste[1]],
  browser: [...consentFlags.browser, consentFlags.browser[1]],
  browserPort: [...consentFlags.browserPort, consentFlags.browserPort[1]],
  folder: ['--folder <folder>', 'folder to poll (default: INBOX)', 'folder to poll'],
  since: [
    '--since <start>',
    'which messages: now, all or a date such as 2026-01-31 (default: now)',
    'where another folder begins: now, all or a date (default: unchanged)',
  ],
  onSuccess: [
    '--on-success <action>',
    `action on a stored message: ${postActionWords} (default: seen)`,
    postActionWords,
  ],
  interval: [
    '--interval <seconds>',
    'seconds between two polls (default: poll.interval_s)',
    'seconds between two polls, or default',
  ],
  address: [
    '--address <address>',
    'address that receives its mail; may be repeated (default: the user, if it is an address)',
    null,
  ],
  allowPlaintext: ['--allow-plaintext', plaintext, plaintext],
  probe: ['--no-probe', 'store it without a probe', 'store them without a probe'],
};

export function addMailboxFlags(command: Command, name: 'add' | 'set'): void {
  for (const [flags, add, set] of Object.values(mailboxFlags)) {
    const text = name === 'add' ? add : set;
    if (text === null) continue;
    if (flags === mailboxFlags.address[0]) command.option(flags, text, repeated);
    else command.option(flags, text);
  }
}

function repeated(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
