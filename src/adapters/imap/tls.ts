/**
 * TLS trust of mail servers: system authorities, given authorities (PEM), or one pinned certificate (SHA-256).
 *
 * A pinned fingerprint replaces all other checks: name, issuer and dates do not matter, and authorities do not help.
 * The transport checks it right after the handshake, before any IMAP data. Without a pin the handshake itself fails for
 * an untrusted certificate; nothing here disables verification.
 */
import type { ConnectionOptions, SecureContext, TLSSocket } from 'node:tls';
import { Failure, type FailureFields, isFailure } from '../../errors.ts';
import type { Connection } from '../../ingest/model.ts';
import type { ProbeReport } from '../../ingest/ports.ts';
import { hints } from '../../text/hints.ts';
import { printableLine } from '../../text/printable.ts';
import { isoTime } from '../../text/time.ts';
import { peerFingerprint, trustingContext, untrustingContext } from '../process/tls-context.ts';

/** Options for `tls.connect` without host and socket. Throws `tls_untrusted` for a PEM without certificate. */
export function tlsOptions(connection: Connection): ConnectionOptions {
  if (connection.fingerprint !== null) return { secureContext: untrustingContext(), rejectUnauthorized: false };
  return { secureContext: contextFor(connection.caPem), rejectUnauthorized: true };
}

function contextFor(caPem: string | null): SecureContext {
  try {
    return trustingContext(caPem);
  } catch (error) {
    throw new Failure('tls_untrusted', 'The CA file contains no readable certificate.', {
      ...{ cause: error, fields: { cause: 'ca_pem' } },
      hint: hints.caFileUnreadable,
    });
  }
}

/** null: accepted. Call it once the handshake is complete, before anything is sent. */
export function certificateRefusal(socket: TLSSocket, connection: Connection): Failure | null {
  if (connection.fingerprint === null) {
    return socket.authorized ? null : new Failure('tls_untrusted', 'The certificate of the server is not trusted.');
  }
  const shown = peerFingerprint(socket);
  if (shown === connection.fingerprint) return null;
  return new Failure('tls_pin_mismatch', 'The server presents another certificate than the pinned one.', {
    fields: { pinned: connection.fingerprint, shown, ...certificateFields(socket) },
  });
}

/** Fields of `tls_pin_mismatch` that are words of the server. */
export const certificateNames = ['subject', 'issuer'] as const;
const certificateTextMax = 300;

export function withFields({ code, message, hint, cause }: Failure, fields: FailureFields): Failure {
  return new Failure(code, message, { hint, cause, fields });
}

/**
 * For log and database: a hostile server with several mailboxes could write the password of one into a certificate
 * that it shows at the login of another. A probe at a terminal shows them.
 */
export function withoutCertificateNames(error: unknown): unknown {
  if (!isFailure(error, 'tls_pin_mismatch')) return error;
  const { subject: _, issuer: __, ...fields } = error.fields;
  return withFields(error, fields);
}

/** The peer certificate as fields of a failure, in words of the server; empty without one. */
function certificateFields(socket: TLSSocket): Readonly<Record<string, string>> {
  const described = describeCertificate(socket);
  if (described === null) return {};
  const { subject, issuer, validUntilMs, fingerprint } = described;
  return {
    subject: printableLine(subject).slice(0, certificateTextMax),
    issuer: printableLine(issuer).slice(0, certificateTextMax),
    valid_from: isoTime(socket.getPeerX509Certificate()?.validFromDate.getTime() ?? null) ?? '',
    valid_until: isoTime(validUntilMs) ?? '',
    fingerprint,
  };
}

/** Expiry (notAfter) of the server certificate; null without one. */
export function certificateNotAfterMs(socket: TLSSocket): number | null {
  return socket.getPeerX509Certificate()?.validToDate.getTime() ?? null;
}

/** The certificate in readable form; null without TLS. */
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
