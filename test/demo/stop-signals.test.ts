/** One Ctrl-C asks, a second one forces, and one that arrives twice is one. */
import { EventEmitter } from 'node:events';
import { expect, test, vi } from 'vitest';
import { stopSignal } from './stop-signals.ts';

function source(): { readonly emitter: EventEmitter; nowMs: () => number; at: number } {
  const made = { emitter: new EventEmitter(), nowMs: () => made.at, at: 0 };
  return made;
}

test('the first signal of any kind aborts', () => {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    const from = source();
    const force = vi.fn();
    using stop = stopSignal(force, from);
    expect(stop.aborted).toBe(false);
    from.emitter.emit(name);
    expect(stop.aborted).toBe(true);
    expect(force).not.toHaveBeenCalled();
  }
});

test('a second signal within half a second is the same key press, a later one forces', () => {
  const from = source();
  const force = vi.fn();
  using _stop = stopSignal(force, from);
  from.emitter.emit('SIGINT');
  from.at = 400;
  from.emitter.emit('SIGINT');
  expect(force).not.toHaveBeenCalled();
  from.at = 600;
  from.emitter.emit('SIGINT');
  expect(force).toHaveBeenCalledOnce();
});

test('afterwards nothing listens any more', () => {
  const from = source();
  stopSignal(vi.fn(), from)[Symbol.dispose]();
  expect(from.emitter.eventNames()).toEqual([]);
});
