/**
 * Which certificate is trusted: one of the authorities, one of the given ones (PEM), or exactly one by fingerprint.
 *
 * A pinned fingerprint stands alone: name, issuer and dates do not matter then, and authorities do not help. The pin
 * is checked by the transport right after the handshake, before it lets a byte of IMAP through. Nothing here
 * switches the check off: without a pin the handshake itself fails on what is not trusted.
 */
import type { Socket } from 'node:net';
import tls, { type ConnectionOptions, type SecureContext, TLSSocket } from 'node:tls';
import { Failure } from '../../errors.ts';
import type { Connection } from '../../ingest/model.ts';
import type { ProbeReport } from '../../ingest/ports.ts';
import { systemAuthorities } from './system-authorities.ts';

const minVersion = 'TLSv1.2';
const givenContextsMax = 64;

/** Contexts are shared: one takes 30 KiB outside the heap, and a process holds up to a thousand sessions. */
const systemContext = systemAuthorities();
let pinnedContext: SecureContext | null = null;
/** By PEM, the latest last. */
const givenContexts = new Map<string, SecureContext>();

function givenAuthorities(caPem: string): SecureContext {
  const context = givenContexts.get(caPem) ?? newGivenContext(caPem);
  givenContexts.delete(caPem);
  givenContexts.set(caPem, context);
  const [eldest] = givenContexts.keys();
  if (givenContexts.size > givenContextsMax && eldest !== undefined) givenContexts.delete(eldest);
  return context;
}

function newGivenContext(caPem: string): SecureContext {
  try {
    return tls.createSecureContext({ minVersion, ca: caPem });
  } catch (error) {
    throw new Failure('tls_untrusted', 'The given CA file holds no certificate that can be read.', {
      cause: error,
      hint: 'Give a PEM file with the certificate of the authority.',
    });
  }
}

/** Options for `tls.connect` without host and socket. `Failure` `tls_untrusted` when the given PEM is no certificate. */
export function tlsOptions(connection: Connection): ConnectionOptions {
  if (connection.fingerprint !== null) {
    pinnedContext ??= tls.createSecureContext({ minVersion });
    return { secureContext: pinnedContext, rejectUnauthorized: false };
  }
  const secureContext = connection.caPem === null ? systemContext() : givenAuthorities(connection.caPem);
  return { secureContext, rejectUnauthorized: true };
}

/** SHA-256 of the certificate that the server proved to own in this handshake, 64 lower-case hex digits. */
function fingerprintOf(socket: TLSSocket): string | null {
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? null : certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

/** null when the certificate may be talked to. To be called once the handshake is complete, before anything is sent. */
export function refusedCertificate(socket: TLSSocket, connection: Connection): Failure | null {
  if (connection.fingerprint === null) {
    return socket.authorized ? null : new Failure('tls_untrusted', 'The certificate of the server is not trusted.');
  }
  const shown = fingerprintOf(socket);
  if (shown === connection.fingerprint) return null;
  return new Failure('tls_pin_mismatch', 'The server shows another certificate than the pinned one.', {
    fields: { pinned: connection.fingerprint, shown },
  });
}

/** When the certificate of the server ends; null without TLS. */
export function certificateEndsAtMs(socket: Socket | null): number | null {
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  return certificate?.validToDate.getTime() ?? null;
}

/** The certificate of a connection for people; null without TLS. */
export function describeCertificate(socket: TLSSocket): ProbeReport['certificate'] {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return null;
  return {
    subject: certificate.subject.replaceAll('\n', ', '),
    issuer: certificate.issuer.replaceAll('\n', ', '),
    validUntilMs: certificate.validToDate.getTime(),
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}
