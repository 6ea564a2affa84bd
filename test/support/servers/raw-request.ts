/** A client for bytes that no HTTP library would send. */
import { connect } from 'node:net';

/** Sends `request` and returns all that arrives until the connection ends, or for two seconds. */
export function rawRequest(address: string, request: string): Promise<string> {
  const { hostname, port } = new URL(address);
  return new Promise((resolve, reject) => {
    let got = '';
    const socket = connect({ host: hostname, port: Number(port) }, () => socket.write(request));
    socket.on('data', (piece) => {
      got += piece.toString();
    });
    socket.once('error', reject);
    socket.once('close', () => resolve(got));
    socket.setTimeout(2_000, () => socket.destroy());
  });
}
