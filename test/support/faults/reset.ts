/** A connection cut with a reset (RST), as a dead machine or a firewall does. */
import type { Socket } from 'node:net';

/** A reset in the middle of an orderly end would leave Node with a socket that it never lets go, and cannot exit. */
export function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}
