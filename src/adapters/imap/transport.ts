/**
 * Socket transport for imapflow (its `transport` option): TLS verification, greeting check, TCP keep-alive.
 *
 * imapflow gets a TLS socket only after its certificate is accepted: with a refused one no IMAP data is sent, neither
 * with implicit TLS nor after STARTTLS. A server whose first byte is not `*` (RFC 9051 section 7.1) is refused at once
 * as `not_imap`. TCP keep-alive detects a dead peer of an idle connection. Each socket has an error listener for its
 * whole life: an error after the close is irrelevant, and without a listener would end the process.
 */
import net from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import type { ImapTransport, ImapTransportOptions } from 'imapflow';
import { Failure } from '../../errors.ts';
import type { Connection } from '../../ingest/model.ts';
import { certificateNotAfterMs, certificateRefusal, tlsOptions } from './tls.ts';

/** Stage of a connection; it decides the meaning of an error. */
export type ConnectionStage = 'name' | 'connect' | 'tls' | 'greeting' | 'greeted' | 'login' | 'folder' | 'open' | 'act';

export type SocketTransport = ImapTransport & {
  /** The current socket; null before the first. */
  readonly socket: () => net.Socket | TLSSocket | null;
  /** notAfter of the certificate that the server presented, accepted or not; null before the handshake. */
  readonly certificateEndsAtMs: () => number | null;
};

const asterisk = 0x2a;
/** Below usual NAT timeouts; Linux then sends ten probes, one second apart. */
const keepAliveAfterMs = 60_000;

function ignoreLateErrors(socket: net.Socket): void {
  // The listeners of the user of the socket get the same error.
  socket.on('error', () => undefined);
}

/** Checks the first byte; some servers send NULs before it. */
function expectGreeting(socket: net.Socket, greeted: () => void): void {
  const check = (chunk: Buffer): void => {
    const first = chunk.find((byte) => byte !== 0);
    if (first === undefined) return;
    socket.off('data', check);
    if (first === asterisk) greeted();
    else socket.destroy(new Failure('not_imap', 'The server responds, but not with an IMAP greeting.'));
  };
  socket.on('data', check);
}

/** Calls `enter` as each stage begins, and `hear` with decrypted input before imapflow gets it. */
export function newTransport(
  connection: Connection,
  enter: (stage: ConnectionStage) => void,
  hear: (chunk: Buffer) => void,
): SocketTransport {
  let current: net.Socket | TLSSocket | null = null;
  let certificateEndsAtMs: number | null = null;

  const track = <T extends net.Socket>(socket: T): T => {
    current = socket;
    // Commands are short and each awaits its response: Nagle's algorithm would only delay them.
    socket.setNoDelay(true);
    ignoreLateErrors(socket);
    return socket;
  };

  /** A refused socket is destroyed, and has no certificate any more, before anyone else hears of it. */
  const seen = (socket: TLSSocket): TLSSocket =>
    socket.prependOnceListener('secure', () => {
      certificateEndsAtMs = certificateNotAfterMs(socket);
    });

  const verified = (socket: TLSSocket, go: () => void): void => {
    const refused = certificateRefusal(socket, connection);
    if (refused === null) go();
    else socket.destroy(refused);
  };

  const connect = (options: ImapTransportOptions & { secure: boolean }, onConnect: () => void): net.Socket => {
    const { host, port, servername } = options;
    const ready = (): void => {
      enter('greeting');
      socket.on('data', hear);
      onConnect();
      // Overrides the five seconds that imapflow sets.
      socket.setKeepAlive(true, keepAliveAfterMs);
      expectGreeting(socket, () => enter('greeted'));
    };
    enter('name');
    const name = servername === undefined ? {} : { servername };
    const socket: net.Socket = options.secure
      ? seen(
          tls.connect({ ...tlsOptions(connection), ...name, host, port }, () => verified(socket as TLSSocket, ready)),
        )
      : net.connect({ host, port }, ready);
    socket.once('connect', () => options.secure && enter('tls'));
    socket.once('lookup', (error: Error | null) => error === null && enter('connect'));
    if (net.isIP(host) !== 0) enter('connect');
    return track(socket);
  };

  const upgrade = (plain: unknown, options: ImapTransportOptions, onSecure: () => void): TLSSocket => {
    enter('tls');
    (plain as net.Socket).off('data', hear);
    const name = options.servername === undefined ? {} : { servername: options.servername };
    const within = { ...tlsOptions(connection), ...name, socket: plain as net.Socket, host: options.host };
    const socket: TLSSocket = tls.connect(within, () =>
      verified(socket, () => {
        enter('greeted');
        socket.on('data', hear);
        onSecure();
        socket.setKeepAlive(true, keepAliveAfterMs);
      }),
    );
    return track(seen(socket));
  };

  return { connect, upgrade, socket: () => current, certificateEndsAtMs: () => certificateEndsAtMs };
}
