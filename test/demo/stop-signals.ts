/**
 * Ctrl-C and its like: the first one asks for an orderly end, a second one forces it.
 *
 * A Ctrl-C under npm arrives twice, once from the terminal and once passed on by npm, so whatever follows within
 * half a second counts as the same one.
 */
import type { EventEmitter } from 'node:events';

const sameKeyPressMs = 500;
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What is listened to and looked at: the process and its clock, unless a test says otherwise. */
type SignalSource = { readonly emitter: EventEmitter; readonly nowMs: () => number };

const thisProcess: SignalSource = { emitter: process, nowMs: () => performance.now() };

/** The signal is aborted by the first Ctrl-C; `force` is called by the second. */
export function stopSignal(force: () => void, { emitter, nowMs } = thisProcess): AbortSignal & Disposable {
  const stop = new AbortController();
  let firstAtMs: number | null = null;
  const onSignal = (): void => {
    if (firstAtMs === null) {
      firstAtMs = nowMs();
      stop.abort();
    } else if (nowMs() - firstAtMs > sameKeyPressMs) force();
  };
  for (const name of signals) emitter.on(name, onSignal);
  return Object.assign(stop.signal, {
    [Symbol.dispose]: () => {
      for (const name of signals) emitter.removeListener(name, onSignal);
    },
  });
}
