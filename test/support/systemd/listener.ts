/**
 * The other end of sd_notify(3): a real datagram socket, on a path or with an abstract name, held by Python.
 *
 * Node has no such sockets. Each message that arrives is kept as it is.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { findProgram } from '../servers/programs.ts';

export type NotifyListener = {
  /** The next message. */
  next(): Promise<string>;
  /** Reads no more: its socket fills up. */
  pause(): void;
} & AsyncDisposable;

const program = `
import json, socket, sys
name = sys.argv[1]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind('\\0' + name[1:] if name.startswith('@') else name)
print('listening', flush=True)
while True:
    print(json.dumps(listener.recv(65536).decode()), flush=True)
`;

/** Listens at a path, or at an abstract name that begins with `@`. */
export async function startNotifyListener(address: string): Promise<NotifyListener> {
  const python = findProgram('python3');
  if (python === null) throw new Error('python3 is not installed: run npm test, which installs it or says how');
  const child = spawn(python, ['-c', program, address], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error('the listener ended');
    return value;
  };
  await next();
  return {
    next: async () => JSON.parse(await next()),
    pause: () => void child.kill('SIGSTOP'),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exit;
    },
  };
}
