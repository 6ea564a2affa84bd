/**
 * Option parser of `mailbox add`, `mailbox set` and the forms of the page: checks texts, returns a mailbox without its
 * password.
 *
 * Pure: files and the clock are passed in. Each mistake is one `usage` failure with the option, what is allowed, and
 * what was given; a password on an unencrypted connection to another machine is `plaintext_refused`.
 */

import { readCertificates } from '../../config/certificates.ts';
import { isIpAddress, isLoopback, unreadableHint } from '../../config/machine.ts';
import {
  fingerprintDigits,
  fingerprintForm,
  oneLine,
  quoted,
  wholeNumber,
  wrongValue,
} from '../../config/option-values.ts';
import { causeCode, Failure } from '../../errors.ts';
import { folderKey } from '../../ingest/folder-epoch.ts';
import type { Connection, Mailbox, PostAction, StartPoint, TlsMode } from '../../ingest/model.ts';
import { readPostAction, refuseMoveIntoItself } from './post-actions.ts';

/** Unchecked texts of the command line. */
export type MailboxOptions = {
  readonly name?: string;
  readonly host?: string;
  readonly port?: string;
  readonly tls?: string;
  readonly caFile?: string;
  readonly fingerprint?: string;
  readonly user?: string;
  readonly folder?: string;
  readonly since?: string;
  readonly onSuccess?: string;
  readonly interval?: string;
  readonly allowPlaintext?: boolean;
  readonly address?: readonly string[];
};

export type NewMailbox = {
  readonly name: string;
  readonly connection: Connection;
  readonly start: StartPoint;
  /** True for `--since now`: messages that exist when the mailbox is added are not fetched. */
  readonly startsNow: boolean;
  readonly postAction: PostAction;
  readonly pollIntervalMs: number | null;
  /** Lower-case; empty: the user name, where it is an address. */
  readonly addresses: readonly string[];
};

export type OptionSources = { readonly readFile: (path: string) => Uint8Array; readonly nowMs: number };

/** Throws `usage`, `plaintext_refused`. */
export function readMailboxOptions(options: MailboxOptions, sources: OptionSources): NewMailbox {
  const { name, host, user } = options;
  if (name === undefined || host === undefined || user === undefined) throw missing(options);
  const { port, tls, caFile, fingerprint, folder } = options;
  const allowPlaintext = options.allowPlaintext === true;
  const connection = readConnection(
    { host, port, tls, caFile, fingerprint, allowPlaintext, user, folder },
    sources.readFile,
  );
  const from = options.since ?? 'now';
  const postAction = readPostAction(options.onSuccess ?? 'seen');
  refuseMoveIntoItself(postAction, connection.folder);
  return {
    name: readName(name),
    connection,
    start: readStart(from, sources.nowMs),
    startsNow: from === 'now',
    postAction,
    pollIntervalMs: options.interval === undefined ? null : readInterval(options.interval),
    addresses: readAddresses(options.address ?? []),
  };
}

/** Options of `mailbox set`; settings without an option stay unchanged. */
export type MailboxChanges = Omit<MailboxOptions, 'address'> & {
  /** Trusts the certificate authorities of the system again, and nothing else. */
  readonly systemCa?: boolean;
};

/** Returns the changed mailbox. Throws `usage`, `plaintext_refused`. */
export function readMailboxChanges(options: MailboxChanges, mailbox: Mailbox, sources: OptionSources): Mailbox {
  const { name, since, onSuccess, interval } = options;
  const connection = changedConnection(options, mailbox.connection, sources.readFile);
  if (since !== undefined && folderKey(connection) === folderKey(mailbox.connection))
    throw new Failure(
      'usage',
      '--since sets the start of another folder: use it with another host, port, user or folder',
    );
  const postAction = onSuccess === undefined ? mailbox.postAction : readPostAction(onSuccess);
  refuseMoveIntoItself(postAction, connection.folder);
  return {
    id: mailbox.id,
    state: mailbox.state,
    grant: mailbox.grant,
    addresses: mailbox.addresses,
    name: name === undefined ? mailbox.name : readName(name),
    connection,
    start: since === undefined ? mailbox.start : readStart(since, sources.nowMs),
    postAction,
    pollIntervalMs: interval === undefined ? mailbox.pollIntervalMs : changedInterval(interval),
  };
}

/** Another TLS mode changes a default port to its own default. */
function changedConnection(
  options: MailboxChanges,
  present: Connection,
  readFile: OptionSources['readFile'],
): Connection {
  const { caFile, fingerprint } = options;
  const isTrustGiven = options.systemCa === true || (caFile ?? fingerprint) !== undefined;
  if (options.systemCa === true && (caFile ?? fingerprint) !== undefined)
    throw new Failure('usage', '--system-ca excludes --ca-file and --fingerprint');
  const tls = options.tls ?? present.tls;
  const isUsualPort = tls !== present.tls && present.port === defaultPort(present.tls);
  const changed = readConnection(
    {
      host: options.host ?? present.host,
      port: options.port ?? (isUsualPort ? undefined : `${present.port}`),
      tls,
      caFile,
      fingerprint,
      allowPlaintext: tls === 'none' && (options.allowPlaintext === true || present.allowPlaintext),
      user: options.user ?? present.user,
      folder: options.folder ?? present.folder,
    },
    readFile,
  );
  if (isTrustGiven || changed.tls === 'none') return changed;
  return { ...changed, caPem: present.caPem, fingerprint: present.fingerprint };
}

function readInterval(text: string): number {
  return wholeNumber('--interval', text, 1, 86_400, 'seconds') * 1000;
}

function changedInterval(text: string): number | null {
  return text === 'default' ? null : readInterval(text);
}

const addressesMax = 100;

/** Lower-case, each once. Throws `usage`. */
export function readAddresses(texts: readonly string[]): readonly string[] {
  for (const text of texts)
    if (!/^[^\s@,;<>"+]{1,64}@[^\s@,;<>"]{1,255}$/u.test(text))
      throw wrongValue('--address', 'must be a mail address without a plus part', text);
  if (texts.length > addressesMax) throw new Failure('usage', `a mailbox has at most ${addressesMax} addresses`);
  return [...new Set(texts.map((text) => text.toLowerCase()))];
}

function missing(options: MailboxOptions): Failure {
  const names = (['name', 'host', 'user'] as const).filter((name) => options[name] === undefined);
  return new Failure('usage', `missing: ${names.map((name) => `--${name}`).join(', ')}`);
}

function readName(name: string): string {
  if (/^[\p{L}\p{N}][\p{L}\p{N}\p{M}._@+ -]{0,62}$/u.test(name) && !name.endsWith(' ')) return name.normalize('NFC');
  throw wrongValue(
    '--name',
    'must be 1 to 63 letters, digits, blanks and . _ @ + - with a letter or digit first',
    name,
  );
}

/** The texts of every setting of a connection, so that neither add nor set can omit one; undefined: its default. */
type ConnectionTexts = Readonly<
  Record<Exclude<keyof Connection, 'host' | 'user' | 'caPem' | 'allowPlaintext'> | 'caFile', string | undefined>
> &
  Readonly<Record<'host' | 'user', string>> &
  Pick<Connection, 'allowPlaintext'>;

function readConnection(texts: ConnectionTexts, readFile: OptionSources['readFile']): Connection {
  const { allowPlaintext, caFile, fingerprint } = texts;
  const host = readHost(texts.host);
  const tls = readTls(texts.tls ?? 'implicit');
  const port = texts.port === undefined ? defaultPort(tls) : wholeNumber('--port', texts.port, 1, 65_535);
  if (tls === 'none' && (caFile ?? fingerprint) !== undefined)
    throw new Failure('usage', '--ca-file and --fingerprint have no effect with --tls none');
  if (caFile !== undefined && fingerprint !== undefined)
    throw new Failure(
      'usage',
      '--ca-file and --fingerprint exclude each other: a pinned certificate is the only trusted one',
    );
  if (tls === 'none' && !isLoopback(host) && !allowPlaintext)
    throw new Failure('plaintext_refused', `--tls none to ${host}, which is another machine`);
  return {
    ...{ host, port, tls, allowPlaintext },
    caPem: caFile === undefined ? null : readCaFile(caFile, readFile),
    fingerprint: fingerprint === undefined ? null : readFingerprint(fingerprint),
    user: oneLine('--user', texts.user),
    folder: oneLine('--folder', texts.folder ?? 'INBOX'),
  };
}

function readHost(text: string): string {
  const host = text.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
  if (
    isIpAddress(host) ||
    /^(?=.{1,253}$)[\p{L}\p{N}_]([\p{L}\p{N}_-]*[\p{L}\p{N}])?(\.[\p{L}\p{N}_]([\p{L}\p{N}_-]*[\p{L}\p{N}])?)*$/u.test(
      host,
    )
  )
    return host;
  throw wrongValue('--host', 'must be a host name or an IP address alone, without a scheme or a port', text);
}

function readTls(text: string): TlsMode {
  if (text === 'implicit' || text === 'starttls' || text === 'none') return text;
  throw wrongValue('--tls', 'must be implicit, starttls or none', text);
}

function defaultPort(tls: TlsMode): number {
  return tls === 'implicit' ? 993 : 143;
}

function readCaFile(path: string, readFile: OptionSources['readFile']): string {
  let bytes: Uint8Array;
  try {
    bytes = readFile(path);
  } catch (error) {
    const hint = unreadableHint(error);
    throw new Failure('usage', `--ca-file ${quoted(path)} cannot be read (${causeCode(error)})`, {
      cause: error,
      ...(hint === null ? {} : { hint }),
    });
  }
  const certificates = readCertificates(new TextDecoder().decode(bytes));
  if (certificates.kind === 'certificates') return certificates.pem;
  throw new Failure('usage', `--ca-file ${quoted(path)} ${certificates.why}`);
}

function readFingerprint(text: string): string {
  const digits = fingerprintDigits(text);
  if (digits !== null) return digits;
  throw wrongValue('--fingerprint', `must be ${fingerprintForm}`, text);
}

function readStart(text: string, nowMs: number): StartPoint {
  if (text === 'all') return { from: 'all' };
  const atMs = text === 'now' ? nowMs : dateMs(text);
  if (atMs !== null && atMs > nowMs) throw wrongValue('--since', 'must not be in the future', text);
  if (atMs !== null) return { from: 'time', atMs };
  throw wrongValue('--since', 'must be now, all, a date as 2026-01-31 or a time as 2026-01-31T08:30:00Z (UTC)', text);
}

const dateForm = /^(\d{4})-(\d\d)-(\d\d)(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)?)?$/;

/** Parses a date or an ISO 8601 time, UTC without an offset; null for anything else, 30 February included. */
function dateMs(text: string): number | null {
  const [, year, month, day, time, , , zone] = dateForm.exec(text) ?? [];
  if (year === undefined || month === undefined || day === undefined) return null;
  const midnight = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  if (midnight.toISOString().slice(0, 10) !== `${year}-${month}-${day}`) return null;
  const ms = Date.parse(time === undefined ? `${text}T00:00:00Z` : zone === undefined ? `${text}Z` : text);
  return Number.isNaN(ms) ? null : ms;
}
