/**
 * The commands of the key file and of encryption, with their options, as commander reads them.
 */
import type { Command } from 'commander';
import { type Actions, listing, reporting } from './command-shape.ts';

const yes = ['--yes', 'do not ask'] as const;
const wait = ['--wait <seconds>', 'how long to wait for workers that lack the key (default: 30)'] as const;
const force = ['--force', 'go on although a worker that runs lacks the key'] as const;

export function addKeyCommands(program: Command, { plain }: Actions): void {
  const key = program.command('key').description('show, back up, protect and rescue the key file');
  reporting(key, 'show', 'show the fingerprints and the state of the key file, never its bytes').action(
    plain(async () => (await import('./key-show.ts')).showKey),
  );
  const backup = plain(async () => (await import('./key-backup.ts')).backUpKey);
  reporting(key, 'backup', 'copy the key file as it is, for its owner alone')
    .argument('<file>', 'the copy to write; it must not exist yet')
    .action((file, options) => backup({ ...options, file }));
  const verify = plain(async () => (await import('./key-verify.ts')).verifyKey);
  reporting(key, 'verify', 'compare a backup with the key in use; exit code 1 when it is not the same')
    .argument('<file>', 'the backup')
    .action((file, options) => verify({ ...options, file }));
  reporting(key, 'protect', 'protect the key file with a passphrase')
    .option('--passphrase-stdin', 'read the passphrase from standard input instead of asking for it')
    .action(plain(async () => (await import('./key-protect.ts')).protectKey));
  reporting(key, 'unprotect', 'write the key file without its passphrase').action(
    plain(async () => (await import('./key-protect.ts')).unprotectKey),
  );
  reporting(key, 'rescue', 'let the running daemon write a lost key file back').action(
    plain(async () => (await import('./key-rescue.ts')).rescueKey),
  );
}

export function addEncryptionCommands(program: Command, { plain, draining }: Actions): void {
  const encryption = program.command('encryption').description('seal the passwords in the database under a key file');
  reporting(encryption, 'status', 'show what is sealed, under which key, and what is wrong').action(
    plain(async () => (await import('./encryption-status.ts')).showEncryption),
  );
  reporting(encryption, 'enable', 'switch encryption on: make a key file and seal every password')
    .option('--accept-key-loss', 'acknowledge that who loses the key file loses the passwords')
    .option('--backup-prepared', 'acknowledge that a safe backup of the key file is prepared')
    .option(...force)
    .option(...wait)
    .action(draining(async () => (await import('./encryption-enable.ts')).enableEncryption));
  reporting(encryption, 'rotate', 'seal every password under a new key')
    .option(...force)
    .option(...wait)
    .action(draining(async () => (await import('./encryption-rotate.ts')).rotateKey));
  reporting(
    encryption,
    'reseal',
    'seal what is not sealed under the key in use, and drop keys that nothing needs',
  ).action(draining(async () => (await import('./encryption-rotate.ts')).resealPasswords));
  reporting(encryption, 'disable', 'switch encryption off: store every password readable')
    .option(...yes)
    .action(draining(async () => (await import('./encryption-disable.ts')).disableEncryption));
  reporting(encryption, 'accept-restored', 'put the switch in force again after a restored backup or a foreign row')
    .option(...yes)
    .option('--accept-off', 'acknowledge that encryption, which was on, may be off afterwards')
    .action(plain(async () => (await import('./encryption-accept-restored.ts')).acceptRestoredSwitch));
  reporting(encryption, 'replace-lost-key', 'put a new key in the place of one that is lost for good')
    .option('--accept-password-loss', 'acknowledge that passwords under the lost key have to be set anew')
    .option(...force)
    .option(...wait)
    .action(draining(async () => (await import('./encryption-replace-lost-key.ts')).replaceKey));
  listing(encryption, 'log', 'list what was changed, by whom, the newest first')
    .option('--limit <count>', 'at most so many (default: 50, with --json all)')
    .action(plain(async () => (await import('./encryption-log.ts')).listAudit));
}
