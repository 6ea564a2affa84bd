/**
 * Process that logs in 20 times with a password that is never a string, then searches its own heap for it.
 *
 * Prints whether the password is there, and whether the search finds a control string. Arguments: two ports.
 */
import { setImmediate } from 'node:timers/promises';
import { imapSessions } from '../../../src/adapters/imap/session.ts';
import type { Session } from '../../../src/ingest/ports.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import { heapSnapshot, randomLetters } from '../../support/leaks/heap.ts';

/** The part of the base64 form that does not depend on the bytes before it in the line. */
function base64Core(password: Uint8Array, offset: number): Uint8Array {
  const from = (3 - (offset % 3)) % 3;
  const alphabet = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
  const core: number[] = [];
  for (let at = from; at + 2 < password.length; at += 3) {
    const bits = ((password[at] ?? 0) << 16) | ((password[at + 1] ?? 0) << 8) | (password[at + 2] ?? 0);
    for (const shift of [18, 12, 6, 0]) core.push(alphabet[(bits >> shift) & 63] ?? 0);
  }
  return Uint8Array.from(core);
}

const user = 'ada';
const password = randomLetters();
const control = randomLetters();
const kept = [Buffer.from(control).toString('latin1')];
const sessions = imapSessions(() => ({ connectTimeoutMs: 2000, commandTimeoutMs: 2000, literalBytesMax: 1_000_000 }));
const open: Session[] = [];
for (let count = 0; count < 20; count += 1) {
  const port = Number(process.argv[2 + (count % 2)]);
  const none = { caPem: null, fingerprint: null, allowPlaintext: false };
  const to = { host: '127.0.0.1', port, tls: 'none', user, folder: 'INBOX', ...none } as const;
  using secret = SecretBytes.take(Uint8Array.from(password));
  open.push(await sessions.open(to, { kind: 'password', secret }, new AbortController().signal));
}
await setImmediate();
const text = await heapSnapshot();
const found = {
  control: text.includes(control) && kept.length === 1,
  clear: text.includes(password),
  base64: text.includes(base64Core(password, user.length + 2)),
};
for (const session of open) await session.close();
process.stdout.write(JSON.stringify(found));
