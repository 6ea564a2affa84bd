/**
 * A real Dovecot 2.3 of our own: free loopback ports (plain with STARTTLS, and TLS), mail in a temporary folder.
 *
 * Any user name exists, with password `pw`; `newUser` gives one that no other test has. What the tests do behind the
 * client's back (messages, flags, expunges, a new UIDVALIDITY) goes through the file system and doveadm. A start that
 * fails throws with the server's own log.
 */
import { chmod, chown, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { signalGroup } from '../processes/proc.ts';
import { temporaryFolder } from '../temporary.ts';
import { type CertificateKind, readCertificates, type ServerCertificate } from './authority.ts';
import { type TokenCheck, writeTokenSettings } from './dovecot-oauth.ts';
import { type DovecotLayout, dovecotSettings, mailOwner, passwordFile, specialUser } from './dovecot-settings.ts';
import { type AppendOptions, deliver, makeMaildir } from './maildir.ts';
import { freePort, type RunningServer, runProgram, startServer, untilGreets } from './programs.ts';
import { certificatesTemplate } from './templates.ts';

export type Dovecot = {
  /** The name in the server's certificate, which is also for 127.0.0.1. */
  readonly host: 'localhost';
  /** Plain, with STARTTLS. */
  readonly port: number;
  readonly tlsPort: number;
  readonly caPem: string;
  readonly caFile: string;
  /** SHA-256 of the server's certificate, 32 bytes in hex with colons. */
  readonly fingerprint: string;
  /** The one user whose password is not `pw`. */
  readonly specialUser: { readonly name: string; readonly password: string };
  newUser(): string;
  /** Puts messages into a folder, which is made when it is missing. Their UIDs follow their order. */
  append(user: string, folder: string, messages: readonly Uint8Array[], options?: AppendOptions): Promise<void>;
  createFolder(user: string, folder: string): Promise<void>;
  deleteFolder(user: string, folder: string): Promise<void>;
  /** Flags by UID, `\Recent` left out. */
  listFlags(user: string, folder: string): Promise<Map<number, ReadonlySet<string>>>;
  /** All messages of a folder into another one, where they get new UIDs. */
  move(user: string, from: string, to: string): Promise<void>;
  expunge(user: string, folder: string, uids: readonly number[]): Promise<void>;
  /** The messages stay and get UIDs from 1 under a new UIDVALIDITY, as after a restored backup. */
  changeUidValidity(user: string, folder: string): Promise<void>;
  /** Multiplies the UIDs, as in a folder from which most messages were deleted. Needs a folder that was selected. */
  spreadUids(user: string, folder: string, factor: number): Promise<void>;
  /** Takes `\Seen` away from every message, as another client does. */
  unsee(user: string, folder: string): Promise<void>;
  /** A backup of the folder as it is, numbers included; what it gives puts that back. */
  backUp(user: string, folder: string): Promise<() => Promise<void>>;
  /** Ends every session of a user. */
  kick(user: string): Promise<void>;
  /** What the server logged so far. */
  log(): Promise<string>;
  /** Ends it at once; its clients see their connections close. */
  stop(): Promise<void>;
  /** Stops it if it runs, and starts it on the same ports with the same mail, from now on as `changes` say. */
  restart(changes?: Pick<DovecotOptions, 'certificate' | 'settings'>): Promise<void>;
  /** Sets the password of a user whose name begins with `own-`, who has none before. */
  setPassword(user: string, password: string): Promise<void>;
  /** SIGSTOP or SIGCONT for every process of it: it hangs, and its ports still accept connections. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
} & AsyncDisposable;

export type DovecotOptions = {
  certificate?: CertificateKind;
  /** More lines of configuration, for example `imap_capability = IMAP4rev1`. */
  settings?: string;
  /** Of every user, instead of `pw`: letters and digits. It is never text in this process. */
  password?: Uint8Array;
  /** Takes the tokens of this provider as XOAUTH2 and OAUTHBEARER. */
  tokens?: TokenCheck;
};

const startTimeoutMs = 15_000;

/** Starts one and waits until it greets on both ports. */
export async function startDovecot(options: DovecotOptions = {}): Promise<Dovecot> {
  const templates = await certificatesTemplate();
  const temporary = await temporaryFolder('dovecot');
  const layout = {
    folder: temporary.path,
    port: await freePort(),
    tlsPort: await freePort(),
    certificate: await readCertificates(templates, options.certificate),
    more: options.settings ?? '',
    passwordFile: options.password === undefined ? null : join(temporary.path, 'password-of-all'),
    takesTokens: options.tokens !== undefined,
  } satisfies DovecotLayout;
  await writeFiles(layout, options.password);
  if (options.tokens !== undefined) await writeTokenSettings(layout.folder, options.tokens);
  let server = await launch(layout);
  const stop = (): Promise<void> => end(server);
  return {
    ...addresses(layout),
    ...mailActions(layout.folder),
    log: () => readLog(layout.folder),
    stop,
    restart: async (changes = {}) => {
      await stop();
      layout.more = changes.settings ?? layout.more;
      if (changes.certificate !== undefined)
        layout.certificate = await readCertificates(templates, changes.certificate);
      await writeFile(join(layout.folder, 'dovecot.conf'), dovecotSettings(layout));
      server = await launch(layout);
    },
    signal: (name) => signalGroup(server.pid, name),
    [Symbol.asyncDispose]: async () => {
      await stop();
      await temporary[Symbol.asyncDispose]();
    },
  };
}

type Addresses = Pick<Dovecot, 'host' | 'port' | 'tlsPort' | 'caPem' | 'caFile' | 'fingerprint' | 'specialUser'>;

function addresses({ port, tlsPort, certificate }: DovecotLayout): Addresses {
  const { caPem, caFile, fingerprint }: ServerCertificate = certificate;
  return { host: 'localhost', port, tlsPort, caPem, caFile, fingerprint, specialUser };
}

async function writeFiles(layout: DovecotLayout, password?: Uint8Array): Promise<void> {
  const { folder, passwordFile: file } = layout;
  // Dovecot's own users, the login processes and the owner of the message have to pass.
  await chmod(folder, 0o755);
  await mkdir(join(folder, 'mail'));
  await chown(join(folder, 'mail'), mailOwner().uid, mailOwner().gid);
  await writeFile(join(folder, 'users'), passwordFile(), { mode: 0o644 });
  if (file !== null && password !== undefined)
    await writeFile(file, Buffer.concat([Buffer.from('password='), password]), { mode: 0o600 });
  await writeFile(join(folder, 'dovecot.conf'), dovecotSettings(layout));
}

async function launch(layout: DovecotLayout): Promise<RunningServer> {
  const server = startServer('dovecot', ['-F', '-c', join(layout.folder, 'dovecot.conf')]);
  try {
    await untilGreets(server, layout.port, startTimeoutMs, () => server.output());
  } catch (error) {
    await end(server);
    throw new Error(`dovecot did not start:\n${server.output()}${await readLog(layout.folder)}`, { cause: error });
  }
  return server;
}

async function end(server: RunningServer): Promise<void> {
  // An orderly end takes a second, and ten with a client connected; the messages are files and lose nothing.
  server.killAll();
  await server.exit;
}

async function readLog(folder: string): Promise<string> {
  return (await readdir(folder)).includes('log') ? readFile(join(folder, 'log'), 'utf8') : '';
}

let users = 0;

type MailActions = Omit<Dovecot, keyof Addresses | 'log' | 'stop' | 'restart' | 'signal' | typeof Symbol.asyncDispose>;

function mailActions(folder: string): MailActions {
  const doveadm = (...args: string[]): Promise<string> =>
    runProgram('doveadm', ['-c', join(folder, 'dovecot.conf'), ...args]);
  const maildir = (user: string, name: string): string =>
    join(folder, 'mail', user, 'mail', name.toUpperCase() === 'INBOX' ? '' : name);
  return {
    newUser: () => {
      users += 1;
      return `help${users}-${process.pid}@example.test`;
    },
    append: (user, name, messages, options) => deliver(maildir(user, name), mailOwner(), messages, options),
    createFolder: async (user, name) => makeMaildir(maildir(user, name), mailOwner()),
    deleteFolder: async (user, name) => void (await doveadm('mailbox', 'delete', '-u', user, '-s', name)),
    listFlags: async (user, name) =>
      parseFlags(await doveadm('-f', 'tab', 'fetch', '-u', user, 'uid flags', 'mailbox', name, 'all')),
    move: async (user, from, to) => void (await doveadm('move', '-u', user, to, 'mailbox', from, 'all')),
    expunge: async (user, name, uids) =>
      void (await doveadm('expunge', '-u', user, 'mailbox', name, 'uid', uids.join(','))),
    changeUidValidity: (user, name) => forgetNumbers(maildir(user, name)),
    spreadUids: (user, name, factor) => spreadUids(maildir(user, name), factor),
    unsee: async (user, name) => void (await doveadm('flags', 'remove', '-u', user, '\\Seen', 'mailbox', name, 'all')),
    backUp: (user, name) => backUp(maildir(user, name)),
    setPassword: (user, password) => setPassword(join(folder, 'users'), user, password),
    kick: async (user) => void (await doveadm('kick', user)),
  };
}

/** Put in place as a whole: the server reads the file whenever its time has changed. */
async function setPassword(file: string, user: string, password: string): Promise<void> {
  const others = (await readFile(file, 'utf8'))
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith(`${user}:`));
  await writeFile(`${file}.new`, [...others, `${user}:{PLAIN}${password}::::::`, ''].join('\n'), { mode: 0o644 });
  await rename(`${file}.new`, file);
}

function parseFlags(table: string): Map<number, ReadonlySet<string>> {
  const rows = table
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((row) => row.split('\t'));
  return new Map(
    rows.map(([uid, flags = '']) => [
      Number(uid),
      new Set(flags.split(' ').filter((flag) => flag !== '' && flag !== '\\Recent')),
    ]),
  );
}

async function backUp(maildir: string): Promise<() => Promise<void>> {
  const kept = `${maildir.replace(/\/$/, '')}.backup`;
  await runProgram('cp', ['-a', maildir, kept]);
  return async () => {
    await rm(maildir, { recursive: true });
    await runProgram('cp', ['-a', kept, maildir]);
  };
}

/** Writes its list of UIDs again: `3 V7 N4 G1`, then a line for each message. */
async function spreadUids(maildir: string, factor: number): Promise<void> {
  const file = join(maildir, 'dovecot-uidlist');
  const list = await readFile(file, 'latin1');
  await forgetNumbers(maildir);
  const owner = mailOwner();
  const spread = list
    .replace(/(?<=^3 .*N)[0-9]+/, (uidNext) => `${(Number(uidNext) - 1) * factor + 1}`)
    .replace(/^[0-9]+(?= .*:)/gm, (uid) => `${Number(uid) * factor}`);
  await writeFile(file, spread, 'latin1');
  await chown(file, owner.uid, owner.gid);
}

/** Without its list of UIDs and its indexes, Dovecot numbers the messages it finds again. */
async function forgetNumbers(maildir: string): Promise<void> {
  for (const name of await readdir(maildir)) {
    if (/^dovecot(-uidlist|\.index.*)$/.test(name)) await rm(join(maildir, name));
  }
}
