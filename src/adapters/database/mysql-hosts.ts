/**
 * Which host the next connection goes to.
 *
 * The one that worked last, then those that are written after it, and round. One that fails is tried last from then on.
 * While another than the first is in use, the first is to be tried once a minute, by a connection that nobody waits for:
 * the way back.
 */
import { Failure } from '../../errors.ts';
import { type MysqlPlace, nameOf } from './mysql-options.ts';

const firstAgainMs = 60_000;

export class MysqlHosts {
  /** In the order in which they are written. */
  readonly places: readonly MysqlPlace[];
  /** Which of them is tried first. */
  #chosen = 0;
  #firstAgainAtMs = 0;

  /** At least one place. */
  constructor(places: readonly MysqlPlace[]) {
    this.places = places;
  }

  /** All of them, in the order in which they are to be tried. */
  order(): readonly MysqlPlace[] {
    return [...this.places.slice(this.#chosen), ...this.places.slice(0, this.#chosen)];
  }

  /** The first one, when another is in use and it is time to try the first again; that is then done. */
  wayBack(nowMs: number): MysqlPlace | null {
    if (this.#chosen === 0 || nowMs < this.#firstAgainAtMs) return null;
    this.#firstAgainAtMs = nowMs + firstAgainMs;
    return this.places[0] ?? null;
  }

  /** No connection to `place` could be opened, or it stands still: the one after it is tried first from now on. */
  failed(place: MysqlPlace, nowMs: number): void {
    const at = this.places.indexOf(place);
    if (at === this.#chosen) this.#choose((at + 1) % this.places.length, nowMs);
  }

  /** A connection to `place` was opened. */
  worked(place: MysqlPlace, nowMs: number): void {
    const at = this.places.indexOf(place);
    if (at !== this.#chosen) this.#choose(at, nowMs);
  }

  #choose(at: number, nowMs: number): void {
    this.#chosen = at;
    this.#firstAgainAtMs = nowMs + firstAgainMs;
  }
}

/** What to say when all hosts were tried: the same for the same reasons, in whatever order that was. */
export function noHostWorks(places: readonly MysqlPlace[], failures: ReadonlyMap<MysqlPlace, Failure>): Failure {
  const [first] = failures.values();
  if (first !== undefined && failures.size === 1) return first;
  const each = places.map((place) => `${nameOf(place)} (${failures.get(place)?.fields.cause ?? 'unknown'})`);
  return new Failure('database_unavailable', `None of the database hosts can be used right now: ${each.join(', ')}.`, {
    fields: { cause: 'all_hosts' },
    ...(first === undefined ? {} : { hint: first.hint }),
  });
}
