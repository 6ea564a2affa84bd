/**
 * HTML form of a mailbox: its fields as texts, and their mapping to the options of `mailbox add` and `mailbox set`.
 *
 * The rules are those of the commands. A failure names the field by its label in place of the option.
 */
import { createHash } from 'node:crypto';
import { Failure } from '../../errors.ts';
import type { Mailbox } from '../../ingest/model.ts';
import type { VersionedMailbox } from '../../ingest/stores.ts';
import type { MailboxChanges, MailboxOptions } from './options.ts';
import { targetFolder } from './post-actions.ts';

/** In the order of the form. */
export const mailboxFields = [
  ...(['name', 'host', 'port', 'tls', 'allow_plaintext', 'trust', 'fingerprint', 'authorities', 'user'] as const),
  ...(['sign_in', 'grant', 'folder', 'since', 'action', 'target', 'interval', 'addresses'] as const),
] as const;

/** Unchecked texts of a form; '' where a field is empty. `trust`: `system`, `stored`, `pin` or `authorities`. */
export type MailboxTexts = Readonly<Record<(typeof mailboxFields)[number], string>>;

/** `sign_in` of a mailbox with a password; any other value names a provider of OAuth 2. */
export const passwordSignIn = 'password:';

/** `sign_in` of a mailbox with a grant whose provider is not known. */
export const grantAsBefore = 'grant:';

export const newMailboxTexts: MailboxTexts = {
  ...{ name: '', host: '', port: '', tls: 'implicit', allow_plaintext: '', trust: 'system', fingerprint: '' },
  ...{ authorities: '', user: '', sign_in: passwordSignIn, grant: '', folder: 'INBOX', since: 'now' },
  ...{ action: 'seen', target: '', interval: '', addresses: '' },
};

/** The present settings. `provider`: of its grant; null: not known, or a password. */
export function textsOf({ name, connection, postAction, ...rest }: Mailbox, provider: string | null): MailboxTexts {
  const { host, port, tls, allowPlaintext, caPem, fingerprint, user, folder } = connection;
  return {
    ...{ name, host, port: `${port}`, tls, user, folder, authorities: '', grant: rest.grant ?? '', since: '' },
    allow_plaintext: allowPlaintext ? 'yes' : '',
    ...{ trust: fingerprint !== null ? 'pin' : caPem !== null ? 'stored' : 'system', fingerprint: fingerprint ?? '' },
    sign_in: provider ?? (rest.grant === null ? passwordSignIn : grantAsBefore),
    ...{ action: postAction.kind, target: targetFolder(postAction) ?? '' },
    interval: rest.pollIntervalMs === null ? '' : `${rest.pollIntervalMs / 1000}`,
    addresses: rest.addresses.join(' '),
  };
}

export function addOptions(texts: MailboxTexts): MailboxOptions {
  const { name, host, user, folder, since } = texts;
  const required = { name: given(name), host: given(host), user: given(user) };
  const interval = texts.interval === '' ? {} : { interval: texts.interval };
  return {
    ...withoutUndefined(required),
    ...serverOptions(texts),
    ...interval,
    ...{ folder, since, onSuccess: actionText(texts), address: addressesIn(texts.addresses) },
  };
}

/** `--since` is that of another folder: it is left out where the folder stays. */
export function changeOptions(texts: MailboxTexts): MailboxChanges {
  const { name, host, user, folder, since, trust, interval } = texts;
  return {
    ...{ name, host, user, folder, onSuccess: actionText(texts) },
    ...serverOptions(texts),
    ...(trust === 'system' ? { systemCa: true } : {}),
    ...(since === '' ? {} : { since }),
    interval: interval === '' ? 'default' : interval,
  };
}

/** The text in place of a file: it is read by `sourcesOf`. */
const pasted = 'pasted text';

function serverOptions({ port, tls, trust, fingerprint, allow_plaintext: plain }: MailboxTexts): MailboxChanges {
  return {
    ...(port === '' ? {} : { port }),
    ...(trust === 'pin' ? { fingerprint } : {}),
    ...(trust === 'authorities' ? { caFile: pasted } : {}),
    ...{ tls, allowPlaintext: plain === 'yes' },
  };
}

/** Reads what the option of a file names: the text area. */
export function pastedAuthorities({ authorities }: MailboxTexts): (path: string) => Uint8Array {
  return () => Buffer.from(authorities);
}

function actionText({ action, target }: MailboxTexts): string {
  return action === 'move' ? `move:${target}` : action;
}

export function addressesIn(text: string): readonly string[] {
  return text.split(/[\s,;]+/u).filter((address) => address !== '');
}

function given(text: string): string | undefined {
  return text.trim() === '' ? undefined : text.trim();
}

function withoutUndefined(texts: Readonly<Record<string, string | undefined>>): MailboxOptions {
  return Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== undefined));
}

/** Labels of the fields, by option. */
const labels: Readonly<Record<string, string>> = {
  ...{ '--name': 'Name', '--host': 'Server', '--port': 'Port', '--tls': 'Encryption', '--user': 'User' },
  ...{ '--ca-file': 'Authorities', '--fingerprint': 'Fingerprint', '--folder': 'Folder', '--since': 'Messages' },
  ...{ '--on-success': 'Afterwards', '--interval': 'Interval', '--address': 'Addresses', '--grant': 'Grant' },
  ...{ '--system-ca': 'The authorities of the system', '--allow-plaintext': 'the tick under Mail server' },
};

/** The same failure in the words of the form. */
export function inWordsOfForm(failure: Failure): Failure {
  const worded = (text: string): string =>
    text.replace(/--ca-file "pasted text"/g, 'Authorities').replace(/--[a-z-]+/g, (option) => labels[option] ?? option);
  const { code, message, fields, cause, hint } = failure;
  const isOfCommand = code === 'usage' && hint.includes('--help');
  return new Failure(code, worded(message), { fields, cause, hint: isOfCommand ? '' : worded(hint) });
}

/** SHA-256 of a row as a form showed it: compare-and-swap between the page and what it changes. */
export function rowVersion({ mailbox, version, password }: VersionedMailbox): string {
  const { id, name, connection, start, postAction, pollIntervalMs, grant, addresses, state } = mailbox;
  const row = [id, name, connection, start, postAction, pollIntervalMs, grant, addresses, state, version];
  return createHash('sha256')
    .update(JSON.stringify([...row, password.form]))
    .digest('base64url');
}
