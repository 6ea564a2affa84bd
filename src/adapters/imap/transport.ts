/**
 * Opens the sockets for imapflow (its `transport` option), so that the rules about them are ours.
 *
 * A TLS socket is handed over only after its certificate is accepted: on a refused one nothing of IMAP has been sent,
 * neither with implicit TLS nor after STARTTLS. A server whose first byte is not `*` (RFC 9051 section 7.1: every
 * greeting starts so) is refused at once as `not_imap`. A peer that is gone is noticed by TCP's keep-alive, also while
 * nobody has anything to say. Each socket keeps an error listener for its whole life: an
 * error after the close is nobody's business, and without a listener it would end the process.
 */
import net from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import type { ImapTransport, ImapTransportOptions } from 'imapflow';
import { Failure } from '../../errors.ts';
import type { Connection } from '../../ingest/model.ts';
import { certificateRefusal, tlsOptions } from './tls.ts';

/** How far a connection has come; what an error means depends on it. */
export type ConnectionStage = 'name' | 'connect' | 'tls' | 'greeting' | 'greeted' | 'login' | 'folder' | 'open' | 'act';

export type SocketTransport = ImapTransport & {
  /** The socket that carries the session now; null before the first. */
  readonly socket: () => net.Socket | TLSSocket | null;
};

const asterisk = 0x2a;
/** Short enough for the tables of a NAT; Linux then asks ten times, a second apart, before it gives up. */
const keepAliveAfterMs = 60_000;

function ignoreLateErrors(socket: net.Socket): void {
  // The same error also reaches the listeners of the one who uses the socket, while there is one.
  socket.on('error', () => undefined);
}

/** Looks at the first bytes; some servers pad them with NULs. */
function expectGreeting(socket: net.Socket, greeted: () => void): void {
  const look = (chunk: Buffer): void => {
    const first = chunk.find((byte) => byte !== 0);
    if (first === undefined) return;
    socket.off('data', look);
    if (first === asterisk) greeted();
    else socket.destroy(new Failure('not_imap', 'The server answers, but not with an IMAP greeting.'));
  };
  socket.on('data', look);
}

/** `enter` is told each stage as it begins; `hear` gets what the server says, in clear, before imapflow does. */
export function newTransport(
  connection: Connection,
  enter: (stage: ConnectionStage) => void,
  hear: (chunk: Buffer) => void,
): SocketTransport {
  let current: net.Socket | TLSSocket | null = null;

  const track = <T extends net.Socket>(socket: T): T => {
    current = socket;
    // Commands are short and each waits for its answer: nothing is won by collecting them.
    socket.setNoDelay(true);
    ignoreLateErrors(socket);
    return socket;
  };

  const secured = (socket: TLSSocket, go: () => void): void => {
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
      // After imapflow has set its own, which would ask every five seconds.
      socket.setKeepAlive(true, keepAliveAfterMs);
      expectGreeting(socket, () => enter('greeted'));
    };
    enter('name');
    const name = servername === undefined ? {} : { servername };
    const socket: net.Socket = options.secure
      ? tls.connect({ ...tlsOptions(connection), ...name, host, port }, () => secured(socket as TLSSocket, ready))
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
      secured(socket, () => {
        enter('greeted');
        socket.on('data', hear);
        onSecure();
        socket.setKeepAlive(true, keepAliveAfterMs);
      }),
    );
    return track(socket);
  };

  return { connect, upgrade, socket: () => current };
}
