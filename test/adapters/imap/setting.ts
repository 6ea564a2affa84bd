/**
 * Fixtures of the IMAP tests: short deadlines, connections to the test server, messages, passwords.
 */
import { imapSessions } from '../../../src/adapters/imap/session.ts';
import type { Connection } from '../../../src/ingest/model.ts';
import type { Credential, Session } from '../../../src/ingest/ports.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';

/** Milliseconds until `work` is done. */
export async function tookMs(work: Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work;
  return performance.now() - begun;
}

/** Patient with a real server on a busy machine. */
export const sessions = imapSessions(() => ({
  connectTimeoutMs: 5000,
  commandTimeoutMs: 10_000,
  literalBytesMax: 50_000_000,
}));

/** For servers that are meant to be silent. */
const hastyMs = 500;
const hasty = { connectTimeoutMs: hastyMs, commandTimeoutMs: hastyMs, literalBytesMax: 50_000_000 };
export const never = new AbortController().signal;

/** A password as bytes, the way it comes from the prompt. */
export function secret(text = 'pw'): SecretBytes {
  return SecretBytes.take(Buffer.from(text));
}

/** A connection in clear to a port of this machine. */
export function plainTo(port: number, more: Partial<Connection> = {}): Connection {
  const none = { caPem: null, fingerprint: null, allowPlaintext: false };
  return { host: '127.0.0.1', port, tls: 'none', user: 'ada', folder: 'INBOX', ...none, ...more };
}

/** A connection to the test Dovecot, over TLS by default. */
export function connectionTo(dovecot: Dovecot, user: string, more: Partial<Connection> = {}): Connection {
  const tls = more.tls ?? 'implicit';
  const port = tls === 'implicit' ? dovecot.tlsPort : dovecot.port;
  return plainTo(port, { host: dovecot.host, tls, caPem: dovecot.caPem, user, ...more });
}

/** A credential for one login, of a password. */
export function credential(password = secret()): Credential {
  return { kind: 'password', secret: password };
}

/** A credential for one login, of an access token. */
export function tokenCredential(token: string, sessionMs: number | null = null): Credential {
  return { kind: 'token', secret: secret(token), sessionMs };
}

export function openByToken(connection: Connection, token: string, sessionMs: number | null = null): Promise<Session> {
  return sessions.open(connection, tokenCredential(token, sessionMs), never);
}

export function openSession(connection: Connection, password = secret(), signal = never): Promise<Session> {
  return sessions.open(connection, credential(password), signal);
}

export function openHastily(connection: Connection, commandTimeoutMs = hastyMs, signal = never): Promise<Session> {
  return imapSessions(() => ({ ...hasty, commandTimeoutMs })).open(connection, credential(), signal);
}

/** A mail with CRLF line ends, at least `bytes` long. */
export function mail(subject: string, bytes = 0): Buffer {
  const line = `${'lorem ipsum dolor sit amet '.repeat(2)}\r\n`;
  const head = `From: ada@example.test\r\nSubject: ${subject}\r\n\r\n`;
  return Buffer.from(head + line.repeat(Math.ceil(bytes / line.length) + 1));
}

/** All messages of a fetch as [UID, source as text or null]. */
export async function fetchAll(session: Session, uids: readonly number[]): Promise<[number, string | null][]> {
  const found: [number, string | null][] = [];
  for await (const { uid, source } of session.fetch(uids)) {
    found.push([uid, source === null ? null : Buffer.from(source).toString()]);
  }
  return found;
}
