/**
 * Failover order of the database hosts: the host that worked last, then those listed after it, in a ring.
 *
 * A host that fails is tried last from then on. While another than the first is in use, the pool tries the first one
 * again once a minute, in the background (failback).
 *
 * A hanging disk, or a primary cut off from its majority, lets clients log in and read, and completes no write. A
 * server where a statement timed out, without a commit since it was sent, therefore counts as failed too. A login there
 * proves nothing, so the server is suspended: 2 minutes, then 4, 8, at most 15, until a write commits there. A
 * suspended server is used when no other one works. Waits for locks end before the statement timeout and do not count.
 */
import { Failure } from '../../../errors.ts';
import { type MysqlServer, serverName } from './options.ts';

const failbackIntervalMs = 60_000;
const suspensionMsMax = 15 * 60_000;

type Suspension = { readonly sinceMs: number; readonly durationMs: number };

export class MysqlFailover {
  /** In the order of the configuration. */
  readonly servers: readonly MysqlServer[];
  /** Index of the server that is tried first. */
  #current = 0;
  #failbackAtMs = 0;
  /** Removed by a commit on the server. One that is over still determines the length of the next one. */
  readonly #suspensions = new Map<MysqlServer, Suspension>();
  readonly #lastCommitAtMs = new Map<MysqlServer, number>();

  /** At least one server. */
  constructor(servers: readonly MysqlServer[]) {
    this.servers = servers;
  }

  /** All servers, in the order in which to try them. */
  order(nowMs: number): readonly MysqlServer[] {
    const current = this.servers.slice(this.#current, this.#current + 1);
    const others = [...this.servers.slice(this.#current + 1), ...this.servers.slice(0, this.#current)];
    const suspended = others.filter((server) => this.#isSuspended(server, nowMs));
    return [...current, ...others.filter((server) => !suspended.includes(server)), ...suspended];
  }

  /** The first server when a failback to it is due, else null. The next one is due a minute later. */
  failbackCandidate(nowMs: number): MysqlServer | null {
    const [first] = this.servers;
    if (first === undefined || this.#current === 0) return null;
    if (nowMs < this.#failbackAtMs || this.#isSuspended(first, nowMs)) return null;
    this.#failbackAtMs = nowMs + failbackIntervalMs;
    return first;
  }

  /** No connection to `server` could be opened, or its probe failed: the next server is tried first from now on. */
  connectFailed(server: MysqlServer, nowMs: number): void {
    if (this.servers.indexOf(server) !== this.#current) return;
    const [, next = server] = this.order(nowMs);
    this.#choose(this.servers.indexOf(next), nowMs);
  }

  /**
   * A connection to `server`, requested at `sinceMs`, opened. False: the server was suspended since, so it proves
   * nothing.
   */
  connected(server: MysqlServer, sinceMs: number, nowMs: number): boolean {
    if ((this.#suspensions.get(server)?.sinceMs ?? Number.NEGATIVE_INFINITY) > sinceMs) return false;
    const index = this.servers.indexOf(server);
    if (index !== this.#current) this.#choose(index, nowMs);
    return true;
  }

  /** A write committed at `server`, which ends its suspension. */
  committed(server: MysqlServer, nowMs: number): void {
    this.#lastCommitAtMs.set(server, nowMs);
    this.#suspensions.delete(server);
  }

  /**
   * A statement sent to `server` at `sinceMs` timed out. One that was sent before the suspension does not extend it.
   */
  timedOut(server: MysqlServer, sinceMs: number, nowMs: number): void {
    const lastCommitAtMs = this.#lastCommitAtMs.get(server) ?? Number.NEGATIVE_INFINITY;
    if (this.servers.length === 1 || lastCommitAtMs >= sinceMs) return;
    const last = this.#suspensions.get(server) ?? {
      sinceMs: Number.NEGATIVE_INFINITY,
      durationMs: failbackIntervalMs,
    };
    if (sinceMs >= last.sinceMs) {
      const durationMs = Math.min(2 * last.durationMs, suspensionMsMax);
      this.#suspensions.set(server, { sinceMs: nowMs, durationMs });
    }
    this.connectFailed(server, nowMs);
  }

  #isSuspended(server: MysqlServer, nowMs: number): boolean {
    const suspension = this.#suspensions.get(server);
    return suspension !== undefined && nowMs < suspension.sinceMs + suspension.durationMs;
  }

  #choose(index: number, nowMs: number): void {
    this.#current = index;
    this.#failbackAtMs = nowMs + failbackIntervalMs;
  }
}

/** The failure after all hosts were tried; the same causes give the same text, whatever the order was. */
export function allHostsFailed(servers: readonly MysqlServer[], failures: ReadonlyMap<MysqlServer, Failure>): Failure {
  const [first] = failures.values();
  if (first !== undefined && failures.size === 1) return first;
  const each = servers.map((server) => `${serverName(server)} (${failures.get(server)?.fields.cause ?? 'unknown'})`);
  return new Failure('database_unavailable', `None of the database hosts can be used right now: ${each.join(', ')}.`, {
    fields: { cause: 'all_hosts' },
    ...(first === undefined ? {} : { hint: first.hint }),
  });
}
