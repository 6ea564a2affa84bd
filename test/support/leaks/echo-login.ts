/**
 * A process that logs in once for each line of standard input, and holds what comes of it.
 *
 * A line is JSON: `masked`, the password or token XOR 0x55, so that the line itself is no hit; `kind`, `port`, and
 * `fingerprint` for TLS. For each it prints the code of the failure, or `open`. It ends with its standard input.
 */
import { createInterface } from 'node:readline';
import { imapSessions } from '../../../src/adapters/imap/session.ts';
import { isFailure } from '../../../src/errors.ts';
import type { Credential } from '../../../src/ingest/ports.ts';
import { SecretBytes, secretBuffer } from '../../../src/secret/secret-bytes.ts';

export type EchoLogin = {
  readonly kind: Credential['kind'];
  readonly masked: readonly number[];
  readonly port: number;
  readonly fingerprint: string | null;
};

export const mask = 0x55;
const sessions = imapSessions(() => ({ connectTimeoutMs: 5000, commandTimeoutMs: 5000, literalBytesMax: 1_000_000 }));

async function login({ kind, masked, port, fingerprint }: EchoLogin): Promise<unknown> {
  const bytes = secretBuffer(masked.length);
  for (const [index, byte] of masked.entries()) bytes[index] = byte ^ mask;
  using secret = SecretBytes.take(bytes);
  const tls = fingerprint === null ? 'none' : 'implicit';
  const to = { host: '127.0.0.1', port, tls, user: 'ada', folder: 'INBOX', caPem: null, fingerprint } as const;
  try {
    return await sessions.open(
      { ...to, allowPlaintext: false },
      kind === 'token' ? { kind, secret, sessionMs: null } : { kind, secret },
      new AbortController().signal,
    );
  } catch (error) {
    return error;
  }
}

if (import.meta.main) {
  const held: unknown[] = [];
  for await (const line of createInterface({ input: process.stdin })) {
    const found = await login(JSON.parse(line));
    held.push(found);
    process.stdout.write(`${isFailure(found) ? found.code : 'open'}\n`);
  }
}
