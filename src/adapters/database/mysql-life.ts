/**
 * Whether a server that does not answer stands still.
 *
 * A frozen machine or process goes on taking connections and never says a word, and a dead network says nothing either:
 * from a statement without an answer alone that cannot be told apart from hard work. A new login can.
 */
import { Failure, isFailure } from '../../errors.ts';
import { MysqlLink } from './mysql-link.ts';
import { type MysqlConfig, type MysqlLimits, type MysqlPlace, nameOf } from './mysql-options.ts';

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
