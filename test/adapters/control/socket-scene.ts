/** Scene of the control socket: a folder for each test, the path of its socket, handlers that echo, and a client. */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import type { ControlHandlers } from '../../../src/adapters/control/server.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

export const echo: ControlHandlers = {
  recover: async (who) => ({ done: 'recover', who }),
  disable: async (who) => ({ done: 'disable', who }),
  log_level: async (who, level) => ({ done: 'log_level', who, level }),
  status: async (who) => ({ done: 'status', who }),
};

export const request = { command: 'recover', who: 'ann@desk' } as const;

export type SocketScene = {
  /** Of the current test. */
  readonly at: { folder: string; path: string };
  connected(): Promise<Socket>;
};

export function socketScene(): SocketScene {
  const at = { folder: '', path: '' };
  let folder: TemporaryFolder;
  beforeEach(async () => {
    folder = await temporaryFolder('control');
    at.folder = folder.path;
    at.path = join(folder.path, 'control.sock');
  });
  afterEach(() => folder[Symbol.asyncDispose]());
  return {
    at,
    connected: async () => {
      const socket = createConnection(at.path);
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      return socket;
    },
  };
}
