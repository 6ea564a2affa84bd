/**
 * Certificate pinning (SHA-256) for the upgrade to TLS of mysql2, which knows authorities alone.
 *
 * The certificate is compared when the TLS handshake is complete, before the handshake response (user, challenge
 * response) is written. A pinned fingerprint replaces all other checks: name, issuer and dates do not matter. Without a
 * pin the TLS handshake itself fails, and the failure has the fingerprint of what was shown. What arrives
 * between the request for TLS and its completion came in plain text: it ends the connection.
 */
import { TLSSocket } from 'node:tls';
import type { Connection } from 'mysql2';
import { Failure } from '../../../errors.ts';
import { hints, withFingerprint } from '../../../text/hints.ts';
import { isoTime } from '../../../text/time.ts';
import { peerFingerprint } from '../../process/tls-context.ts';

type Done = (error?: unknown) => void;

/** Call it before anything arrives. `fingerprint`: 64 lower-case hex digits, or null. */
export function guardUpgrade(client: Connection, fingerprint: string | null, serverName: string): void {
  const startTls: unknown = Reflect.get(client, 'startTLS');
  if (typeof startTls !== 'function') throw new Failure('unexpected', 'The database driver has no upgrade to TLS.');
  Reflect.set(client, 'startTLS', (done: Done) => {
    let shown: string | null = null;
    Reflect.set(client, 'handlePacket', () => streamOf(client).destroy(new Error('A packet arrived before TLS')));
    startTls.call(client, (error?: unknown) => {
      const socket = streamOf(client);
      const refusal = error ?? (fingerprint === null ? null : pinRefusal(socket, fingerprint, serverName));
      if (refusal === null) {
        Reflect.deleteProperty(client, 'handlePacket');
        done();
        return;
      }
      socket.destroy();
      // mysql2 writes a code of its own into the error.
      done(refusal instanceof Failure ? new Error(refusal.message, { cause: refusal }) : withShown(refusal, shown));
    });
    const socket = streamOf(client);
    socket.prependOnceListener('secure', () => {
      shown = peerFingerprint(socket);
    });
  });
}

/** The stream of mysql2 from `startTLS` on. */
function streamOf(client: Connection): TLSSocket {
  const stream: unknown = Reflect.get(client, 'stream');
  if (stream instanceof TLSSocket) return stream;
  throw new Failure('unexpected', 'The database driver did not upgrade to TLS.');
}

function pinRefusal(socket: TLSSocket, pinned: string, serverName: string): Failure | null {
  const shown = peerFingerprint(socket);
  if (shown === pinned) return null;
  const message = `The database at ${serverName} presents another certificate than the pinned one.`;
  const certificate = socket.getPeerX509Certificate();
  return new Failure('database_pin_mismatch', message, {
    fields: {
      cause: 'tls_pin_mismatch',
      ...{ pinned, shown },
      valid_from: isoTime(certificate?.validFromDate.getTime() ?? null),
      valid_until: isoTime(certificate?.validToDate.getTime() ?? null),
    },
    ...(shown === null ? {} : { hint: withFingerprint(hints.databasePinMismatch, shown) }),
  });
}

/** A certificate that has expired is to be renewed, not pinned. */
function withShown(error: unknown, shown: string | null): unknown {
  const hasExpired = error instanceof Error && 'code' in error && error.code === 'CERT_HAS_EXPIRED';
  if (error instanceof Error && shown !== null && !hasExpired) Reflect.set(error, 'shownFingerprint', shown);
  return error;
}
