/**
 * Puts messages into a Maildir: the fast way to fill a mailbox, 2,000 messages in well under a second.
 *
 * Dovecot numbers what it finds in the order of the file names, so the names count upwards. They also carry the size
 * on disk and the size on the wire, which spares the server from reading every message to answer RFC822.SIZE.
 */
import { chownSync, closeSync, futimesSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

export type Owner = { readonly uid: number; readonly gid: number };

export type AppendOptions = {
  /** System flags, for example `\Seen`. */
  readonly flags?: readonly string[];
  /** The INTERNALDATE; now when left out. */
  readonly receivedAt?: Date;
};

const flagLetters: Readonly<Record<string, string>> = {
  '\\Draft': 'D',
  '\\Flagged': 'F',
  '\\Answered': 'R',
  '\\Seen': 'S',
  '\\Deleted': 'T',
};

const messagesAtOnce = 50;
let delivered = 0;

/** Makes a Maildir and the folders above it that are missing, all of them belonging to `owner`. */
export function makeMaildir(path: string, owner: Owner): void {
  for (const part of ['cur', 'new', 'tmp']) makeFolder(join(path, part), owner);
}

function makeFolder(path: string, owner: Owner): void {
  const first = mkdirSync(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  chownSync(first, owner.uid, owner.gid);
  for (let at = path; at.length > first.length; at = join(at, '..')) chownSync(at, owner.uid, owner.gid);
}

/** Writes the messages, in their order, into the Maildir at `path`. Lone line feeds reach a client as CRLF. */
export async function deliver(
  path: string,
  owner: Owner,
  messages: readonly Uint8Array[],
  options: AppendOptions = {},
): Promise<void> {
  makeMaildir(path, owner);
  const letters = (options.flags ?? []).map(flagLetter).sort().join('');
  for (const [index, message] of messages.entries()) {
    if (index % messagesAtOnce === messagesAtOnce - 1) await setImmediate();
    deliverOne(path, owner, message, letters, options.receivedAt ?? new Date());
  }
}

function flagLetter(flag: string): string {
  const letter = flagLetters[flag];
  if (letter === undefined) throw new Error(`not a flag that a Maildir knows: ${flag}`);
  return letter;
}

function deliverOne(path: string, owner: Owner, message: Uint8Array, letters: string, receivedAt: Date): void {
  delivered += 1;
  const second = Math.floor(Date.now() / 1_000);
  const count = String(delivered).padStart(6, '0');
  const name = `${second}.M${count}P${process.pid}.test,S=${message.length},W=${wireSize(message)}`;
  const aside = join(path, 'tmp', name);
  const file = openSync(aside, 'wx', 0o600);
  try {
    for (let at = 0; at < message.length; ) at += writeSync(file, message, at);
    futimesSync(file, receivedAt, receivedAt);
  } finally {
    closeSync(file);
  }
  chownSync(aside, owner.uid, owner.gid);
  renameSync(aside, join(path, 'cur', `${name}:2,${letters}`));
}

/** The size once every lone line feed is sent as CRLF. */
function wireSize(message: Uint8Array): number {
  let size = message.length;
  for (let at = message.indexOf(10); at !== -1; at = message.indexOf(10, at + 1)) {
    if (at === 0 || message[at - 1] !== 13) size += 1;
  }
  return size;
}
