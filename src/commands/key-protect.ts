/**
 * `key protect` and `key unprotect`: wraps the key file with a passphrase (age), and takes that off again.
 *
 * The key stays the same, and so do all passwords. A daemon that cannot get the passphrase could not open the key file at
 * its next start: that is said before anything is changed.
 */
import { timingSafeEqual } from 'node:crypto';
import type { App } from '../compose/compose.ts';
import type { Config } from '../config/config.ts';
import { Failure, isFailure } from '../errors.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { sayer } from './encryption-operation.ts';
import { recordKeyChange } from './key-record.ts';

type ProtectOptions = CommonOptions & { readonly passphraseStdin?: boolean };

const credential = 'ticketmaild-key-passphrase';

/** Throws `usage`, `password_missing`, `refused` when it is protected, `key_file_*`, `disk_*`. */
export async function protectKey(options: ProtectOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app, config) => {
    await requireBareKeyFile(app);
    if (config.encryption.passphraseFile === null) warn(context);
    using passphrase = await newPassphrase(options, context);
    await app.keyFile.protect(passphrase);
    const recorded = await recordKeyChange(app, context, 'key.protected', null);
    if (options.json === true) await terminal.json({ path: app.keyFile.path, protected: true, recorded });
    else await terminal.line(`protected the key file ${app.keyFile.path} by a passphrase`, 'green');
    const say = sayer(options, terminal);
    for (const line of daemonAdvice(config)) await say(line);
    await say('Backups of the key file from before are still without one.');
    return 0;
  });
}

/** Throws `refused` when it is not protected, `key_file_*`, `disk_*`. */
export async function unprotectKey(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    await app.keyFile.unprotect();
    const recorded = await recordKeyChange(app, context, 'key.unprotected', null);
    if (options.json === true) await terminal.json({ path: app.keyFile.path, protected: false, recorded });
    else await terminal.line(`the key file ${app.keyFile.path} is without a passphrase now`, 'green');
    return 0;
  });
}

/** Before a passphrase is asked for. */
async function requireBareKeyFile({ keyFile }: App): Promise<void> {
  const reading = await keyFile.read();
  if (reading.kind === 'absent') throw new Failure('key_file_missing', `there is no key file at ${keyFile.path}`);
  const isLocked = reading.kind === 'refused' && reading.failure.code === 'key_file_locked';
  if (isLocked || (reading.kind === 'keys' && reading.wrapped !== null)) {
    throw new Failure('refused', `the key file ${keyFile.path} is protected already`, {
      hint: 'For another passphrase take the one off first: ticketmaild key unprotect.',
    });
  }
  if (reading.kind === 'refused') throw reading.failure;
}

function warn({ terminal }: Context): void {
  terminal.note(
    'warning: the configuration names no [encryption] passphrase_file. Unless the daemon gets the',
    'yellow',
  );
  terminal.note(
    `passphrase as systemd credential ${credential}, it cannot open the key file when it starts.`,
    'yellow',
  );
}

function daemonAdvice({ encryption }: Config): readonly string[] {
  const { passphraseFile } = encryption;
  if (passphraseFile !== null) return [`The daemon reads the passphrase from ${passphraseFile}: it must be in there.`];
  return [
    'Give the daemon the passphrase before its next start, one of:',
    '  [encryption] passphrase_file = "/PATH", a file of its user with mode 0600',
    `  LoadCredentialEncrypted=${credential} in its unit (systemd-creds(1))`,
  ];
}

/** From the prompt, twice, or all of standard input. */
async function newPassphrase(options: ProtectOptions, context: Context): Promise<SecretBytes> {
  try {
    return await readPassphrase(options, context);
  } catch (error) {
    if (!isFailure(error, 'password_missing')) throw error;
    const hint = 'Give it at a terminal, or with --passphrase-stdin.';
    throw new Failure('password_missing', 'a passphrase is needed, and none is given', { hint });
  }
}

async function readPassphrase({ passphraseStdin }: ProtectOptions, { terminal }: Context): Promise<SecretBytes> {
  if (passphraseStdin === true) return await terminal.readPassword();
  const first = await terminal.askPassword('New passphrase: ');
  try {
    using second = await terminal.askPassword('The same again: ');
    if (isEqual(first, second)) return first;
  } catch (error) {
    first.wipe();
    throw error;
  }
  first.wipe();
  throw new Failure('usage', 'the two passphrases are not the same', { hint: 'Nothing was changed: try it again.' });
}

function isEqual(a: SecretBytes, b: SecretBytes): boolean {
  return a.length === b.length && a.use((first) => b.use((second) => timingSafeEqual(first, second)));
}
