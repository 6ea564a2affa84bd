/**
 * HTTP CONNECT tunnel (RFC 9110 section 9.3.6) through a proxy to an endpoint of a provider.
 *
 * The proxy sees host and port, and TLS. A refusal throws `oauth_provider_failed` with its status; `hold` gets the
 * socket before it is connected.
 */
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import { urlHost } from '../../config/machine.ts';
import { causeCode, Failure } from '../../errors.ts';

const headBytesMax = 8 * 1024;
const proxyHint = 'Check proxy in [oauth.NAME], and that the proxy allows CONNECT to this address.';

export async function openTunnel(
  proxy: string,
  { host, port }: { readonly host: string; readonly port: number },
  hold: (socket: Socket) => void,
): Promise<Socket> {
  const { hostname, port: proxyPort } = new URL(proxy);
  const socket = net.connect({ host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(proxyPort || 80) });
  hold(socket);
  socket.on('error', () => undefined);
  const refuse = (cause: string): Failure =>
    new Failure('oauth_provider_failed', `The proxy ${proxy} opens no connection to ${host}:${port} (${cause}).`, {
      fields: { cause, was_sent: false },
      hint: proxyHint,
    });
  try {
    await once(socket, 'connect');
  } catch (error) {
    throw refuse(`proxy_${causeCode(error)}`);
  }
  const to = `${urlHost(host)}:${port}`;
  socket.write(`CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`);
  const head = await readHead(socket);
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(head ?? '')?.[1];
  if (status?.startsWith('2') === true) return socket;
  socket.destroy();
  throw refuse(status === undefined ? 'proxy_not_http' : `proxy_${status}`);
}

/** Up to the empty line; null: none comes, or more than that. Leaves the socket paused. */
function readHead(socket: Socket): Promise<string | null> {
  return new Promise((resolve) => {
    let head = '';
    const end = (result: string | null): void => {
      socket.off('data', add).off('close', cutOff).pause();
      resolve(result);
    };
    const cutOff = (): void => end(null);
    const add = (piece: Buffer): void => {
      head += piece.toString('latin1');
      const at = head.indexOf('\r\n\r\n');
      // The other side of a TLS connection does not speak first.
      if (at >= 0) end(at === head.length - 4 ? head : null);
      else if (head.length > headBytesMax) end(null);
    };
    socket.on('data', add).once('close', cutOff);
  });
}
