/**
 * Which host the next connection goes to.
 *
 * The one that worked last, then those that are written after it, and round. One that fails is tried last from then on.
 * While another than the first is in use, the first is to be tried once a minute, by a connection that nobody waits for:
 * the way back.
 *
 * A disk that hangs, or a primary cut off from its majority, lets everybody log in and read, and ends no change. So a
 * place where a statement ended at its deadline, and nothing was changed while that waited, failed too; and because a
 * login there proves nothing, it rests: 2 minutes, then 4, 8 … 15, until a change is committed there. A resting place
 * is used when no other one works. Waits for locks end before the deadline, and count as nothing.
 */

import { Failure, isFailure } from '../../../errors.ts';
import { MysqlLink } from './connection.ts';
import { type MysqlConfig, type MysqlLimits, type MysqlPlace, nameOf } from './options.ts';

const firstAgainMs = 60_000;
const restMsMax = 15 * 60_000;

/** When a statement ended at its deadline, and for how long the place is left alone since. */
type Rest = { readonly sinceMs: number; readonly ms: number };

export class MysqlHosts {
  /** In the order in which they are written. */
  readonly places: readonly MysqlPlace[];
  /** Which of them is tried first. */
  #chosen = 0;
  #firstAgainAtMs = 0;
  /** Until a change is committed there; a rest that is over counts for how long the next one is. */
  readonly #rests = new Map<MysqlPlace, Rest>();
  /** When a change was committed there last. */
  readonly #changedAtMs = new Map<MysqlPlace, number>();

  /** At least one place. */
  constructor(places: readonly MysqlPlace[]) {
    this.places = places;
  }

  /** All of them, in the order in which they are to be tried. */
  order(nowMs: number): readonly MysqlPlace[] {
    const chosen = this.places.slice(this.#chosen, this.#chosen + 1);
    const others = [...this.places.slice(this.#chosen + 1), ...this.places.slice(0, this.#chosen)];
    const resting = others.filter((place) => this.#isResting(place, nowMs));
    return [...chosen, ...others.filter((place) => !resting.includes(place)), ...resting];
  }

  /** The first one, when another is in use and it is time to try the first again; that is then done. */
  wayBack(nowMs: number): MysqlPlace | null {
    const [first] = this.places;
    if (first === undefined || this.#chosen === 0) return null;
    if (nowMs < this.#firstAgainAtMs || this.#isResting(first, nowMs)) return null;
    this.#firstAgainAtMs = nowMs + firstAgainMs;
    return first;
  }

  /** No connection to `place` could be opened, or it stands still: the one after it is tried first from now on. */
  failed(place: MysqlPlace, nowMs: number): void {
    if (this.places.indexOf(place) !== this.#chosen) return;
    const [, next = place] = this.order(nowMs);
    this.#choose(this.places.indexOf(next), nowMs);
  }

  /** A connection to `place`, begun at `sinceMs`, was opened. False: `place` has been left since, so it says nothing. */
  worked(place: MysqlPlace, sinceMs: number, nowMs: number): boolean {
    if ((this.#rests.get(place)?.sinceMs ?? Number.NEGATIVE_INFINITY) > sinceMs) return false;
    const at = this.places.indexOf(place);
    if (at !== this.#chosen) this.#choose(at, nowMs);
    return true;
  }

  /** A change was committed at `place`: whatever was wrong there is over. */
  changed(place: MysqlPlace, nowMs: number): void {
    this.#changedAtMs.set(place, nowMs);
    this.#rests.delete(place);
  }

  /** A statement at `place`, sent at `sinceMs`, ended at its deadline. What was sent before the rest began adds nothing to it. */
  late(place: MysqlPlace, sinceMs: number, nowMs: number): void {
    const changedAtMs = this.#changedAtMs.get(place) ?? Number.NEGATIVE_INFINITY;
    if (this.places.length === 1 || changedAtMs >= sinceMs) return;
    const last = this.#rests.get(place) ?? { sinceMs: Number.NEGATIVE_INFINITY, ms: firstAgainMs };
    if (sinceMs >= last.sinceMs) this.#rests.set(place, { sinceMs: nowMs, ms: Math.min(2 * last.ms, restMsMax) });
    this.failed(place, nowMs);
  }

  #isResting(place: MysqlPlace, nowMs: number): boolean {
    const rest = this.#rests.get(place);
    return rest !== undefined && nowMs < rest.sinceMs + rest.ms;
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

/**
 * Whether a server that does not answer stands still.
 *
 * A frozen machine or process goes on taking connections and never says a word, and a dead network says nothing either:
 * from a statement without an answer alone that cannot be told apart from hard work. A new login can.
 */

/** Too many connections, of all or of ours: only who lives can say that. */
const fullHouseNumbers: ReadonlySet<unknown> = new Set([1040, 1203, 1226]);

/** null: the server logs us in within the time for connecting. Else what to say of the statements that wait for it. */
export async function standsStill(
  config: MysqlConfig,
  place: MysqlPlace,
  limits: MysqlLimits,
): Promise<Failure | null> {
  try {
    const link = await MysqlLink.open(config, place, limits);
    await link.close();
    return null;
  } catch (error) {
    if (!isFailure(error)) throw error;
    if (error.code !== 'database_unavailable' || fullHouseNumbers.has(error.fields.errno)) return null;
    const message = `The database at ${nameOf(place)} left a statement without an answer, and cannot be logged in to (${error.fields.cause ?? 'unknown'}).`;
    return new Failure('database_unavailable', message, { fields: { cause: 'silent' } });
  }
}
