/**
 * The daemon: health endpoints, wakes, and a stop that drains.
 *
 * Nothing outside is needed to start: database and mail servers may all be down, and each is tried again. The first
 * stop signal keeps new visits from starting and lets those under way finish their window; after the drain time it
 * returns all the same, and whatever was cut off is found again by the next start.
 */
import { events } from '../events.ts';
import { createHealth, type EncryptionChecks, type Readiness } from './health.ts';
import { keepHouse } from './housekeeping.ts';
import { createLoop, type LoopPorts, type LoopSettings } from './loop.ts';
import type { Clock, HttpServer, MailboxStore, TicketReader, Wakes } from './ports.ts';

export type DaemonPorts = Omit<LoopPorts, 'vitals'> & {
  readonly store: LoopPorts['store'] &
    Pick<MailboxStore, 'listMailboxes' | 'adoptMailboxes'> &
    Pick<TicketReader, 'unnamedBlobs' | 'neededSegments'>;
  readonly wakes: Wakes;
  /** Keeps key file and switch in step, and answers on the control socket, until it is disposed. */
  readonly keepEncryption: () => Promise<AsyncDisposable>;
  readonly encryptionChecks: () => EncryptionChecks;
  /** null: no endpoints are wanted. */
  readonly listen: ((ready: () => Promise<Readiness>) => Promise<HttpServer>) | null;
};

export type DaemonSettings = LoopSettings & { readonly drainMs: number; readonly keepDays: number };

const everySecond = '* * * * * *';
const everyHour = '0 17 * * * *';

/** Runs until `stop` fires. Throws only what keeps it from starting (`address_in_use`). */
export async function serve(ports: DaemonPorts, settings: DaemonSettings, stop: AbortSignal): Promise<void> {
  const { log } = ports;
  const health = createHealth(ports.clock, ports.store, ports.encryptionChecks);
  const loop = createLoop({ ...ports, vitals: health }, settings, stop);
  log.info({ worker: ports.workers.me }, events.daemonStarting);
  await using http = (await ports.listen?.(health.readiness)) ?? null;
  if (http !== null) log.info({ address: http.address }, events.httpListening);
  await using _encryption = await ports.keepEncryption();
  using _wakes = ports.wakes.on(everySecond, () => void loop.wake());
  using _house = ports.wakes.on(everyHour, () => void keepHouse(ports, settings.keepDays));
  void loop.wake();
  log.info({}, events.daemonReady);
  await fired(stop);
  log.info({ drain_ms: settings.drainMs }, events.daemonStopping);
  const drained = await Promise.race([loop.idle().then(() => true), timeUp(ports.clock, settings.drainMs)]);
  loop.abandon();
  log.info({ drained }, events.daemonStopped);
}

function fired(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

async function timeUp(clock: Clock, ms: number): Promise<false> {
  await clock.sleep(ms, new AbortController().signal);
  return false;
}
