/**
 * The daemon: health endpoints, wakes, and a stop that drains.
 *
 * Nothing outside is needed to start: database and mail servers may all be down, and each is tried again. The first
 * stop signal keeps new visits from starting and lets those under way finish their window; after the drain time it
 * returns all the same, and whatever was cut off is found again by the next start.
 */

import type { Clock } from '../../async/clock.ts';
import { asFailure, Failure, type FailureCode, isFailure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import { createDiskWatch } from '../health/checks.ts';
import { createHealth } from '../health/health.ts';
import { createTeller } from '../health/reporter.ts';
import type { DatabaseHealth, Disk, HttpServer, QuarantineReader, Supervisor, Wakes } from '../ports.ts';
import type { EncryptionChecks, Readiness } from '../readiness.ts';
import type { TicketReader } from '../stores.ts';
import { createHosts } from './circuit-breaker.ts';
import { createPush } from './idle-slots.ts';
import type { SchedulerPorts, SchedulerSettings } from './poll-runner.ts';
import { keepHouse } from './retention.ts';
import { createScheduler } from './scheduler.ts';
import { supervise } from './watchdog.ts';
import { createFleet, type FleetPorts } from './workers.ts';

export type DaemonPorts = Omit<SchedulerPorts, 'vitals' | 'teller' | 'fleet' | 'hosts' | 'push' | 'disk'> & {
  readonly store: SchedulerPorts['store'] &
    FleetPorts['store'] &
    QuarantineReader &
    DatabaseHealth &
    Pick<TicketReader, 'unnamedBlobs' | 'neededSegments'>;
  readonly disk: Disk;
  readonly wakes: Wakes;
  readonly supervisor: Supervisor;
  /** Keeps key file and switch in step, and answers on the control socket, until it is disposed. */
  readonly keepEncryption: () => Promise<AsyncDisposable>;
  readonly encryptionChecks: () => EncryptionChecks;
  readonly configCheck: () => Readiness['checks']['config'];
  /** Who this worker is, for `/readyz`. */
  readonly self: () => Readiness['worker'];
  /** null: no endpoints are wanted. */
  readonly listen: ((readiness: () => Promise<Readiness>) => Promise<HttpServer>) | null;
  /** Serves the admin page until it is disposed. null: none is wanted. */
  readonly openAdmin: ((readiness: () => Promise<Readiness>) => Promise<AsyncDisposable>) | null;
};

export type DaemonSettings = SchedulerSettings & { readonly drainMs: number; readonly keepDays: number };

/** Mailboxes that failed for want of a disk are due once there is one. */
const diskCodes: readonly FailureCode[] = ['disk_full', 'disk_failed'];

const everySecond = '* * * * * *';
const everyHour = '0 17 * * * *';
/** The first wake may have to wait for a database that is away; that keeps nobody from being ready to try again. */
const firstWakeMsMax = 5000;

/** Runs until `stop` fires. `settings` is asked anew. Throws only what keeps it from starting (`config_invalid`). */
export async function serve(ports: DaemonPorts, settings: () => DaemonSettings, stop: AbortSignal): Promise<void> {
  const { log, supervisor, clock } = ports;
  const { loop, health, push } = parts(ports, settings, stop);
  log.info({ worker: ports.workers.me }, events.daemonStarting);
  await using http = new AsyncDisposableStack();
  const { listen } = ports;
  if (listen !== null) http.use(await keepListening(() => listen(health.readiness), ports));
  await using _encryption = await ports.keepEncryption();
  await using admin = new AsyncDisposableStack();
  if (ports.openAdmin !== null) admin.use(await ports.openAdmin(health.readiness));
  using _wakes = ports.wakes.on(everySecond, () => void loop.wake());
  using _house = ports.wakes.on(everyHour, () => {
    // With a wrong clock every file looks old.
    if (health.isClockRight()) void keepHouse(ports, settings().keepDays);
  });
  await Promise.race([loop.wake(), timeUp(clock, firstWakeMsMax)]);
  using _supervised = supervise({ supervisor, clock, health, busy: loop.busy, open: push.open });
  supervisor.ready();
  log.info({}, events.daemonReady);
  await fired(stop);
  supervisor.stopping();
  const { drainMs } = settings();
  log.info({ drain_ms: drainMs }, events.daemonStopping);
  const ended = Promise.all([loop.idle(), admin.disposeAsync()]).then(() => true);
  const drained = await Promise.race([ended, timeUp(clock, drainMs)]);
  loop.abandon();
  log.info({ drained }, events.daemonStopped);
}

/** Each knows only what it is given here; what one tells another goes through the values below. */
function parts(ports: DaemonPorts, settings: () => DaemonSettings, stop: AbortSignal) {
  const { clock, store, log, meter } = ports;
  const fleet = createFleet(ports);
  const hosts = createHosts(clock, ports.random);
  const limits = () => {
    const { push: connections, concurrencyMax, concurrencyPerHostMax } = settings();
    return { ...connections, rounds: { max: concurrencyMax, perHostMax: concurrencyPerHostMax } };
  };
  const push = createPush({ store, fleet, clock }, limits);
  const health = createHealth({
    clock,
    store,
    encryption: ports.encryptionChecks,
    beside: () => ({
      ...{
        worker: ports.self(),
        config: ports.configCheck(),
        disk: disk.check(),
        workers: fleet.check(),
        held: hosts.list(),
      },
      ...{ push: push.open(), isPushed: push.has, loginRefusalsMax: settings().loginRefusalsMax, ...loop.busy() },
    }),
  });
  const teller = createTeller({ log, vitals: health, meter });
  const disk = createDiskWatch(ports.disk, clock, (failure) => {
    teller.disk(failure);
    if (failure !== null) return;
    store.hurry(diskCodes).catch((error: unknown) => teller.database(asFailure(error)));
  });
  const loop = createScheduler({ ...ports, vitals: health, teller, fleet, hosts, push, disk }, settings, stop);
  return { loop, health, push };
}

function fired(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

async function timeUp(clock: Clock, ms: number): Promise<false> {
  await clock.sleep(ms, new AbortController().signal);
  return false;
}

/**
 * The health endpoints, on an address that may come later than the daemon (DHCP, a virtual address that moves between hosts)
 * or that somebody else has: any user of the machine can take a port.
 *
 * Mail does not wait for it: it is told once, and tried again every few seconds. Any other reason not to listen is one of the
 * configuration, and keeps the daemon from starting.
 */

const retryMs = 5000;

/** Listens until it is disposed. The first try throws what `listen` throws, but for `address_missing` and `address_in_use`. */
export async function keepListening(
  listen: () => Promise<HttpServer>,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Promise<AsyncDisposable> {
  const ended = new AbortController();
  let told: string | null = null;
  const tryToListen = async (): Promise<HttpServer | Failure> => {
    try {
      const server = await listen();
      log.info({ address: server.address }, events.httpListening);
      return server;
    } catch (error) {
      const failure = asFailure(error);
      if (failure.message !== told) log.warn({ error: failure }, events.httpListenFailed);
      told = failure.message;
      return failure;
    }
  };
  const first = await tryToListen();
  if (first instanceof Failure && !isFailure(first, 'address_missing', 'address_in_use')) throw first;
  const keepTrying = async (): Promise<HttpServer | null> => {
    for (let last = first; ; last = await tryToListen()) {
      if (!(last instanceof Failure)) return last;
      if (!ended.signal.aborted) await clock.sleep(retryMs, ended.signal);
      if (ended.signal.aborted) return null;
    }
  };
  const server = keepTrying();
  return {
    async [Symbol.asyncDispose]() {
      ended.abort();
      await (await server)?.[Symbol.asyncDispose]();
    },
  };
}
