/**
 * A process that tells its manager things: `node notifier.ts ready status=WORDS …`, each argument one call.
 *
 * The socket is the one of the environment, as for a service. A failure is printed as its code, message and hint.
 */

import { createServiceManager } from '../../../src/adapters/systemd/notify.ts';
import { isFailure } from '../../../src/errors.ts';

function tell(calls: readonly string[]): void {
  const supervisor = createServiceManager({
    notifySocket: process.env.NOTIFY_SOCKET ?? null,
    watchdogMs: null,
    monotonicUs: () => 1234n,
  });
  for (const call of calls) {
    if (call.startsWith('status=')) supervisor.status(call.slice('status='.length));
    if (call === 'ready' || call === 'reloading' || call === 'stopping' || call === 'heartbeat') supervisor[call]();
  }
}

try {
  tell(process.argv.slice(2));
} catch (error) {
  if (!isFailure(error)) throw error;
  process.stdout.write(`${JSON.stringify([error.code, error.message, error.hint])}\n`);
}
